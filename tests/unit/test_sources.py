"""The readers of the publishers' files: facts about the world, laws, and what each refuses.

A tiny edition in the publishers' layouts stands in for their files; the facts at the end are read
from the mirror of the real ones.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import openpyxl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from publishers import (
    CITIES,
    CITIES_ANNUAL,
    CITY_YEARS,
    COUNTRIES,
    EIGHT_CITIES,
    LOCATIONS,
    M49,
    NEVER_COUNTED,
    ORIGINS,
    PAGE,
    PERCENTAGES,
    STOCK_YEARS,
    STOCKS,
    TOTALS,
    URBAN,
    URBAN_ANNUAL,
    WPP,
    YEARS,
    Edition,
    ExcelError,
    Spoil,
    delete_column,
    m49_csv,
    migrant_stock_workbooks,
    place,
    put,
    tiny_edition,
    unhcr_pages,
    wpp_csv,
    wup_archive,
)

from urban_migration.errors import ReadError, UsageError
from urban_migration.sources import all_sources, get_source
from urban_migration.sources.grid import read_bytes
from urban_migration.sources.source import PROVENANCE, Source, Tables

WUP = "WUP2018-Excel-files.zip"
TOLD = "the reader must be told to use or to ignore it"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Tables]:
    """Read files, given as bytes by name, with the reader of a source."""

    def reader(source_id: str, files: Mapping[str, bytes]) -> Tables:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return get_source(source_id).read({name: tmp_path / name for name in files})

    return reader


@pytest.fixture
def said(read: Callable[..., Tables]) -> Callable[..., str]:
    """The message of the error that reading files ends in."""

    def message(source_id: str, files: Mapping[str, bytes]) -> str:
        with pytest.raises(ReadError) as caught:
            read(source_id, files)
        return str(caught.value)

    return message


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    tiny_edition(root)
    return root


def files_of(root: Path, source_id: str) -> dict[str, Path]:
    return {path.name: path for path in sorted((root / source_id).iterdir())}


def written(tiny: Path) -> list[Source]:
    """The sources that the tiny edition has; others are tested on fixtures of their own."""
    return [source for source in all_sources().values() if (tiny / source.id).is_dir()]


@pytest.fixture(scope="module")
def tables(tiny: Path) -> dict[str, Tables]:
    """All tables of the tiny edition by source."""
    return {source.id: source.read(files_of(tiny, source.id)) for source in written(tiny)}


# The register ------------------------------------------------------------------------------------


def test_every_source_says_who_made_it_and_what_may_be_done_with_it() -> None:
    for source in all_sources().values():
        assert source.title and source.publisher and source.licence and source.citation
        assert source.licence_url.startswith("https://")
        assert source.homepage.startswith("https://")
        assert all(download.url.startswith("https://") for download in source.downloads)
        for table in source.tables.values():
            assert {*table.key, *table.code} <= {*table.schema().names}


def test_required_sources() -> None:
    required = {source.id for source in all_sources().values() if source.required}
    assert required == {"un_wup_2018", "un_m49", "un_migrant_stock_2024", "un_wpp_2024"}


def test_an_unknown_source_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no source 'un_wup'; there are: un_m49, un_wup_2018"):
        get_source("un_wup")


# Laws that hold for every reader -----------------------------------------------------------------


def test_tables_are_as_declared(tiny: Path, tables: dict[str, Tables]) -> None:
    for source in written(tiny):
        assert tables[source.id].keys() == source.tables.keys()
        for name, table in tables[source.id].items():
            assert table.schema == source.tables[name].schema()
            assert table.column_names[-4:] == list(PROVENANCE)
            assert table["file"].null_count == table["row_number"].null_count == 0


def test_keys_are_unique_and_never_null(tiny: Path, tables: dict[str, Tables]) -> None:
    for source in written(tiny):
        for name, table in tables[source.id].items():
            keys = table.select(source.tables[name].key).to_pylist()
            assert all(value is not None for key in keys for value in key.values())
            assert len({tuple(key.values()) for key in keys}) == len(keys)


def test_reading_is_a_pure_function(tiny: Path, tables: dict[str, Tables]) -> None:
    for source in written(tiny):
        again = source.read(files_of(tiny, source.id))
        assert all(table.equals(tables[source.id][name]) for name, table in again.items())


def test_facts_are_rows_times_years(tables: dict[str, Tables]) -> None:
    cities, countries, groups = len(EIGHT_CITIES), len(COUNTRIES), 2
    wup = {name: table.num_rows for name, table in tables["un_wup_2018"].items()}
    assert wup == {
        "locations": countries + groups,
        "totals": countries + groups,
        "urban_percentages": (countries + groups) * 21,
        "urban_populations": (countries + groups) * 101,
        "urban_populations_5_yearly": (countries + groups) * 21,
        "cities": cities,
        "city_populations": cities * 86,
        "city_populations_5_yearly": cities * 18,
    }
    assert tables["un_migrant_stock_2024"]["stocks"].num_rows == (countries + 2) * 8
    assert tables["un_wpp_2024"]["indicators"].num_rows == (countries + 1) * len(YEARS)


SHEET_FACTS = [
    ("un_wup_2018", "totals", "urban_population", "Urban", 1000),
    ("un_wup_2018", "totals", "urban_pct", "Percentage urban", 1),
    ("un_wup_2018", "urban_percentages", "urban_pct", None, 1),
    ("un_wup_2018", "urban_populations", "urban_population", None, 1000),
    ("un_wup_2018", "urban_populations_5_yearly", "urban_population", None, 1000),
    ("un_wup_2018", "cities", "latitude", "Latitude", 1),
    ("un_wup_2018", "city_populations", "population", None, 1000),
    ("un_wup_2018", "city_populations_5_yearly", "population", None, 1000),
    ("un_migrant_stock_2024", "stocks", "migrants", None, 1),
    ("un_migrant_stock_2024", "percentages", "migrants_pct", None, 1),
    ("un_migrant_stock_2024", "origins", "migrants", None, 1),
]


@pytest.mark.parametrize(("source_id", "name", "figure", "header", "scale"), SHEET_FACTS)
def test_a_fact_of_a_workbook_points_to_its_cell(
    tiny: Path,
    tables: dict[str, Tables],
    source_id: str,
    name: str,
    figure: str,
    header: str | None,
    scale: int,
) -> None:
    """Another library opens the workbook at the row and column that the fact names."""
    facts = tables[source_id][name].to_pylist()
    file, _, sheet = facts[0]["file"].partition("#")
    cells = _open(tiny / source_id, file)[sheet]
    head = next(row for row in cells if "Index" in row or "Location code" in row)
    headers = [str(cell).strip() for cell in head]
    for fact in facts:
        assert fact["file"] == f"{file}#{sheet}"
        assert header is None or fact["column"] is None
        column = headers.index(header or fact["column"])
        cell = cells[fact["row_number"] - 1][column]
        if cell is None:
            assert fact[figure] is None
        else:
            assert fact[figure] == (cell if scale == 1 else round(cell * scale))


def _open(folder: Path, file: str) -> dict[str, list[tuple[Any, ...]]]:
    path = folder / file
    if not path.exists():
        (packed,) = folder.glob("*.zip")
        content = zipfile.ZipFile(packed).read(f"WUP2018/{file}")
    else:
        content = path.read_bytes()
    book = openpyxl.load_workbook(io.BytesIO(content))
    return {name: list(book[name].values) for name in book.sheetnames}


def test_a_fact_of_a_csv_file_points_to_its_row(tiny: Path, tables: dict[str, Tables]) -> None:
    text = read_bytes(tiny / "un_wpp_2024" / WPP).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    for fact in tables["un_wpp_2024"]["indicators"].to_pylist():
        row = dict(zip(rows[0], rows[fact["row_number"] - 1], strict=True))
        assert (fact["location_code"], str(fact["year"])) == (row["LocID"], row["Time"])
        assert fact["population"] == round(float(row["TPopulation1July"]) * 1000)


def test_a_fact_of_a_json_page_points_to_its_item(read: Callable[..., Tables]) -> None:
    pages = unhcr_pages(per_page=10, years=range(2015, 2021))
    facts = read("unhcr_population", pages)["population"].to_pylist()
    assert len(facts) == 36
    items = {name: json.loads(page)["items"] for name, page in pages.items()}
    for fact in facts:
        item = items[fact["file"]][fact["row_number"] - 1]
        assert (fact["origin_code"], fact["year"]) == (item["coo_iso"], item["year"])
        assert fact["refugees"] == int(item["refugees"])


# World Urbanization Prospects 2018 ---------------------------------------------------------------


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 60_000_000), min_size=86, max_size=86))
@example([0] * 86)
def test_city_populations_come_back_as_they_were_written(
    read: Callable[..., Tables], persons: list[int]
) -> None:
    """Thousands with three decimals are persons, none lost; a zero is a zero."""
    figures = {(21671, year): value for year, value in zip(CITY_YEARS, persons, strict=True)}
    edition = Edition(cities=EIGHT_CITIES[:1], countries=COUNTRIES[:1], population=figures)
    found = read("un_wup_2018", {WUP: wup_archive(edition)})
    assert found["city_populations"]["population"].to_pylist() == persons
    assert found["city_populations"]["year"].to_pylist() == list(CITY_YEARS)
    assert found["city_populations_5_yearly"]["population"].to_pylist() == persons[::5]


def test_the_old_and_the_new_excel_header_spellings_are_one(tables: dict[str, Tables]) -> None:
    names = tables["un_wup_2018"]["cities"]["name"].to_pylist()
    assert "Ciudad de México (Mexico City)" in names
    assert names.count("Concord") == 2


def test_groups_of_countries_are_read_and_declared_as_ignored(tables: dict[str, Tables]) -> None:
    for name in ("locations", "totals", "urban_percentages", "urban_populations"):
        table = tables["un_wup_2018"][name]
        codes = table.filter(pc.is_null(table["ignored"]))["location_code"]
        assert sorted(codes.unique().to_pylist()) == sorted(str(c.m49) for c in COUNTRIES)
        reasons = set(table["ignored"].to_pylist())
        assert reasons == {None, "a region or group, not a country"}


def at(cell: str, value: object, sheet: str = "Data") -> Callable[[Any], None]:
    """Spoil one cell of a sheet."""
    return lambda book: put(book[sheet], cell, value)


def rename(old: str, new: str) -> Callable[[Any], None]:
    def spoil(book: dict[str, Any]) -> None:
        sheets = {new if name == old else name: rows for name, rows in book.items()}
        book.clear()
        book.update(sheets)

    return spoil


F22 = CITIES_ANNUAL
WUP_FAULTS: list[tuple[str, Spoil, str]] = [
    (
        "renamed sheet",
        {F22: rename("Data", "DATA")},
        f"{F22}, sheet 'Data': the workbook has no sheet of this name; it has 'DATA', 'NOTES'",
    ),
    (
        "unknown sheet",
        {TOTALS: lambda book: book.update(Errata=[["Errata"]])},
        f"{TOTALS}, sheet 'Errata': unknown sheet: {TOLD}",
    ),
    (
        "missing column",
        {F22: lambda book: delete_column(book["Data"], "D")},
        f"{F22}, sheet 'Data', row 17, column 'City Code': the header row has no such column",
    ),
    (
        "missing year",
        {F22: lambda book: delete_column(book["Data"], "AT")},
        f"{F22}, sheet 'Data', row 17, column '1987': the header row has no such column",
    ),
    (
        "another year",
        {F22: at("CQ17", 2036)},
        f"{F22}, sheet 'Data', row 17, column '2036': unknown column: {TOLD}",
    ),
    (
        "new column",
        {F22: at("CQ17", "Capital")},
        f"{F22}, sheet 'Data', row 17, column 'Capital': unknown column: {TOLD}",
    ),
    (
        "moved header",
        {PERCENTAGES: lambda book: book["Data"].insert(0, [])},
        f"{PERCENTAGES}, sheet 'Data', row 18: "
        "the column headers stand in this row, not in row 17 as expected",
    ),
    (
        "text in a number cell",
        {F22: at("I18", "n.a.")},
        f"{F22}, sheet 'Data', row 18, column '1950': "
        "the text 'n.a.' stands where a number is expected (cell I18)",
    ),
    (
        "blank in a number cell",
        {URBAN_ANNUAL: at("H20", None)},
        f"{URBAN_ANNUAL}, sheet 'Data', row 20, column '1953': "
        "the cell is blank where a number is expected (cell H20)",
    ),
    (
        "blank code",
        {CITIES: at("D19", None)},
        f"{CITIES}, sheet 'Data', row 19, column 'City Code': "
        "the cell is blank where a text is expected (cell D19)",
    ),
    (
        "Excel error",
        {URBAN: at("E18", ExcelError("#VALUE!"))},
        f"{URBAN}, sheet 'Data', row 18, column '1950': "
        "the cell holds the Excel error #VALUE! (cell E18)",
    ),
    (
        "logical value",
        {TOTALS: at("G19", True)},
        f"{TOTALS}, sheet 'Data', row 19, column 'Total': "
        "the logical value TRUE stands where a number is expected (cell G19)",
    ),
    (
        "date",
        {F22: at("G20", date(2018, 7, 1))},
        f"{F22}, sheet 'Data', row 20, column 'Latitude': "
        "the date 2018-07-01 stands where a number is expected (cell G20)",
    ),
    (
        "unknown type of location",
        {LOCATIONS: at("G20", "Country", "Location")},
        f"{LOCATIONS}, sheet 'Location', row 20, column 'Name': "
        "unknown type of location 'Country' (cell G20)",
    ),
    (
        "country without a location",
        {URBAN_ANNUAL: at("D20", 999)},
        f"{URBAN_ANNUAL}, sheet 'Data', row 20, column 'Country code': "
        f"the code '999' is not in {LOCATIONS} (cell D20)",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [fault[1:] for fault in WUP_FAULTS],
    ids=[fault[0] for fault in WUP_FAULTS],
)
def test_wup_workbooks_that_are_refused(
    said: Callable[..., str], spoil: Spoil, message: str
) -> None:
    assert said("un_wup_2018", {WUP: wup_archive(spoil=spoil)}) == message


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"without": [F22]}, f"the archive has no member '{F22}'"),
        ({"also": {"README.txt": b""}}, f"unknown member 'README.txt': {TOLD}"),
        ({"also": {f"../{F22}": b""}}, f"the member '../{F22}' leads outside the archive"),
        ({"also": {f"x/{F22}": b""}}, f"two members are called '{F22}'"),
    ],
    ids=["missing", "unknown", "outside", "twice"],
)
def test_wup_archives_that_are_refused(
    said: Callable[..., str], changes: dict[str, Any], problem: str
) -> None:
    assert said("un_wup_2018", {WUP: wup_archive(**changes)}) == f"{WUP}: {problem}"


def test_the_archive_s_other_tables_are_known(read: Callable[..., Tables]) -> None:
    also = {"WUP2018-F17c-City_Size_Class.xls": b"", "WUP2018-F05-Total_Population.xls": b""}
    assert read("un_wup_2018", {WUP: wup_archive(also=also)})["cities"].num_rows == 8


def test_what_checks_judge_is_kept_by_the_reader(read: Callable[..., Tables]) -> None:
    """A city twice and a negative population are facts of the file; no row is lost here."""

    def spoil(book: dict[str, Any]) -> None:
        put(book["Data"], "I18", -7269.0)
        book["Data"].append(book["Data"][-1])

    found = read("un_wup_2018", {WUP: wup_archive(spoil={F22: spoil})})
    populations = found["city_populations"].to_pylist()
    assert populations[0]["population"] == -7_269_000
    assert populations[0]["row_number"] == 18
    assert Counter(found["cities"]["city_code"].to_pylist())["23426"] == 2
    assert len(populations) == 9 * 86


def test_numbers_kept_as_text_are_read(read: Callable[..., Tables]) -> None:
    found = read("un_wup_2018", {WUP: wup_archive(spoil={F22: at("I18", "7269.000")})})
    assert found["city_populations"]["population"][0].as_py() == 7_269_000


# International Migrant Stock 2024 ----------------------------------------------------------------


def test_no_figure_is_null_and_not_zero(tables: dict[str, Tables]) -> None:
    stocks = tables["un_migrant_stock_2024"]["stocks"].to_pylist()
    barthelemy = [row for row in stocks if row["location_code"] == "652"]
    assert [row["migrants"] for row in barthelemy] == [None] * 8
    assert {row["ignored"] for row in barthelemy} == {"the publisher gives no figure"}
    destination, origin, year = NEVER_COUNTED
    origins = tables["un_migrant_stock_2024"]["origins"].to_pylist()
    (pair,) = (
        row
        for row in origins
        if (row["location_code"], row["origin_code"], row["year"])
        == (str(destination), str(origin), year)
    )
    assert (pair["migrants"], pair["migrants_male"], pair["migrants_female"]) == (None,) * 3


def test_unknown_origins_count_and_regions_do_not(tables: dict[str, Tables]) -> None:
    origins = tables["un_migrant_stock_2024"]["origins"]
    used = origins.filter(pc.is_null(origins["ignored"]))
    assert "2003" in used["origin_code"].to_pylist()
    assert not {"900"} & {*used["origin_code"].to_pylist(), *used["location_code"].to_pylist()}


figures = st.none() | st.integers(0, 60_000_000)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(figures, min_size=24, max_size=24))
@example([0, None] * 12)
def test_migrants_come_back_as_they_were_written(
    read: Callable[..., Tables], cells: list[int | None]
) -> None:
    """Eight years of both sexes, then of males, then of females; null stays null, zero zero."""

    def spoil(book: dict[str, Any]) -> None:
        for column, value in enumerate(cells, 7):
            book["Table 1"][11][column] = value

    found = read("un_migrant_stock_2024", migrant_stock_workbooks(spoil={ORIGINS: spoil}))
    first = found["origins"].slice(0, 8)
    assert first["year"].to_pylist() == list(STOCK_YEARS)
    assert first["migrants"].to_pylist() == cells[:8]
    assert first["migrants_male"].to_pylist() == cells[8:16]
    assert first["migrants_female"].to_pylist() == cells[16:]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            {STOCKS: at("M13", "..x", "Table 1")},
            f"{STOCKS}, sheet 'Table 1', row 13, column '2024': "
            "the text '..x' stands where a number is expected (cell M13)",
        ),
        (
            {STOCKS: at("N13", 1.5, "Table 1")},
            f"{STOCKS}, sheet 'Table 1', row 13, column '1990.1': "
            "the number 1.5 stands where a whole number is expected (cell N13)",
        ),
        (
            {ORIGINS: at("O14", ExcelError("#REF!"), "Table 1")},
            f"{ORIGINS}, sheet 'Table 1', row 14, column '2024': "
            "the cell holds the Excel error #REF! (cell O14)",
        ),
        (
            {STOCKS: at("D14", "X", "Table 1")},
            f"{STOCKS}, sheet 'Table 1', row 14, column 'Data type': "
            "unknown data type 'X' (cell D14)",
        ),
        (
            {ORIGINS: at("G13", "MEX", "Table 1")},
            f"{ORIGINS}, sheet 'Table 1', row 13, column 'Location code of origin': "
            "'MEX' is not a numeric location code (cell G13)",
        ),
        (
            {STOCKS: at("AD11", 2026, "Table 1")},
            f"{STOCKS}, sheet 'Table 1', row 11, column '2026': unknown column: {TOLD}",
        ),
        (
            {STOCKS: lambda book: delete_column(book["Table 1"], "AC")},
            f"{STOCKS}, sheet 'Table 1', row 11, column '2024.2': "
            "the header row has no such column",
        ),
        (
            {ORIGINS: lambda book: book.update({"Table 10": []})},
            f"{ORIGINS}, sheet 'Table 10': unknown sheet: {TOLD}",
        ),
        (
            {STOCKS: rename("Table 3", "Table 3a")},
            f"{STOCKS}, sheet 'Table 3a': unknown sheet: {TOLD}",
        ),
    ],
)
def test_migrant_stock_workbooks_that_are_refused(
    said: Callable[..., str], spoil: Spoil, message: str
) -> None:
    assert said("un_migrant_stock_2024", migrant_stock_workbooks(spoil=spoil)) == message


def test_the_live_workbook_s_tables_by_region_are_known(read: Callable[..., Tables]) -> None:
    spoil = {ORIGINS: lambda book: book.update({f"Table {n}": [] for n in range(2, 10)})}
    assert "origins" in read("un_migrant_stock_2024", migrant_stock_workbooks(spoil=spoil))


# World Population Prospects 2024, M49 ------------------------------------------------------------


def wpp_cell(row: int, column: str, value: object) -> Spoil:
    return {WPP: lambda rows: rows[row - 1].__setitem__(rows[0].index(column), value)}


def test_the_last_year_of_wpp_has_no_figure_at_1_july(read: Callable[..., Tables]) -> None:
    def spoil(rows: list[list[Any]]) -> None:
        last = rows[-1]
        for column in ("TPopulation1July", "NatChangeRT", "CNMR"):
            last[rows[0].index(column)] = ""

    row = read("un_wpp_2024", {WPP: wpp_csv(spoil={WPP: spoil})})["indicators"].to_pylist()[-1]
    assert (row["population"], row["net_migration_per_1000"]) == (None, None)
    assert row["ignored"] == "the publisher gives no figure at 1 July"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            wpp_cell(3, "TPopulation1July", "8,161"),
            "row 3, column 'TPopulation1July': "
            "the text '8,161' stands where a number is expected (cell O3)",
        ),
        (
            wpp_cell(3, "CNMR", "NaN"),
            "row 3, column 'CNMR': "
            "the text 'NaN' stands where a finite number is expected (cell BT3)",
        ),
        (
            wpp_cell(4, "Time", "1952.5"),
            "row 4, column 'Time': "
            "the number 1952.5 stands where a whole number is expected (cell M4)",
        ),
        (
            wpp_cell(5, "Variant", "High"),
            "row 5, column 'Variant': 'High' is not the medium variant (cell L5)",
        ),
        (
            wpp_cell(6, "LocTypeName", "Country"),
            "row 6, column 'LocTypeName': unknown type of location 'Country' (cell H6)",
        ),
        (
            {WPP: lambda rows: rows[6].pop()},
            "row 7: the row has 71 cells, the header has 72",
        ),
        (
            {WPP: lambda rows: [row.append("") for row in rows] and put(rows, "BU1", "LE90")},
            f"row 1, column 'LE90': unknown column: {TOLD}",
        ),
        (
            {WPP: lambda rows: delete_column(rows, "BT")},
            "row 1, column 'CNMR': the header row has no such column",
        ),
    ],
)
def test_wpp_that_is_refused(said: Callable[..., str], spoil: Spoil, problem: str) -> None:
    assert said("un_wpp_2024", {WPP: wpp_csv(spoil=spoil)}) == f"{WPP}, {problem}"


def test_the_iso_code_of_namibia_is_no_missing_value(tables: dict[str, Tables]) -> None:
    rows = {row["m49"]: row for row in tables["un_m49"]["countries"].to_pylist()}
    assert rows["516"]["iso2"] == "NA"
    assert rows["010"]["region"] is None
    assert rows["680"]["ignored"].startswith("no ISO 3166-1 code")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            m49_csv().replace(b";", b","),
            "row 1: the header is one cell, ';' was expected between the columns",
        ),
        (m49_csv().decode().encode("utf-16"), "row 1: the text is not UTF-8 (byte 0xFF)"),
        (
            m49_csv().decode("utf-8-sig").encode("latin-1"),
            "row 10: the text is not UTF-8 (byte 0xE9)",
        ),
        (
            m49_csv().replace(b";392;", b";;"),
            "row 2, column 'M49 Code': the cell is blank where a text is expected (cell J2)",
        ),
    ],
    ids=["commas", "UTF-16", "Latin-1", "no code"],
)
def test_m49_that_is_refused(said: Callable[..., str], content: bytes, problem: str) -> None:
    assert said("un_m49", {M49: content}) == f"{M49}, {problem}"


# UNHCR -------------------------------------------------------------------------------------------


def pages(spoil: Callable[[Any], None] | None = None) -> dict[str, bytes]:
    """Three pages of 12, 12 and 6 items, the years 2015 to 2019."""
    edit = {PAGE: spoil} if spoil else None
    return unhcr_pages(per_page=12, years=range(2015, 2020), spoil=edit)


def test_not_collected_is_null_and_zero_is_zero(read: Callable[..., Tables]) -> None:
    facts = read("unhcr_population", pages())["population"].to_pylist()
    assert {row["year"]: row["other_people_in_need"] for row in facts} == {
        2015: None,
        2016: None,
        2017: None,
        2018: 0,
        2019: 0,
    }
    stateless = [row for row in facts if row["origin_code"] == "XXA"]
    assert all(row["refugees"] == 0 < row["stateless"] for row in stateless)


def test_pages_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    many = unhcr_pages(per_page=3, years=range(2000, 2010))
    assert len(many) == 20
    for name, content in many.items():
        (tmp_path / name).write_bytes(content)
    files = {path.name: path for path in sorted(tmp_path.iterdir())}
    assert list(files)[1] == "population-10.json"
    years = get_source("unhcr_population").read(files)["population"]["year"].to_pylist()
    assert years == sorted(years)


def edit(number: int, **members: object) -> Callable[[Any], None]:
    return lambda found: found[number - 1].update(members)


def edit_item(number: int, row: int, **members: object) -> Callable[[Any], None]:
    return lambda found: found[number - 1]["items"][row - 1].update(members)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda found: found.pop(),
            "population-1.json: says that there are 3 pages, and 2 are here",
        ),
        (
            edit(2, maxPages=4),
            "population-2.json: says that there are 4 pages, and 3 are here",
        ),
        (
            lambda found: found.__setitem__(2, found[1]),
            "population-3.json: holds page 2, not page 3",
        ),
        (lambda found: found.reverse(), "population-1.json: holds page 3, not page 1"),
        (edit(2, items=[]), "population-2.json: the page has no items"),
        (edit(2, items={}), "population-2.json: the page has no items"),
        (
            edit(1, error="no"),
            "population-1.json: "
            "the page is not as the API describes it (page, maxPages, items and so on)",
        ),
        (
            edit_item(2, 5, idmc=7),
            f"population-2.json, row 5, column 'idmc': unknown member: {TOLD}",
        ),
        (
            lambda found: found[1]["items"][4].pop("idps"),
            "population-2.json, row 5, column 'idps': the item has no such member",
        ),
        (
            edit_item(3, 1, stateless="*"),
            "population-3.json, row 1, column 'stateless': "
            "the text '*' stands where a number is expected",
        ),
        (
            edit_item(3, 2, refugees=None),
            "population-3.json, row 2, column 'refugees': "
            "no value stands where a number is expected",
        ),
        (
            edit_item(1, 1, year="-"),
            "population-1.json, row 1, column 'year': "
            "the text '-' stands where a number is expected",
        ),
        (
            edit_item(1, 2, coo_iso=""),
            "population-1.json, row 2, column 'coo_iso': no value stands where a text is expected",
        ),
    ],
)
def test_unhcr_pages_that_are_refused(
    said: Callable[..., str], spoil: Callable[[Any], None], message: str
) -> None:
    assert said("unhcr_population", pages(spoil)) == message


def test_a_page_in_the_middle_that_is_not_there(said: Callable[..., str]) -> None:
    found = pages()
    del found["population-2.json"]
    assert said("unhcr_population", found) == (
        "population-2.json: this page is missing, others of its set are here"
    )


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_page_that_stops_early(said: Callable[..., str], cut: int) -> None:
    found = pages()
    found["population-2.json"] = found["population-2.json"][:cut]
    message = said("unhcr_population", found)
    assert message.startswith("population-2.json, row 1: the text is not valid JSON (")


def test_items_that_repeat_are_kept_for_the_checks_to_find(read: Callable[..., Tables]) -> None:
    spoil = lambda found: found[1].update(items=found[0]["items"])  # noqa: E731
    table = read("unhcr_population", pages(spoil))["population"]
    assert table.num_rows == 30
    assert table.slice(0, 12).drop(["file"]).equals(table.slice(12, 12).drop(["file"]))


# The tiny edition itself -------------------------------------------------------------------------


def test_the_tiny_edition_is_consistent(tables: dict[str, Tables]) -> None:
    """What the checks will demand of the real files holds for the tests' own."""
    _repeated_tables_agree(tables["un_wup_2018"])
    _origins_sum_to_destinations(tables["un_migrant_stock_2024"])
    urban = _sums(tables["un_wup_2018"]["urban_populations"], "location_code", "urban_population")
    countries = {str(country.m49) for country in COUNTRIES}
    for year in YEARS:
        assert urban["900", year] == sum(urban[code, year] for code in countries)
        assert urban["908", year] == urban["620", year]


