"""Metropolitan areas of the United States: foreign-born and population, ACS 2023.

One-year estimates of the American Community Survey, table B05002, from the Census Bureau's API;
known here from its documentation alone.  The answer is a JSON array of arrays, the first of them
the header, every value a text or null.  Null and the Bureau's annotations (-666666666 and the
like) are *no estimate*, never a number; any other negative is an error.  Margins of error are not
published.  Micropolitan areas stand in the same answer and are no city.

The API takes a key as a parameter of its address only, and may refuse whoever has none.  The key
goes to the Bureau alone: not into the lock, and into no message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from urban_migration.errors import ReadError
from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, json_value, read_bytes, tidy
from urban_migration.sources.source import Download, Files, Source, Tables

ID = "us_acs_metro"
YEAR = 2023
FILE = f"acs1-{YEAR}-B05002-metro.json"
SECRET = "CENSUS_API_KEY"

NAME, POPULATION, FOREIGN_BORN = "NAME", "B05002_001E", "B05002_013E"
AREA = "metropolitan statistical area/micropolitan statistical area"
USED = (NAME, POPULATION, FOREIGN_BORN, AREA)
IGNORED = dict.fromkeys(("B05002_001M", "B05002_013M"), "margin of error")
URL = (
    f"https://api.census.gov/data/{YEAR}/acs/acs1?get={NAME},B05002_001E,B05002_001M,"
    f"B05002_013E,B05002_013M&for={AREA.replace(' ', '%20')}:*"
)

ANNOTATIONS = frozenset(f"-{digit * 9}" for digit in "235689")
"""What the Bureau writes in place of an estimate that it does not give."""
NO_FIGURE = "the publisher gives no estimate"
MICRO = "micropolitan area"

TITLE = re.compile(r"(?P<cities>.+), (?P<states>[A-Z]{2}(?:-[A-Z]{2})*) (?P<kind>Metro|Micro) Area")
HYPHENATED = ("Wilkes-Barre", "Winston-Salem")
"""Cities whose own name has the hyphen that joins the cities of an area's title."""

TABLES = {
    "places": city_tables.places(ID),
    "migrants": city_tables.migrants(ID),
    "populations": city_tables.populations(ID),
}


class Area(NamedTuple):
    """What a title says: ``Portland-Vancouver-Hillsboro, OR-WA Metro Area``."""

    cities: str
    principal_city: str
    states: list[str]
    is_metro: bool


def read(files: Files) -> Tables:
    """One row per area; its foreign-born and its population in 2023, persons."""
    grid = _grid(files[FILE])
    codes = grid.required_text(AREA)
    for index, code in enumerate(codes):
        if not re.fullmatch(r"\d{5}", code):
            raise grid.error(f"{code!r} is not an area's code of five digits", index, AREA)
        if code in codes[:index]:
            first = codes.index(code) + grid.first_row
            raise grid.error(f"area {code} stands in row {first} too", index, AREA)
    areas = [_area(grid, index, title) for index, title in enumerate(grid.required_text(NAME))]
    population = _estimates(grid, POPULATION)
    foreign_born = _estimates(grid, FOREIGN_BORN)
    same = {"source_code": codes, "year": [YEAR] * len(codes), "flag": [None] * len(codes)}
    return {
        "places": _places(grid, codes, areas, population),
        "migrants": tidy(
            TABLES["migrants"],
            grid,
            {
                **same,
                "concept": ["foreign_born"] * len(codes),
                "origin": ["all"] * len(codes),
                "migrants": foreign_born,
                "population": population,
                "base": population,
            },
            column=FOREIGN_BORN,
            ignored=[NO_FIGURE if count is None else None for count in foreign_born],
        ),
        "populations": tidy(
            TABLES["populations"],
            grid,
            {**same, "population": population},
            column=POPULATION,
            ignored=[NO_FIGURE if count is None else None for count in population],
        ),
    }


