"""The committed extract in data/raw/bundled: small, whole, readable, and true to the publishers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from urban_migration.extract import load_selection
from urban_migration.places.registry import read_registry
from urban_migration.raw import RawStore
from urban_migration.sources import all_sources
from urban_migration.sources.source import PROVENANCE, Source, Tables

BUNDLED = Path(__file__).resolve().parents[2] / "data" / "raw" / "bundled"
LIMIT = 2 * 2**20
CODES = {city.city_id: city.wup2018_code for city in read_registry()}

MC2CM = "Amman Beirut Lisbon London Lyon Madrid Tangier Tunis Turin Vienna".split()
IOM_WMR_2015 = [
    "Dubai", "Brussels", "Toronto", "Auckland", "Sydney", "Los Angeles", "Singapore", "London",
    "New York", "Melbourne", "Amsterdam", "Frankfurt", "Paris", "Stockholm",
]  # fmt: skip


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
    }


def had(store: RawStore) -> list[Source]:
    """The sources of which the extract has files."""
    return [source for source in all_sources().values() if store.files(source.id)]


@pytest.fixture(scope="module")
def bundled() -> Mapping[str, Tables]:
    """What every reader finds in the extract."""
    store = RawStore(BUNDLED)
    tables = {}
    for source in had(store):
        with store.reading(source.id) as files:
            tables[source.id] = source.read({name: file.path for name, file in files.items()})
    return tables


def names(bundled: Mapping[str, Tables]) -> list[str]:
    """English names of the cities that are there."""
    there = set(bundled["un_wup_2018"]["cities"]["city_code"].to_pylist())
    return [city.name for city in read_registry() if city.wup2018_code in there]


def figure(table: pa.Table, column: str, **where: object) -> int:
    for name, value in where.items():
        table = table.filter(pc.equal(table[name], value))
    total: int = pc.sum(table[column]).as_py()
    return total


# ------------------------------------------------------------------ the store


def test_it_takes_less_than_two_mebibytes() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) < LIMIT


def test_every_file_has_the_bytes_that_the_lock_says_and_none_is_unknown() -> None:
    store = RawStore(BUNDLED)
    locked = {
        file.path for source_id in store.sources() for file in store.verify(source_id).values()
    }
    there = {path for path in BUNDLED.rglob("*") if path.is_file()}
    assert there - locked == {BUNDLED / "raw.lock.json", BUNDLED / "manifest.json"}


def test_reading_it_writes_nothing() -> None:
    before = snapshot(BUNDLED)
    store = RawStore(BUNDLED)
    for source in had(store):
        store.verify(source.id)
        with store.reading(source.id) as files:
            source.read({name: file.path for name, file in files.items()})
    assert snapshot(BUNDLED) == before


def test_the_manifest_names_source_edition_and_licence_and_says_that_it_is_an_extract() -> None:
    manifest = json.loads((BUNDLED / "manifest.json").read_text("utf-8"))
    assert manifest["extract"] is True
    assert manifest["sources"].keys() == set(RawStore(BUNDLED).sources())
    assert {source.id for source in all_sources().values() if source.required} <= set(
        manifest["sources"]
    )
    for source_id, about in manifest["sources"].items():
        source = all_sources()[source_id]
        assert (about["title"], about["edition"]) == (source.title, source.edition)
        assert (about["licence"], about["licence_url"]) == (source.licence, source.licence_url)
        assert all(file["kept"] for file in about["files"])


def test_it_holds_what_the_reviewed_selection_says() -> None:
    manifest = json.loads((BUNDLED / "manifest.json").read_text("utf-8"))
    assert {**load_selection().document, "counts": manifest["selection"]["counts"]} == manifest[
        "selection"
    ], "extract.yaml changed: urban-migration maintain bundle"


def test_no_workbook_carries_the_publishers_prose() -> None:
    for path in BUNDLED.rglob("*.xlsx"):
        book = openpyxl.load_workbook(path, read_only=True)
        for sheet in book.worksheets:
            texts = (cell for row in sheet.iter_rows(values_only=True) for cell in row)
            assert all(len(text) < 120 for text in texts if isinstance(text, str)), path


# ------------------------------------------------------------------ the figures


def test_every_reader_reads_it(bundled: Mapping[str, Tables]) -> None:
    for source_id, tables in bundled.items():
        for name, table in tables.items():
            assert table.num_rows > 0, f"{source_id}.{name}"


def test_tokyo_had_37_468_302_people_in_2018(bundled: Mapping[str, Tables]) -> None:
    cities = bundled["un_wup_2018"]["city_populations"]
    assert figure(cities, "population", city_code="21671", year=2018) == 37_468_302


def test_about_150_cities_are_there(bundled: Mapping[str, Tables]) -> None:
    assert 140 <= bundled["un_wup_2018"]["cities"].num_rows <= 160
    assert "Lisbon" in names(bundled)


def test_the_cities_of_the_mediterranean_network_are_there(bundled: Mapping[str, Tables]) -> None:
    assert set(MC2CM) <= set(names(bundled))


def test_the_cities_of_the_world_migration_report_are_there(bundled: Mapping[str, Tables]) -> None:
    assert set(IOM_WMR_2015) <= set(names(bundled))


@pytest.mark.parametrize("name", ["Concord", "Xinyi", "Valencia", "London", "Birmingham"])
def test_both_cities_of_a_name_are_there(name: str, bundled: Mapping[str, Tables]) -> None:
    assert names(bundled).count(name) == 2


def test_the_countries_urban_populations_sum_to_the_worlds(bundled: Mapping[str, Tables]) -> None:
    totals = bundled["un_wup_2018"]["totals"]
    world = figure(totals, "urban_population", location_code="900")
    countries = totals.filter(totals["ignored"].is_null())
    assert world == 4_219_817_318
    assert abs(figure(countries, "urban_population") - world) <= 1_000


def test_migrant_stocks_of_2024_sum_to_the_worlds(bundled: Mapping[str, Tables]) -> None:
    stocks = bundled["un_migrant_stock_2024"]["stocks"]
    countries = stocks.filter(stocks["ignored"].is_null())
    assert figure(countries, "migrants", year=2024) == 304_021_813


def test_origins_sum_to_the_destinations_total(bundled: Mapping[str, Tables]) -> None:
    tables = bundled["un_migrant_stock_2024"]
    usa = figure(tables["origins"], "migrants", location_code="840", year=2024)
    assert usa == 52_375_047
    sums = tables["origins"].group_by(["location_code", "year"]).aggregate([("migrants", "sum")])
    both = sums.join(
        tables["stocks"].select(["location_code", "year", "migrants"]), ["location_code", "year"]
    )
    assert both.num_rows == 8 * len(load_selection().destinations)
    assert both["migrants_sum"].equals(both["migrants"])


def test_mexico_to_the_united_states_is_there_for_both_sexes_and_each(
    bundled: Mapping[str, Tables],
) -> None:
    pair = {"location_code": "840", "origin_code": "484", "year": 2024}
    origins = bundled["un_migrant_stock_2024"]["origins"]
    assert figure(origins, "migrants", **pair) == 11_279_561
    by_sex = [figure(origins, f"migrants_{sex}", **pair) for sex in ("male", "female")]
    assert sum(by_sex) == 11_279_561


@pytest.mark.parametrize(
    ("year", "refugees"), [(2015, 16_110_276), (2024, 30_958_200), (2025, 28_461_306)]
)
def test_refugees_of_a_year_sum_to_the_worlds(
    year: int, refugees: int, bundled: Mapping[str, Tables]
) -> None:
    assert figure(bundled["unhcr_population"]["population"], "refugees", year=year) == refugees


def test_germany_gained_migrants_in_2023(bundled: Mapping[str, Tables]) -> None:
    wpp = bundled["un_wpp_2024"]["indicators"]
    germany = wpp.filter((pc.field("location_code") == "276") & (pc.field("year") == 2023))
    rate, people = germany["net_migration_per_1000"][0].as_py(), germany["population"][0].as_py()
    assert rate * people / 1000 == pytest.approx(609_553, rel=1e-3)


# ------------------------------------------------------------------ against the publishers' files


def facts(table: pa.Table) -> set[tuple[object, ...]]:
    return {tuple(row.values()) for row in table.drop_columns(list(PROVENANCE)).to_pylist()}


@pytest.mark.parametrize("source_id", ["un_m49", "un_wup_2018", "un_wpp_2024"])
def test_every_fact_is_the_publishers(
    source_id: str, bundled: Mapping[str, Tables], upstream: Path
) -> None:
    source = all_sources()[source_id]
    path = upstream / "files"
    files = {
        download.file: path / download.url.removeprefix("https://").replace("%20", " ")
        for download in source.downloads
    }
    full = source.read(files)
    for name, table in bundled[source_id].items():
        assert facts(table) <= facts(full[name]), name


def test_the_sixty_largest_are_the_sixty_largest(upstream: Path) -> None:
    source = all_sources()["un_wup_2018"]
    path = upstream / "files" / source.downloads[0].url.removeprefix("https://")
    cities = source.read({source.downloads[0].file: path})["city_populations"]
    of_2018 = cities.filter(pc.equal(cities["year"], 2018)).sort_by([("population", "descending")])
    largest = load_selection().document["cities"]["largest_60"]["ids"]
    assert [CODES[city] for city in largest] == of_2018["city_code"].to_pylist()[:60]


def test_selected_destinations_carry_their_m49_code(bundled: Mapping[str, Tables]) -> None:
    m49 = bundled["un_m49"]["countries"]
    codes = dict(zip(m49["iso3"].to_pylist(), m49["m49"].to_pylist(), strict=True))
    for code, iso3 in load_selection().destinations.items():
        assert int(codes[iso3]) == code
