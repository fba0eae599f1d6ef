"""IOM's Missing Migrants Project: people who died or went missing on the way, by incident.

One JSON file per year since 2014, a list of records whose values are all text.  ``""`` means
*not known*, never zero; numbers may have a comma for thousands; a few dates are blank, and one
place.  ``web_id`` is not a key: an incident of several findings (men and women, the dead and the
missing, one body after another) stands in several records under one id, some of them equal in
every word, and each counts; from the second on ``incident_id`` adds ``#2``, ``#3``, ... in the
order of the file.  A negative number of missing takes back people who were counted as missing
before and are now among the dead, so that sums stay true: the publisher's total is the sum of
both.  A negative number of survivors is no number of people; it is read as written, and known
from there.  Coordinates in whole degrees are rounded by the publisher.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from urban_migration.errors import ReadError
from urban_migration.sources.grid import Grid, json_value, read_bytes, records_grid, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

YEARS = range(2014, 2026)
"""Files that the project has published; add the next one when it appears."""
FILE = "{year}.json"

IGNORED = {
    **dict.fromkeys(
        ("number_of_female", "number_of_male", "number_of_children"),
        "not published here, and not known for most incidents",
    ),
    **dict.fromkeys(("information_source", "url", "source_quality"), "about the report"),
    "unsd_geographic_grouping": "the project's own region is used",
    "region_origin": "origin of the people; in files from 2025 only",
    "country_origin": "origin of the people; in files from 2025 only",
}
NUMBERS = {
    "dead": "number_dead",
    "missing": "number_missing",
    "dead_and_missing": "total_dead_and_missing",
    "survivors": "number_of_survivors",
}
TEXTS = {
    "cause": "cause_death",
    "route": "migration_route",
    "location": "location_description",
    "country": "country_of_incident",
    "region": "region",
}
COORDINATES = "location_coodinates"
"""Spelt as the publisher does: latitude and longitude, with a comma between."""
POINT = re.compile(r"(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)")
NUMBER = re.compile(r"-?(?:\d+|\d{1,3}(?:,\d{3})+)")

TABLES = {
    "incidents": SourceTable(
        columns={
            "incident_id": "text",
            "web_id": "text",
            "date": "date",
            "year": "year",
            "latitude": "number",
            "longitude": "number",
            "coordinates_rounded": "boolean",
            **dict.fromkeys(NUMBERS, "integer"),
            **dict.fromkeys(TEXTS, "text"),
        },
        key=("incident_id",),
        code=("incident_id",),
        lands="""exists (
            select 1 from migrant_incidents i
            where i.incident_id = fact.incident_id and i.year = fact.year
            and i.dead_and_missing is not distinct from fact.dead_and_missing)""",
    )
}


def read(files: Files) -> Tables:
    """One row per record of an incident; persons."""
    names = {year: FILE.format(year=year) for year in YEARS}
    absent = [name for name in names.values() if name not in files]
    if absent:
        raise ReadError("the file of this year is missing", file=absent[0])
    return {
        "incidents": pa.concat_tables(
            _incidents(name, year, json_value(name, read_bytes(files[name])))
            for year, name in names.items()
        )
    }


def _incidents(name: str, year: int, records: Any) -> pa.Table:
    if not isinstance(records, list):
        raise ReadError("the file is not a list of incidents", file=name)
    use = ["web_id", "reported_date", COORDINATES, *NUMBERS.values(), *TEXTS.values()]
    grid = records_grid(name, records, use=use, ignore=IGNORED)
    web_ids = grid.required_text("web_id")
    latitudes, longitudes = _points(grid)
    whole = (latitudes == np.rint(latitudes)) & (longitudes == np.rint(longitudes))
    return tidy(
        TABLES["incidents"],
        grid,
        {
            "incident_id": _told_apart(web_ids),
            "web_id": web_ids,
            "date": pa.array(_dates(grid), pa.date32()),
            "year": pa.array(np.full(len(grid), year), pa.int32()),
            "latitude": latitudes,
            "longitude": longitudes,
            "coordinates_rounded": pa.array(whole, mask=np.isnan(latitudes)),
            **{column: pa.array(_counts(grid, NUMBERS[column]), pa.int64()) for column in NUMBERS},
            **{column: pa.array(_texts(grid, TEXTS[column]), pa.string()) for column in TEXTS},
        },
    )


def _told_apart(web_ids: Sequence[str]) -> list[str]:
    """Ids of records: the incident's, numbered from its second record on."""
    seen: dict[str, int] = {}
    ids = []
    for web_id in web_ids:
        number = seen[web_id] = seen.get(web_id, 0) + 1
        ids.append(web_id if number == 1 else f"{web_id}#{number}")
    return ids


def _dates(grid: Grid) -> list[date | None]:
    dates: list[date | None] = []
    for index, text in enumerate(grid.text("reported_date")):
        try:
            dates.append(None if text is None else date.fromisoformat(text))
        except ValueError:
            problem = f"the text {text!r} stands where a date such as 2014-12-31 is expected"
            raise grid.error(problem, index, "reported_date") from None
    return dates


def _points(grid: Grid) -> tuple[Any, Any]:
    """Latitudes and longitudes in degrees, NaN where there is no place."""
    points = np.full((len(grid), 2), np.nan)
    for index, text in enumerate(grid.text(COORDINATES)):
        if text is None:
            continue
        found = POINT.fullmatch(text)
        if not found:
            problem = f"the text {text!r} stands where a latitude and a longitude are expected"
            raise grid.error(problem, index, COORDINATES)
        points[index] = [float(part) for part in found.groups()]
        if abs(points[index, 0]) > 90 or abs(points[index, 1]) > 180:
            raise grid.error(f"{text!r} is no place on Earth", index, COORDINATES)
    return points[:, 0], points[:, 1]


def _counts(grid: Grid, column: str) -> list[int | None]:
    counts: list[int | None] = []
    for index, text in enumerate(grid.text(column)):
        if text is not None and not NUMBER.fullmatch(text):
            problem = f"the text {text!r} stands where a whole number is expected"
            raise grid.error(problem, index, column)
        counts.append(None if text is None else int(text.replace(",", "")))
    return counts


def _texts(grid: Grid, column: str) -> list[str | None]:
    """Texts with the publisher's HTML entities undone."""
    return [None if text is None else html.unescape(text) for text in grid.text(column)]


SOURCE = Source(
    id="iom_missing_migrants",
    title="Missing Migrants Project: incidents",
    publisher="International Organization for Migration (IOM)",
    licence="CC BY-IGO",
    licence_url="https://creativecommons.org/licenses/by/3.0/igo/",
    citation="IOM Missing Migrants Project.",
    homepage="https://missingmigrants.iom.int/",
    edition="as downloaded",
    downloads=tuple(
        Download(
            file=FILE.format(year=year),
            url=f"https://missingmigrants.iom.int/global-figures/{year}/json",
            kind="json",
            max_bytes=32 * 2**20,
        )
        for year in YEARS
    ),
    tables=TABLES,
    read=read,
)
