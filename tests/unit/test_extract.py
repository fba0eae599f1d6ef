"""The extract writer, on a full raw store of three countries and five cities made here."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offices import PROSE, tiny_offices
from python_calamine import CalamineWorkbook

from urban_migration import extract
from urban_migration.errors import MissingSourceError, ReadError, UsageError
from urban_migration.extract import write_extract
from urban_migration.extract_files import workbook_bytes
from urban_migration.raw import RawStore
from urban_migration.selection import Selection, load_selection
from urban_migration.sources import (
    get_source,
    idmc_displacement,
    iom_missing_migrants,
    un_m49,
    un_migrant_stock_2024,
    un_wpp_2024,
    un_wup_2018,
    unhcr_population,
    unsd_city_population,
)
from urban_migration.sources.grid import read_bytes
from urban_migration.sources.source import PROVENANCE

NO_FACTS = (*PROVENANCE, "location")
"""The location of an incident is told in prose."""
SEEN = "2026-11-01T12:00:00Z"
COUNTRIES = {392: "Japan", 620: "Portugal", 840: "United States of America"}
CITIES = [  # country, city code, name, latitude, longitude, first annual figure
    (392, 21671, "Tokyo", 35.6895, 139.69171, 11274.641),
    (392, 21669, "Sendai", 38.26666, 140.86667, 1000.125),
    (620, 22167, "Lisboa (Lisbon)", 38.71667, -9.13333, 1304.287),
    (840, 23027, "Concord", 35.40874, -80.5795, 20.5),
    (840, 23426, "Concord", 37.97798, -122.03107, 33.25),
]
SELECTION = Selection(
    cities={21671: "jpn-tokyo", 22167: "prt-lisbon", 23426: "usa-concord-23426"},
    destinations={840: "USA"},
    years={
        "un_wpp_2024": (2023, 2024),
        "unhcr_population": (2023, 2024),
        "unhcr_locations": (2024, 2024),
        "idmc_displacement": (2019, 2050),
        "iom_missing_migrants": (2023, 2023),
    },
    document={"cities": {"some": {"reason": "a test", "ids": ["jpn-tokyo"]}}},
    codes={
        "eurostat_cities": {"PT001C"},
        "us_acs": {"Concord|CA"},
        "unsd_city_population": {"Portugal|LISBOA"},
        "geonames": {"2267057"},
        "un_wup_2025": {"10"},
    },
    whole_series={"unhcr_locations": ["UGA"]},
    left_out={"unsd_city_population": {("Portugal", 2005)}},
)


# ------------------------------------------------------------------ a tiny full store


def workbook(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append([None if cell == "" else cell for cell in row])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def wup_archive() -> bytes:
    def sheet(header: list[Any], rows: list[list[Any]]) -> list[list[Any]]:
        preamble = [["", "", "", ""]] * 11 + [["", "", "", "POP/DB/WUP/Rev.2018/1/F00"]]
        return [*preamble, [PROSE], [PROSE], [], ["", "", "", "", "Thousands"], header, *rows]

    places = [(900, "WORLD", "Special groupings"), (901, "More developed", "Development group")]
    places += [(code, name, "Country/Area") for code, name in COUNTRIES.items()]
    located = ["Index", "Region, subregion, country or area", "Notes", "code", "Alpha-code"]
    located += ["Code", "Name"]
    of_countries = ["Index", "Region, subregion, country or area", "Note", "Country\ncode"]
    of_cities = ["Index", "Country Code", "Country or area", "City Code", "Urban Agglomeration"]
    of_cities += ["Note", "Latitude", "Longitude"]

    def by_year(years: Sequence[str], first: float) -> list[list[Any]]:
        header = [*of_countries, *map(int, years)]
        rows = [
            [at, name, "a", code, *(first + at + n for n in range(len(years)))]
            for at, (code, name, _) in enumerate(places)
        ]
        return sheet(header, rows)

    def cities(years: Sequence[str]) -> list[list[Any]]:
        rows = [
            [at, country, COUNTRIES[country], code, name, "", latitude, longitude]
            + [first + (int(year) - 1950) * 0.125 for year in years]
            for at, (country, code, name, latitude, longitude, first) in enumerate(CITIES)
        ]
        return sheet([*of_cities, *map(int, years)], rows)

    iso3 = {392: "JPN", 620: "PRT", 840: "USA"}
    members = {
        un_wup_2018.LOCATIONS: sheet(
            located,
            [[at, n, "", c, iso3.get(c, "   "), 4, kind] for at, (c, n, kind) in enumerate(places)],
        ),
        un_wup_2018.TOTALS: sheet(
            [*of_countries, "Urban", "Rural", "Total", "Percentage urban"],
            [[at, n, "", c, 10.5, 5.25, 15.75, 66.625] for at, (c, n, _) in enumerate(places)],
        ),
        un_wup_2018.PERCENTAGES: by_year(un_wup_2018.FIVE_YEARLY, 10 / 3),
        un_wup_2018.URBAN_5_YEARLY: by_year(un_wup_2018.FIVE_YEARLY, 1000.125),
        un_wup_2018.URBAN_ANNUAL: by_year(un_wup_2018.ANNUAL, 1000.125),
        un_wup_2018.CITIES_5_YEARLY: cities(un_wup_2018.CITY_FIVE_YEARLY),
        un_wup_2018.CITIES_ANNUAL: cities(un_wup_2018.CITY_ANNUAL),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, rows in members.items():
            data = "Location" if name == un_wup_2018.LOCATIONS else "Data"
            archive.writestr(name, workbook({data: rows, "NOTES": [[PROSE]]}))
    return content.getvalue()


def migrant_stock() -> dict[str, bytes]:
    years = [int(year) for year in un_migrant_stock_2024.YEARS] * 3
    name = un_migrant_stock_2024.NAME
    places = [(900, "World"), (1834, "Sub-Saharan Africa"), *COUNTRIES.items()]
    preamble: list[list[Any]] = [[PROSE]] * 7 + [[], [], ["", "", "Migrant notes"]]

    def by_destination(figure: float) -> list[list[Any]]:
        return [
            *preamble,
            ["", name, "Coverage", "Data type", "Location code", *years],
            *(
                [n, place, "", "B", code, *[figure * n] * 24]
                for n, (code, place) in enumerate(places, 1)
            ),
        ]

    origins = [*places, (2003, "OTHER")]
    pairs = [
        *preamble,
        ["Index", f"{name} of destination", "Coverage", "Data type",
         "Location code of destination", f"{name} of origin", "Location code of origin", *years],
        *([1, place, "", "B", code, origin, of, *[code + of] * 23, ""]
          for code, place in places for of, origin in origins),
    ]  # fmt: skip
    contents = {"Table of contents": [[PROSE]], "Migrant notes": [[PROSE]]}
    return {
        un_migrant_stock_2024.BY_DESTINATION: workbook(
            {"Table 1": by_destination(1000), "Table 3": by_destination(1 / 3), **contents}
        ),
        un_migrant_stock_2024.BY_ORIGIN: workbook({"Table 1": pairs, **contents}),
    }


def wpp() -> bytes:
    identity = ["SortOrder", "LocID", "LocTypeName", "Location", "Variant", "Time"]
    header = [*identity, "TPopulation1July", "NatChangeRT", "CNMR", "Births"]
    places = [(900, "World", "World"), (901, "More developed", "Development group")]
    places += [(code, name, "Country/Area") for code, name in COUNTRIES.items()]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    for code, name, kind in places:
        for year in range(2020, 2027):
            writer.writerow([1, code, kind, name, "Medium", year, f"{code}.125", "1.5", "", "7.5"])
    return gzip.compress(text.getvalue().encode("utf-8-sig"))


def unhcr() -> dict[str, bytes]:
    items = [
        {
            "year": year, "coo_id": 1, "coo_name": "Syria", "coo": "SYR", "coo_iso": "SYR",
            "coa_id": 2, "coa_name": "Portugal", "coa": "POR", "coa_iso": asylum,
            **dict.fromkeys(unhcr_population.FIGURES.values(), "0"), "refugees": year, "hst": "-",
        }
        for year in (2022, 2023, 2024) for asylum in ("USA", "PRT")
    ]  # fmt: skip
    pages = [items[:4], items[4:]]
    envelope = {"short-url": "x", "maxPages": len(pages), "total": []}
    return {
        f"population-{number}.json": json.dumps(
            {**envelope, "page": number, "items": page}
        ).encode()
        for number, page in enumerate(pages, 1)
    }


M49 = (
    "\ufeffGlobal Code;Global Name;Region Name;Sub-region Name;Country or Area;M49 Code;"
    "ISO-alpha2 Code;ISO-alpha3 Code\n"
    "001;World;Asia;Eastern Asia;Japan;392;JP;JPN\n"
    "001;World;Europe;Southern Europe;Portugal;620;PT;PRT\n"
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full raw store without a lock."""
    root = tmp_path_factory.mktemp("full")
    sources = {
        "un_m49": {un_m49.FILE: M49.encode()},
        "un_wup_2018": {un_wup_2018.ARCHIVE: wup_archive()},
        "un_migrant_stock_2024": migrant_stock(),
        "un_wpp_2024": {un_wpp_2024.INDICATORS: wpp()},
        "unhcr_population": unhcr(),
        **tiny_offices(),
    }
    for source_id, files in sources.items():
        (root / source_id).mkdir()
        for name, content in files.items():
            (root / source_id / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def small(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its extract."""
    target = tmp_path_factory.mktemp("extract") / "bundled"
    write_extract(full, target, selection=SELECTION, first_seen=SEEN)
    return target


def facts(root: Path, source_id: str) -> dict[str, set[tuple[object, ...]]]:
    """What a reader finds, by table: the facts without their place in the file, and a text."""
    files = {path.name: path for path in (root / source_id).iterdir()}
    tables = get_source(source_id).read(files)
    return {
        name: {
            tuple(value for column, value in row.items() if column not in NO_FACTS)
            for row in table.to_pylist()
        }
        for name, table in tables.items()
    }


def content(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# ------------------------------------------------------------------ laws of an extract


def test_every_fact_of_the_extract_is_one_of_the_full_store(full: Path, small: Path) -> None:
    for source_id in extract.RULES:
        whole = facts(full, source_id)
        for table, kept in facts(small, source_id).items():
            assert kept, f"{source_id}.{table} is empty"
            assert kept <= whole[table], f"{source_id}.{table}"


def test_selected_cities_are_kept_with_all_years_and_no_others(full: Path, small: Path) -> None:
    whole, kept = facts(full, "un_wup_2018"), facts(small, "un_wup_2018")
    assert {row[0] for row in kept["cities"]} == {"21671", "22167", "23426"}
    wanted = {row for row in whole["city_populations"] if row[0] in ("21671", "22167", "23426")}
    assert kept["city_populations"] == wanted
    assert ("21671", 1950, 11_274_641) in wanted


def test_all_countries_and_the_world_are_kept_and_regions_are_not(full: Path, small: Path) -> None:
    for source_id, table in [
        ("un_wup_2018", "totals"),
        ("un_wup_2018", "urban_populations"),
        ("un_migrant_stock_2024", "stocks"),
        ("un_wpp_2024", "indicators"),
    ]:
        codes = {row[0] for row in facts(small, source_id)[table]}
        assert codes == {"900", "392", "620", "840"}, f"{source_id}.{table}"
        assert codes < {row[0] for row in facts(full, source_id)[table]}


@settings(deadline=None)  # the first workbook may take long on a busy machine
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.text("aé<&'\" \n", min_size=1))
)
def test_cells_come_back_as_they_were(row: list[float | str]) -> None:
    """Numbers keep their 17 digits (55.285172337025024 % of people lived in cities in 2018)."""
    row = ["start", 55.285172337025024, *row, "end"]
    book = CalamineWorkbook.from_filelike(io.BytesIO(workbook_bytes({"A & B": [[], row]})))
    back = book.get_sheet_by_name("A & B").to_python(skip_empty_area=False)
    assert back[1] == ["" if str(cell).strip() == "" else cell for cell in row]


def test_a_selected_destination_has_all_its_origins_the_unknown_included(small: Path) -> None:
    origins = facts(small, "un_migrant_stock_2024")["origins"]
    assert {row[0] for row in origins} == {"840"}
    assert {row[1] for row in origins} == {"392", "620", "840", "2003"}


def test_a_year_of_displacement_is_complete_or_absent(full: Path, small: Path) -> None:
    whole, kept = facts(full, "unhcr_population"), facts(small, "unhcr_population")
    assert kept["population"] == {row for row in whole["population"] if row[2] >= 2023}


def test_figures_that_no_reader_uses_are_blank_under_a_complete_header(small: Path) -> None:
    path = small / "un_wpp_2024" / un_wpp_2024.INDICATORS
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode("utf-8-sig"))))
    assert {row["Births"] for row in rows} == {""}
    assert {row["Time"] for row in rows} == {"2023", "2024"}


def test_selected_cities_of_the_offices_are_kept_with_all_years(small: Path) -> None:
    def values(source_id: str, table: str, *columns: int) -> set[tuple[object, ...]]:
        return {tuple(row[at] for at in columns) for row in facts(small, source_id)[table]}

    assert values("eurostat_cities", "populations", 0, 1) == {
        (code, year) for code in ("PT001C", "PT") for year in (2020, 2021)
    }
    assert {row[:2] + row[5:7] for row in facts(small, "eurostat_cities")["places"]} == {
        ("PT001C", "Lisboa", "PT", 38.7)
    }
    assert values("us_acs", "migrants", 0) == {("Concord|CA",)}
    assert values("un_wup_2025", "city_populations", 0, 1) == {("10", 2018), ("10", 2025)}
    assert values("geonames", "cities", 0, 3) == {("2267057", 'Lisboa,"Lissabon')}


@pytest.mark.parametrize("source_id", ["abs_census_2021", "statcan_census_2016", "unhcr_totals"])
def test_small_files_are_kept_whole(source_id: str, full: Path, small: Path) -> None:
    assert facts(small, source_id) == facts(full, source_id)


def test_a_country_year_that_is_left_out_is_absent(small: Path) -> None:
    rows = facts(small, "unsd_city_population")["populations"]
    assert {row[:2] for row in rows} == {("Portugal|LISBOA|City proper", 2010)}


def test_locations_are_complete_for_a_year_or_for_a_country(small: Path) -> None:
    rows = facts(small, "unhcr_locations")["persons"]
    assert {(row[1], row[3]) for row in rows} == {
        ("PRT", 2024), ("UGA", 2016), ("UGA", 2023), ("UGA", 2024)
    }  # fmt: skip
    assert len(rows) == 2 * 4


def test_events_of_a_year_are_complete_equal_ones_too(small: Path) -> None:
    files = {path.name: path for path in (small / "idmc_displacement").iterdir()}
    tables = idmc_displacement.read(files)
    assert tables["disasters"]["year"].to_pylist() == [2024, 2024]
    assert tables["conflict"]["year"].to_pylist() == [2010, 2024]


def test_incidents_of_one_year_are_there_without_a_description(small: Path) -> None:
    files = {path.name: path for path in (small / "iom_missing_migrants").iterdir()}
    (row,) = iom_missing_migrants.read(files)["incidents"].to_pylist()
    assert (row["year"], row["cause"], row["location"]) == (2023, "Drowning", None)
    assert orjson.loads(read_bytes(files["2022.json"])) == []


def test_footnotes_keep_their_numbers_alone(small: Path) -> None:
    path = small / "unsd_city_population" / unsd_city_population.ARCHIVE
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    assert [line.rstrip(",") for line in lines[-4:]] == [
        "", "footnoteSeqID,Footnote", "1,(left out)", "2,(left out)"
    ]  # fmt: skip


def test_the_publishers_prose_is_left_out(small: Path) -> None:
    for name, data in content(small).items():
        if data[:2] == b"\x1f\x8b":
            assert PROSE.encode() not in gzip.decompress(data), name
        if name.endswith((".zip", ".xlsx")):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [archive.read(member) for member in archive.namelist()]
            inner = [zipfile.ZipFile(io.BytesIO(m)) for m in members if m[:2] == b"PK"]
            members += [book.read(part) for book in inner for part in book.namelist()]
            assert not any(PROSE.encode() in member for member in members), name


def test_twice_gives_the_same_bytes(full: Path, small: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    for _ in range(2):  # into nothing, and in the place of an older extract
        write_extract(full, again, selection=SELECTION, first_seen=SEEN)
        assert content(again) == content(small)
    assert list(tmp_path.iterdir()) == [again]


# ------------------------------------------------------------------ lock and manifest


def test_the_extract_is_a_raw_store_that_verifies(small: Path) -> None:
    store = RawStore(small)
    assert store.sources() == sorted(extract.RULES)
    for source_id in extract.RULES:
        for file in store.verify(source_id).values():
            assert (file.etag, file.first_seen) == (None, SEEN)
            assert file.url.startswith("https://")
    paged = store.files("unhcr_population")["population-1.json"]
    assert paged.url.endswith("&page=1")


def test_days_of_first_sight_come_from_the_lock_of_the_full_store(
    full: Path, tmp_path: Path
) -> None:
    store = tmp_path / "full"
    store.mkdir()
    lock: dict[str, Any] = {"version": 1, "sources": {}}
    for number, source_id in enumerate(sorted(extract.RULES), 1):
        (store / source_id).symlink_to(full / source_id)
        files = {
            path.name: {
                "url": "https://example.org/", "sha256": sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size, "etag": '"x"', "last_modified": None,
                "first_seen": f"2026-01-{number:02}T00:00:00Z",
            }
            for path in (full / source_id).iterdir()
        }  # fmt: skip
        lock["sources"][source_id] = {"files": files}
    (store / "raw.lock.json").write_text(json.dumps(lock))
    write_extract(RawStore(store), tmp_path / "small", selection=SELECTION)
    cut = RawStore(tmp_path / "small")
    for number, source_id in enumerate(sorted(extract.RULES), 1):
        seen = {file.first_seen for file in cut.files(source_id).values()}
        assert seen == {f"2026-01-{number:02}T00:00:00Z"}


def test_the_manifest_says_what_it_is_and_what_it_was_taken_from(full: Path, small: Path) -> None:
    manifest = json.loads((small / "manifest.json").read_text("utf-8"))
    assert manifest["extract"] is True
    assert manifest["left_out"] == {}
    about = manifest["sources"]["un_wup_2018"]
    assert about["licence"] == "CC BY 3.0 IGO"
    assert about["files"][0]["kept"].startswith("3 of 5 cities")
    archive = (full / "un_wup_2018" / un_wup_2018.ARCHIVE).read_bytes()
    assert about["taken_from"][0]["sha256"] == sha256(archive).hexdigest()


def test_a_source_without_a_rule_is_left_out_and_named(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {name: rule for name, rule in extract.RULES.items() if name != "unhcr_population"}
    monkeypatch.setattr(extract, "RULES", rules)
    write_extract(full, tmp_path / "small", selection=SELECTION, first_seen=SEEN)
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text("utf-8"))
    assert list(manifest["left_out"]) == ["unhcr_population"]
    assert "unhcr_population" not in RawStore(tmp_path / "small").sources()


# ------------------------------------------------------------------ refusals


def test_a_folder_that_is_no_extract_is_not_replaced(full: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no extract"):
        write_extract(full, tmp_path, selection=SELECTION, first_seen=SEEN)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_an_extract_is_not_cut_again(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an extract itself"):
        write_extract(small, tmp_path / "smaller", selection=SELECTION)


def test_a_required_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingSourceError, match="un_m49 is required"):
        write_extract(tmp_path, tmp_path / "small", selection=SELECTION, first_seen=SEEN)
    assert not (tmp_path / "small").exists()


def test_a_selected_city_that_the_publisher_lacks_is_named_and_the_old_extract_stands(
    full: Path, tmp_path: Path
) -> None:
    target = tmp_path / "small"
    write_extract(full, target, selection=SELECTION, first_seen=SEEN)
    before = content(target)
    cities = {**SELECTION.cities, 99: "xxx-atlantis"}
    missing = dataclasses.replace(SELECTION, cities=cities)
    with pytest.raises(ReadError, match="xxx-atlantis"):
        write_extract(full, target, selection=missing, first_seen=SEEN)
    assert content(target) == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("source_id", ["eurostat_cities", "us_acs", "unsd_city_population"])
def test_a_selected_code_that_an_office_lacks_is_named(
    source_id: str, full: Path, tmp_path: Path
) -> None:
    codes = {**SELECTION.codes, source_id: {*SELECTION.codes[source_id], "XX999C"}}
    missing = dataclasses.replace(SELECTION, codes=codes)
    with pytest.raises(ReadError, match="selected cities are not there: XX999C"):
        write_extract(full, tmp_path / "small", selection=missing, first_seen=SEEN)


def test_a_city_that_is_not_in_the_registry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "extract.yaml"
    path.write_text("cities: {a: {reason: none, ids: [xxx-atlantis]}}\ndestinations: []\nyears: {}")
    with pytest.raises(UsageError, match="xxx-atlantis"):
        load_selection(path)


def test_the_reviewed_selection_has_a_reason_for_everything() -> None:
    selection = load_selection()
    assert 140 <= len(selection.cities) <= 180
    assert 25 <= len(selection.destinations) <= 35
    groups = [*selection.document["cities"].values(), *selection.document["destinations"]]
    groups += selection.document["left_out"]["unsd_city_population"]
    assert all(group["reason"] for group in groups)
