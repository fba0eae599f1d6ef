"""A whole tiny edition, from the publishers' files to the release: every figure and every row.

The world of six countries and eight cities that ``publishers`` writes; the laws about it hold of
the bundled extract too where they say so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from publishers import (
    CITIES_ANNUAL,
    CITY_YEARS,
    COUNTRIES,
    EIGHT_CITIES,
    MIGRANTS_2024,
    PAGE,
    STOCK_YEARS,
    UNHCR_YEARS,
    Edition,
    put,
    tiny_edition,
)
from runs import BUNDLED, EXPECTATIONS, World, ask, standing, tiny_world

from urban_migration import build
from urban_migration.errors import MissingSourceError
from urban_migration.raw import RawStore
from urban_migration.sources import all_sources

ISO3 = {country.m49: country.iso3 for country in COUNTRIES} | {2003: "XXX"}
CITY_IDS = {
    21671: "jpn-tokyo",
    21700: "jor-amman",
    21853: "mex-mexico-city",
    22167: "prt-lisbon",
    22168: "prt-porto",
    22610: "syr-damascus",
    23027: "usa-concord-23027",
    23426: "usa-concord-23426",
}
UNHCR = "unhcr_population"
WUP = "un_wup_2018"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny edition and the release made from it; not to be changed."""
    world = tiny_world(tmp_path_factory.mktemp("tiny"))
    assert world.build().published
    return world


