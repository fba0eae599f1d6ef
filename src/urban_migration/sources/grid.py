"""Reading a publisher's grid of cells strictly: every column is used or declared as ignored.

A :class:`Grid` is one sheet, CSV file or list of JSON records with its column headers and the
place of each row in the file.  Its methods turn a column into Arrow values and raise a
:class:`ReadError` that names file, sheet, row, column and cell, as a spreadsheet shows them, for
the first cell that is not what the reader declared.  What a blank or a sign such as ``-`` means
is said by each reader, not here.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv_reader
import pyarrow.json as json_reader
from python_calamine import CalamineWorkbook

from urban_migration.errors import ReadError
from urban_migration.sources.source import PROVENANCE, SourceTable

Values = npt.NDArray[Any]
Cells = Sequence[Any]

BLANK = (None, "")
FEW = 4
"""A column repeats its cells where they are this many times as many as the different ones."""
UNDECLARED = "the reader must be told to use or to ignore it"
MAX_WHOLE = 2**53
"""Beyond this a float no longer tells one whole number from the next."""
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,  # an unknown method of compression
    RuntimeError,  # an encrypted member
)
"""What the standard library raises about a damaged archive."""
DIAGNOSED = 2**31
"""Bytes of a large CSV file that are searched for the reason of an error."""


@dataclass(frozen=True)
class Grid:
    """Rows of cells under named columns.

    ``columns`` holds the used columns only, ``letters`` the spreadsheet's names for them (none
    for JSON); ``first_row`` is the spreadsheet row of the first data row (rows count from 1, the
    header included); ``blank`` says what an empty cell is.
    """

    file: str
    sheet: str | None
    columns: Mapping[str, Cells]
    first_row: int
    letters: Mapping[str, str] = field(default_factory=dict)
    blank: str = "the cell is blank"

    def __len__(self) -> int:
        """Number of data rows."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def place(self) -> str:
        """File and sheet as the quarantine names them."""
        return self.file if self.sheet is None else f"{self.file}#{self.sheet}"

    def error(self, problem: str, index: int, column: str) -> ReadError:
        """An error about the cell of data row ``index`` (from 0) in ``column``."""
        row = self.first_row + index
        if column in self.letters:
            problem = f"{problem} (cell {self.letters[column]}{row})"
        return ReadError(problem, file=self.file, sheet=self.sheet, row=row, column=column)

    def text(self, column: str) -> list[str | None]:
        """Text without outer and doubled blanks; whole numbers lose their ``.0``; blank is null."""
        cells = self.columns[column]
        kinds = set(map(type, cells))
        if not kinds <= {str, float, int, type(None)}:
            index = next(i for i, c in enumerate(cells) if isinstance(c, bool) or not _plain(c))
            raise self.error(
                f"{_shown(cells[index])} stands where a text is expected", index, column
            )
        known = {cell: _cell_text(cell) for cell in set(cells)}
        return [known[cell] for cell in cells]

    def required_text(self, column: str) -> list[str]:
        """Text where a blank is an error."""
        values = self.text(column)
        if None in values:
            problem = f"{self.blank} where a text is expected"
            raise self.error(problem, values.index(None), column)
        return values  # type: ignore[return-value]

    def numbers(self, column: str, null: Collection[str] = ()) -> Values:
        """Finite numbers as float64; the texts of ``null`` (and no others) become NaN.

        Numbers written as text are numbers (CSV and JSON have no others); any other text, an
        empty cell that is not declared in ``null``, ``inf`` and ``nan`` are errors.
        """
        cells = self.columns[column]
        if set(map(type, cells)) <= {float, int}:
            values = np.array(cells, dtype=np.float64)
        else:
            values = self._parse(column, cells, null)
        if not np.isfinite(values).all():
            for index in np.flatnonzero(~np.isfinite(values)).tolist():
                if not (isinstance(cells[index], str | None) and (cells[index] or "") in null):
                    problem = f"{_shown(cells[index])} stands where a finite number is expected"
                    raise self.error(problem, index, column)
        return values

    def _parse(self, column: str, cells: Cells, null: Collection[str]) -> Values:
        """Numbers among texts and blanks; each different text is looked at once."""
        numeric = {float, int}
        allowed = {*numeric, str, type(None)}
        known: dict[object, float] = {None: np.nan} if "" in null else {}
        known.update(dict.fromkeys(null, np.nan))
        if set(map(type, cells)) <= allowed:
            different = set(cells)
            for cell in {cell for cell in different if type(cell) is str} - known.keys():
                with suppress(ValueError):
                    known[cell] = _number(cell)
            with suppress(KeyError):
                if len(different) < len(cells) / FEW:
                    known |= {cell: cell for cell in different if type(cell) in numeric}
                    return np.fromiter(map(known.__getitem__, cells), np.float64, len(cells))
                numbers = [cell if type(cell) in numeric else known[cell] for cell in cells]
                return np.array(numbers, dtype=np.float64)
        index, cell = next(
            (index, cell)
            for index, cell in enumerate(cells)
            if type(cell) not in numeric and (type(cell) not in allowed or cell not in known)
        )
        what = self.blank if cell in BLANK else f"{_shown(cell)} stands"
        raise self.error(f"{what} where a number is expected", index, column)

    def integers(self, column: str, null: Collection[str] = (), scale: int = 1) -> pa.Array:
        """Whole numbers (after ``scale``, rounded to one) as int64; nulls as in ``numbers``."""
        values = self.numbers(column, null)
        return whole(self, column, values, scale)

    def years(self, column: str) -> pa.Array:
        """Calendar years as int32."""
        return self.integers(column).cast(pa.int32())


