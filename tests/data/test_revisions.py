"""Two revisions of the UN's cities in one release: their concepts differ, and are never mixed.

World Urbanization Prospects 2025 in the publisher's layout beside the tiny edition: Tokyo and
Amman are in both, Mirandela (made up as a city of 60,000) in the second only, and a last city is
not in the registry yet.
"""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from publishers import csv_text
from runs import World, ask, tiny_world

from urban_migration import assembly
from urban_migration.errors import MissingSourceError
from urban_migration.sources import un_wup_2025

HEADER = """LocID Location Notes ISO3_Code ISO2_Code City_Code City_Name Capital Year TimeMid Pop
    Pop_1Jan PWCent_Longitude PWCent_Latitude AREA_km2 BU_km2 Pop_plausibility""".split()
CITIES = (
    ("392", "9001", "Tokyo", "1", 35.68, 139.71),
    ("400", "9002", "Amman", "1", 31.95, 35.93),
    ("620", "9003", "Mirandela", "0", 41.49, -7.18),
    ("620", "9004", "Nova", "0", 40.0, -8.0),
)
YEARS = range(1975, 2051)
CODES = {"jpn-tokyo": "9001", "jor-amman": "9002"}
ONLY_2025 = ["prt-mirandela", "Mirandela", "Mirandela", "PRT", "un_city_2025", "", "9003"]


def thousands(code: str, year: int) -> float | str:
    """Populations; Mirandela passes 50,000 in 2010, and falls below it in 2015 only."""
    if code == "9003":
        return "" if year < 2010 or year == 2015 else 60 + (year - 2010) / 10
    return {"9001": 33_000, "9002": 4_000, "9004": 80}[code] + year - 2025


def wup_2025(cities: Sequence[tuple[object, ...]] = CITIES) -> bytes:
    """The publisher's file."""
    rows = [
        {
            "LocID": country,
            "City_Code": code,
            "City_Name": name,
            "Capital": capital,
            "Year": year,
            "TimeMid": year + 0.5,
            "Pop": thousands(str(code), year),
            "PWCent_Latitude": latitude,
            "PWCent_Longitude": longitude,
            "AREA_km2": 100.5,
            "BU_km2": 40,
            "Pop_plausibility": "High",
        }
        for country, code, name, capital, latitude, longitude in cities
        for year in YEARS
    ]
    text = csv_text([HEADER, *([row.get(name, "") for name in HEADER] for row in rows)])
    return gzip.compress(text.encode("utf-8-sig"), mtime=0)