def test_the_tiny_edition_is_served_as_the_publishers_would(tiny: Path) -> None:
    for source in written(tiny):
        for download in source.downloads:
            address = urlsplit(download.url)
            if download.pages is None:
                path = address.path.replace("%20", " ")
                served = tiny / "mirror" / "files" / f"{address.netloc}{path}"
                assert served.read_bytes() == (tiny / source.id / download.file).read_bytes()


def test_spreadsheet_places() -> None:
    assert [place(cell) for cell in ("A1", "K19", "AA2")] == [(0, 0), (18, 10), (1, 26)]


# Facts, from the publishers' files ---------------------------------------------------------------


@pytest.fixture(scope="module")
def real(
    upstream: Path, serve: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Tables]:
    """Read a source from the mirror, once."""
    known: dict[str, Tables] = {}

    def reader(source_id: str) -> Tables:
        if source_id not in known:
            source = get_source(source_id)
            files: dict[str, Path] = {}
            for download in source.downloads:
                if download.pages is None:
                    address = urlsplit(download.url)
                    path = address.path.replace("%20", " ")
                    files[download.file] = upstream / "files" / f"{address.netloc}{path}"
                else:
                    folder = tmp_path_factory.mktemp("pages")
                    files |= _unhcr_pages(serve, upstream, download.url, folder)
            known[source_id] = source.read(files)
        return known[source_id]

    return reader


