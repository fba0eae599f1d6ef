"""City populations of the Demographic Yearbook (table 240): cities proper and agglomerations.

Persons, both sexes, as national offices report them to the United Nations Statistics Division.
A blank is an error; a zero or a one stands in place of a figure (Mexico 2005), and the suite
withholds it.  Values that are not whole (means of two dates, projections) are rounded to whole
persons, halves up.  A city and year may stand there under several record types.  One is taken: a
final figure before a provisional one; then a complete census before a sample of one, an estimate
and a survey, and of each the residents (de jure) before those present (de facto); then the
latest source year.  The others are declared as superseded.  Flags: e estimated (all but complete
counts), p provisional.  The block of footnotes below the data is checked and left out.
``unsd_city_population.csv`` holds today's M49 names of renamed countries, and the names of
cities behind slips of the pen.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.errors import ReadError
from urban_migration.sources import city_tables
from urban_migration.sources.grid import (
    DAMAGE,
    Grid,
    Values,
    csv_grid,
    reference_rows,
    tidy,
    zip_members,
)
from urban_migration.sources.source import Download, Files, Source, Tables

ARCHIVE = "unsd_city_population.zip"
URL = (
    "https://data.un.org/Handlers/DownloadHandler.ashx?DataFilter=tableCode:240;sexCode:0"
    "&DataMartId=POP&Format=csv&c=2,3,6,8,10,12,14,16,17,18"
    "&s=_countryEnglishNameOrderBy:asc,refYear:desc,areaCode:asc"
)
MEMBER = re.compile(r"UNdata_Export_\d+_\d+\.csv")
"""The export's name carries its date."""
NOTES = re.compile(rb'\r?\n,*\r?\n"?footnoteSeqID"?,"?Footnote"?,*\r?\n')
"""A blank line and the header of the footnotes, wherever they were saved again."""

CODE = ("Country or Area", "City", "City type")
CONSTANT = {"Area": "Total", "Sex": "Both Sexes"}
GEOGRAPHY = {"City proper": "city", "Urban agglomeration": "metropolitan"}
RELIABILITY = ("Final figure, complete", "Provisional figure", "Other estimate")
RECORD_TYPES = (
    "Census - de jure - complete tabulation",
    "Census - de facto - complete tabulation",
    "Census - de jure - sample tabulation",
    "Census - de facto - sample tabulation",
    "Estimate - de jure",
    "Estimate - de facto",
    "Sample survey - de jure",
    "Sample survey - de facto",
    "Record type not defined/applicable",
)
"""Both in the order in which they are preferred."""
COMPLETE = RECORD_TYPES[:2]
PLACEHOLDER = 1
"""Up to here a value is no population of a city; Pitcairn's Adamstown has some 50 people."""
IN_CAPITALS = re.compile(r"\w[\w']*")
SMALL_WORDS = {"De", "La", "Of"}

TABLES = {
    "places": city_tables.places("unsd_city_population"),
    "populations": city_tables.populations("unsd_city_population"),
}


def read(files: Files) -> Tables:
    """One row per city and city type; its population by year."""
    member = member_of(files[ARCHIVE].name, files)
    data, notes = split(member, zip_members(files[ARCHIVE], [member])[member])
    grid = csv_grid(
        member,
        data,
        use=[
            *CODE,
            *CONSTANT,
            "Year",
            "Record Type",
            "Reliability",
            "Source Year",
            "Value",
            "Value Footnotes",
        ],
        ignore={},
    )
    _check_notes(grid, note_ids(member, notes, len(grid) + 2))
    for column, value in CONSTANT.items():
        _known(grid, column, (value,))
    codes = ["|".join(parts) for parts in zip(*map(grid.required_text, CODE), strict=True)]
    years = grid.years("Year")
    chosen = _chosen(grid, codes, years.to_pylist())
    population = pa.array(np.floor(grid.numbers("Value") + 0.5).astype(np.int64))
    return {
        "places": _places(grid, codes, years.to_numpy(), chosen, population),
        "populations": tidy(
            TABLES["populations"],
            grid,
            {
                "source_code": codes,
                "year": years,
                "population": population,
                "flag": _flags(grid),
            },
            column="Value",
            ignored=[
                None if other == row else f"superseded by row {other + grid.first_row}"
                for row, other in enumerate(chosen)
            ],
        ),
    }


# ------------------------------------------------------------------ the file


def member_of(name: str, files: Files) -> str:
    """The name of the export within the archive."""
    try:
        with zipfile.ZipFile(files[ARCHIVE]) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except DAMAGE as error:
        raise ReadError(f"cannot be unpacked ({error})", file=name) from None
    found = [member for member in names if MEMBER.fullmatch(member)]
    if len(names) != 1 or not found:
        problem = f"one member UNdata_Export_<date>_<number>.csv was expected, it has {names}"
        raise ReadError(problem, file=name)
    return found[0]


def split(member: str, content: bytes) -> tuple[bytes, bytes]:
    """The data and the footnotes below it; without these the export was cut short."""
    parts = NOTES.split(content, maxsplit=1)
    if len(parts) != 2:
        problem = "no block of footnotes (footnoteSeqID, Footnote) ends the file: it was cut short"
        raise ReadError(problem, file=member)
    return parts[0], parts[1]


def note_ids(member: str, content: bytes, row: int) -> set[str]:
    """The numbers of the footnotes; ``row`` is that of the blank line before their header."""
    ids: set[str] = set()
    lines = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    for at, (number, *text) in enumerate(filter(None, lines), row + 2):
        if number in ids or not number.isdecimal() or not text or not text[0].strip():
            problem = f"{number!r} is not the number of a new footnote with a text"
            raise ReadError(problem, file=member, row=at, column="footnoteSeqID")
        ids.add(number)
    return ids