@pytest.fixture
def world(published: World, tmp_path: Path) -> World:
    """A copy to change."""
    return published.copy(tmp_path / "world")


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundled extract is published."""
    out = tmp_path_factory.mktemp("extract")
    build.build(RawStore(BUNDLED), out, EXPECTATIONS)
    return out


# ------------------------------------------------------------------ the figures


def test_every_city_has_the_population_that_its_publisher_gives(published: World) -> None:
    edition = Edition()
    there = ask(published.out, "select city_id, year, population from city_population")
    assert sorted(there) == sorted(
        (CITY_IDS[city.code], year, edition.city(city, year))
        for city in EIGHT_CITIES
        for year in CITY_YEARS
    )


def test_every_country_has_the_urban_population_that_its_publisher_gives(
    published: World,
) -> None:
    edition = Edition()
    query = "select country_iso3, year, urban_population from country_urbanization"
    assert sorted(ask(published.out, query)) == sorted(
        (country.iso3, year, edition.urban(country.m49, year))
        for country in COUNTRIES
        for year in range(1950, 2051)
    )


def test_every_migrant_comes_from_where_the_publisher_says(published: World) -> None:
    edition = Edition()
    query = """select destination_iso3, origin_iso3, year, migrants from migrant_stock_origins
        where sex = 'both'"""
    assert sorted(ask(published.out, query)) == sorted(
        (ISO3[destination], ISO3[origin], year, both)
        for destination, origin in MIGRANTS_2024
        for year in STOCK_YEARS
        if (both := edition.by_sex(destination, origin, year)[0]) is not None
    )


def test_a_blank_is_absent_and_a_zero_is_there(published: World) -> None:
    syrians_of_1990 = """from migrant_stock_origins
        where destination_iso3 = 'USA' and origin_iso3 = 'SYR' and year = 1990"""
    assert ask(published.out, syrians_of_1990) == []
    stateless = """select stateless, refugees from displacement_origins
        where asylum_iso3 = 'JPN' and origin_iso3 = 'XXA' and year = 2024"""
    assert ask(published.out, stateless) == [(500, 0)]


def test_every_displaced_person_is_where_the_publisher_says(published: World) -> None:
    edition = Edition()
    query = "select asylum_iso3, origin_iso3, year, refugees, asylum_seekers, idps, stateless"
    there = ask(published.out, f"{query} from displacement_origins")
    assert len(there) == 6 * len(UNHCR_YEARS)
    for asylum, origin, year, *figures in there:
        assert figures == edition.displaced(asylum, origin, year)


def test_two_cities_of_one_name_are_two(published: World) -> None:
    query = "select city_id, wup2018_code from cities where name = 'Concord' order by all"
    assert ask(published.out, query) == [
        ("usa-concord-23027", "23027"),
        ("usa-concord-23426", "23426"),
    ]


# ------------------------------------------------------------------ every row is somewhere


ACCOUNTS = """select source_id, rows_read, rows_published, rows_quarantined, rows_unmatched,
    rows_ignored from sources"""


def adds_up(out: Path) -> dict[str, tuple[int, ...]]:
    """Rows read, published, quarantined, unmatched and ignored by source; the law holds."""
    accounts = {source_id: counts for source_id, *counts in ask(out, ACCOUNTS)}
    assert accounts.keys() == all_sources().keys()
    for source_id, (read, *parts) in accounts.items():
        assert read == sum(parts), source_id
        assert None not in parts
    return {source_id: tuple(counts) for source_id, counts in accounts.items()}


def test_every_row_that_is_read_is_somewhere(published: World, extract: Path) -> None:
    for out in (published.out, extract):
        accounts = adds_up(out)
        for source_id in (WUP, UNHCR, "un_m49", "un_migrant_stock_2024", "un_wpp_2024"):
            assert accounts[source_id][1] > 0, f"{source_id}: nothing is published"


def test_rows_are_counted_by_kind(published: World) -> None:
    accounts = adds_up(published.out)
    assert accounts[UNHCR] == (444, 444, 0, 0, 0), "six pairs and 74 years"
    assert accounts["un_m49"] == (10, 9, 0, 0, 1), "Sark has no ISO code"
    assert accounts["un_wpp_2024"] == (7 * 101, 6 * 101, 0, 0, 101), "the world is a sum"


def negative(world: World) -> None:
    """Amman in 1951 (between five-year points) and refugees in Portugal become negative."""

    def spoil_pages(pages: list[dict[str, Any]]) -> None:
        (item,) = (
            item for item in pages[0]["items"] if (item["coa_iso"], item["year"]) == ("PRT", 2001)
        )
        item["refugees"] = -5

    spoil = {
        CITIES_ANNUAL: lambda book: put(book["Data"], "J19", -1.5),
        PAGE: spoil_pages,
    }
    world.receive_tiny(spoil)


def test_a_negative_figure_is_kept_back_with_the_place_where_it_stands(world: World) -> None:
    before = standing(world.out)
    negative(world)
    outcome = world.build()
    assert outcome.published and standing(world.out) == outcome.release_id != before
    row = 2001 - 1951
    assert ask(world.out, "from quarantine order by source_id") == [
        (
            WUP,
            f"{CITIES_ANNUAL}#Data",
            19,
            "1951",
            1951,
            "population_not_negative",
            "21700",
            "-1500",
            "a city cannot have fewer than no people",
        ),
        (
            UNHCR,
            "population-1.json",
            6 * row + 2,
            "refugees",
            2001,
            "refugees_not_negative",
            "PRT|UNK",
            "-5",
            "there cannot be fewer than no people",
        ),
    ]
    assert ask(world.out, "from city_population where city_id = 'jor-amman' and year = 1951") == []
    of_portugal = "from displacement_origins where asylum_iso3 = 'PRT' and year = 2001"
    assert ask(world.out, of_portugal) == []
    accounts = adds_up(world.out)
    assert accounts[WUP][2] == accounts[UNHCR][2] == 1
    assert accounts[UNHCR] == (444, 443, 1, 0, 0)
    quality = json.loads((outcome.folder / "quality.json").read_text("utf-8"))
    assert quality["summary"]["rows_withheld"] == 2
    page = (outcome.folder / "quality.html").read_text("utf-8")
    assert "a city cannot have fewer than no people" in page

    world.receive_tiny()
    assert world.build().release_id == before, "the publisher mended it: the release as it was"
    assert ask(world.out, "from quarantine") == []


# ------------------------------------------------------------------ sources that are not there


def test_an_optional_source_never_had_leaves_its_tables_empty_and_is_shown(
    world: World, tmp_path: Path
) -> None:
    tiny_edition(tmp_path / "without", omit=[UNHCR])
    outcome = build.build(RawStore(tmp_path / "without"), world.out, world.expectations)
    assert outcome.published
    assert outcome.rows["displacement_origins"] == 0
    assert adds_up(world.out)[UNHCR] == (0, 0, 0, 0, 0)
    shown = f"select first_seen, files, required from sources where source_id = '{UNHCR}'"
    assert ask(world.out, shown) == [(None, None, False)]
    figures = """select count(population), count(country_migrant_stock), count(country_refugees),
        count(country_idps) from city_indicators where city_id = 'jpn-tokyo'"""
    ((population, stock, *displaced),) = ask(world.out, figures)
    assert population and stock and displaced == [0, 0]
    quality = json.loads((outcome.folder / "quality.json").read_text("utf-8"))
    (state,) = (s["state"] for s in quality["sources"] if s["source_id"] == UNHCR)
    assert state not in ("fresh", "stale")
    standing(world.out)


def test_a_required_source_never_had_is_named_and_the_release_stands(
    world: World, tmp_path: Path
) -> None:
    before = standing(world.out)
    tiny_edition(tmp_path / "without", omit=["un_m49", WUP])
    with pytest.raises(MissingSourceError, match="un_m49, un_wup_2018") as caught:
        build.build(RawStore(tmp_path / "without"), world.out, world.expectations)
    assert caught.value.exit_code == 3
    assert standing(world.out) == before


# ------------------------------------------------------------------ what is new


def test_the_same_files_publish_nothing(world: World) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.out.rglob("*")}
    outcome = world.build()
    assert not outcome.published and outcome.release_id == standing(world.out)
    after = {path: path.stat().st_mtime_ns for path in world.out.rglob("*")}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {".publish.lock", world.out.name}, "not even read anew"


def test_only_what_changed_is_read_and_built_anew(world: World) -> None:
    def kept(what: str) -> dict[str, int]:
        there = (world.out / ".cache" / what).iterdir()
        return {path.name.split("-")[0]: path.stat().st_ino for path in there}

    sources, tables = kept("sources"), kept("tables")
    world.receive_tiny(refugees={("JOR", "SYR", 2024): 620_000})
    assert world.build().published
    after = kept("sources")
    assert {name for name in after if after[name] != sources[name]} == {UNHCR}
    after = kept("tables")
    changed = {name for name in after if after[name] != tables[name]}
    assert {"city_indicators", "country_migration", "displacement_origins"} <= changed
    others = {"cities", "city_population", "country_urbanization", "migrant_stock_origins"}
    assert not changed & (others | {"migrant_incidents", "city_distances", "place_matches"})
    populations = world.out / "latest" / "city_population.parquet"
    assert populations.stat().st_ino == tables["city_population"], "linked, not written again"


def test_a_changed_figure_is_named_in_the_changes(world: World) -> None:
    before = standing(world.out)
    world.receive_tiny(population={(21671, 2017): 37_000_000})
    outcome = world.build()
    assert outcome.published
    changes = (outcome.folder / "changes.md").read_text("utf-8")
    assert f"since {before}" in changes
    assert "Tokyo 2017 wup2018 population 37,093,618 -> 37,000,000" in changes
    row = "| Tokyo 2017 wup2018 | jpn-tokyo | 2017 | wup2018 | population | 37,093,618 | 37,000,000"
    assert row in changes


def test_a_city_that_is_gone_keeps_its_id_for_when_it_returns(world: World) -> None:
    before = standing(world.out)
    world.receive_tiny(cities=EIGHT_CITIES[:-1])
    assert world.build().rows["cities"] == 7
    changes = (world.out / "latest" / "changes.md").read_text("utf-8")
    assert "1 row removed: Concord" in changes
    query = "select city_id from cities where country_iso3 = 'USA'"
    assert ask(world.out, query) == [("usa-concord-23027",)]
    world.receive_tiny()
    assert world.build().release_id == before


def test_what_was_read_and_then_damaged_is_read_again(world: World) -> None:
    """As after a power cut: names are there, bytes are not."""
    for path in (world.out / ".cache" / "sources").rglob("*.arrow"):
        path.write_bytes(b"")
    for path in (world.out / ".cache" / "tables").iterdir():
        path.write_bytes(b"")
    before = standing(world.out)
    world.receive_tiny(refugees={("JOR", "SYR", 2024): 620_000})
    assert world.build().published
    assert standing(world.out) != before
    assert adds_up(world.out)[WUP][0] == 2_000