def _unhcr_pages(serve: ModuleType, upstream: Path, url: str, folder: Path) -> dict[str, Path]:
    service = serve.Unhcr(upstream / "tables" / "unhcr")
    count = 14
    for number in range(1, count + 1):
        query = parse_qs(urlsplit(url.format(page=number)).query)
        (folder / PAGE.format(page=number)).write_bytes(service.reply("population", query).body)
    return {path.name: path for path in folder.iterdir()}


def _sums(table: pa.Table, *columns: str) -> dict[tuple[Any, int], int]:
    *keys, figure = columns
    rows = zip(*(table[c].to_pylist() for c in (*keys, "year", figure)), strict=True)
    return {(*row[:-2], row[-2]): row[-1] for row in rows}


def _repeated_tables_agree(wup: Tables) -> None:
    for table, figure, key in (
        ("city_populations", "population", "city_code"),
        ("urban_populations", "urban_population", "location_code"),
    ):
        annual = _sums(wup[table], key, figure)
        five_yearly = _sums(wup[f"{table}_5_yearly"], key, figure)
        assert five_yearly
        assert {place: annual[place] for place in five_yearly} == five_yearly


def _origins_sum_to_destinations(stock: Tables) -> None:
    for figure in ("migrants", "migrants_male", "migrants_female"):
        parts: dict[tuple[str, int], int] = defaultdict(int)
        origins = stock["origins"]
        origins = origins.filter(pc.is_null(origins["ignored"]))
        for row in _rows(origins, "location_code", "year", figure):
            parts[row[0], row[1]] += row[2] or 0
        stocks = stock["stocks"]
        stocks = stocks.filter(pc.is_null(stocks["ignored"]))
        wholes = {row[:2]: row[2] for row in _rows(stocks, "location_code", "year", figure)}
        assert wholes
        assert {place: parts[place] for place in wholes} == wholes


