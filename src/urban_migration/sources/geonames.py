"""GeoNames' places of 15,000 people and more: a gazetteer of names, capitals and ids.

It is consulted, not published: every row is declared as ignored, and the places are matched
against ``geonames.cities_as_read``.  Tab separated without header and without quoting, so that a
quotation mark is part of a name, and Namibia's country code is the text ``NA``.  A blank is
*none*.  A population of zero means *not known* and is null.  ``PPLX`` is a part of a city,
``PPLC`` a capital; ``alternate_names`` mixes languages and airport codes, joined by commas.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from urban_migration.errors import ReadError
from urban_migration.sources.grid import Grid, Values, tidy, whole, zip_members
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
    cells = _cells(zip_members(files[ARCHIVE], [MEMBER])[MEMBER])
    grid = Grid(MEMBER, None, {name: cells[name] for name in USED.values()}, first_row=1)
    for column in ("geonameid", "name", "country code"):
        if cells[column].null_count:
            index = pc.index(cells[column].is_null(), value=True).as_py()
            raise grid.error("the cell is blank where a text is expected", index, column)
    numbers = {name: _numbers(grid, cells, name) for name in ("latitude", "longitude")}
    population = whole(grid, "population", _numbers(grid, cells, "population"))
    values = {
        **{ours: cells[theirs] for ours, theirs in USED.items()},
        **numbers,
        "population": pc.if_else(pc.greater(population, 0), population, None),
    }
    rows = np.arange(cells.num_rows)
    ignored = pa.DictionaryArray.from_arrays(np.zeros_like(rows, np.int32), [GAZETTEER])
    return {"cities": tidy(TABLES["cities"], grid, values, rows=rows, ignored=ignored)}


def _cells(content: bytes) -> pa.RecordBatch:
    """The file's cells as text under the names of GeoNames' readme; blanks are null."""
    broken: list[pa_csv.InvalidRow] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        broken.append(row)
        return "error"

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content),
            read_options=pa_csv.ReadOptions(
                column_names=COLUMNS, use_threads=False, block_size=max(len(content), 1)
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter="\t",
                quote_char=False,
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(USED.values()),
                column_types=dict.fromkeys(COLUMNS, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        if not broken:
            raise ReadError(f"not a readable file of tabs ({error})", file=MEMBER) from None
        problem = (
            f"the row has {broken[0].actual_columns} cells between tabs, "
            f"{len(COLUMNS)} were expected"
        )
        raise ReadError(problem, file=MEMBER, row=broken[0].number) from None
    return table.combine_chunks().to_batches()[0]


def _numbers(grid: Grid, cells: pa.RecordBatch, column: str) -> Values:
    """A column as float64; the first cell that is no number is an error."""
    try:
        numbers: Values = pc.cast(cells[column], pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = np.array([np.nan])
    if np.isfinite(numbers).all():
        return numbers
    columns = {column: cells[column].to_pylist()}
    return dataclasses.replace(grid, columns=columns).numbers(column)  # names the cell


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
