"""IOM's Displacement Tracking Matrix: internally displaced people by administrative unit.

Version 3 of the API, which wants the user's own subscription key and whose licence forbids
redistribution; known here from its documentation alone.  Figures are split by reason, origin and
assessment: they are added up within one unit, operation, round and reporting date, and never
across, because operations overlap and each round counts anew.  ``Not available`` and null mean
*not known*, never zero: a sum with an unknown part is unknown.

``rounds`` has every sum (admin 0 the country, admin 1 and 2 its units).  ``migrants`` has, for
each unit and operation, the last round of each year; its ``source_code`` is the unit's P-code and
the operation, joined by ``|``.  ``places`` says which units may bear the name of a city: admin 2,
and admin 1 where it is called governorate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from urban_migration.errors import ReadError
from urban_migration.sources import city_tables
from urban_migration.sources.grid import (
    Grid,
    json_value,
    read_bytes,
    records_grid,
    reference_rows,
)
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

ID = "iom_dtm"
API = "https://dtmapi.iom.int/v3/displacement/"
SECRET = "DTM_SUBSCRIPTION_KEY"
LEVELS = ("admin0", "admin1", "admin2")
FILE = "{level}-{country}.json"
COUNTRIES = tuple(row["country_iso3"] for row in reference_rows(__file__))
"""Countries with operations; the API has no figures of all at once and lists them apart."""

ENVELOPE = {"result", "statusCode", "isSuccess", "errorMessages", "totalRecordsCount"}
NOT_KNOWN = ("Not available", "")
PERSONS = {"persons": "numPresentIdpInd", "males": "numberMales", "females": "numberFemales"}
IGNORED = {
    "monthReportingDate": "part of reportingDate",
    "displacementReason": "added up over reasons, which are free text",
    "idpOriginAdmin1Name": "added up over origins within the country",
    "idpOriginAdmin1Pcode": "added up over origins within the country",
    "assessmentType": "added up over assessments",
}
GOVERNORATES = {"IRQ", "LBN", "SYR", "YEM"}
"""Where the first administrative level is called governorate."""

NO_FIGURE = "a part of the sum is not known"

TABLES = {
    "rounds": SourceTable(
        columns={
            "level": "text",
            "source_code": "text",
            "name": "text",
            "country_code": "text",
            "operation": "text",
            "round": "integer",
            "date": "date",
            "year": "year",
            **dict.fromkeys(PERSONS, "integer"),
        },
        key=("level", "source_code", "round", "date"),
        code=("source_code",),
        lands="""exists (
            select 1 from displacement_rounds d
            where d.level = fact.level and d.source_code = fact.source_code
            and d.round = fact.round and d.date = fact.date and d.persons = fact.persons)""",
    ),
    "migrants": city_tables.migrants(ID),
    "places": city_tables.places(ID),
}


@dataclass(frozen=True)
class _Sum:
    """The figure of one unit, operation, round and date; ``row`` is its first record (from 0)."""

    level: str
    code: str
    name: str
    country: str
    operation: str
    round: int
    day: date
    row: int
    file: str
    persons: Mapping[str, int | None]
    records: int

    @property
    def source_code(self) -> str:
        return f"{self.code}|{self.operation}"


def read(files: Files) -> Tables:
    """One row per sum, per unit's last round of a year, and per unit and operation; persons."""
    sums: list[_Sum] = []
    for level in LEVELS:
        for country in COUNTRIES:
            name = FILE.format(level=level, country=country)
            if name not in files:
                raise ReadError("the file of this country and level is missing", file=name)
            sums += _sums(level, country, name, _records(name, read_bytes(files[name])))
    last = {(each.level, each.source_code, each.day.year): each for each in _in_order(sums)}
    units = [each for each in last.values() if each.level != "admin0"]
    places = {each.source_code: each for each in units}
    return {
        "rounds": _rounds(sums),
        "migrants": _migrants([each for each in units if each.persons["persons"] is not None]),
        "places": _places(list(places.values())),
    }


def _records(name: str, content: bytes) -> list[Any]:
    """The records of an answer; one that tells of a failure is an error with what it says."""
    answer = json_value(name, content)
    if not isinstance(answer, dict) or "isSuccess" not in answer or answer.keys() - ENVELOPE:
        problem = "the answer is not as the API describes it (result, isSuccess and so on)"
        raise ReadError(problem, file=name)
    if answer["isSuccess"] is not True:
        said = "; ".join(map(str, answer.get("errorMessages") or ["no reason given"]))
        raise ReadError(f"the API answered that it failed: {said}", file=name)
    records = answer.get("result")
    if not isinstance(records, list):
        raise ReadError("the answer's result is not a list of records", file=name)
    count = answer.get("totalRecordsCount", len(records))
    if count != len(records):
        problem = f"says that there are {count} records, and {len(records)} are here"
        raise ReadError(problem, file=name)
    return records