def _rows(table: pa.Table, *columns: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[column].to_pylist() for column in columns), strict=True)


def _of_countries(table: pa.Table, year: int, figure: str) -> int:
    chosen = table.filter(pc.and_(pc.is_null(table["ignored"]), pc.equal(table["year"], year)))
    return pc.sum(chosen[figure]).as_py()


def test_wup_2018_has_1860_cities_and_tokyo_37_million(real: Callable[[str], Tables]) -> None:
    wup = real("un_wup_2018")
    assert wup["cities"].num_rows == 1_860
    assert wup["city_populations"].num_rows == 159_960
    populations = _sums(wup["city_populations"], "city_code", "population")
    assert populations["21671", 2018] == 37_468_302
    assert _of_countries(wup["city_populations"], 2018, "population") == 2_469_358_215


def test_4_220_million_people_lived_in_cities_in_2018(real: Callable[[str], Tables]) -> None:
    wup = real("un_wup_2018")
    for table in ("totals", "urban_populations"):
        world = _sums(wup[table], "location_code", "urban_population")["900", 2018]
        assert world == 4_219_817_318
        countries = _of_countries(wup[table], 2018, "urban_population")
        assert abs(countries - world) < 1_000


def test_the_five_yearly_tables_of_wup_repeat_the_annual_ones(
    real: Callable[[str], Tables],
) -> None:
    _repeated_tables_agree(real("un_wup_2018"))


