"""Reading a publisher's grid of cells strictly: every column is used or declared as ignored.

A :class:`Grid` is one sheet, CSV file or list of JSON records with its column headers and the
place of each row in the file.  Its methods turn a column into Arrow values and raise a
:class:`ReadError` that names file, sheet, row and column for the first cell that is not what the
reader declared.  What a blank or a sign such as ``-`` means is said by each reader, not here.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from python_calamine import CalamineError, CalamineWorkbook

from urban_migration.errors import ReadError
from urban_migration.sources.source import PROVENANCE, SourceTable

Values = npt.NDArray[Any]
Cells = Sequence[Any]


@dataclass(frozen=True)
class Grid:
    """Rows of cells under named columns.

    ``columns`` holds the used columns only; ``first_row`` is the spreadsheet row of the first
    data row (rows count from 1, the header included).
    """

    file: str
    sheet: str | None
    columns: Mapping[str, Cells]
    first_row: int

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
        return ReadError(problem, file=self.file, sheet=self.sheet, row=row, column=column)

    def text(self, column: str) -> list[str | None]:
        """Text without outer and doubled blanks; whole numbers lose their ``.0``; blank is null."""
        cells = self.columns[column]
        kinds = set(map(type, cells))
        if not kinds <= {str, float, int, type(None)}:
            index = next(i for i, c in enumerate(cells) if isinstance(c, bool) or not _plain(c))
            raise self.error(f"{cells[index]!r} is neither text nor a number", index, column)
        if kinds <= {str}:
            known = {cell: " ".join(cell.split()) or None for cell in set(cells)}
            return [known[cell] for cell in cells]
        return [_cell_text(cell) for cell in cells]

    def required_text(self, column: str) -> list[str]:
        """Text where a blank is an error."""
        values = self.text(column)
        if None in values:
            raise self.error("the cell is blank", values.index(None), column)
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
                    raise self.error(f"{cells[index]!r} is not a finite number", index, column)
        return values

    def _parse(self, column: str, cells: Cells, null: Collection[str]) -> Values:
        known: dict[object, float] = {"": np.nan} if "" in null else {}
        known.update(dict.fromkeys(null, np.nan))
        if "" in null:
            known[None] = np.nan
        parsed = np.empty(len(cells))
        for index, cell in enumerate(cells):
            if type(cell) is float or type(cell) is int:
                parsed[index] = cell
            elif cell in known:
                parsed[index] = known[cell]
            else:
                try:
                    parsed[index] = known[cell] = _number(cell)
                except ValueError:
                    what = "the cell is blank" if cell in ("", None) else f"{cell!r} is no number"
                    raise self.error(what, index, column) from None
        return parsed

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
    """A number written as text in plain notation; Python's underscores and words are refused."""
    text = str(cell)
    if isinstance(cell, bool) or not text.isascii() or "_" in text or text.strip() != text:
        raise ValueError
    return float(text)


def whole(grid: Grid, column: str, values: Values, scale: int = 1) -> pa.Array:
    """Numbers as int64 after multiplication by ``scale``, NaN as null.

    Publishers of thousands give at most three decimals, so a product that is not whole by more
    than rounding noise is an error when ``scale`` is 1 and is rounded otherwise.
    """
    null = np.isnan(values)
    scaled = np.where(null, 0, values) * scale
    rounded = np.rint(scaled)
    if scale == 1 and not np.array_equal(scaled, rounded):
        index = int(np.flatnonzero(scaled != rounded)[0])
        raise grid.error(f"{values[index]} is not a whole number", index, column)
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
    Every sheet and every column must be used or ignored with a reason.
    """
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
    except CalamineError as error:
        raise ReadError(f"not a readable workbook ({error})", file=name) from None
    _check_sheets(name, workbook.sheet_names, sheet, ignore_sheets)
    rows = workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    header = _header(rows, header_row)
    missing = [column for column in use if column not in header]
    if missing:
        _report_missing(name, sheet, rows, header_row, missing)
    body = rows[header_row:]
    while body and not any(cell not in ("", None) for cell in body[-1]):
        body.pop()
    if not body:
        raise ReadError("no data below the header", file=name, sheet=sheet, row=header_row)
    cells = list(zip(*body, strict=True))
    filled = [
        column
        for column, values in zip(header, cells, strict=True)
        if not column.startswith("(column ") or any(value not in ("", None) for value in values)
    ]
    _check_unknown(name, sheet, filled, [*use, *ignore], header_row)
    columns = {column: cells[header.index(column)] for column in use}
    return Grid(name, sheet, columns, header_row + 1)


def _header(rows: Sequence[Sequence[Any]], header_row: int) -> list[str]:
    """The header's texts, completed from the row above and told apart where they repeat."""
    if header_row > len(rows):
        return []
    above = rows[header_row - 2] if header_row > 1 else [""] * len(rows[header_row - 1])
    seen: dict[str, int] = {}
    named = []
    for index, (cell, upper) in enumerate(zip(rows[header_row - 1], above, strict=True)):
        column = _cell_text(cell) or _cell_text(upper) or f"(column {_letter(index)})"
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
        raise ReadError(f"no sheet of this name; the workbook has {there}", file=name, sheet=sheet)
    for other in sheets:
        if other != sheet and other not in ignored:
            raise ReadError("unknown sheet, neither used nor ignored", file=name, sheet=other)


