"""Displacement, IOM's data and the 2025 revision on the publishers' files: facts and sums.

Everything is downloaded from the simulator of the publishers and built once for all tests here.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from runs import EXPECTATIONS, ask

from urban_migration import build
from urban_migration.download import Downloader, refresh_all
from urban_migration.places.registry import read_registry
from urban_migration.raw import RawStore
from urban_migration.sources import all_sources, get_source

pytestmark = pytest.mark.slow

SOURCES = (
    *(source.id for source in all_sources().values() if source.required),
    *("unhcr_population", "unhcr_locations", "unhcr_totals", "idmc_displacement"),
    *("iom_missing_migrants", "un_wup_2025"),
)


@pytest.fixture(scope="module")
def raw(serve: ModuleType, upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> RawStore:
    """The files of the sources above as their publishers serve them."""
    store = RawStore(tmp_path_factory.mktemp("mirror") / "raw")
    with (
        serve.Simulator(upstream).running() as server,
        Downloader(mirror=server.base_url) as downloader,
    ):
        sources = [get_source(source_id) for source_id in SOURCES]
        outcomes = refresh_all(sources, store, downloader)
    assert {outcome.status for outcome in outcomes} == {"new"}
    return store


@pytest.fixture(scope="module")
def out(raw: RawStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release made of them on each series; that of wup2018 is the latest."""
    folder = tmp_path_factory.mktemp("release")
    assert build.build(raw, folder, EXPECTATIONS).published
    return folder


def value(out: Path, query: str) -> Any:
    ((found,),) = ask(out, f"select {query}")
    return found


# ------------------------------------------------------------------ IDMC


def test_conflict_displaced_seventy_three_million_within_their_countries(out: Path) -> None:
    of_2024 = "from country_migration where year = 2024"
    assert value(out, f"sum(conflict_idps_idmc) {of_2024}") == 73_505_422
    assert value(out, f"sum(conflict_displacements_idmc) {of_2024}") == 20_058_987


def test_disasters_are_summed_over_events_and_stocks_begin_in_2019(out: Path) -> None:
    query = """select min(year) filter (disaster_idps_idmc is not null),
        min(year) filter (disaster_displacements_idmc is not null) from country_migration"""
    assert ask(out, query) == [(2019, 2008)]


def test_a_blank_of_idmc_is_null_and_a_zero_is_zero(out: Path) -> None:
    query = """select count(*) filter (conflict_idps_idmc = 0),
        count(*) filter (conflict_idps_idmc is null and conflict_displacements_idmc is not null)
        from country_migration"""
    ((zeros, blanks),) = ask(out, query)
    assert zeros > 0 and blanks > 0


def test_kosovo_and_abyei_stand_apart(out: Path) -> None:
    query = """select country_iso3, count(*) from country_migration
        where country_iso3 in ('XKX', 'XAB') and (conflict_idps_idmc is not null
        or disaster_displacements_idmc is not null) group by all order by all"""
    there = dict(ask(out, query))
    assert there.keys() == {"XAB", "XKX"}


# ------------------------------------------------------------------ UNHCR


@pytest.mark.parametrize(("concept", "persons"), [("refugee", 59_679), ("asylum_seeker", 28_290)])
def test_kampala_has_its_refugees_and_origins_that_sum_to_them(
    out: Path, concept: str, persons: int
) -> None:
    rows = f"""from city_migrants where city_id = 'uga-kampala' and year = 2016
        and concept = '{concept}' and source_id = 'unhcr_locations'"""
    assert value(out, f"migrants {rows} and origin = 'all'") == persons
    assert value(out, f"sum(migrants) {rows} and origin <> 'all'") == persons
    assert value(out, f"count(*) {rows} and origin <> 'all'") > 5
    assert value(out, f"count(migrants_pct) {rows}") == 0, "displaced people are no share"


def test_displaced_people_are_never_foreign_born(out: Path) -> None:
    query = "select distinct foreign_born_source_id from city_indicators"
    assert ("unhcr_locations",) not in ask(out, query)