def test_304_million_migrants_in_2024(real: Callable[[str], Tables]) -> None:
    stock = real("un_migrant_stock_2024")
    assert _of_countries(stock["stocks"], 2024, "migrants") == 304_021_813
    assert _of_countries(stock["origins"], 2024, "migrants") == 304_021_813


def test_11_million_mexicans_in_the_united_states(real: Callable[[str], Tables]) -> None:
    origins = real("un_migrant_stock_2024")["origins"]
    chosen = pc.and_(pc.equal(origins["location_code"], "840"), pc.equal(origins["year"], 2024))
    of_mexico = pc.and_(chosen, pc.equal(origins["origin_code"], "484"))
    (pair,) = origins.filter(of_mexico).to_pylist()
    assert pair["migrants"] == 11_279_561
    assert pair["migrants"] == pair["migrants_male"] + pair["migrants_female"]


def test_every_destination_is_the_sum_of_its_origins(real: Callable[[str], Tables]) -> None:
    _origins_sum_to_destinations(real("un_migrant_stock_2024"))


def test_saint_barthelemy_and_saint_martin_have_no_migrant_figures(
    real: Callable[[str], Tables],
) -> None:
    stocks = real("un_migrant_stock_2024")["stocks"]
    blank = stocks.filter(pc.is_null(stocks["migrants"]))
    assert set(blank["location_code"].to_pylist()) == {"652", "663"}


