"""OECD: foreign-born population of cities and functional urban areas, by year.

SDMX-CSV with labels of ``DSD_FUA_DEMO@DF_ORIGIN``; known here from its documentation alone.  Code
and label columns stand in turn.  A figure that does not exist has no row; a blank is *no figure*,
zero is zero.  Figures are in units of 10^UNIT_MULT persons, and are rounded to whole persons where
the OECD estimates.  Rows by age, sex or citizenship, and percentages, are parts or shares of
the totals and are not published.  What an ORIGIN means is taken from its label, so that a new one
is an error and no guess.  Status ``A`` is a normal value and is no flag; others become flags in
small letters.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, csv_grid, read_bytes, tidy
from urban_migration.sources.source import Download, Files, Source, Tables

ID = "oecd_fua"
FILE = "DSD_FUA_DEMO-DF_ORIGIN.csv"
FLOW = "OECD.CFE.EDS:DSD_FUA_DEMO@DF_ORIGIN"
URL = (
    "https://sdmx.oecd.org/public/rest/data/OECD.CFE.EDS,DSD_FUA_DEMO@DF_ORIGIN,1.2/"
    ".A.......?startPeriod=2010&dimensionAtObservation=AllDimensions&format=csvfilewithlabels"
)

TOTAL = "_T"
WHOLES = {"AGE": {TOTAL}, "SEX": {TOTAL}, "CITIZENSHIP": {TOTAL, "_Z"}}
"""What each of these dimensions says where a row is not about a part."""
LEVELS = {"CITY": "city", "FUA": "functional_urban_area"}
ORIGINS = {
    "total": "population",
    "foreign-born": "foreign_born",
    "native-born": "native_born",
}
"""What is counted, by the label of ORIGIN in small letters."""
USED = (
    *("STRUCTURE_ID", "REF_AREA", "FREQ", "MEASURE", "UNIT_MEASURE", "ORIGIN", *WHOLES),
    *("TERRITORIAL_LEVEL", "TIME_PERIOD", "OBS_VALUE", "OBS_STATUS", "UNIT_MULT"),
)
LABELLED = ("REF_AREA", "ORIGIN")
IGNORED = {
    "STRUCTURE": "always dataflow",
    "STRUCTURE_NAME": "the title of the table",
    "ACTION": "always I, information",
    "DECIMALS": "how the publisher shows a figure",
}

STATUS = frozenset("ABDEFGIKLMNOPQSTUV")
"""SDMX's code list of observation status."""
AREA = re.compile(r"(?:[A-Z]{2}\d{3}|[A-Z]{3}\d{2,3})[A-Z]?\d?")
ISO2 = {"EL": "GR", "UK": "GB"}
"""Letters of countries in European codes that are not ISO 3166-1."""

PART = "by age, sex or citizenship: a part of a total that is published"
SHARE = "a percentage, not persons"
NATIVE = "the native-born are the population without the foreign-born"
NO_FIGURE = "the publisher gives no figure"

TABLES = {
    "places": city_tables.places(ID),
    "migrants": city_tables.migrants(ID),
    "populations": city_tables.populations(ID),
}


class Rows(NamedTuple):
    """The file's rows, columns side by side; ``ignored`` says why one is not published."""

    grid: Grid
    codes: list[str]
    names: list[str]
    levels: list[str]
    years: list[int]
    counted: list[str]
    figures: list[int | None]
    flags: list[str | None]
    ignored: list[str | None]