def _plain(cell: object) -> bool:
    return cell is None or isinstance(cell, str | float | int)


def _cell_text(cell: object) -> str | None:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return " ".join(str(cell).split()) or None if cell is not None else None


def _number(cell: object) -> float:
    """A number written as text in plain notation; Python's underscores are refused."""
    if not isinstance(cell, str) or not cell.isascii() or "_" in cell or cell.strip() != cell:
        raise ValueError
    return float(cell)


def _shown(cell: object) -> str:
    """A cell as the reader of a message would call it."""
    match cell:
        case bool():
            return f"the logical value {str(cell).upper()}"
        case int() | float():
            return f"the number {cell:g}"
        case str():
            return f"the text {cell if len(cell) <= 40 else cell[:40] + '…'!r}"
        case date():
            return f"the date {cell}"
        case list() | dict():
            return "a list or object"
    return f"the time {cell}"


def whole(grid: Grid, column: str, values: Values, scale: int = 1) -> pa.Array:
    """Numbers as int64 after multiplication by ``scale``, NaN as null.

    Publishers of thousands give at most three decimals, so a product that is not whole is
    rounding noise and is rounded; with a ``scale`` of 1 it is an error.
    """
    null = np.isnan(values)
    scaled = np.where(null, 0, values) * scale
    rounded = np.rint(scaled)
    if scale == 1 and not np.array_equal(scaled, rounded):
        index = int(np.flatnonzero(scaled != rounded)[0])
        problem = f"the number {values[index]} stands where a whole number is expected"
        raise grid.error(problem, index, column)
    if (np.abs(rounded) > MAX_WHOLE).any():
        index = int(np.flatnonzero(np.abs(rounded) > MAX_WHOLE)[0])
        raise grid.error(f"the number {values[index]:g} is too large for a count", index, column)
    return pa.array(rounded.astype(np.int64), mask=null)


# ------------------------------------------------------------------ opening files


def workbook_sheet(
    name: str,
    content: bytes,
    sheet: str,
    *,
    header_row: int,
    use: Sequence[str],
    ignore: Mapping[str, str],
    ignore_sheets: Mapping[str, str],
) -> Grid:
    """A sheet of an ``.xls`` or ``.xlsx`` workbook with its header in ``header_row`` (from 1).

    Headers are compared as text with single blanks, years as ``1950``; where the cell is blank
    the one above counts, and where that is blank too the column is called ``(column A)``.  A
    header that occurs again is told apart by its number: ``2024``, ``2024.1``, ``2024.2``.
    Every sheet and every column must be used or ignored with a reason.  An Excel error such as
    ``#DIV/0!`` in a used column is an error, never a blank.
    """
    rows = _sheet_rows(name, content, sheet, ignore_sheets)
    header = _header(rows, header_row)
    missing = [column for column in use if column not in header]
    if missing:
        _report_missing(name, sheet, rows, header_row, missing)
    body = rows[header_row:]
    while body and not any(cell not in BLANK for cell in body[-1]):
        body.pop()
    if not body:
        problem = "there is no data below the column headers"
        raise ReadError(problem, file=name, sheet=sheet, row=header_row)
    cells = list(zip(*body, strict=True))
    _check_unknown(name, sheet, _filled(header, cells), [*use, *ignore], header_row)
    columns = {column: cells[header.index(column)] for column in use}
    letters = {column: _letter(header.index(column)) for column in use}
    is_xlsx = content.startswith(b"PK")
    if is_xlsx:
        _refuse_excel_errors(name, content, sheet, letters, header_row)
    # calamine reads an Excel error as blank, and in .xls nothing tells the two apart
    blank = Grid.blank if is_xlsx else "the cell is blank or an Excel error such as #N/A"
    return Grid(name, sheet, columns, header_row + 1, letters, blank)