def test_31_million_refugees_in_2024_and_2_million_in_1951(
    real: Callable[[str], Tables],
) -> None:
    population = real("unhcr_population")["population"]
    assert _of_countries(population, 2024, "refugees") == 30_958_200
    assert _of_countries(population, 1951, "refugees") == 2_116_011


def test_other_people_in_need_were_not_counted_before_2018(
    real: Callable[[str], Tables],
) -> None:
    population = real("unhcr_population")["population"]
    before = population.filter(pc.less(population["year"], 2018))["other_people_in_need"]
    assert before.null_count == len(before) > 0
    zeros = population.filter(pc.equal(population["refugees"], 0))
    assert zeros.num_rows > 0


def test_8_162_million_people_in_2024(real: Callable[[str], Tables]) -> None:
    indicators = real("un_wpp_2024")["indicators"]
    world = _sums(indicators, "location_code", "population")["900", 2024]
    assert abs(world - 8_161_972_573) <= 1
    assert _sums(indicators, "location_code", "population")["900", 1950] == 2_493_092_848


def test_m49_has_249_countries_and_areas(real: Callable[[str], Tables]) -> None:
    countries = real("un_m49")["countries"]
    assert countries.num_rows == 249
    assert dict(_rows(countries, "iso3", "iso2"))["NAM"] == "NA"
