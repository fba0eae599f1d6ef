"""Foreign-born shares of cities where nobody counted: a small model, its interval and its test.

The model says how far a city's share lies from its country's, by the city's size beside the
country's largest; it learns from the cities that statistical offices counted, and a country with
six hundred cities weighs as much as one with two.  Intervals are conformal: as wide as it takes
for countries that the model has not seen.  ``make`` gives the estimates, ``evaluate`` the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Values = npt.NDArray[Any]

COVERAGE: Final = 0.8
FEWEST_COUNTRIES: Final = 10
"""Countries with counted cities below which nothing is estimated."""
SMALLEST_RESIDUAL: Final = 0.05
"""Added to residuals (log-odds) before their logarithm, so that a lucky hit does not rule it."""
DECIMALS: Final = 1

OBSERVED: Final = """
    with observed as (
        select city_id, year, population, migrants_pct
        from city_migrants
        where concept = 'foreign_born'
            and origin = 'all'
            and migrants_pct > 0 and migrants_pct < 100
            and population > 0
        qualify row_number() over (
            partition by city_id, year
            order by
                list_position(
                    ['metropolitan', 'greater_city', 'functional_urban_area', 'city'], geography
                ) nulls last,
                source_id,
                source_code
        ) = 1
    )"""
"""The share of a city and year in the area nearest to an agglomeration (as city_indicators)."""

SITUATION: Final = """
    largest as (
        select country_iso3, year, max(city_population.population) as population
        from city_population
        join cities using (city_id)
        where series = getvariable('series')
        group by country_iso3, year
    ),
    nations as (
        select
            country_migration.*,
            countries.subregion,
            coalesce(contains(migrant_stock_definition, 'B'), false) as counts_born_abroad
        from country_migration
        join countries using (country_iso3)
    )"""

TRAINING: Final = f"""
    -- Of countries with an agglomeration in the series, as the cities to be estimated are.
    {OBSERVED},
    {SITUATION}
    select
        city_id,
        cities.country_iso3 as country,
        nations.subregion as region,
        observed.year,
        coalesce(cities.kind = 'un_agglomeration', false) as in_series,
        observed.migrants_pct as share,
        nations.migrant_pct as nation,
        observed.population,
        observed.population / nations.population as weight,
        observed.population / largest.population as size
    from observed
    join cities using (city_id)
    join nations using (country_iso3, year)
    join largest using (country_iso3, year)
    where nations.counts_born_abroad
        and nations.migrant_pct > 0
        and nations.population > 0
        and cities.country_iso3 not in (select country_iso3 from indicator_borders)
    order by city_id, year"""

CANDIDATES: Final = f"""
    with {SITUATION},
    counted as (
        select distinct city_id
        from city_migrants
        where origin = 'all' and concept in ('foreign_born', 'immigrant', 'foreign_citizen')
    )
    select
        city_id,
        city_population.year,
        cities.country_iso3 as country,
        nations.subregion as region,
        counted.city_id is not null as counted,
        coalesce(nations.counts_born_abroad, false) as counts_born_abroad,
        nations.migrant_pct as nation,
        city_population.population / nations.population as weight,
        city_population.population / largest.population as size
    from city_population
    join cities using (city_id)
    join largest on largest.country_iso3 = cities.country_iso3
        and largest.year = city_population.year
    left join nations on nations.country_iso3 = cities.country_iso3
        and nations.year = city_population.year
    left join counted using (city_id)
    where series = getvariable('series') and city_population.population > 0
        and city_population.year between $first and $last
    order by city_id, city_population.year"""


@dataclass(frozen=True)
class Sample:
    """Cities side by side: shares in per cent; ``size`` beside the largest city of the country.

    ``weight`` is the city's part of its country's population.
    """

    country: Values
    nation: Values
    weight: Values
    size: Values
    share: Values

    def where(self, chosen: Values) -> Sample:
        """Some of the cities."""
        return Sample(*(getattr(self, field.name)[chosen] for field in fields(Sample)))

    @property
    def gap(self) -> Values:
        """What the model explains: log-odds of the city's share less those of its country."""
        return log_odds(self.share) - log_odds(self.nation)