def _sheet_rows(
    name: str, content: bytes, sheet: str, ignore_sheets: Mapping[str, str]
) -> list[list[Any]]:
    """All cells of a sheet from A1 on, as calamine gives them."""
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
        _check_sheets(name, workbook.sheet_names, sheet, ignore_sheets)
        return workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except ReadError:
        raise
    except BaseException as error:
        # calamine's own errors, Python's for dates out of range, and calamine's panics, which
        # are no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ReadError(f"cannot be opened as an Excel workbook ({error})", file=name) from None


def _refuse_excel_errors(
    name: str, content: bytes, sheet: str, letters: Mapping[str, str], header_row: int
) -> None:
    """Raise about the first cell with an Excel error in a used column of an ``.xlsx`` sheet."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            xml = archive.read(_sheet_part(archive, sheet))
    except (*DAMAGE, ElementTree.ParseError, StopIteration, KeyError) as error:
        raise ReadError(f"cannot be opened as an Excel workbook ({error})", file=name) from None
    if b't="e"' not in xml:
        return
    column_of = {letter: column for column, letter in letters.items()}
    for cell in EXCEL_ERROR.finditer(xml):
        letter, row, value = (part.decode() for part in cell.groups())
        if letter in column_of and int(row) > header_row:
            problem = f"the cell holds the Excel error {value} (cell {letter}{row})"
            column = column_of[letter]
            raise ReadError(problem, file=name, sheet=sheet, row=int(row), column=column)


EXCEL_ERROR = re.compile(
    rb'<(?:\w+:)?c r="([A-Z]+)(\d+)"[^>]*\bt="e"[^>]*>.*?<(?:\w+:)?v>([^<]*)<', re.DOTALL
)


def _sheet_part(archive: zipfile.ZipFile, sheet: str) -> str:
    """The archive's member that holds a sheet."""
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    entry = next(e for e in book.iter() if e.tag.endswith("}sheet") and e.get("name") == sheet)
    link = next(value for key, value in entry.items() if key.endswith("}id"))
    target = next(e.get("Target", "") for e in links if e.get("Id") == link)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _filled(header: Sequence[str], cells: Sequence[Cells]) -> list[str]:
    """The header's columns without those that have neither a name nor a value."""
    return [
        column
        for column, values in zip(header, cells, strict=True)
        if not column.startswith("(column ") or any(value not in BLANK for value in values)
    ]


def _header(rows: Sequence[Sequence[Any]], header_row: int) -> list[str]:
    """The header's texts, completed from the row above and told apart where they repeat."""
    if header_row > len(rows):
        return []
    cells = rows[header_row - 1]
    above = rows[header_row - 2] if header_row > 1 else [""] * len(cells)
    return _told_apart(
        [_cell_text(cell) or _cell_text(upper) for cell, upper in zip(cells, above, strict=True)]
    )


def _told_apart(names: Sequence[str | None]) -> list[str]:
    """Names for columns: ``(column A)`` where there is none, ``2024.1`` where one repeats."""
    seen: dict[str, int] = {}
    named = []
    for index, name in enumerate(names):
        column = name or f"(column {_letter(index)})"
        count = seen.get(column, 0)
        seen[column] = count + 1
        named.append(f"{column}.{count}" if count else column)
    return named