def read(files: Files) -> Tables:
    """The areas, their foreign-born and their populations by year; persons."""
    rows = _rows(read_bytes(files[FILE]))
    every = range(len(rows.codes))
    people = [index for index in every if rows.counted[index] == "population"]
    born = [index for index in every if rows.counted[index] != "population"]
    population = {
        (rows.codes[index], rows.years[index]): rows.figures[index]
        for index in people
        if rows.ignored[index] is None
    }
    whole = [population.get((rows.codes[index], rows.years[index])) for index in born]
    return {
        "places": _places(rows, population),
        "migrants": tidy(
            TABLES["migrants"],
            rows.grid,
            {
                "source_code": _at(rows.codes, born),
                "year": _at(rows.years, born),
                "concept": _at(rows.counted, born),
                "origin": ["all"] * len(born),
                "migrants": pa.array(_at(rows.figures, born), pa.int64()),
                "population": pa.array(whole, pa.int64()),
                "base": pa.array(whole, pa.int64()),
                "flag": pa.array(_at(rows.flags, born), pa.string()),
            },
            rows=np.array(born, dtype=np.int64),
            column="OBS_VALUE",
            ignored=[
                rows.ignored[index] or (NATIVE if rows.counted[index] == "native_born" else None)
                for index in born
            ],
        ),
        "populations": tidy(
            TABLES["populations"],
            rows.grid,
            {
                "source_code": _at(rows.codes, people),
                "year": _at(rows.years, people),
                "population": pa.array(_at(rows.figures, people), pa.int64()),
                "flag": pa.array(_at(rows.flags, people), pa.string()),
            },
            rows=np.array(people, dtype=np.int64),
            column="OBS_VALUE",
            ignored=_at(rows.ignored, people),
        ),
    }