def log_odds(pct: Values) -> Values:
    """Percentages on the scale on which they can neither fall below 0 nor pass 100."""
    return np.asarray(np.log(pct / (100 - pct)))


def per_cent(odds: Values) -> Values:
    """The way back."""
    return np.asarray(100 / (1 + np.exp(-odds)))


def alike(country: Values) -> Values:
    """Weights that give every country the same, and sum to one."""
    _, which, count = np.unique(country, return_inverse=True, return_counts=True)
    return np.asarray(1 / count[which] / len(count))


def weighted_quantile(values: Values, weights: Values, level: float) -> float:
    """The smallest value that has ``level`` of the weight at or below it."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    at = min(int(np.searchsorted(reached, level - 1e-12)), len(values) - 1)
    return float(values[order][at])


# ------------------------------------------------------------------ what predicts a share


def _line(x: Values, y: Values, weights: Values) -> Callable[[Values], Values]:
    """A weighted least-squares line in the logarithm of ``x``."""
    from sklearn import config_context  # type: ignore[import-untyped]  # 1 s, seldom needed
    from sklearn.linear_model import LinearRegression  # type: ignore[import-untyped]

    with config_context(assume_finite=True, skip_parameter_validation=True):  # half the time
        fitted = LinearRegression().fit(np.log(x)[:, None], y, sample_weight=weights * len(y))
    return lambda other: np.asarray(fitted.coef_[0] * np.log(other) + fitted.intercept_)


def by_model(known: Sample, other: Sample) -> Values:
    """Log-odds by the model: the country's, and a line in the city's size."""
    line = _line(known.size, known.gap, alike(known.country))
    return np.asarray(log_odds(other.nation) + line(other.size))


def by_country_share(_: Sample, other: Sample) -> Values:
    """Log-odds by the first baseline: the country's share."""
    return log_odds(other.nation)


def by_median_quotient(known: Sample, other: Sample) -> Values:
    """Log-odds by the second baseline: the country's share times the median location quotient."""
    quotient = weighted_quantile(known.share / known.nation, alike(known.country), 0.5)
    return log_odds(np.minimum(other.nation * quotient, 99.0))


Method = Callable[[Sample, Sample], Values]
METHODS: Mapping[str, Method] = {
    "model": by_model,
    "country_share": by_country_share,
    "median_quotient": by_median_quotient,
}


# ------------------------------------------------------------------ how sure it is


def without_own_country(method: Method, known: Sample) -> Values:
    """Predictions for each city by what the other countries teach."""
    predicted = np.empty(len(known.share))
    for country in np.unique(known.country):
        own = known.country == country
        predicted[own] = method(known.where(~own), known.where(own))
    return predicted


def interval(method: Method, known: Sample, other: Sample) -> Values:
    """Half widths (log-odds) of the 80 % interval for ``other``, from errors on unseen countries.

    Cross conformal, by country: a city's error comes from the fit without its country, and is
    counted in units of the spread that is usual for cities of its weight (a small part of a large
    country can differ from it by far).  The quantile gives every country the same, the unseen one
    included, which is why it lies a little above 80 % (Dunn, Wasserman and Ramdas 2023).
    """
    error = np.abs(log_odds(known.share) - without_own_country(method, known))
    weights = alike(known.country)
    usual = _line(known.weight, np.log(error + SMALLEST_RESIDUAL), weights)
    scores = error / np.exp(usual(known.weight))
    countries = len(np.unique(known.country))
    level = COVERAGE * (1 + 1 / countries)
    return np.asarray(weighted_quantile(scores, weights, level) * np.exp(usual(other.weight)))


# ------------------------------------------------------------------ estimates