def _letter(index: int) -> str:
    """The spreadsheet's name of a column: 0 is A, 26 is AA."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _check_sheets(name: str, sheets: Sequence[str], sheet: str, ignored: Mapping[str, str]) -> None:
    if sheet not in sheets:
        there = ", ".join(repr(s) for s in sheets)
        problem = f"the workbook has no sheet of this name; it has {there}"
        raise ReadError(problem, file=name, sheet=sheet)
    for other in sheets:
        if other != sheet and other not in ignored:
            raise ReadError(f"unknown sheet: {UNDECLARED}", file=name, sheet=other)


def _report_missing(
    name: str, sheet: str, rows: Sequence[Sequence[Any]], header_row: int, missing: Sequence[str]
) -> None:
    """Raise about missing columns; say so when the header seems to have moved."""
    for number in range(1, min(len(rows), header_row + 30) + 1):
        if number != header_row and set(missing) <= set(_header(rows, number)):
            problem = f"the column headers stand in this row, not in row {header_row} as expected"
            raise ReadError(problem, file=name, sheet=sheet, row=number)
    problem = f"the header row has no such column{_more(missing)}"
    raise ReadError(problem, file=name, sheet=sheet, row=header_row, column=missing[0])


def _more(columns: Sequence[str]) -> str:
    """The columns after the first, as an afterthought to a message."""
    named = ", ".join(repr(column) for column in columns[1:6])
    rest = f" and {len(columns) - 6} more" if columns[6:] else ""
    return f"; the same holds for {named}{rest}" if named else ""


def _check_unknown(
    name: str, sheet: str | None, header: Sequence[str], wanted: Sequence[str], row: int
) -> None:
    unknown = [column for column in header if column not in wanted]
    if unknown:
        problem = f"unknown column: {UNDECLARED}{_more(unknown)}"
        raise ReadError(problem, file=name, sheet=sheet, row=row, column=unknown[0])


def csv_grid(
    name: str,
    content: bytes,
    *,
    use: Sequence[str],
    ignore: Mapping[str, str],
    delimiter: str = ",",
) -> Grid:
    """A CSV file with one header row, UTF-8 with or without a byte order mark.

    Rows count as in a spreadsheet: a cell with a line break in it does not begin a new one.
    """
    first, *rows = _csv_rows(name, content, delimiter)
    header = _csv_header(name, first, use, delimiter)
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise ReadError("there is no data below the column headers", file=name, row=1)
    for index, row in enumerate(rows):
        if len(row) != len(header):
            problem = f"the row has {len(row)} cells, the header has {len(header)}"
            problem = problem if row else "the row is blank and others follow it"
            raise ReadError(problem, file=name, row=index + 2)
    cells = list(zip(*rows, strict=True))
    _check_unknown(name, None, _filled(header, cells), [*use, *ignore], 1)
    columns = {column: cells[header.index(column)] for column in use}
    letters = {column: _letter(header.index(column)) for column in use}
    return Grid(name, None, columns, 2, letters)


def _csv_header(name: str, cells: Sequence[str], use: Sequence[str], delimiter: str) -> list[str]:
    """The header's names, told apart; a used column that is missing is an error."""
    if len(cells) == 1 and len(use) > 1:
        problem = f"the header is one cell, {delimiter!r} was expected between the columns"
        raise ReadError(problem, file=name, row=1)
    header = _told_apart([" ".join(column.split()) for column in cells])
    missing = [column for column in use if column not in header]
    if missing:
        problem = f"the header row has no such column{_more(missing)}"
        raise ReadError(problem, file=name, row=1, column=missing[0])
    return header


def _csv_rows(name: str, content: bytes, delimiter: str) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"the text is not UTF-8 (byte 0x{content[error.start]:02X})"
        raise ReadError(problem, file=name, row=line) from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        row = len(rows) + 1
        raise ReadError(f"not a readable CSV file ({error})", file=name, row=row) from None
    if not rows:
        raise ReadError("the file is empty", file=name)
    return rows


def records_grid(
    name: str,
    records: Sequence[Mapping[str, Any]],
    *,
    use: Sequence[str],
    ignore: Mapping[str, str],
) -> Grid:
    """JSON objects as rows; row 1 is the first object.  A used member may be missing in none."""
    wanted = {*use, *ignore}
    seen: set[tuple[str, ...]] = set()
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise ReadError("the item is not an object with members", file=name, row=index + 1)
        if (members := tuple(record)) not in seen:  # most have the same, in the same order
            seen.add(members)
            _check_members(name, members, use, wanted, index + 1)
    columns = {column: list(map(itemgetter(column), records)) for column in use}
    return Grid(name, None, columns, 1, blank="no value stands")


def _check_members(
    name: str, members: Sequence[str], use: Sequence[str], wanted: Collection[str], row: int
) -> None:
    unknown = [member for member in members if member not in wanted]
    if unknown:
        problem = f"unknown member: {UNDECLARED}{_more(unknown)}"
        raise ReadError(problem, file=name, row=row, column=unknown[0])
    missing = [member for member in use if member not in members]
    if missing:
        problem = f"the item has no such member{_more(missing)}"
        raise ReadError(problem, file=name, row=row, column=missing[0])


def json_value(name: str, content: bytes) -> Any:
    """What a JSON file holds."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        problem = f"the text is not valid JSON ({error.msg})"
        raise ReadError(problem, file=name, row=error.lineno) from None


def json_pages(
    files: Mapping[str, Path], pattern: str, members: Collection[str]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The items of each page of a paged JSON API, in turn, with the page's file name.

    ``pattern`` is the file name with ``{page}`` in it, ``members`` what every page has: ``page``
    (its number), ``maxPages`` (how many there are), ``items`` and others.  A page that is
    missing, is another or has no items is an error.
    """
    names = _page_names(files, pattern)
    for number, name in enumerate(names, 1):
        page = json_value(name, read_bytes(files[name]))
        _check_page(name, page, number, len(names), members)
        yield name, page["items"]


