"""Canada's Census of 2016: immigrants by place of birth in the census metropolitan areas.

Landed immigrants and permanent residents, persons, without non-permanent residents.  Counts are
rounded at random to multiples of 5, small ones to 0 or 10, so that a zero may stand for a few
persons and origins miss their total by some ten or hundred; the few immigrants born in Canada
have no place of birth.  There are no blanks.  The file has no population: shares cannot be
computed.  It has codes only, which ``statcan_census_2016.csv`` names: areas by the Standard
Geographical Classification (text: 001 is St. John's, 01 is Canada), places of birth by ISO
alpha-2, but with North and South Korea the wrong way round.  Ottawa - Gatineau comes in two
parts that are added up.  The publisher's files 2 to 7 (periods of immigration) are not fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from urban_migration.errors import ReadError
from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, Values, read_bytes, reference_rows, tidy
from urban_migration.sources.source import Download, Files, Source, Tables

FILE = "census_birthplace_1.json"
YEAR = 2016
REFERENCE = "statcan_census_2016.csv"

FIGURE = "total"
IGNORED_FIGURES = {
    "worker": "admission category",
    "business": "admission category",
    "nominee": "admission category",
    "sponsor": "admission category",
    "refugee": "admission category",
    "bef_80": "admitted before 1980, without an admission category",
    "other": "admission category",
}
PARTS = {"505": ("24505", "35505")}
"""Metropolitan areas that the file holds in parts, one for each province."""

TABLES = {
    "places": city_tables.places("statcan_census_2016"),
    "migrants": city_tables.migrants("statcan_census_2016"),
}

Reference = Mapping[str, Mapping[str, str]]
"""Rows of our reference CSV by code."""


def read(files: Files) -> Tables:
    """One row per area; immigrants per area, all and by place of birth."""
    rows = reference_rows(__file__)
    births, areas = (
        {row["code"]: row for row in rows if row["kind"] == kind} for kind in ("birthplace", "area")
    )
    content = _content(read_bytes(files[FILE]))
    birth_codes = _codes(content, 0, "pob", births)
    area_codes = _codes(content, 1, "sgc", {c: r for c, r in areas.items() if c not in PARTS})
    figures = _figures(content, (len(birth_codes), len(area_codes)))
    columns = {code: [area_codes.index(part) for part in PARTS.get(code, (code,))]
               for code in areas}  # fmt: skip
    return {
        "places": _places(areas, [first for first, *_ in columns.values()]),
        "migrants": _migrants(areas, births, birth_codes, area_codes, figures, columns),
    }


def _content(raw: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        problem = f"the text is not valid JSON ({error.msg})"
        raise ReadError(problem, file=FILE, row=error.lineno) from None
    if not isinstance(content, dict):
        raise ReadError("the file is not an object with members", file=FILE)
    _members(content, {"meta", "indexes", "values", "matrix"}, "member")
    return content


def _members(found: object, wanted: set[str], what: str) -> None:
    names = found.keys() if isinstance(found, dict) else set()
    for name in sorted(names ^ wanted):
        problem = f"unknown {what}" if name in names else f"the file has no such {what}"
        raise ReadError(problem, file=FILE, column=name)


def _codes(content: Mapping[str, Any], at: int, kind: str, known: Reference) -> list[str]:
    """The codes of one of the two dimensions, all of them known and none missing."""
    try:
        index = content["indexes"][at]
        codes = list(index["data"])
    except (KeyError, IndexError, TypeError):
        problem = f"the list of codes is not where it is expected (indexes[{at}].data)"
        raise ReadError(problem, file=FILE, column=kind) from None
    if index.get("type") != kind:
        problem = f"indexes[{at}] is of type {index.get('type')!r}"
        raise ReadError(problem, file=FILE, column=kind)
    for number, code in enumerate(codes, 1):
        if code not in known:
            problem = f"unknown code {code!r}: add it to {REFERENCE}"
            raise ReadError(problem, file=FILE, row=number, column=kind)
    if len(set(codes)) != len(codes):
        code = next(code for code in codes if codes.count(code) > 1)
        raise ReadError(f"the code {code!r} stands there twice", file=FILE, column=kind)
    if missing := [code for code in known if code not in codes]:
        raise ReadError(f"the code {missing[0]!r} is missing", file=FILE, column=kind)
    return codes


def _figures(content: Mapping[str, Any], shape: tuple[int, int]) -> Values:
    """Immigrants by place of birth and area: ``matrix`` says where in the list each stands."""
    matrix, values = content["matrix"], content["values"]
    _members(values, {FIGURE, *IGNORED_FIGURES}, "list of values")
    figures = values[FIGURE]
    for name, member in (("matrix", matrix), (FIGURE, figures)):
        if not isinstance(member, list):
            raise ReadError("a list was expected here", file=FILE, column=name)
    for number, row in enumerate(matrix, 1):
        if not isinstance(row, list) or len(row) != shape[1]:
            problem = f"the row does not have {shape[1]} cells, one for each area"
            raise ReadError(problem, file=FILE, row=number, column="matrix")
    if len(matrix) != shape[0]:
        problem = f"there are {len(matrix)} rows and {shape[0]} places of birth"
        raise ReadError(problem, file=FILE, column="matrix")
    positions = list(chain.from_iterable(matrix))
    if set(map(type, positions)) != {int} or sorted(positions) != list(range(len(figures))):
        problem = f"its cells are not the {len(figures)} positions of the list of values, each once"
        raise ReadError(problem, file=FILE, column="matrix")
    for position, figure in enumerate(figures):
        if type(figure) is not int:
            problem = f"{figure!r} where a whole number is expected"
            row, _ = divmod(positions.index(position), shape[1])
            raise ReadError(problem, file=FILE, row=row + 1, column=FIGURE)
    persons: Values = np.array(figures, dtype=np.int64)[np.array(matrix)]
    return persons


def _places(areas: Reference, rows: Sequence[int]) -> pa.Table:
    count = len(areas)
    kinds = [area["note"] or None for area in areas.values()]
    return tidy(
        TABLES["places"],
        Grid(FILE, None, {}, 1),
        {
            "source_code": list(areas),
            "source_name": [area["name"] for area in areas.values()],
            "principal_city": [area["principal_city"] or None for area in areas.values()],
            "other_names": pa.nulls(count, pa.string()),
            "country_scheme": ["iso3"] * count,
            "country_code": ["CAN"] * count,
            "latitude": pa.nulls(count, pa.float64()),
            "longitude": pa.nulls(count, pa.float64()),
            "population": pa.nulls(count, pa.int64()),
            "geography": [None if kind else "metropolitan" for kind in kinds],
            "not_a_city": kinds,
        },
        rows=np.array(rows),
    )


def _migrants(
    areas: Reference,
    births: Reference,
    birth_codes: Sequence[str],
    area_codes: Sequence[str],
    figures: Values,
    columns: Mapping[str, Sequence[int]],
) -> pa.Table:
    """One fact per place of birth and area; row and column are those of ``matrix``."""
    persons = np.stack([figures[:, parts].sum(axis=1) for parts in columns.values()], axis=1)
    headers = [" + ".join(area_codes[part] for part in parts) for parts in columns.values()]
    origins = [births[code]["country_iso3"] for code in birth_codes]
    no_cities = [f"not a city: {area['note']}" if area["note"] else None for area in areas.values()]
    sums = [
        None if origin else f"not an origin: {births[code]['note']}"
        for code, origin in zip(birth_codes, origins, strict=True)
    ]
    count = persons.size
    return tidy(
        TABLES["migrants"],
        Grid(FILE, None, {}, 1),
        {
            "source_code": list(areas) * len(birth_codes),
            "year": [YEAR] * count,
            "concept": ["immigrant"] * count,
            "origin": [
                origin or code
                for code, origin in zip(birth_codes, origins, strict=True)
                for _ in areas
            ],
            "migrants": persons.ravel(),
            "population": pa.nulls(count, pa.int64()),
            "base": pa.nulls(count, pa.int64()),
            "flag": pa.nulls(count, pa.string()),
        },
        rows=np.repeat(np.arange(len(birth_codes)), len(areas)),
        column=headers * len(birth_codes),
        ignored=[no_city or sum_ for sum_ in sums for no_city in no_cities],
    )


SOURCE = Source(
    id="statcan_census_2016",
    title="Census of Population 2016: immigrants by place of birth, census metropolitan areas",
    publisher="Statistics Canada",
    licence="Statistics Canada Open Licence",
    licence_url="https://www.statcan.gc.ca/en/reference/licence",
    citation=(
        "Statistics Canada, 2016 Census of Population: immigrant population by selected places "
        "of birth, admission category and period of immigration."
    ),
    homepage="https://github.com/StatCan/census_birthplace",
    edition="2016 Census",
    downloads=(
        Download(
            file=FILE,
            url=f"https://raw.githubusercontent.com/StatCan/census_birthplace/master/data/{FILE}",
            kind="json",
            max_bytes=8 * 2**20,
        ),
    ),
    tables=TABLES,
    read=read,
)