def test_camps_are_not_cities(out: Path) -> None:
    camps = r"""from city_crosswalk where source_id = 'unhcr_locations'
        and regexp_matches(source_code, '(?i)\b(camp|settlement)s?\b')"""
    assert value(out, f"count(*) {camps}") > 100
    assert value(out, f"count(city_id) {camps}") == 0
    kakuma = """from city_crosswalk where source_id = 'unhcr_locations'
        and source_code ilike '%kakuma%'"""
    assert value(out, f"count(*) {kakuma}") > 0
    assert value(out, f"count(city_id) {kakuma}") == 0


def test_settings_of_a_year_sum_to_the_sources_total(out: Path, raw: RawStore) -> None:
    totals: dict[int, int] = {}
    for file in raw.files("unhcr_locations").values():
        for item in json.loads(file.path.read_bytes())["items"]:
            if item["total"] != "-":
                totals[item["year"]] = totals.get(item["year"], 0) + int(item["total"])
    here = dict(ask(out, "select year, sum(persons)::bigint from displacement_settings group by 1"))
    assert here == totals
    assert here[2024] == 157_167_792
    idps = "from displacement_settings where year = 2024 and population_type = 'idp'"
    urban = value(out, f"sum(persons) filter (setting = 'urban') / sum(persons) {idps}")
    assert urban == pytest.approx(0.1603, abs=0.0001)


def test_sixty_five_million_were_displaced_at_the_end_of_2015(out: Path) -> None:
    """UNHCR, Global Trends 2015: its own figures, UNRWA's refugees and IDMC's displaced people."""
    of_2015 = "from displacement_totals where year = 2015"
    assert value(out, f"sum(unrwa) {of_2015}") == 5_241_257
    assert value(out, f"sum(idmc) {of_2015}") == 40_451_900
    query = "sum(refugees) + sum(asylum_seekers) from displacement_origins where year = 2015"
    assert value(out, query) + 5_241_257 + 40_451_900 == 65_026_893


# ------------------------------------------------------------------ Missing Migrants


def test_the_dead_and_missing_of_2023_are_those_of_the_publishers_records(
    out: Path, raw: RawStore
) -> None:
    records = json.loads(raw.files("iom_missing_migrants")["2023.json"].path.read_bytes())
    numbers = [record["total_dead_and_missing"].replace(",", "") for record in records]
    total = sum(int(number) for number in numbers if number)
    of_2023 = "from migrant_incidents where year = 2023"
    assert value(out, f"sum(dead_and_missing) {of_2023}") == total
    assert value(out, f"count(*) {of_2023}") == len(records) == 2_689


def test_a_blank_number_is_not_zero(out: Path, raw: RawStore) -> None:
    records = json.loads(raw.files("iom_missing_migrants")["2023.json"].path.read_bytes())
    survivors = [record["number_of_survivors"].strip() for record in records]
    blank = sum(1 for text in survivors if not text or text.startswith("-"))
    of_2023 = "from migrant_incidents where year = 2023"
    assert blank > 0 and value(out, f"count(*) - count(survivors) {of_2023}") == blank
    assert value(out, "count(*) from migrant_incidents where survivors < 0") == 0


def test_coordinates_in_whole_degrees_are_marked(out: Path) -> None:
    marked = """count(*) from migrant_incidents where coordinates_rounded
        <> (latitude = round(latitude) and longitude = round(longitude))"""
    assert value(out, marked) == 0
    assert value(out, "count(*) from migrant_incidents where coordinates_rounded") == 1_026


def test_every_incident_lies_nearest_to_the_city_that_no_other_is_nearer_than(out: Path) -> None:
    nearer = """count(*) from (
            select * from migrant_incidents where nearest_city_id is not null
            using sample 200 rows (reservoir, 4)
        ) as incidents
        cross join cities
        where 6371.0088 * 2 * asin(sqrt(
                sin(radians(cities.latitude - incidents.latitude) / 2) ** 2
                + cos(radians(cities.latitude)) * cos(radians(incidents.latitude))
                * sin(radians(cities.longitude - incidents.longitude) / 2) ** 2
            )) < distance_km - 0.01"""
    assert value(out, nearer) == 0