def registry_with_codes(folder: Path) -> Path:
    """The reviewed files, with the codes of 2025 in the registry."""
    shutil.copytree(assembly.PLACES, folder)
    path = folder / "cities.csv"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    code = header.index("wup2025_code")
    rows = [row for row in rows if "un_city_2025" not in row and row[0] != ONLY_2025[0]]
    for row in rows:
        row[code] = CODES.get(row[0], "")
    rows.append(ONLY_2025 + [""] * (len(header) - len(ONLY_2025)))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *sorted(rows)])
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny edition with WUP 2025, not yet built; not to be changed."""
    world = tiny_world(tmp_path_factory.mktemp("revisions"))
    world.receive("un_wup_2025", {un_wup_2025.FILE: wup_2025()})
    return world


@pytest.fixture(scope="module")
def world(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same, published on each series; series wup2025 is the latest release."""
    folder = tmp_path_factory.mktemp("published")
    copy = tiny.copy(folder / "world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(assembly.REVIEWED, "place", registry_with_codes(folder / "places"))
        assert copy.build().published
        (copy.root / "wup2018").symlink_to((copy.out / "latest").resolve())
        assert copy.build(series="wup2025").published
    return copy


def test_both_series_stand_below_each_other(world: World) -> None:
    query = """select series, population, status, area_km2, built_up_km2, plausibility, source_id
        from city_population where city_id = 'jpn-tokyo' and year = {} order by series"""
    assert ask(world.out, query.format(2025)) == [
        ("wup2018", 40_091_083, "projection", None, None, None, "un_wup_2018"),
        ("wup2025", 33_000_000, "estimate", 100.5, 40.0, "High", "un_wup_2025"),
    ]
    assert [row[2] for row in ask(world.out, query.format(2026))] == ["projection"] * 2
    assert [row[0] for row in ask(world.out, query.format(1974))] == ["wup2018"]


def test_below_fifty_thousand_is_no_row_and_not_zero(world: World) -> None:
    query = "select year from city_population where city_id = 'prt-mirandela' order by year"
    years = [year for (year,) in ask(world.out, query)]
    assert years == [year for year in YEARS if year >= 2010 and year != 2015]


def test_indicators_of_a_release_stand_on_one_series(world: World) -> None:
    series = "select distinct population_series from city_indicators"
    assert ask(world.out, series) == [("wup2025",)]
    cities = "select distinct city_id from city_indicators order by city_id"
    assert ask(world.out, cities) == [("jor-amman",), ("jpn-tokyo",), ("prt-mirandela",)]
    ((population, growth, rank, implied),) = ask(
        world.out,
        """select population, population_growth_pct, rank_in_country, implied_net_migration_pct
        from city_indicators where city_id = 'jor-amman' and year = 2025""",
    )
    assert (population, rank) == (4_000_000, 1) and growth > 0 and implied is not None
    national = """select count(urban_population_share_pct), count(country_population),
        count(country_urban_population), count(country_urban_pct), count(country_migrant_stock)
        from city_indicators"""
    ((*of_the_series, of_their_own),) = ask(world.out, national)
    assert of_the_series == [0, 0, 0, 0] and of_their_own > 0
    assert ask(world.out, "from country_urbanization where series = 'wup2025'") == []


def test_the_other_release_knows_no_city_of_2025_in_its_indicators(world: World) -> None:
    out = world.root / "wup2018"
    import duckdb

    with duckdb.connect(str(out / "urban_migration.duckdb"), read_only=True) as con:
        query = "select count(distinct city_id), min(population_series) from city_indicators"
        assert con.sql(query).fetchall() == [(8, "wup2018")]
        groups = "select distinct document from city_groups where group_id = 'largest_20'"
        assert "in 2018" in con.sql(groups).fetchall()[0][0]


def test_a_city_of_both_revisions_says_how_they_differ(world: World) -> None:
    query = """select source_code, city_id, status, distance_km, reason from city_crosswalk
        where source_id = 'un_wup_2025' order by source_code"""
    tokyo, amman, mirandela, nova = ask(world.out, query)
    assert tokyo[:4] == ("9001", "jpn-tokyo", "matched", 2.0)
    assert "32,993,000 people as a cluster of dense grid cells, 37,468,302 as the" in tokyo[4]
    assert amman[1] == "jor-amman"
    assert mirandela[1:4] == ("prt-mirandela", "matched", None)
    assert "WUP 2018 does not list this city" in mirandela[4]
    assert nova[1:4] == (None, "unmatched", None) and "maintain register" in nova[4]


def test_a_city_of_2025_alone_has_a_place_and_a_kind(world: World) -> None:
    query = """select city_id, kind, latitude, longitude, is_capital, wup2018_code
        from cities where wup2025_code is not null order by city_id"""
    amman, tokyo, mirandela = ask(world.out, query)
    assert amman == ("jor-amman", "un_agglomeration", 31.95522, 35.94503, True, "21700")
    assert tokyo[4] is True
    assert mirandela == ("prt-mirandela", "un_city_2025", 41.49, -7.18, False, None)
    others = "select count(*), count(is_capital) from cities where wup2025_code is null"
    assert ask(world.out, others) == [(6, 0)]
    capitals = "select city_id from city_groups where group_id = 'capitals' order by city_id"
    assert ask(world.out, capitals) == [("jor-amman",), ("jpn-tokyo",)]


def test_every_row_is_published_unmatched_or_ignored(world: World) -> None:
    query = """select rows_read, rows_published, rows_quarantined, rows_unmatched, rows_ignored
        from sources where source_id = 'un_wup_2025'"""
    below = sum(1 for year in YEARS if year < 2010 or year == 2015)
    read = 4 + 4 * len(YEARS)
    unregistered = 1 + len(YEARS)
    published = read - unregistered - below
    assert ask(world.out, query) == [(read, published, 0, unregistered, below)]


def test_a_series_whose_source_was_never_had_is_named(tmp_path: Path) -> None:
    bare = tiny_world(tmp_path)
    with pytest.raises(MissingSourceError, match="series wup2025 stands on un_wup_2025") as caught:
        bare.build(series="wup2025")
    assert caught.value.exit_code == 3