def _check_notes(grid: Grid, ids: set[str]) -> None:
    """Every footnote of a value is there; 123,124 may have been saved as the number 123124."""
    marks = grid.text("Value Footnotes")
    for mark in filter(None, dict.fromkeys(marks)):
        for number in mark.split(","):
            apart = re.findall("...", number) if len(number) % 3 == 0 else []
            if number not in ids and not (apart and ids.issuperset(apart)):
                problem = f"there is no footnote {number!r}"
                raise grid.error(problem, marks.index(mark), "Value Footnotes")


def _known(grid: Grid, column: str, values: Sequence[str]) -> list[int]:
    """The position of each cell's text among the known ones."""
    positions = {value: at for at, value in enumerate(values)}
    cells = grid.required_text(column)
    if unknown := set(cells).difference(positions):
        index = next(at for at, cell in enumerate(cells) if cell in unknown)
        raise grid.error(f"unknown {column.lower()} {cells[index]!r}", index, column)
    return [positions[cell] for cell in cells]


# ------------------------------------------------------------------ the tables


def _chosen(grid: Grid, codes: Sequence[str], years: Sequence[int]) -> list[int]:
    """For each row (from 0) the one that is taken for its city and year, itself or another."""
    source_years = [-year for year in grid.years("Source Year").to_pylist()]
    rank = list(
        zip(
            _known(grid, "Reliability", RELIABILITY),
            _known(grid, "Record Type", RECORD_TYPES),
            source_years,
            strict=True,
        )
    )
    best: dict[tuple[str, int], int] = {}
    keys = list(zip(codes, years, strict=True))
    for row, key in enumerate(keys):
        other = best.setdefault(key, row)
        if row != other and rank[row] == rank[other]:
            problem = (
                f"{key[0]} of {key[1]} is in row {other + grid.first_row} already, with the same "
                "reliability, record type and source year"
            )
            raise grid.error(problem, row, "Value")
        if rank[row] < rank[other]:
            best[key] = row
    return [best[key] for key in keys]


def _flags(grid: Grid) -> list[str | None]:
    flags: dict[tuple[str, str], str | None] = {
        (kind, reliability): ("" if kind in COMPLETE else "e")
        + ("p" if reliability == "Provisional figure" else "")
        or None
        for kind in RECORD_TYPES
        for reliability in RELIABILITY
    }
    kinds = zip(grid.required_text("Record Type"), grid.required_text("Reliability"), strict=True)
    return [flags[kind] for kind in kinds]


def _places(
    grid: Grid,
    codes: Sequence[str],
    years: Values,
    chosen: Sequence[int],
    population: pa.Array,
) -> pa.Table:
    """One row per code, with the population of its latest year and that figure's row."""
    latest: dict[str, int] = {}
    for row, code in enumerate(codes):
        if row == chosen[row] and (code not in latest or years[row] > years[latest[code]]):
            latest[code] = row
    rows = np.array(list(latest.values()))
    size = population.take(pa.array(rows))
    reference = reference_rows(__file__)
    countries, cities = (
        {row["published"]: row["name"] for row in reference if row["kind"] == kind}
        for kind in ("country", "city")
    )
    country, city, kind = (
        [cells[row] for row in latest.values()] for cells in map(grid.required_text, CODE)
    )
    for index, one in enumerate(kind):
        if one not in GEOGRAPHY:
            raise grid.error(f"unknown city type {one!r}", int(rows[index]), "City type")
    return tidy(
        TABLES["places"],
        grid,
        {
            "source_code": list(latest),
            "source_name": city,
            "principal_city": [_usual_name(name, cities) for name in city],
            "other_names": pa.nulls(len(rows), pa.string()),
            "country_scheme": ["name"] * len(rows),
            "country_code": [countries.get(name, name) for name in country],
            "latitude": pa.nulls(len(rows), pa.float64()),
            "longitude": pa.nulls(len(rows), pa.float64()),
            "population": pc.if_else(pc.greater(size, PLACEHOLDER), size, None),
            "geography": [GEOGRAPHY[one] for one in kind],
            "not_a_city": pa.nulls(len(rows), pa.string()),
        },
        rows=rows,
    )


def _usual_name(name: str, reviewed: Mapping[str, str]) -> str | None:
    """The name in ordinary letters where the publisher has capitals (a capital city) or a slip."""
    if name in reviewed:
        return reviewed[name]
    if name != name.upper():
        return None
    words = IN_CAPITALS.sub(lambda word: word[0].capitalize(), name)
    first, *others = re.split(r"(\W)", words)
    return first + "".join(word.lower() if word in SMALL_WORDS else word for word in others)


SOURCE = Source(
    id="unsd_city_population",
    title="Demographic Yearbook: population of cities proper and urban agglomerations (table 240)",
    publisher="United Nations Statistics Division",
    licence="UNdata terms of use: free reuse with citation",
    licence_url="https://data.un.org/Host.aspx?Content=UNdataUse",
    citation=(
        "United Nations Statistics Division, Demographic Yearbook, city population by sex, city "
        "and city type, via UNdata."
    ),
    homepage="https://data.un.org/Data.aspx?d=POP&f=tableCode%3A240",
    edition="as downloaded",
    downloads=(
        Download(
            file=ARCHIVE,
            url=URL,
            kind="zip",
            max_bytes=16 * 2**20,
            headers={"Referer": "https://data.un.org/Data.aspx?d=POP&f=tableCode%3A240"},
        ),
    ),
    tables=TABLES,
    read=read,
)
