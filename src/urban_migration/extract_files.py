"""Writes the files of an extract: sheets cut to rows, CSV cut to rows and columns, same bytes.

A file that is written twice from the same content has the same bytes: no date, no name of a
user and no order of a hash is in it.  What a publisher means by the rows is not known here.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from urban_migration.errors import ReadError

Row = Sequence[Any]


# ------------------------------------------------------------------ rows of workbooks


@dataclass(frozen=True)
class Sheet:
    """All rows of a sheet; the header's row, and that of the first title above it, count from 1."""

    file: str
    name: str
    rows: Sequence[Row]
    header_row: int
    titles_row: int

    def __len__(self) -> int:
        """Number of rows below the header."""
        return len(self.rows) - self.header_row

    def cells(self, header: str) -> list[Any]:
        """The cells below a header, the first of this name."""
        headers = [" ".join(str(cell).split()) for cell in self.rows[self.header_row - 1]]
        if header not in headers:
            raise ReadError(
                "column is missing",
                file=self.file,
                sheet=self.name,
                row=self.header_row,
                column=header,
            )
        return [row[headers.index(header)] for row in self.rows[self.header_row :]]

    def codes(self, header: str) -> list[int | None]:
        """The numeric codes below a header; blank is none."""
        return [None if cell == "" else int(cell) for cell in self.cells(header)]

    def keep(self, wanted: Mapping[str, set[int]]) -> list[Row]:
        """The header where it is, and the rows below it that have wanted codes.

        Above it, the titles of columns stay, and the publisher's number of the table.
        """
        preamble = [
            [cell if str(cell).startswith("POP/DB/") else "" for cell in row]
            for row in self.rows[: self.titles_row - 1]
        ]
        columns = [(self.codes(header), codes) for header, codes in wanted.items()]
        body = [
            row
            for index, row in enumerate(self.rows[self.header_row :])
            if all(column[index] in codes for column, codes in columns)
        ]
        return [*preamble, *self.rows[self.titles_row - 1 : self.header_row], *body]


def read_sheet(name: str, content: bytes, sheet: str, *, header_row: int, titles_row: int) -> Sheet:
    """All rows of one sheet of a workbook, from its first cell."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except CalamineError as error:
        raise ReadError(f"not readable ({error})", file=name, sheet=sheet) from None
    return Sheet(name, sheet, rows, header_row, titles_row)


# ------------------------------------------------------------------ rows of CSV


@dataclass(frozen=True)
class Part:
    """Some rows of a CSV file, as a file and as records by column."""

    content: bytes
    rows: Sequence[Mapping[str, str]]


def part_of_csv(
    content: bytes,
    *,
    keep: Callable[[Mapping[str, str]], bool],
    blank: Collection[str] = (),
    order: Callable[[Mapping[str, str]], Any] | None = None,
    delimiter: str = ",",
    mark: bool = False,
) -> Part:
    """The header and the rows to keep, in the publisher's order unless ``order`` says another.

    Cells of the columns to ``blank`` are empty; ``mark`` puts a byte order mark in front.
    """
    lines = csv.reader(
        io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True
    )
    header = next(lines)
    names = [" ".join(column.split()) for column in header]
    every = (dict(zip(names, line, strict=True)) for line in lines)
    rows = [row for row in every if keep(row)]
    if order:
        rows.sort(key=order)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if name in blank else row[name] for name in names] for row in rows)
    return Part(text.getvalue().encode("utf-8-sig" if mark else "utf-8"), rows)


# ------------------------------------------------------------------ bytes that are always the same


def gzip_bytes(content: bytes) -> bytes:
    """The content as gzip, without a name and a time."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
        stream.write(content)
    return packed.getvalue()


def archive_bytes(members: Mapping[str, bytes]) -> bytes:
    """A zip archive of the members in their order, all of one date."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # of 1980, as nothing else is said
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, compresslevel=9)
    return packed.getvalue()


_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def workbook_bytes(sheets: Mapping[str, Sequence[Row]]) -> bytes:
    """A plain workbook with the cells of each sheet.

    Written by hand because XlsxWriter keeps 16 digits of a number where the publishers have 17,
    and because cells without an address, which the format allows, halve the file.
    """
    strings: dict[str, int] = {}
    parts = {
        f"xl/worksheets/sheet{number}.xml": _sheet_xml(rows, strings)
        for number, rows in enumerate(sheets.values(), 1)
    }
    kinds = {f"/{part}": "worksheet" for part in parts}
    kinds |= {"/xl/workbook.xml": "sheet.main", "/xl/sharedStrings.xml": "sharedStrings"}
    overrides = "".join(
        f'<Override PartName="{part}" ContentType="{_TYPES}.{kind}+xml"/>'
        for part, kind in kinds.items()
    )
    titles = "".join(
        f'<sheet name="{escape(title)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, title in enumerate(sheets, 1)
    )
    targets = {f"worksheets/sheet{number}.xml": "worksheet" for number in range(1, len(sheets) + 1)}
    texts = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in strings)
    files = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
        "_rels/.rels": _relations({"xl/workbook.xml": "officeDocument"}),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        f"<sheets>{titles}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _relations(targets | {"sharedStrings.xml": "sharedStrings"}),
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}">{texts}</sst>',
        **parts,
    }
    return archive_bytes({name: (_XML + text).encode() for name, text in files.items()})


def _relations(targets: Mapping[str, str]) -> str:
    links = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (target, kind) in enumerate(targets.items(), 1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>'


def _sheet_xml(rows: Sequence[Row], strings: dict[str, int]) -> str:
    data = "".join(_row_xml(rows, strings))
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{data}</sheetData></worksheet>'


def _row_xml(rows: Sequence[Row], strings: dict[str, int]) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        cells = [_cell_xml(cell, strings) for cell in row]
        while cells and cells[-1] == "<c/>":
            cells.pop()
        if cells:
            yield f'<row r="{number}">{"".join(cells)}</row>'


def _cell_xml(cell: object, strings: dict[str, int]) -> str:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return "<c/>"
    if isinstance(cell, str):
        return f'<c t="s"><v>{strings.setdefault(cell, len(strings))}</v></c>'
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        whole = float(cell).is_integer()
        return f"<c><v>{int(cell) if whole else cell!r}</v></c>"
    raise TypeError(f"{cell!r} is neither text nor a number")
