"""The committed extract in data/raw/bundled: small, whole, readable, and true to the publishers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import openpyxl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from urban_migration.places.registry import read_registry
from urban_migration.plausibility import judge
from urban_migration.raw import RawStore
from urban_migration.selection import load_selection
from urban_migration.sources import all_sources
from urban_migration.sources.source import PROVENANCE, Source, Tables

BUNDLED = Path(__file__).resolve().parents[2] / "data" / "raw" / "bundled"
LIMIT = 2_044_723
"""Bytes: 1.95 MiB, so that a new edition of a source still fits below 2 MiB."""
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


def test_it_takes_less_than_two_mebibytes_in_all() -> None:
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


def test_about_170_cities_of_2018_are_there(bundled: Mapping[str, Tables]) -> None:
    assert 140 <= bundled["un_wup_2018"]["cities"].num_rows <= 180
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


@pytest.mark.parametrize(
    ("source_id", "code", "year", "origin", "migrants"),
    [
        ("statcan_census_2016", "535", 2016, "all", 2_705_545),  # Toronto
        ("abs_census_2021", "1GSYD", 2021, "all", 2_021_079),  # Sydney
        ("abs_census_2021", "1GSYD", 2021, "CHN", 238_316),
        ("eurostat_cities", "ES002C", 2023, "all", 965_924),  # Barcelona
        ("eurostat_cities", "PT001C", 2021, "all", 325_001),  # Lisbon
        ("us_acs", "Newark|NJ", 2015, "all", 86_253),
        ("us_acs", "Hialeah|FL", 2015, "all", 170_148),
    ],
)
def test_migrants_counted_in_a_city(
    source_id: str,
    code: str,
    year: int,
    origin: str,
    migrants: int,
    bundled: Mapping[str, Tables],
) -> None:
    table = bundled[source_id]["migrants"]
    counted = table.filter(pc.field("ignored").is_null() & (pc.field("source_code") == code))
    assert figure(counted, "migrants", year=year, origin=origin) == migrants


def test_cities_in_their_own_right_are_there(bundled: Mapping[str, Tables]) -> None:
    codes = set(bundled["eurostat_cities"]["places"]["source_code"].to_pylist())
    registry = {city.city_id: city for city in read_registry()}
    for city_id in ("esp-girona", "deu-sindelfingen"):
        assert registry[city_id].urban_audit_code in codes
    places = set(bundled["us_acs"]["places"]["source_code"].to_pylist())
    assert {"Concord|CA", "Concord|NC", "Portland|OR", "Portland|ME"} <= places
    assert {"Springfield|IL", "Springfield|MA", "Springfield|MO"} <= places


def test_jakarta_of_2025_is_four_times_that_of_2018(bundled: Mapping[str, Tables]) -> None:
    registry = {city.city_id: city for city in read_registry()}
    jakarta = registry["idn-jakarta"]
    of_2018 = bundled["un_wup_2018"]["city_populations"]
    of_2025 = bundled["un_wup_2025"]["city_populations"]
    agglomeration = figure(of_2018, "population", city_code=jakarta.wup2018_code, year=2025)
    cluster = figure(of_2025, "population", city_code=jakarta.wup2025_code, year=2025)
    assert (agglomeration, cluster) == (11_634_078, 41_914_000)


def test_locations_of_2024_are_all_there(bundled: Mapping[str, Tables]) -> None:
    """By location and in all, UNHCR counts the same refugees."""
    persons = bundled["unhcr_locations"]["persons"]
    assert figure(persons, "persons", year=2024, population_type="refugee") == 30_958_200


def test_kampala_is_a_series(bundled: Mapping[str, Tables]) -> None:
    """Every year of Uganda is whole: its locations add up to its refugees."""
    persons = bundled["unhcr_locations"]["persons"]
    uganda = persons.filter(pc.equal(persons["asylum_code"], "UGA"))
    assert set(range(2001, 2025)) <= set(uganda["year"].to_pylist())
    assert figure(uganda, "persons", year=2016, population_type="refugee", setting="urban") == (
        59_679
    )
    others = persons.filter(pc.not_equal(persons["asylum_code"], "UGA"))
    assert set(others["year"].to_pylist()) == {2024}


def test_figures_beside_unhcrs_are_all_there(bundled: Mapping[str, Tables]) -> None:
    totals = bundled["unhcr_totals"]
    assert figure(totals["unrwa"], "persons", year=2015) == 5_241_257
    assert figure(totals["idmc"], "persons", year=2015) == 40_451_900


def test_incidents_of_2023_are_all_there(bundled: Mapping[str, Tables]) -> None:
    incidents = bundled["iom_missing_migrants"]["incidents"]
    assert set(incidents["year"].to_pylist()) == {2023}
    assert incidents.num_rows == 2_689 and figure(incidents, "dead_and_missing") == 8_606
    assert incidents["location"].null_count == incidents.num_rows, "descriptions are prose"


# ------------------------------------------------------------------ against the publishers' files


def facts(table: pa.Table) -> set[tuple[object, ...]]:
    return {tuple(row.values()) for row in table.drop_columns(list(PROVENANCE)).to_pylist()}


def full_tables(source_id: str, upstream: Path) -> Tables:
    """What the reader finds in the publisher's own files."""
    source = all_sources()[source_id]
    urls = {download.file: urlsplit(download.url) for download in source.downloads}
    return source.read(
        {
            name: upstream / "files" / url.netloc / unquote(url.path).removeprefix("/")
            for name, url in urls.items()
        }
    )


WITHOUT_PAGES = [
    "un_m49", "un_wup_2018", "un_wpp_2024", "un_wup_2025", "eurostat_cities", "abs_census_2021",
    "statcan_census_2016", "us_acs", "unsd_city_population", "geonames", "idmc_displacement",
]  # fmt: skip


@pytest.mark.parametrize("source_id", WITHOUT_PAGES)
def test_every_fact_is_the_publishers(
    source_id: str, bundled: Mapping[str, Tables], upstream: Path
) -> None:
    full = full_tables(source_id, upstream)
    for name, table in bundled[source_id].items():
        assert facts(table) <= facts(full[name]), name


@pytest.mark.parametrize("source_id", ["eurostat_cities", "unsd_city_population", "us_acs"])
def test_what_is_withheld_from_the_whole_is_withheld_or_left_out(
    source_id: str, bundled: Mapping[str, Tables], upstream: Path
) -> None:
    """Fewer cities do not hide a year that stands under wrong names."""
    found = []
    for tables in (full_tables(source_id, upstream), bundled[source_id]):
        verdicts = judge(
            tables.get("populations"), tables.get("migrants"), tables["places"],
            source_id=source_id,
        )  # fmt: skip
        rows = {name: tables[name].to_pylist() for name in tables}
        found.append(
            {
                (name, row["source_code"], row["year"], row.get("concept"), row.get("origin"))
                for item in verdicts
                for name in [item.table.partition(".")[2]]
                for row in [rows[name][item.index]]
            }
        )
    whole, part = found
    there = {
        (name, row["source_code"], row["year"], row.get("concept"), row.get("origin"))
        for name in ("populations", "migrants")
        if name in bundled[source_id]
        for row in bundled[source_id][name].to_pylist()
    }
    assert whole & there == part


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
