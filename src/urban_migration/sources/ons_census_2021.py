"""England and Wales, Census of 2021: born outside the United Kingdom, by local authority.

Table TS004 from Nomis; known here from its documentation alone.  Usual residents.  Who was born
outside the United Kingdom is the total less those born inside it, a difference of two cells of one
row.  A blank is an error and zero is zero; small counts are perturbed at random by the Office.  A
local authority is not an urban area: some are a city, others a city with its countryside or a
part of a conurbation.  London's boroughs are parts of one city, which the file does not add up.
Scotland and Northern Ireland took censuses of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, csv_grid, tidy, zip_members
from urban_migration.sources.source import Download, Files, Source, Tables

ID = "ons_census_2021"
YEAR = 2021
ARCHIVE = "census2021-ts004.zip"
MEMBER = "census2021-ts004-ltla.csv"
OTHER_MEMBERS = re.compile(r"census2021-ts004-(oa|lsoa|msoa|utla|rgn|ctry)\.csv|[\w-]+\.txt")
"""Other geographies, and notes."""

DATE, NAME, CODE = "date", "geography", "geography code"
BIRTHPLACE = "Country of birth: {}; measures: Value"
TOTAL = BIRTHPLACE.format("Total")
NATIVE_BORN = BIRTHPLACE.format("Europe: United Kingdom")
FOREIGN_BORN = f"{TOTAL} - {NATIVE_BORN}"
PART = re.compile(r"Country of birth: [^;]+; measures: Value")
"""Columns of other birthplaces: parts of those born outside the United Kingdom."""
AUTHORITY = re.compile(r"E0[6-9]\d{6}|W06\d{6}")
BOROUGH = "E09"

TABLES = {
    "places": city_tables.places(ID),
    "migrants": city_tables.migrants(ID),
    "populations": city_tables.populations(ID),
}


def read(files: Files) -> Tables:
    """One row per local authority; persons born outside the United Kingdom, and its population."""
    content = zip_members(files[ARCHIVE], [MEMBER], OTHER_MEMBERS)[MEMBER]
    used = [DATE, NAME, CODE, TOTAL, NATIVE_BORN]
    grid = csv_grid(MEMBER, content, use=used, ignore=_other_birthplaces(content, used))
    codes = _codes(grid)
    population, native_born = grid.integers(TOTAL), grid.integers(NATIVE_BORN)
    for index, (whole, part) in enumerate(zip(population, native_born, strict=True)):
        if not 0 <= part.as_py() <= whole.as_py():
            problem = f"{part} people of {whole} cannot have been born in the country"
            raise grid.error(problem, index, NATIVE_BORN)
    same = {"source_code": codes, "year": [YEAR] * len(codes), "flag": [None] * len(codes)}
    return {
        "places": _places(grid, codes, population),
        "migrants": tidy(
            TABLES["migrants"],
            grid,
            {
                **same,
                "concept": ["foreign_born"] * len(codes),
                "origin": ["all"] * len(codes),
                "migrants": pc.subtract(population, native_born),
                "population": population,
                "base": population,
            },
            column=FOREIGN_BORN,
        ),
        "populations": tidy(
            TABLES["populations"], grid, {**same, "population": population}, column=TOTAL
        ),
    }


def _other_birthplaces(content: bytes, used: Sequence[str]) -> Mapping[str, str]:
    header = content.partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    columns = [" ".join(name.split()) for name in re.split(r'"?,"?', header.strip('"'))]
    return {
        name: "a part of those born outside the United Kingdom"
        for name in columns
        if PART.fullmatch(name) and name not in used
    }


def _codes(grid: Grid) -> list[str]:
    """Codes of local authorities, each once, of the year expected."""
    codes = grid.required_text(CODE)
    years = grid.required_text(DATE)
    for index, (code, year) in enumerate(zip(codes, years, strict=True)):
        if year != str(YEAR):
            raise grid.error(f"{year} where {YEAR} is expected", index, DATE)
        if not AUTHORITY.fullmatch(code):
            problem = f"{code!r} is not a local authority's code of England or Wales"
            raise grid.error(problem, index, CODE)
        if code in codes[:index]:
            first = codes.index(code) + grid.first_row
            raise grid.error(f"{code} stands in row {first} too", index, CODE)
    return codes


def _places(grid: Grid, codes: Sequence[str], population: pa.Array) -> pa.Table:
    nothing: list[Any] = [None] * len(codes)
    is_borough = [code.startswith(BOROUGH) for code in codes]
    return tidy(
        TABLES["places"],
        grid,
        {
            "source_code": codes,
            "source_name": grid.required_text(NAME),
            "principal_city": nothing,
            "other_names": nothing,
            "country_scheme": ["iso3"] * len(codes),
            "country_code": ["GBR"] * len(codes),
            "latitude": pa.array(nothing, pa.float64()),
            "longitude": pa.array(nothing, pa.float64()),
            "population": population,
            "geography": [None if part else "city" for part in is_borough],
            "not_a_city": ["borough, a part of London" if part else None for part in is_borough],
        },
        column=NAME,
    )


SOURCE = Source(
    id=ID,
    title="Census 2021, TS004: country of birth by local authority, England and Wales",
    publisher="Office for National Statistics, by Nomis",
    licence="Open Government Licence v3.0",
    licence_url="https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
    citation=(
        "Office for National Statistics, Census 2021, TS004 Country of birth. Contains public "
        "sector information licensed under the Open Government Licence v3.0."
    ),
    homepage="https://www.nomisweb.co.uk/sources/census_2021_bulk",
    edition="2021",
    downloads=(
        Download(
            file=ARCHIVE,
            url=f"https://www.nomisweb.co.uk/output/census/2021/{ARCHIVE}",
            kind="zip",
            max_bytes=128 * 2**20,
        ),
    ),
    tables=TABLES,
    read=read,
    experimental=True,
)
