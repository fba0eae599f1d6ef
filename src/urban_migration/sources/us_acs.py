"""Places of 65,000 and more in the United States: foreign-born and population, ACS 2015.

One-year estimates of the American Community Survey, residents of the place itself and not of its
agglomeration, in an export that repeats each place once per race; the repeats must agree.  A
blank is *not available*: foreign-born in Puerto Rico, which has a country code of its own.  No
column holds a code of the place: its name and state make one (``Portland|OR``), because
Springfield, Columbia and a dozen other names recur.  The export has lost the letters "town" and
"urban" within some names; ``us_acs.csv`` has the names that were meant.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, Values, csv_grid, read_bytes, reference_rows, tidy
from urban_migration.sources.source import Download, Files, Source, Tables

FILE = "us-cities-demographics.csv"
URL = (
    "https://public.opendatasoft.com/api/explore/v2.1/catalog/datasets/us-cities-demographics/"
    "exports/csv?lang=en&use_labels=true&delimiter=%3B"
)
YEAR = 2015

PUERTO_RICO = "PR"
NO_FIGURE = "the publisher gives no figure"

REPEATED = ("State", "Total Population", "Foreign-born")
"""Columns about the place, equal in all of its rows."""
IGNORED = {
    "Median Age": "not about migration",
    "Male Population": "by sex",
    "Female Population": "by sex",
    "Number of Veterans": "not about migration",
    "Average Household Size": "not about migration",
    "Count": "persons of one race",
}

TABLES = {
    "places": city_tables.places("us_acs"),
    "migrants": city_tables.migrants("us_acs"),
}


def read(files: Files) -> Tables:
    """One row per place; its foreign-born and population in 2015."""
    grid = csv_grid(
        FILE,
        read_bytes(files[FILE]),
        delimiter=";",
        use=["City", "State Code", "Race", *REPEATED],
        ignore=IGNORED,
    )
    states = grid.required_text("State Code")
    codes = [
        f"{city}|{state}" for city, state in zip(grid.required_text("City"), states, strict=True)
    ]
    rows = _one_row_each(grid, codes)
    taken = pa.array(rows)
    population = grid.integers("Total Population").take(taken)
    foreign_born = grid.integers("Foreign-born", null=("",)).take(taken)
    codes = [codes[row] for row in rows]
    return {
        "places": _places(grid, rows, codes, population),
        "migrants": tidy(
            TABLES["migrants"],
            grid,
            {
                "source_code": codes,
                "year": [YEAR] * len(rows),
                "concept": ["foreign_born"] * len(rows),
                "origin": ["all"] * len(rows),
                "migrants": foreign_born,
                "population": population,
                "base": population,
                "flag": pa.nulls(len(rows), pa.string()),
            },
            rows=rows,
            column="Foreign-born",
            ignored=pc.if_else(pc.is_null(foreign_born), NO_FIGURE, pa.scalar(None, pa.string())),
        ),
    }


def _one_row_each(grid: Grid, codes: list[str]) -> Values:
    """The first row (from 0) of each place, after a check that its other rows say the same."""
    first: dict[str, int] = {}
    races: dict[tuple[str, str], int] = {}
    told = {column: grid.text(column) for column in REPEATED}
    for row, (code, race) in enumerate(zip(codes, grid.required_text("Race"), strict=True)):
        before = first.setdefault(code, row)
        for column, values in told.items():
            if values[row] != values[before]:
                problem = (
                    f"{values[row] or 'blank'} for {code}, and {values[before] or 'blank'} in "
                    f"row {before + grid.first_row}; all rows of a place must agree"
                )
                raise grid.error(problem, row, column)
        if (same := races.setdefault((code, race), row)) != row:
            problem = f"{code} has this race in row {same + grid.first_row} already"
            raise grid.error(problem, row, "Race")
    return np.array(list(first.values()))


def _places(grid: Grid, rows: Values, codes: list[str], population: pa.Array) -> pa.Table:
    principal = {row["source_code"]: row["principal_city"] for row in reference_rows(__file__)}
    names = [code.partition("|")[0] for code in codes]
    states = pa.array(grid.required_text("State")).take(pa.array(rows)).to_pylist()
    count = len(codes)
    return tidy(
        TABLES["places"],
        grid,
        {
            "source_code": codes,
            "source_name": names,
            "principal_city": [principal.get(code) for code in codes],
            "other_names": [
                f"{principal.get(code, name)}, {state}"
                for code, name, state in zip(codes, names, states, strict=True)
            ],
            "country_scheme": ["iso3"] * count,
            "country_code": [
                "PRI" if code.endswith(f"|{PUERTO_RICO}") else "USA" for code in codes
            ],
            "latitude": pa.nulls(count, pa.float64()),
            "longitude": pa.nulls(count, pa.float64()),
            "population": population,
            "geography": ["city"] * count,
            "not_a_city": pa.nulls(count, pa.string()),
        },
        rows=rows,
    )


SOURCE = Source(
    id="us_acs",
    title="American Community Survey 2015: foreign-born in places of 65,000 and more",
    publisher="United States Census Bureau; export by Opendatasoft",
    licence="Public domain",
    licence_url="https://www.census.gov/about/policies/open-gov/open-data.html",
    citation="U.S. Census Bureau, American Community Survey, 1-year estimates, 2015.",
    homepage="https://public.opendatasoft.com/explore/dataset/us-cities-demographics/",
    edition="ACS 2015, 1-year",
    downloads=(Download(file=FILE, url=URL, kind="csv", max_bytes=8 * 2**20),),
    tables=TABLES,
    read=read,
)
