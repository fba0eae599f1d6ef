"""Estimates of foreign-born shares: laws of the model, its intervals and its test."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from urban_migration.indicators import estimates

SIZES = (0.02, 0.05, 0.1, 0.3, 1.0)


def world(countries: int, slope: float = 0.25, noise: float = 0.0) -> estimates.Sample:
    """Cities whose log-odds lie above their country's by a line in the logarithm of their size."""
    chance = np.random.default_rng(7)
    country = np.repeat(np.arange(countries), len(SIZES))
    size = np.tile(np.array(SIZES), countries)
    nation = np.repeat(np.linspace(3.0, 30.0, countries), len(SIZES))
    gap = 0.4 + slope * np.log(size) + noise * chance.standard_normal(len(size))
    share = estimates.per_cent(estimates.log_odds(nation) + gap)
    return estimates.Sample(country, nation, size / 10, size, share)


def test_a_share_goes_to_log_odds_and_back() -> None:
    shares = np.array([0.1, 3.0, 50.0, 71.8, 99.9])
    assert np.allclose(estimates.per_cent(estimates.log_odds(shares)), shares)


def test_every_country_weighs_the_same() -> None:
    weights = estimates.alike(np.array([1, 1, 1, 2]))
    assert weights.sum() == pytest.approx(1)
    assert weights[3] == pytest.approx(weights[:3].sum())


@pytest.mark.parametrize(("level", "expected"), [(0.25, 1.0), (0.5, 2.0), (0.8, 3.0), (1.0, 3.0)])
def test_a_weighted_quantile_has_that_weight_at_or_below_it(level: float, expected: float) -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([2.0, 1.0, 1.0])
    assert estimates.weighted_quantile(values, weights, level) == expected


def test_the_model_finds_a_line_that_is_there() -> None:
    known = world(12)
    error = np.abs(
        estimates.per_cent(estimates.without_own_country(estimates.by_model, known)) - known.share
    )
    assert error.max() < 1e-9
    assert estimates.best_method(known) == "model"


def test_where_cities_are_like_their_country_the_baseline_wins() -> None:
    known = world(12, slope=0.0)
    like_the_country = estimates.Sample(
        known.country, known.nation, known.weight, known.size, known.nation
    )
    assert estimates.best_method(like_the_country) in {"model", "country_share", "median_quotient"}
    error = estimates.per_cent(
        estimates.without_own_country(estimates.by_country_share, like_the_country)
    )
    assert np.allclose(error, known.nation)


def test_a_country_is_predicted_without_its_own_cities() -> None:
    known = world(12, noise=0.2)
    before = estimates.without_own_country(estimates.by_model, known)
    share = known.share.copy()
    share[known.country == 5] = 80.0
    changed = estimates.Sample(known.country, known.nation, known.weight, known.size, share)
    after = estimates.without_own_country(estimates.by_model, changed)
    own = known.country == 5
    assert np.allclose(before[own], after[own])
    assert not np.allclose(before[~own], after[~own])


def test_intervals_grow_with_the_errors() -> None:
    calm, wild = world(20, noise=0.1), world(20, noise=0.5)
    one = estimates.interval(estimates.by_model, calm, calm).mean()
    other = estimates.interval(estimates.by_model, wild, wild).mean()
    assert 0 < one < other


def test_intervals_cover_about_four_fifths_of_unseen_countries() -> None:
    known = world(40, noise=0.4)
    low, high = estimates._nested(estimates.by_model, known)
    assert 0.72 <= np.mean((low <= known.share) & (known.share <= high)) <= 0.9


# ------------------------------------------------------------------ on relations

TABLES = """
    create table cities (city_id text, country_iso3 text, kind text);
    create table countries (country_iso3 text, subregion text);
    create table city_migrants (city_id text, year int, concept text, origin text, source_id text,
        source_code text, geography text, population bigint, migrants_pct double);
    create table city_population (city_id text, year int, series text, population bigint);
    create table country_migration (country_iso3 text, year int, migrant_pct double,
        migrant_stock_definition text, population bigint);
    create table indicator_borders (country_iso3 text, reason text);
    set variable series = 'wup2018';
"""