def _at(values: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [values[row] for row in rows]


# ------------------------------------------------------------------ SDMX-CSV


def _rows(content: bytes) -> Rows:
    """Every row, once each of its codes is one that is known."""
    labels = _labels(content)
    needed = {labels.get(code, f"(label of {code})") for code in LABELLED}
    grid = csv_grid(
        FILE,
        content,
        use=[*USED, *needed],
        ignore=IGNORED | {v: "the code is used" for v in labels.values() if v not in needed},
    )
    flows = [flow.partition("(")[0] for flow in grid.required_text("STRUCTURE_ID")]
    _expect(grid, "STRUCTURE_ID", flows, {FLOW}, "is not the table expected")
    _expect(grid, "FREQ", grid.required_text("FREQ"), {"A"}, "is not annual")
    _expect(grid, "MEASURE", grid.required_text("MEASURE"), {"POP"}, "is not a population")
    levels = grid.required_text("TERRITORIAL_LEVEL")
    _expect(grid, "TERRITORIAL_LEVEL", levels, LEVELS, "is an unknown level")
    codes = grid.required_text("REF_AREA")
    for index, code in enumerate(codes):
        if not AREA.fullmatch(code):
            raise grid.error(f"{code!r} is not the code of an area", index, "REF_AREA")
    origin = labels["ORIGIN"]
    origins = [text.casefold() for text in grid.required_text(origin)]
    _expect(grid, origin, origins, ORIGINS, "is an unknown origin")
    units = grid.required_text("UNIT_MEASURE")
    is_share = [unit.startswith("PT") for unit in units]
    known = [unit if share else "PS" for unit, share in zip(units, is_share, strict=True)]
    _expect(grid, "UNIT_MEASURE", units, set(known), "is neither persons nor a percentage")
    figures = _figures(grid, is_share)
    return Rows(
        grid,
        codes,
        grid.required_text(labels["REF_AREA"]),
        levels,
        grid.years("TIME_PERIOD").to_pylist(),
        [ORIGINS[text] for text in origins],
        figures,
        _flags(grid),
        _ignored(grid, is_share, figures),
    )


def _labels(content: bytes) -> Mapping[str, str]:
    """The header of the label that stands behind each code."""
    line = content.partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    header = [" ".join(name.split()) for name in next(csv.reader(io.StringIO(line)), [])]
    pairs = itertools.pairwise(header)
    coded = {*USED, *IGNORED} - {"STRUCTURE", "STRUCTURE_ID", "STRUCTURE_NAME", "ACTION"}
    return {
        code: label
        for code, label in pairs
        if code in coded and label and not re.fullmatch(r"[A-Z][A-Z0-9_]*", label)
    }


def _expect(grid: Grid, column: str, values: Sequence[str], known: Any, problem: str) -> None:
    if not set(values) <= set(known):
        index = next(at for at, value in enumerate(values) if value not in known)
        raise grid.error(f"{values[index]!r} {problem}", index, column)


def _figures(grid: Grid, is_share: Sequence[bool]) -> list[int | None]:
    """Persons; null for what is blank, and for what is no number of persons."""
    values = grid.numbers("OBS_VALUE", null=("",))
    powers = grid.integers("UNIT_MULT", null=("",)).to_pylist()
    figures: list[int | None] = []
    for index, (value, power, share) in enumerate(zip(values, powers, is_share, strict=True)):
        if power is not None and not 0 <= power <= 9:
            raise grid.error(f"units of 10^{power} persons", index, "UNIT_MULT")
        if share or np.isnan(value):
            figures.append(None)
            continue
        if power is None:
            raise grid.error("no unit multiplier stands beside a figure", index, "UNIT_MULT")
        if value < 0:
            raise grid.error(f"{value:g} is no number of persons", index, "OBS_VALUE")
        figures.append(round(value * 10**power))
    return figures


def _flags(grid: Grid) -> list[str | None]:
    status = grid.text("OBS_STATUS")
    _expect(grid, "OBS_STATUS", [s or "A" for s in status], STATUS, "is an unknown status")
    return [None if letter in (None, "A") else str(letter).lower() for letter in status]


def _ignored(
    grid: Grid, is_share: Sequence[bool], figures: Sequence[int | None]
) -> list[str | None]:
    is_part = np.zeros(len(grid), dtype=bool)
    for column, wholes in WHOLES.items():
        is_part |= [text not in wholes for text in grid.required_text(column)]
    return [
        SHARE if share else PART if part else NO_FIGURE if figure is None else None
        for share, part, figure in zip(is_share, is_part, figures, strict=True)
    ]


# ------------------------------------------------------------------ places


def _places(rows: Rows, population: Mapping[tuple[str, int], int | None]) -> pa.Table:
    """One row per area, from the first row that has it; its level and name never change."""
    first: dict[str, int] = {}
    for index, code in enumerate(rows.codes):
        before = first.setdefault(code, index)
        for column, told in (("TERRITORIAL_LEVEL", rows.levels), ("REF_AREA", rows.names)):
            if told[index] != told[before]:
                problem = f"{told[index]!r} for {code}, and {told[before]!r} before"
                raise rows.grid.error(problem, index, column)
    latest = {code: count for (code, _), count in sorted(population.items())}
    codes, at = list(first), list(first.values())
    nothing: list[Any] = [None] * len(codes)
    return tidy(
        TABLES["places"],
        rows.grid,
        {
            "source_code": codes,
            "source_name": _at(rows.names, at),
            "principal_city": nothing,
            "other_names": nothing,
            "country_scheme": ["iso2" if code[2].isdigit() else "iso3" for code in codes],
            "country_code": [_country(code) for code in codes],
            "latitude": pa.array(nothing, pa.float64()),
            "longitude": pa.array(nothing, pa.float64()),
            "population": pa.array([latest.get(code) for code in codes], pa.int64()),
            "geography": [LEVELS[rows.levels[index]] for index in at],
            "not_a_city": nothing,
        },
        rows=np.array(at, dtype=np.int64),
        column="REF_AREA",
    )


def _country(code: str) -> str:
    return ISO2.get(code[:2], code[:2]) if code[2].isdigit() else code[:3]


SOURCE = Source(
    id=ID,
    title="Foreign-born population of cities and functional urban areas",
    publisher="Organisation for Economic Co-operation and Development (OECD)",
    licence="CC BY 4.0",
    licence_url="https://www.oecd.org/en/about/terms-conditions.html",
    citation="OECD, Foreign-born population - Cities and FUAs (DSD_FUA_DEMO@DF_ORIGIN).",
    homepage="https://data-explorer.oecd.org/",
    edition="as downloaded",
    downloads=(Download(file=FILE, url=URL, kind="csv"),),
    tables=TABLES,
    read=read,
    experimental=True,
)