def _grid(path: Path) -> Grid:
    """The answer's rows below its header, which is row 1."""
    rows = json_value(FILE, read_bytes(path))
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ReadError("the answer is not an array of rows, as the API describes it", file=FILE)
    header, *body = rows or [[]]
    for column in USED:
        if header.count(column) != 1:
            problem = f"the header has {header.count(column) or 'no'} such columns, not one"
            raise ReadError(problem, file=FILE, row=1, column=column)
    for column in header:
        if column not in USED and column not in IGNORED:
            problem = "unknown column: the reader must be told to use or to ignore it"
            raise ReadError(problem, file=FILE, row=1, column=str(column))
    if not body:
        raise ReadError("there are no rows below the header", file=FILE, row=1)
    for index, row in enumerate(body):
        if len(row) != len(header):
            problem = f"the row has {len(row)} values, the header has {len(header)}"
            raise ReadError(problem, file=FILE, row=index + 2)
    columns = {column: [row[header.index(column)] for row in body] for column in USED}
    return Grid(FILE, None, columns, 2, blank="no value stands")


def _area(grid: Grid, index: int, title: str) -> Area:
    match = TITLE.fullmatch(title)
    if match is None:
        problem = f"{title!r} is not a title such as 'Boise City, ID Metro Area'"
        raise grid.error(problem, index, NAME)
    cities = match["cities"]
    first = next((name for name in HYPHENATED if re.match(rf"{name}\b", cities)), None)
    principal = first or re.split(r"-+|/", cities)[0].strip()
    return Area(cities, principal, match["states"].split("-"), match["kind"] == "Metro")


def _estimates(grid: Grid, column: str) -> list[int | None]:
    """Estimates in persons; null where the Bureau gives none."""
    found: list[int | None] = grid.integers(column, null=("", *ANNOTATIONS)).to_pylist()
    for index, cell in enumerate(grid.columns[column]):
        count = found[index]
        if str(cell) in ANNOTATIONS:
            found[index] = None
        elif count is not None and count < 0:
            raise grid.error(f"{count} is no estimate and no known annotation", index, column)
    return found


def _places(
    grid: Grid, codes: Sequence[str], areas: Sequence[Area], population: Sequence[int | None]
) -> pa.Table:
    nothing: list[Any] = [None] * len(codes)
    return tidy(
        TABLES["places"],
        grid,
        {
            "source_code": codes,
            "source_name": grid.required_text(NAME),
            "principal_city": [area.principal_city for area in areas],
            "other_names": [f"{area.cities}, {area.states[0]}" for area in areas],
            "country_scheme": ["iso3"] * len(codes),
            "country_code": ["PRI" if area.states == ["PR"] else "USA" for area in areas],
            "latitude": pa.array(nothing, pa.float64()),
            "longitude": pa.array(nothing, pa.float64()),
            "population": population,
            "geography": ["metropolitan" if area.is_metro else None for area in areas],
            "not_a_city": [None if area.is_metro else MICRO for area in areas],
        },
        column=NAME,
    )


SOURCE = Source(
    id=ID,
    title=f"American Community Survey {YEAR}: foreign-born in metropolitan areas",
    publisher="United States Census Bureau",
    licence="Public domain",
    licence_url="https://www.census.gov/about/policies/open-gov/open-data.html",
    citation=(
        f"U.S. Census Bureau, American Community Survey, 1-year estimates, {YEAR}, table B05002. "
        "This product uses the Census Bureau Data API but is not endorsed or certified by the "
        "Census Bureau."
    ),
    homepage="https://www.census.gov/data/developers/data-sets/acs-1year.html",
    edition=f"ACS {YEAR}, 1-year",
    downloads=(
        Download(
            file=FILE,
            url=URL,
            kind="json",
            max_bytes=8 * 2**20,
            query={"key": "{" + SECRET + "}"},
        ),
    ),
    tables=TABLES,
    read=read,
    secret=SECRET,
    secret_help=(
        "The Census Bureau may want a key, which is free: request one at "
        "https://api.census.gov/data/key_signup.html and put it into the environment variable "
        f"{SECRET}."
    ),
    secret_optional=True,
    experimental=True,
)