def connection(countries: int = 12, **variables: Any) -> duckdb.DuckDBPyConnection:
    """Countries with five counted cities each, and one more country to be estimated."""
    con = duckdb.connect(config={"threads": 1})
    con.execute(TABLES)
    known = world(countries, noise=0.1)
    iso3 = [f"C{country:02}" for country in known.country]
    counted = pa.table(
        {
            "city_id": [f"{code}-{at:03}".lower() for at, code in enumerate(iso3)],
            "iso3": iso3,
            "nation": known.nation,
            "population": (1_000_000 * known.size).astype(int),
            "share": known.share,
        }
    )
    con.register("counted_cities", counted)
    con.execute(
        """
        insert into cities select city_id, iso3, 'un_agglomeration' from counted_cities;
        insert into countries select distinct iso3, 'Western Europe' from counted_cities;
        insert into country_migration
            select distinct iso3, 2020, nation, 'B', 20000000 from counted_cities;
        insert into city_population
            select city_id, 2020, 'wup2018', population from counted_cities;
        insert into city_migrants
            select city_id, 2020, 'foreign_born', 'all', 's', 'c', 'city', population, share
            from counted_cities;
        """
    )
    for name, value in variables.items():
        con.execute(f"set variable {name} = ?", [value])
    return con


def uncounted(
    con: duckdb.DuckDBPyConnection,
    pct: float | None,
    definition: str = "B",
    subregion: str = "Western Europe",
    population: int = 20_000_000,
) -> dict[str, Any]:
    """The estimate of a city of a million where nobody counted."""
    con.execute("insert into cities values ('new-city', 'NEW', 'un_agglomeration')")
    con.execute("insert into countries values ('NEW', ?)", [subregion])
    con.execute("insert into city_population values ('new-city', 2020, 'wup2018', 1000000)")
    con.execute(
        "insert into country_migration values ('NEW', 2020, ?, ?, ?)", [pct, definition, population]
    )
    table: pa.Table = estimates.make(con)
    return next(row for row in table.to_pylist() if row["city_id"] == "new-city")


def test_an_uncounted_city_has_an_estimate_in_its_interval() -> None:
    row = uncounted(connection(), 10.0)
    assert row["note"] == "estimated"
    assert 0 < row["low_pct"] < row["estimate_pct"] < row["high_pct"] < 100
    assert row["estimate_pct"] == pytest.approx(14, abs=1), (
        "its log-odds lie 0.4 above the country's"
    )


@pytest.mark.parametrize(
    ("situation", "note"),
    [
        ({"pct": None}, "no_country_share"),
        ({"pct": 1.0}, "country_share_outside_domain"),
        ({"pct": 74.0}, "country_share_outside_domain"),
        ({"pct": 10.0, "definition": "C R"}, "country_counts_citizens"),
        ({"pct": 10.0, "population": 1_000_000}, "city_outweighs_domain"),
    ],
)
def test_outside_the_domain_there_is_a_reason_and_no_figure(
    situation: dict[str, Any], note: str
) -> None:
    row = uncounted(connection(), **situation)
    assert row["note"] == note
    assert row["estimate_pct"] is None and row["low_pct"] is None and row["high_pct"] is None


def test_a_region_without_counted_cities_is_marked() -> None:
    row = uncounted(connection(), 10.0, subregion="Eastern Africa")
    assert row["note"] == "estimated_untested_region" and row["estimate_pct"] is not None


def test_counted_cities_are_not_estimated() -> None:
    notes = {row["note"] for row in estimates.make(connection()).to_pylist()}
    assert notes == {"observed"}


@pytest.mark.parametrize(
    ("countries", "extract", "note"),
    [
        (estimates.FEWEST_COUNTRIES - 1, False, "too_few_observations"),
        (12, True, "bundled_extract"),
    ],
)
def test_without_enough_to_learn_from_nothing_is_estimated(
    countries: int, extract: bool, note: str
) -> None:
    con = connection(countries, extract=extract)
    assert uncounted(con, 10.0)["note"] == note
    assert estimates.evaluate(con).num_rows == 0


def test_an_empty_world_is_no_error() -> None:
    con = duckdb.connect()
    con.execute(TABLES)
    assert estimates.make(con).num_rows == 0
    assert estimates.evaluate(con).num_rows == 0


def test_the_same_rows_in_another_order_give_the_same_table() -> None:
    con = connection()
    first = estimates.make(con), estimates.evaluate(con)
    con.execute(
        "create or replace table city_migrants as from city_migrants order by hash(city_id)"
    )
    assert (estimates.make(con), estimates.evaluate(con)) == first


def test_the_evaluation_has_each_part_of_the_cities() -> None:
    rows = estimates.evaluate(connection(20)).to_pylist()
    every = {row["grouping"]: row for row in rows}
    assert {row["grouping"] for row in rows} == {"all", "list", "region", "size"}
    assert every["all"]["cities"] == 100 and every["all"]["countries"] == 20
    assert every["all"]["mae_model"] < every["all"]["mae_country_share"]
    assert sum(row["cities"] for row in rows if row["grouping"] == "size") == 100