def test_lampedusas_dead_are_near_no_city_and_tripolis_are_near_tripoli(out: Path) -> None:
    indicator = "indicator_values where indicator_id = 'dead_and_missing_100km'"
    query = f"select city_id from {indicator} group by 1 order by sum(value) desc limit 1"
    assert ask(out, query) == [("lby-tripoli",)]
    assert value(out, f"min(value) from {indicator}") >= 0
    assert ask(out, f"select distinct unit from {indicator}") == [("persons",)]


# ------------------------------------------------------------------ WUP 2025


REGISTERED = sum(1 for city in read_registry() if city.wup2025_code)


@pytest.mark.skipif(
    REGISTERED < 157, reason="needs the cities of WUP 2025: urban-migration maintain register"
)
def test_the_second_revision_has_157_cities_and_another_jakarta(out: Path) -> None:
    series = "from city_population where series = 'wup2025'"
    assert value(out, f"count(distinct city_id) {series}") == 157
    jakarta = "where city_id = 'idn-jakarta' and year = {} and series = '{}'"
    query = "population from city_population " + jakarta
    assert value(out, query.format(2025, "wup2025")) == 41_914_000
    assert value(out, query.format(2018, "wup2018")) == 10_516_927
    tokyo = "population from city_population where city_id = 'jpn-tokyo' and year = 2025"
    assert value(out, f"{tokyo} and series = 'wup2025'") == 33_413_000


def test_city_indicators_are_built_on_either_series(
    raw: RawStore, out: Path, tmp_path: Path
) -> None:
    if not REGISTERED:
        pytest.skip("needs the cities of WUP 2025: urban-migration maintain register")
    assert build.build(raw, tmp_path, EXPECTATIONS, series="wup2025").published
    for folder, series in ((out, "wup2018"), (tmp_path, "wup2025")):
        found = ask(folder, "select distinct population_series from city_indicators")
        assert found == [(series,)]
    jakarta = "from city_indicators where city_id = 'idn-jakarta' and year = 2025"
    assert value(tmp_path, f"population {jakarta}") == 41_914_000
    assert value(tmp_path, f"count(country_urban_pct) {jakarta}") == 0
    assert value(tmp_path, "count(*) from city_groups where group_id = 'largest_20'") == 20


# ------------------------------------------------------------------ rows and groups


def test_every_row_of_the_new_sources_is_somewhere(out: Path) -> None:
    query = """select source_id, rows_read,
        rows_published + rows_quarantined + rows_unmatched + rows_ignored from sources"""
    for source_id, read, somewhere in ask(out, query):
        assert read == somewhere and (read > 0) == (source_id in SOURCES), source_id


def test_groups_name_their_documents(out: Path) -> None:
    query = "select group_id, count(*), count(document) from city_groups group by all"
    groups = {group: (cities, documents) for group, cities, documents in ask(out, query)}
    assert groups["mc2cm"] == (10, 10) and groups["iom_wmr_2015"] == (14, 14)
    assert groups["largest_20"] == (20, 20)
    first = """city_id from city_groups join city_population using (city_id)
        where group_id = 'largest_20' and series = 'wup2018' and year = 2018
        order by population desc limit 1"""
    assert value(out, first) == "jpn-tokyo"


def test_the_long_form_holds_the_wide_tables_values(out: Path) -> None:
    columns = {name for name, *_ in ask(out, "describe city_indicators")}
    indicators = [name for (name,) in ask(out, "select indicator_id from indicators")]
    wide = [name for name in indicators if name in columns]
    assert len(wide) >= 7
    for name in wide:
        query = f"""select count(*) from city_indicators
            full join (from indicator_values where indicator_id = '{name}') using (city_id, year)
            where {name}::double is distinct from value"""
        assert ask(out, query) == [(0,)], name
