"""GeoNames' places of 15,000 people and more: a gazetteer of names, capitals and ids.

It is consulted, not published: every row is declared as ignored, and the places are matched
against ``geonames.cities_as_read``.  Tab separated without header and without quoting, so that a
quotation mark is part of a name, and Namibia's country code is the text ``NA``.  A blank is
*none*.  A population of zero means *not known* and is null.  ``PPLX`` is a part of a city,
``PPLC`` a capital; ``alternate_names`` mixes languages and airport codes, joined by commas.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.errors import ReadError
from urban_migration.sources.grid import Grid, tidy, zip_members
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

ARCHIVE = "cities15000.zip"
MEMBER = "cities15000.txt"
GAZETTEER = "gazetteer: consulted for names, capitals and ids, not published itself"

USED = {
    "geonames_id": "geonameid",
    "name": "name",
    "ascii_name": "asciiname",
    "alternate_names": "alternatenames",
    "latitude": "latitude",
    "longitude": "longitude",
    "feature_code": "feature code",
    "country_iso2": "country code",
    "admin1": "admin1 code",
    "population": "population",
}
"""Our columns by the names of GeoNames' readme."""
COLUMNS = (
    *("geonameid", "name", "asciiname", "alternatenames", "latitude", "longitude"),
    *("feature class", "feature code", "country code", "cc2"),
    *("admin1 code", "admin2 code", "admin3 code", "admin4 code"),
    *("population", "elevation", "dem", "timezone", "modification date"),
)
"""In the order of the file; those that are not used say nothing of names or places."""

TABLES = {
    "cities": SourceTable(
        columns={
            "geonames_id": "text",
            "name": "text",
            "ascii_name": "text",
            "alternate_names": "text",
            "latitude": "number",
            "longitude": "number",
            "feature_code": "text",
            "country_iso2": "text",
            "admin1": "text",
            "population": "integer",
        },
        key=("geonames_id",),
        code=("geonames_id",),
        lands="false",
    )
}


def read(files: Files) -> Tables:
    """One row per place; population in persons."""
    grid = _grid(zip_members(files[ARCHIVE], [MEMBER])[MEMBER])
    population = grid.integers(USED["population"])
    values = {
        "geonames_id": grid.required_text(USED["geonames_id"]),
        "name": grid.required_text(USED["name"]),
        "ascii_name": grid.text(USED["ascii_name"]),
        "alternate_names": _as_published(grid, USED["alternate_names"]),
        "latitude": grid.numbers(USED["latitude"]),
        "longitude": grid.numbers(USED["longitude"]),
        "feature_code": grid.text(USED["feature_code"]),
        "country_iso2": grid.required_text(USED["country_iso2"]),
        "admin1": grid.text(USED["admin1"]),
        "population": pc.if_else(pc.greater(population, 0), population, None),
    }
    ignored = pa.DictionaryArray.from_arrays(
        pa.nulls(len(grid), pa.int32()).fill_null(0), pa.array([GAZETTEER])
    )
    return {"cities": tidy(TABLES["cities"], grid, values, ignored=ignored)}


def _grid(content: bytes) -> Grid:
    """The file's cells under the names of GeoNames' readme."""
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise ReadError("the text is not UTF-8", file=MEMBER, row=row) from None
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != len(COLUMNS):
            problem = f"the row has {len(row)} cells between tabs, {len(COLUMNS)} were expected"
            raise ReadError(problem, file=MEMBER, row=number)
    cells = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    return Grid(MEMBER, None, {name: cells[name] for name in USED.values()}, first_row=1)


def _as_published(grid: Grid, column: str) -> list[str | None]:
    return [cell or None for cell in grid.columns[column]]


SOURCE = Source(
    id="geonames",
    title="GeoNames gazetteer: places of 15,000 people and more",
    publisher="GeoNames",
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="GeoNames geographical database, https://www.geonames.org/.",
    homepage="https://www.geonames.org/",
    edition="as downloaded",
    downloads=(
        Download(
            file=ARCHIVE,
            url=f"https://download.geonames.org/export/dump/{ARCHIVE}",
            kind="zip",
        ),
    ),
    tables=TABLES,
    read=read,
)