def make(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row per city and year of the release's series, in the years of the observations.

    ``estimate_pct``, ``low_pct`` and ``high_pct`` are null where ``note`` says why.
    """
    rows = _training(con)
    years = (int(rows["year"].min()), int(rows["year"].max())) if len(rows["year"]) else (0, 0)
    there = _columns(con, CANDIDATES, {"first": years[0], "last": years[1]})
    known = _latest(rows)
    other = _sample(there)
    note = _notes(con, rows, known, there)
    chosen = np.isin(note, ("estimated", "estimated_untested_region"))
    figures = np.full((3, len(note)), np.nan)
    if chosen.any():
        method = METHODS[best_method(known)]
        middle = method(known, other.where(chosen))
        half = interval(method, known, other.where(chosen))
        figures[:, chosen] = per_cent(np.stack([middle, middle - half, middle + half]))
    return _estimates_table(there, np.round(figures, DECIMALS), note)


def best_method(known: Sample) -> str:
    """The method with the smallest error on unseen countries, every country weighing the same."""
    weights = alike(known.country)
    errors = {
        name: float(np.sum(weights * _error(known, without_own_country(method, known))))
        for name, method in METHODS.items()
    }
    return min(errors, key=lambda name: errors[name])


def _error(known: Sample, predicted: Values) -> Values:
    return np.asarray(np.abs(per_cent(predicted) - known.share))


def _notes(
    con: duckdb.DuckDBPyConnection,
    rows: Mapping[str, Values],
    known: Sample,
    there: Mapping[str, Values],
) -> Values:
    """Why there is an estimate, or none: the first reason that holds."""
    few = len(np.unique(known.country)) < FEWEST_COUNTRIES
    nation, weight = there["nation"], there["weight"]
    low, high = (rows["nation"].min(), rows["nation"].max()) if not few else (0, 0)
    heaviest = known.weight.max() if not few else 0
    tested = np.isin(there["region"], np.unique(rows["region"]))
    every = np.ones(len(nation), dtype=bool)
    reasons = np.select(
        [
            there["counted"],
            every & _is_extract(con),
            every & few,
            np.isnan(nation) | np.isnan(weight),
            ~there["counts_born_abroad"],
            (nation < low) | (nation > high),
            weight > heaviest,
            ~tested,
        ],
        [
            "observed",
            "bundled_extract",
            "too_few_observations",
            "no_country_share",
            "country_counts_citizens",
            "country_share_outside_domain",
            "city_outweighs_domain",
            "estimated_untested_region",
        ],
        default="estimated",
    )
    return np.asarray(reasons)


def _estimates_table(there: Mapping[str, Values], figures: Values, note: Values) -> pa.Table:
    import pyarrow as pa

    names = ("estimate_pct", "low_pct", "high_pct")
    numbers = [pa.array(row, pa.float64(), from_pandas=True) for row in figures]
    return pa.table(
        {
            "city_id": pa.array(there["city_id"], pa.string()),
            "year": pa.array(there["year"], pa.int32()),
            **dict(zip(names, numbers, strict=True)),
            "note": pa.array(note, pa.string()),
        }
    )


# ------------------------------------------------------------------ evaluation

SIZES: Final = (
    ("under 100,000", 0, 100_000),
    ("100,000 to 300,000", 100_000, 300_000),
    ("300,000 to 1 million", 300_000, 1_000_000),
    ("1 million and more", 1_000_000, np.inf),
)


def evaluate(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Errors of the model and both baselines, and coverage, each country predicted by the others.

    One row per part of the cities: all, those of the UN's list, by region and by size.  Nothing
    of a country is known to what predicts it: neither the line, nor the usual spread, nor the
    quantile.  Means give every country the same; ``coverage_pooled_pct`` gives it to every city.
    """
    rows = _training(con)
    known = _latest(rows)
    if len(np.unique(known.country)) < FEWEST_COUNTRIES or _is_extract(con):
        return _evaluation_table([])
    latest = _is_latest(rows)
    errors = {
        name: _error(known, without_own_country(method, known)) for name, method in METHODS.items()
    }
    low, high = _nested(METHODS[best_method(known)], known)
    held = (low <= known.share) & (known.share <= high)
    population, region = rows["population"][latest], rows["region"][latest]
    parts = [("all", "all observed cities", np.ones(len(held), dtype=bool))]
    parts += [("list", "of the UN's list of agglomerations", rows["in_series"][latest])]
    parts += [("region", str(name), region == name) for name in np.unique(region)]
    parts += [("size", name, (population >= a) & (population < b)) for name, a, b in SIZES]
    return _evaluation_table(
        [
            _part(grouping, part, chosen, known, errors, held, high - low)
            for grouping, part, chosen in parts
            if chosen.any()
        ]
    )


def _nested(method: Method, known: Sample) -> tuple[Values, Values]:
    """Intervals of each city (per cent) from the other countries alone."""
    low, high = np.empty(len(known.share)), np.empty(len(known.share))
    for country in np.unique(known.country):
        own = known.country == country
        others, left_out = known.where(~own), known.where(own)
        middle = method(others, left_out)
        half = interval(method, others, left_out)
        low[own], high[own] = per_cent(middle - half), per_cent(middle + half)
    return low, high


def _part(
    grouping: str,
    part: str,
    chosen: Values,
    known: Sample,
    errors: Mapping[str, Values],
    held: Values,
    width: Values,
) -> dict[str, Any]:
    weights = alike(known.country[chosen])

    def mean(values: Values) -> float:
        return float(np.sum(weights * values[chosen]))

    return {
        "grouping": grouping,
        "part": part,
        "cities": int(chosen.sum()),
        "countries": len(np.unique(known.country[chosen])),
        **{f"mae_{name}": round(mean(error), 2) for name, error in errors.items()},
        "coverage_pooled_pct": round(100 * float(held[chosen].mean()), 1),
        "coverage_by_country_pct": round(100 * mean(held), 1),
        "interval_width": round(mean(width), 1),
    }


def _evaluation_table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    kinds = {
        "grouping": pa.string(),
        "part": pa.string(),
        "cities": pa.int64(),
        "countries": pa.int64(),
        **{f"mae_{name}": pa.float64() for name in METHODS},
        "coverage_pooled_pct": pa.float64(),
        "coverage_by_country_pct": pa.float64(),
        "interval_width": pa.float64(),
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


# ------------------------------------------------------------------ from and to relations


def _is_extract(con: duckdb.DuckDBPyConnection) -> bool:
    return bool(con.sql("select coalesce(getvariable('extract'), false)").fetchall()[0][0])


def _training(con: duckdb.DuckDBPyConnection) -> dict[str, Values]:
    return _columns(con, TRAINING, {})


def _columns(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, int]
) -> dict[str, Values]:
    """The columns of a query as arrays; a figure that is null is not a number."""
    table = con.sql(sql, params=dict(parameters)).to_arrow_table()
    return {name: table[name].to_numpy() for name in table.column_names}


def _is_latest(rows: Mapping[str, Values]) -> Values:
    """Whether a row is the last of its city; rows are sorted by city and year."""
    city = rows["city_id"]
    return np.append(city[1:] != city[:-1], True)[: len(city)]


def _latest(rows: Mapping[str, Values]) -> Sample:
    """One observation per city, so that a yearly register counts no more than a census."""
    return _sample(rows).where(_is_latest(rows))


def _sample(rows: Mapping[str, Values]) -> Sample:
    _, country = np.unique(rows["country"], return_inverse=True)
    share = rows.get("share", np.full(len(country), np.nan))
    nation, weight, size = (np.asarray(rows[name], float) for name in ("nation", "weight", "size"))
    return Sample(country, nation, weight, size, np.asarray(share, dtype=float))