def _report_missing(
    name: str, sheet: str, rows: Sequence[Sequence[Any]], header_row: int, missing: Sequence[str]
) -> None:
    """Raise about missing columns; say so when the header seems to have moved."""
    for number in range(1, min(len(rows), header_row + 30) + 1):
        if number != header_row and set(missing) <= set(_header(rows, number)):
            problem = f"the header was expected in row {header_row} and stands in row {number}"
            raise ReadError(problem, file=name, sheet=sheet, row=number)
    problem = "column is missing" + (
        f" (and {len(missing) - 1} more: {', '.join(missing[1:6])})" if missing[1:] else ""
    )
    raise ReadError(problem, file=name, sheet=sheet, row=header_row, column=missing[0])


def _check_unknown(
    name: str, sheet: str | None, header: Sequence[str], wanted: Sequence[str], row: int
) -> None:
    unknown = [column for column in header if column and column not in wanted]
    if unknown:
        problem = "unknown column, neither used nor ignored" + (
            f" (and {len(unknown) - 1} more)" if unknown[1:] else ""
        )
        raise ReadError(problem, file=name, sheet=sheet, row=row, column=unknown[0])


def csv_grid(
    name: str,
    content: bytes,
    *,
    use: Sequence[str],
    ignore: Mapping[str, str],
    delimiter: str = ",",
) -> Grid:
    """A CSV file with one header row, UTF-8 with or without a byte order mark."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ReadError("not UTF-8 text", file=name, row=line) from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, *rows = list(reader)
    except (ValueError, csv.Error) as error:
        raise ReadError(f"not a readable CSV file ({error})", file=name) from None
    header = [" ".join(column.split()) for column in header]
    rows = [row for row in rows if row]
    for index, row in enumerate(rows):
        if len(row) != len(header):
            problem = f"{len(row)} cells under {len(header)} columns"
            raise ReadError(problem, file=name, row=index + 2)
    missing = [column for column in use if column not in header]
    if missing:
        raise ReadError("column is missing", file=name, row=1, column=missing[0])
    _check_unknown(name, None, header, [*use, *ignore], 1)
    if not rows:
        raise ReadError("no data below the header", file=name, row=1)
    cells = list(zip(*rows, strict=True))
    return Grid(name, None, {column: cells[header.index(column)] for column in use}, 2)


def records_grid(
    name: str,
    records: Sequence[Mapping[str, Any]],
    *,
    use: Sequence[str],
    ignore: Mapping[str, str],
) -> Grid:
    """JSON objects as rows; row 1 is the first object.  A member may be missing in none."""
    wanted = {*use, *ignore}
    for index, record in enumerate(records):
        if record.keys() != wanted:
            unknown = [key for key in record if key not in wanted]
            if unknown:
                problem = "unknown member, neither used nor ignored"
                raise ReadError(problem, file=name, row=index + 1, column=unknown[0])
            missing = [key for key in use if key not in record]
            if missing:
                raise ReadError("member is missing", file=name, row=index + 1, column=missing[0])
    columns = {column: [record[column] for record in records] for column in use}
    return Grid(name, None, columns, 1)


def read_bytes(path: Path, limit: int = 512 * 2**20) -> bytes:
    """A file's content, gunzipped where it is gzip; more than ``limit`` bytes is an error."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            plain = stream.read(limit + 1)
    except (OSError, EOFError) as error:
        raise ReadError(f"not a readable gzip file ({error})", file=path.name) from None
    if len(plain) > limit:
        raise ReadError(f"more than {limit // 2**20} MiB when unpacked", file=path.name)
    return plain


def zip_members(
    path: Path,
    use: Sequence[str],
    ignore: re.Pattern[str] | None = None,
    *,
    limit: int = 256 * 2**20,
) -> dict[str, bytes]:
    """Members of an archive by base name, wherever its folders are.

    A member that is neither used nor matches ``ignore`` is an error.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {
                PurePosixPath(info.filename).name: info
                for info in archive.infolist()
                if not info.is_dir()
            }
            for name in infos:
                if name not in use and not (ignore and ignore.fullmatch(name)):
                    raise ReadError(f"unknown member {name!r}", file=path.name)
            for name in use:
                if name not in infos:
                    raise ReadError(f"member {name!r} is missing", file=path.name)
            if sum(infos[name].file_size for name in use) > limit:
                raise ReadError(f"more than {limit // 2**20} MiB when unpacked", file=path.name)
            return {name: archive.read(infos[name]) for name in use}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ReadError(f"not a readable archive ({error})", file=path.name) from None


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
    for field in schema:
        array = every[field.name]
        array = array if isinstance(array, pa.Array) else pa.array(array, from_pandas=True)
        if pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(array.type):
            array = array.cast(pa.string()).dictionary_encode()
        arrays.append(array.cast(field.type))
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