def _sums(level: str, country: str, name: str, records: Sequence[Any]) -> list[_Sum]:
    """Add up the records of each unit, operation, round and date, in their order."""
    if not records:
        return []
    units = [f"admin{n}{what}" for n in range(int(level[-1]) + 1) for what in ("Name", "Pcode")]
    use = ["id", "operation", *units, "reportingDate", "yearReportingDate", "roundNumber"]
    above = {
        f"admin{n}{what}": "of a level below this one"
        for n in range(int(level[-1]) + 1, 3)
        for what in ("Name", "Pcode")
    }
    grid = records_grid(name, records, use=[*use, *PERSONS.values()], ignore=IGNORED | above)
    _refuse_repeats(grid)
    codes, names = grid.required_text(f"{level}Pcode"), grid.required_text(f"{level}Name")
    operations, days = grid.required_text("operation"), _days(grid)
    rounds = grid.integers("roundNumber").to_pylist()
    figures = {
        column: grid.integers(member, null=NOT_KNOWN).to_pylist()
        for column, member in PERSONS.items()
    }
    for index, code in enumerate(grid.required_text("admin0Pcode")):
        if code != country:
            raise grid.error(f"{code!r} stands where {country} was asked for", index, "admin0Pcode")
    groups: dict[tuple[str, str, int, date], list[int]] = {}
    for index, key in enumerate(zip(codes, operations, rounds, days, strict=True)):
        groups.setdefault(key, []).append(index)
    return [
        _Sum(
            level=level,
            code=code,
            name=names[rows[0]],
            country=country,
            operation=operation,
            round=number,
            day=day,
            row=rows[0],
            file=name,
            persons={c: _added([values[row] for row in rows]) for c, values in figures.items()},
            records=len(rows),
        )
        for (code, operation, number, day), rows in groups.items()
    ]


def _refuse_repeats(grid: Grid) -> None:
    seen: dict[str, int] = {}
    for index, number in enumerate(grid.required_text("id")):
        if seen.setdefault(number, index) != index:
            first = grid.first_row + seen[number]
            raise grid.error(f"record {number} stands in row {first} too", index, "id")


def _days(grid: Grid) -> list[date]:
    """Reporting dates; a time of day is dropped, and the year beside must be the date's."""
    days = []
    years = grid.years("yearReportingDate").to_pylist()
    for index, text in enumerate(grid.required_text("reportingDate")):
        try:
            day = date.fromisoformat(text[:10])
        except ValueError:
            problem = f"the text {text!r} stands where a date such as 2024-01-31 is expected"
            raise grid.error(problem, index, "reportingDate") from None
        if day.year != years[index]:
            problem = f"the year {years[index]} beside the date {day}"
            raise grid.error(problem, index, "yearReportingDate")
        days.append(day)
    return days


def _added(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _in_order(sums: Sequence[_Sum]) -> list[_Sum]:
    return sorted(sums, key=lambda each: (each.day, each.round))


# ------------------------------------------------------------------ tables


def _rounds(sums: Sequence[_Sum]) -> pa.Table:
    return _table(
        "rounds",
        sums,
        {
            "level": [each.level for each in sums],
            "source_code": [each.source_code for each in sums],
            "name": [each.name for each in sums],
            "country_code": [each.country for each in sums],
            "operation": [each.operation for each in sums],
            "round": [each.round for each in sums],
            "date": [each.day for each in sums],
            "year": [each.day.year for each in sums],
            **{column: [each.persons[column] for each in sums] for column in PERSONS},
        },
        [NO_FIGURE if each.persons["persons"] is None else None for each in sums],
    )


def _migrants(units: Sequence[_Sum]) -> pa.Table:
    return _table(
        "migrants",
        units,
        {
            "source_code": [each.source_code for each in units],
            "year": [each.day.year for each in units],
            "concept": ["idp"] * len(units),
            "origin": [each.country for each in units],
            "migrants": [each.persons["persons"] for each in units],
            "population": [None] * len(units),
            "base": [None] * len(units),
            "flag": [None] * len(units),
        },
    )


def _places(units: Sequence[_Sum]) -> pa.Table:
    is_like_city = [each.level == "admin2" or each.country in GOVERNORATES for each in units]
    nothing = [None] * len(units)
    return _table(
        "places",
        units,
        {
            "source_code": [each.source_code for each in units],
            "source_name": [each.name for each in units],
            "principal_city": nothing,
            "other_names": nothing,
            "country_scheme": ["iso3"] * len(units),
            "country_code": [each.country for each in units],
            "latitude": nothing,
            "longitude": nothing,
            "population": nothing,
            "geography": ["governorate" if like else None for like in is_like_city],
            "not_a_city": [None if like else "province, state or region" for like in is_like_city],
        },
    )


def _table(
    name: str,
    sums: Sequence[_Sum],
    values: Mapping[str, Sequence[Any]],
    reasons: Sequence[str | None] | None = None,
) -> pa.Table:
    """A tidy table whose rows come from the first records of ``sums``."""
    schema = TABLES[name].schema()
    count = "{} (sum of {} records)".format
    member = PERSONS["persons"]
    columns = [member if each.records == 1 else count(member, each.records) for each in sums]
    provenance: dict[str, Sequence[Any]] = {
        "file": [each.file for each in sums],
        "row_number": [each.row + 1 for each in sums],
        "column": columns,
        "ignored": reasons or [None] * len(sums),
    }
    every = {**values, **provenance}
    return pa.table([_array(every[field.name], field.type) for field in schema], schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


SOURCE = Source(
    id=ID,
    title="Displacement Tracking Matrix: internally displaced people by administrative unit",
    publisher="International Organization for Migration (IOM)",
    licence="DTM terms of use: no redistribution",
    licence_url="https://dtm.iom.int/terms-and-conditions",
    citation="International Organization for Migration (IOM), Displacement Tracking Matrix (DTM).",
    homepage="https://dtm.iom.int/data-and-analysis/dtm-api",
    edition="as downloaded",
    downloads=tuple(
        Download(
            file=FILE.format(level=level, country=country),
            url=f"{API}{level}?Admin0Pcode={country}",
            kind="json",
            headers={"Ocp-Apim-Subscription-Key": "{" + SECRET + "}"},
        )
        for level in LEVELS
        for country in COUNTRIES
    ),
    tables=TABLES,
    read=read,
    secret=SECRET,
    secret_help=(
        "A key is free: register at https://dtm-apim-portal.iom.int, subscribe to the DTM API, and "
        f"put your key into the environment variable {SECRET}."
    ),
    redistributable=False,
    experimental=True,
)