def _page_names(files: Mapping[str, Path], pattern: str) -> list[str]:
    start, end = pattern.split("{page}")
    count = max(1, sum(name.startswith(start) and name.endswith(end) for name in files))
    names = [pattern.format(page=number) for number in range(1, count + 1)]
    for name in names:
        if name not in files:
            raise ReadError("this page is missing, others of its set are here", file=name)
    return names


def _check_page(name: str, page: Any, number: int, count: int, members: Collection[str]) -> None:
    if not isinstance(page, dict) or page.keys() != set(members):
        problem = "the page is not as the API describes it (page, maxPages, items and so on)"
        raise ReadError(problem, file=name)
    if page["page"] != number:
        raise ReadError(f"holds page {page['page']!r}, not page {number}", file=name)
    if not isinstance(page["items"], list) or not page["items"]:
        raise ReadError("the page has no items", file=name)
    if page["maxPages"] != count:
        problem = f"says that there are {page['maxPages']} pages, and {count} are here"
        raise ReadError(problem, file=name)


def read_bytes(path: Path, limit: int = 512 * 2**20) -> bytes:
    """A file's content, gunzipped where it is gzip; more than ``limit`` bytes is an error."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            plain = stream.read(limit + 1)
    except DAMAGE as error:
        raise ReadError(f"cannot be unpacked ({error})", file=path.name) from None
    if len(plain) > limit:
        raise ReadError(f"unpacks to more than {_size(limit)}", file=path.name)
    return plain


def reference_rows(module: str) -> list[dict[str, str]]:
    """The rows of the reviewed CSV of ours beside a source's module (its ``__file__``)."""
    with Path(module).with_suffix(".csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def zip_members(
    path: Path,
    use: Sequence[str],
    ignore: re.Pattern[str] | None = None,
    *,
    limit: int = 256 * 2**20,
) -> dict[str, bytes]:
    """Members of an archive by base name, wherever its folders are.

    A member that is neither used nor matches ``ignore`` is an error, and so are two of one base
    name, a path that leads outside the archive, and more than ``limit`` bytes in all.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = _members(path.name, archive, ignore, use)
            if sum(infos[name].file_size for name in use) > limit:
                raise ReadError(f"unpacks to more than {_size(limit)}", file=path.name)
            contents = {}
            for name in use:
                with archive.open(infos[name]) as stream:  # bounds what a false size unpacks to
                    contents[name] = stream.read(infos[name].file_size + 1)
            return contents
    except DAMAGE as error:
        raise ReadError(f"cannot be unpacked ({error})", file=path.name) from None


def _members(
    archive_name: str,
    archive: zipfile.ZipFile,
    ignore: re.Pattern[str] | None,
    use: Sequence[str],
) -> dict[str, zipfile.ZipInfo]:
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            problem = f"the member {info.filename!r} leads outside the archive"
            raise ReadError(problem, file=archive_name)
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise ReadError(f"the member {info.filename!r} is encrypted", file=archive_name)
        if parts.name not in use and not (ignore and ignore.fullmatch(parts.name)):
            problem = f"unknown member {info.filename!r}: {UNDECLARED}"
            raise ReadError(problem, file=archive_name)
        if parts.name in infos:
            raise ReadError(f"two members are called {parts.name!r}", file=archive_name)
        infos[parts.name] = info
    missing = [name for name in use if name not in infos]
    if missing:
        problem = f"the archive has no member {missing[0]!r}{_more(missing)}"
        raise ReadError(problem, file=archive_name)
    return infos


def _size(count: int) -> str:
    return f"{count / 2**20:g} MiB"


# ------------------------------------------------------------------ large files


@dataclass(frozen=True)
class BigGrid(Grid):
    """A :class:`Grid` of millions of cells: its columns are Arrow arrays, never Python lists.

    Texts are dictionaries of the few that repeat, numbers float64; a blank cell is null in both.
    """

    columns: Mapping[str, pa.Array]

    def strings(self, column: str) -> pa.DictionaryArray:
        """Text without outer and doubled blanks; blank is null."""
        cells = self.columns[column]
        written = cells.dictionary.to_pylist()
        cleaned = [" ".join(text.split()) or None for text in written]
        if cleaned == written:
            return cells
        return pa.array(cleaned, pa.string()).take(cells.indices).dictionary_encode()

    def required_strings(self, column: str) -> pa.DictionaryArray:
        """Text where a blank is an error."""
        values = self.strings(column)
        if values.null_count:
            index = pc.index(values.is_null(), True).as_py()
            raise self.error(f"{self.blank} where a text is expected", index, column)
        return values

    def one_of(
        self, column: str, known: Collection[str], problem: str, *, blank: bool = False
    ) -> pa.DictionaryArray:
        """Text that is one of ``known``; else ``problem``, with the text for ``{}``, is raised.

        ``blank`` says that a blank may stand among them, as null.
        """
        values = self.strings(column) if blank else self.required_strings(column)
        there = values.dictionary.to_pylist()
        unknown = [code for code, text in enumerate(there) if text not in known]
        if unknown:
            index = int(np.flatnonzero(np.isin(values.indices.fill_null(-1), unknown))[0])
            raise self.error(problem.format(repr(values[index].as_py())), index, column)
        return values

    def text(self, column: str) -> list[str | None]:
        """The texts as a list, for files of thousands of rows."""
        values = self.strings(column)
        return list(values.dictionary.take(values.indices).to_pylist())

    def numbers(self, column: str, null: Collection[str] = ()) -> Values:
        """Finite numbers as float64; without ``null``, a cell that has none is an error."""
        cells = self.columns[column]
        if cells.null_count and not null:
            index = pc.index(cells.is_null(), True).as_py()
            raise self.error(f"{self.blank} where a number is expected", index, column)
        return np.asarray(cells.to_numpy(zero_copy_only=False))


def big_csv_grid(
    name: str,
    path: Path,
    *,
    text: Sequence[str],
    numbers: Sequence[str],
    ignore: Mapping[str, str],
    delimiter: str = ",",
    limit: int = 2**30,
) -> BigGrid:
    """A CSV file of up to millions of rows, gzipped or not, read as it is unpacked.

    Like :func:`csv_grid`, with the columns' kinds said beforehand; ignored columns are not looked
    at.  What the fast parser refuses is read again, slowly and strictly, for the error to name
    row and column.
    """
    use = [*text, *numbers]
    header = _csv_header(name, _first_record(name, path, delimiter), use, delimiter)
    unnamed = [column for column in header if column.startswith("(column ")]
    _check_unknown(name, None, [c for c in header if c not in unnamed], [*use, *ignore], 1)
    kinds = dict.fromkeys([*text, *unnamed], pa.dictionary(pa.int32(), pa.string()))
    kinds |= dict.fromkeys(numbers, pa.float64())
    table, problem = None, "quotes are not closed"
    try:
        with _Unpacked(path, limit) as stream:
            table = csv_reader.read_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=csv_reader.ReadOptions(
                    column_names=header, skip_rows=1, block_size=2**22
                ),
                parse_options=csv_reader.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False
                ),
                convert_options=csv_reader.ConvertOptions(
                    column_types=kinds,
                    include_columns=list(kinds),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            balanced = stream.quotes % 2 == 0
    except pa.ArrowInvalid as error:
        problem = str(error)
    except DAMAGE as error:
        raise ReadError(f"cannot be unpacked ({error})", file=name) from None
    if table is None or not balanced or not _finite(table, numbers):
        _diagnose(name, path, header, numbers, delimiter)
        raise ReadError(f"not a readable CSV file ({problem})", file=name)
    table = _without_blank_rows(name, table)
    named = [*ignore]
    _check_unknown(name, None, [c for c in unnamed if table[c].null_count < len(table)], named, 1)
    columns = {column: _one(table[column]) for column in use}
    letters = {column: _letter(header.index(column)) for column in use}
    return BigGrid(name, None, columns, 2, letters)


def big_json_pages(
    files: Mapping[str, Path],
    pattern: str,
    members: Collection[str],
    *,
    text: Sequence[str],
    numbers: Sequence[str],
    ignore: Mapping[str, str],
    null: Collection[str] = (),
) -> Iterator[BigGrid]:
    """The pages of :func:`json_pages` as large grids, for hundreds of thousands of items.

    ``null`` holds the texts that stand for no number.  The items of a plain page (all with the
    members of the first, numbers written as numbers) never become Python objects; those of any
    other are read one by one, strictly.
    """
    names = _page_names(files, pattern)
    for number, name in enumerate(names, 1):
        content = read_bytes(files[name])
        head, items, tail = _around_items(content)
        page = json_value(name, head + tail)
        _check_page(name, page, number, len(names), members)
        grid = _plain_items(name, items, text, numbers, ignore) if items else None
        if grid is None:
            grid = _strict_items(
                name, json_value(name, content)["items"], text, numbers, ignore, null
            )
        yield grid


def _around_items(content: bytes) -> tuple[bytes, bytes, bytes]:
    """A page cut at its items, with one zero in their place; no items where it is not plain."""
    member = b'"items":['
    start, end = content.find(member + b"{"), content.rfind(b"}]")
    if not 0 <= start < end:
        return content, b"", b""
    start += len(member)
    return content[:start] + b"0", content[start : end + 1], content[end + 1 :]


def _plain_items(
    name: str, items: bytes, text: Sequence[str], numbers: Sequence[str], ignore: Mapping[str, str]
) -> BigGrid | None:
    """The items as Arrow's parser reads them, or None where they need a closer look."""
    use = [*text, *numbers]
    schema = [(member, pa.string()) for member in text]
    schema += [(member, pa.float64()) for member in numbers]
    try:
        first = orjson.loads(items[: items.index(b"}") + 1])
        table = json_reader.read_json(
            pa.BufferReader(items.replace(b"},{", b"}\n{")),
            parse_options=json_reader.ParseOptions(
                explicit_schema=pa.schema(schema), unexpected_field_behavior="ignore"
            ),
        )
    except (orjson.JSONDecodeError, pa.ArrowInvalid):
        return None
    is_known = set(use) <= first.keys() <= {*use, *ignore}
    is_even = items.count(b'":') == len(first) * len(table)
    if not is_known or not is_even or any(column.null_count for column in table.columns):
        return None
    columns = {member: _one(table[member].dictionary_encode()) for member in text}
    columns |= {member: _one(table[member]) for member in numbers}
    return BigGrid(name, None, columns, 1, blank="no value stands")


