"""World Urbanization Prospects 2025: population, area and built-up area of cities, 1975-2050.

Cities are those of the Degree of Urbanisation (contiguous grid cells of 1,500 people per km2 or
more, 50,000 people in all), not the national agglomerations of the 2018 Revision: codes and
concepts differ, and Jakarta has four times the people here.  Population is in thousands at
mid-year and read as persons; years to 2025 are estimates, later ones projections.  A year in
which a city has no row, or a row without ``Pop``, is one in which it has *below 50,000 people*,
which is not zero; blank areas are not known.  Centres are population-weighted and move between
years: ``cities`` has those of the last year that has a population, named in ``coordinates_year``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.sources.grid import BigGrid, Values, big_csv_grid, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

FILE = "WUP2025-DB-DEGURBA-Cities-Population-Surface-Data.csv.gz"
LAST_ESTIMATED_YEAR = 2025
BELOW_THRESHOLD = "below 50,000 people: the publisher gives no figure"
PLAUSIBILITY = {"High", "Moderate", "Low"}

IGNORED = {
    "Location": "names of countries are taken from M49",
    "Notes": "numbers of notes that are not in this file",
    "ISO3_Code": "LocID is the country's M49 code",
    "ISO2_Code": "LocID is the country's M49 code",
    "TimeMid": "the year and a half: the middle of Year",
    "Pop_1Jan": "population at 1 January; the one at mid-year is used, as in the other editions",
}

UNREGISTERED = """exists (
            select 1 from city_crosswalk x
            where x.source_id = 'un_wup_2025' and x.source_code = fact.city_code
            and x.city_id is null)"""
"""A city without an id until ``urban-migration maintain register`` has been run."""

TABLES = {
    "cities": SourceTable(
        columns={
            "city_code": "text",
            "location_code": "text",
            "name": "text",
            "capital": "boolean",
            "latitude": "number",
            "longitude": "number",
            "coordinates_year": "year",
        },
        key=("city_code",),
        code=("city_code",),
        lands="exists (select 1 from cities c where c.wup2025_code = fact.city_code)",
        unmatched=UNREGISTERED,
    ),
    "city_populations": SourceTable(
        columns={
            "city_code": "text",
            "year": "year",
            "population": "integer",
            "area_km2": "number",
            "built_up_km2": "number",
            "plausibility": "text",
        },
        key=("city_code", "year"),
        code=("city_code",),
        lands="""exists (
            select 1 from city_population p join cities c using (city_id)
            where c.wup2025_code = fact.city_code and p.series = 'wup2025'
            and p.year = fact.year and p.population = fact.population)""",
        unmatched=UNREGISTERED,
    ),
}


def read(files: Files) -> Tables:
    """One row per city, and one per city and calendar year; persons and square kilometres."""
    grid = big_csv_grid(
        FILE,
        files[FILE],
        text=["LocID", "City_Code", "City_Name", "Capital", "Pop_plausibility"],
        numbers=["Year", "Pop", "PWCent_Longitude", "PWCent_Latitude", "AREA_km2", "BU_km2"],
        ignore=IGNORED,
    )
    codes, years = grid.required_strings("City_Code"), grid.years("Year")
    population = grid.integers("Pop", null=("",), scale=1000)
    populations = tidy(
        TABLES["city_populations"],
        grid,
        {
            "city_code": codes,
            "year": years,
            "population": population,
            "area_km2": _measured(grid, "AREA_km2"),
            "built_up_km2": _measured(grid, "BU_km2"),
            "plausibility": grid.one_of(
                "Pop_plausibility", PLAUSIBILITY, "unknown plausibility {}", blank=True
            ),
        },
        column="Pop",
        ignored=pc.if_else(population.is_null(), BELOW_THRESHOLD, None),
    )
    last = _last_rows(codes, years, population)
    _check_locations(grid, codes, last)
    return {"cities": _cities(grid, codes, years, last), "city_populations": populations}


def _cities(grid: BigGrid, codes: pa.DictionaryArray, years: pa.Array, last: Values) -> pa.Table:
    """The cities as the row ``last`` of each has them, in the order of their first rows."""
    at = pa.array(last)
    located = {
        axis: _measured(grid, column).take(at)
        for axis, column in (("latitude", "PWCent_Latitude"), ("longitude", "PWCent_Longitude"))
    }
    capitals = grid.one_of("Capital", {"0", "1"}, "{} stands where 0 or 1 is expected").take(at)
    return tidy(
        TABLES["cities"],
        grid,
        {
            "city_code": codes.take(at),
            "location_code": grid.required_strings("LocID").take(at),
            "name": grid.required_strings("City_Name").take(at),
            "capital": pc.equal(capitals.cast(pa.string()), "1"),
            **located,
            "coordinates_year": years.take(at),
        },
        rows=last,
    )


def _last_rows(codes: pa.DictionaryArray, years: pa.Array, population: pa.Array) -> Values:
    """The row (from 0) of each city's last year with a population, or of its last year."""
    order = codes.indices.to_numpy().astype(np.int64)
    rank = years.to_numpy() + np.where(population.is_valid(), 10_000, 0)
    ranked = order * 100_000 + rank
    by_city = np.argsort(ranked, kind="stable")
    ends = np.flatnonzero(np.diff(order[by_city], append=-1))
    return by_city[ends]


def _check_locations(grid: BigGrid, codes: pa.DictionaryArray, last: Values) -> None:
    """A city that stands in two countries is two cities under one code."""
    places = grid.required_strings("LocID").indices.to_numpy()
    cities = codes.indices.to_numpy()
    expected = np.empty(len(codes.dictionary), dtype=places.dtype)
    expected[cities[last]] = places[last]
    if (places != expected[cities]).any():
        index = int(np.flatnonzero(places != expected[cities])[0])
        problem = f"city {codes[index].as_py()} is in another country in other rows"
        raise grid.error(problem, index, "LocID")


def _measured(grid: BigGrid, column: str) -> pa.Array:
    """Numbers as they are; blank is null."""
    return pa.array(grid.numbers(column, null=("",)), from_pandas=True)


SOURCE = Source(
    id="un_wup_2025",
    title="World Urbanization Prospects 2025: cities by degree of urbanisation",
    publisher="United Nations, Department of Economic and Social Affairs, Population Division",
    licence="CC BY 3.0 IGO",
    licence_url="https://creativecommons.org/licenses/by/3.0/igo/",
    citation=(
        "United Nations, Department of Economic and Social Affairs, Population Division (2025). "
        "World Urbanization Prospects 2025."
    ),
    homepage="https://population.un.org/wup/",
    edition="2025",
    downloads=(
        Download(
            file=FILE,
            url=f"https://population.un.org/wup/assets/Download/Cities/{FILE}",
            kind="csv.gz",
        ),
    ),
    tables=TABLES,
    read=read,
)