def _strict_items(
    name: str,
    items: Sequence[Mapping[str, Any]],
    text: Sequence[str],
    numbers: Sequence[str],
    ignore: Mapping[str, str],
    null: Collection[str],
) -> BigGrid:
    grid = records_grid(name, items, use=[*text, *numbers], ignore=ignore)
    columns = {
        member: pa.array(grid.text(member), pa.string()).dictionary_encode() for member in text
    }
    columns |= {
        member: pa.array(grid.numbers(member, null), from_pandas=True) for member in numbers
    }
    return BigGrid(name, None, columns, 1, blank=grid.blank)


class _Unpacked(io.RawIOBase):
    """A file's content as a stream, gunzipped where it is gzip; it counts bytes and quotes."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__()
        self._file, self._limit = path, limit
        with path.open("rb") as head:
            packed = head.read(2) == b"\x1f\x8b"
        self._stream = gzip.open(path) if packed else path.open("rb")  # noqa: SIM115 closed below
        self._bytes = self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self._stream.read(size)
        self._bytes += len(part)
        self.quotes += part.count(b'"')
        if self._bytes > self._limit:
            raise ReadError(f"unpacks to more than {_size(self._limit)}", file=self._file.name)
        return part

    def readinto(self, buffer: Any) -> int:
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _records(name: str, path: Path, delimiter: str) -> Iterator[list[str]]:
    """The rows of a CSV file one by one, parsed strictly."""
    number = 0
    try:
        with _Unpacked(path, DIAGNOSED) as stream:
            lines = io.TextIOWrapper(io.BufferedReader(stream, 2**16), "utf-8-sig", newline="")
            for row in csv.reader(lines, delimiter=delimiter, strict=True):
                number += 1
                yield row
    except UnicodeDecodeError:
        raise _not_utf8(name, path) from None
    except csv.Error as error:
        raise ReadError(f"not a readable CSV file ({error})", file=name, row=number + 1) from None
    except DAMAGE as error:
        raise ReadError(f"cannot be unpacked ({error})", file=name) from None


def _not_utf8(name: str, path: Path) -> ReadError:
    """An error about the first line that is not UTF-8; a decoder of blocks knows no lines."""
    with _Unpacked(path, DIAGNOSED) as stream:
        for number, line in enumerate(io.BufferedReader(stream, 2**16), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                problem = f"the text is not UTF-8 (byte 0x{line[error.start]:02X})"
                return ReadError(problem, file=name, row=number)
    return ReadError("the text is not UTF-8", file=name)


def _first_record(name: str, path: Path, delimiter: str) -> list[str]:
    for row in _records(name, path, delimiter):
        return row
    raise ReadError("the file is empty", file=name)


def _diagnose(
    name: str, path: Path, header: Sequence[str], numbers: Sequence[str], delimiter: str
) -> None:
    """Raise about the first row that has too many or too few cells, or a text for a number."""
    at = {column: header.index(column) for column in numbers}
    letters = {column: _letter(index) for column, index in at.items()}
    rows = _records(name, path, delimiter)
    next(rows)
    blank = 0
    for index, row in enumerate(rows):
        if not row:
            blank = blank or index + 2
            continue
        if blank:
            raise ReadError("the row is blank and others follow it", file=name, row=blank)
        if len(row) != len(header):
            problem = f"the row has {len(row)} cells, the header has {len(header)}"
            raise ReadError(problem, file=name, row=index + 2)
        grid = Grid(name, None, {c: [row[i]] for c, i in at.items()}, index + 2, letters)
        for column in numbers:
            grid.numbers(column, null=("",))


def _finite(table: pa.Table, numbers: Sequence[str]) -> bool:
    """Whether no number is ``inf`` or ``nan``, which the parser takes for numbers."""
    return all(pc.all(pc.is_finite(table[column])).as_py() is not False for column in numbers)


def _without_blank_rows(name: str, table: pa.Table) -> pa.Table:
    """Drop blank lines at the end of the file; one before others is an error."""
    filled = np.zeros(len(table), dtype=bool)
    for column in table.columns:
        filled |= pc.is_valid(column).to_numpy()
        if filled.all():
            break
    last = int(np.flatnonzero(filled)[-1]) + 1 if filled.any() else 0
    if not last:
        raise ReadError("there is no data below the column headers", file=name, row=1)
    if not filled[:last].all():
        row = int(np.flatnonzero(~filled)[0]) + 2
        raise ReadError("the row is blank and others follow it", file=name, row=row)
    return table.slice(0, last)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.unify_dictionaries().combine_chunks()


# ------------------------------------------------------------------ tidy tables


def tidy(
    table: SourceTable,
    grid: Grid,
    values: Mapping[str, Any],
    *,
    rows: Values | None = None,
    column: Any = None,
    ignored: Sequence[str | None] | None = None,
) -> pa.Table:
    """A tidy table with its provenance, in the types that ``table`` declares.

    ``rows`` gives for each fact the data row (from 0) that it comes from, all rows in turn when
    left out; ``column`` is the header of the fact's cell, or one per fact; ``ignored`` holds the
    reason for each fact that is declared as not to be published.
    """
    rows = np.arange(len(grid)) if rows is None else rows
    count = len(rows)
    provenance = {
        "file": _same(grid.place, count),
        "row_number": pa.array(rows + grid.first_row, pa.int32()),
        "column": _same(column, count) if isinstance(column, str | None) else column,
        "ignored": _same(None, count) if ignored is None else ignored,
    }
    every = {**values, **provenance}
    if every.keys() != {*table.columns, *PROVENANCE}:
        raise ValueError(f"columns {sorted(every)} are not those declared")
    schema = table.schema()
    arrays = []
    for target in schema:
        array = every[target.name]
        array = array if isinstance(array, pa.Array) else pa.array(array, from_pandas=True)
        if pa.types.is_dictionary(target.type) and not pa.types.is_dictionary(array.type):
            array = array.cast(pa.string()).dictionary_encode()
        arrays.append(array.cast(target.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _same(value: str | None, count: int) -> pa.Array:
    """One text for every fact."""
    indices = np.zeros(count, dtype=np.int32)
    dictionary = pa.array([] if value is None else [value], pa.string())
    mask = np.full(count, value is None)
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=mask), dictionary)


@dataclass(frozen=True)
class Melted:
    """The cells of several columns below each other: all columns of row 1, then of row 2, ..."""

    grid: Grid
    headers: tuple[str, ...]

    @property
    def rows(self) -> Values:
        """The data row (from 0) of each cell."""
        return np.repeat(np.arange(len(self.grid)), len(self.headers))

    def header(self, labels: Sequence[Any] | None = None) -> pa.Array:
        """Each cell's header, or the label that stands for it (such as its year)."""
        names = pa.array(self.headers if labels is None else labels)
        positions = np.tile(np.arange(len(self.headers), dtype=np.int32), len(self.grid))
        if labels is None:
            return pa.DictionaryArray.from_arrays(pa.array(positions), names)
        return names.take(pa.array(positions))

    def repeat(self, values: Sequence[Any] | pa.Array) -> pa.Array:
        """A value per data row, repeated for each of its cells."""
        array = values if isinstance(values, pa.Array) else pa.array(values)
        return array.take(pa.array(self.rows))

    def numbers(self, null: Collection[str] = ()) -> Values:
        """The cells as float64."""
        columns = [self.grid.numbers(header, null) for header in self.headers]
        return np.stack(columns, axis=1).ravel()

    def integers(self, null: Collection[str] = (), scale: int = 1) -> pa.Array:
        """The cells as int64, multiplied by ``scale``."""
        columns = [
            whole(self.grid, header, self.grid.numbers(header, null), scale)
            for header in self.headers
        ]
        values = np.stack([c.to_numpy(zero_copy_only=False) for c in columns], axis=1).ravel()
        return pc.cast(pa.array(values, from_pandas=True), pa.int64())


def melt(grid: Grid, headers: Sequence[str]) -> Melted:
    """View several columns of a grid, such as one per year, as one fact per cell."""
    return Melted(grid, tuple(headers))
