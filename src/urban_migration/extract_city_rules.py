"""How the statistical offices' figures of cities, and the gazetteer, are cut for the extract.

The rules are those of ``extract_rules``: the publishers' layouts and figures, fewer rows, cells
that no reader uses left blank.  A selected city has all its years and, where an office counts
them, all its origins.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any, Final

from urban_migration.errors import ReadError
from urban_migration.extract_files import archive_bytes, gzip_bytes, part_of_csv
from urban_migration.selection import SELECTION, Cut, Selection
from urban_migration.sources import (
    abs_census_2021,
    eurostat_cities,
    geonames,
    statcan_census_2016,
    unsd_city_population,
    us_acs,
)
from urban_migration.sources.grid import read_bytes, zip_members
from urban_migration.sources.source import Files

LEFT_OUT: Final = "(left out)"


def _cut_eurostat(files: Files, selection: Selection) -> dict[str, Cut]:
    """The selected cities and their countries, all years and indicators; the points of these."""
    import orjson

    cities = set(selection.codes["eurostat_cities"])
    _refuse_missing(eurostat_cities.POPULATIONS, cities - _cities_of_eurostat(files))
    countries = {code[:2] for code in cities}
    cuts = {}
    for name in (eurostat_cities.MIGRANTS, eurostat_cities.POPULATIONS):
        part = part_of_csv(
            read_bytes(files[name]),
            keep=lambda row: row["cities"] in cities or row["cities"] in countries,
            blank=eurostat_cities.IGNORED,
            order=lambda row: (row["indic_ur"], row["cities"], row["TIME_PERIOD"]),
        )
        there = len({row["cities"] for row in part.rows} - countries)
        what = f"{there} cities and {len(countries)} countries, all years and indicators"
        cuts[name] = Cut(gzip_bytes(part.content), name, what)
    for name in eurostat_cities.POINTS:
        content = orjson.loads(read_bytes(files[name]))
        points = [_bare(point) for point in content["features"] if _code(point)[:5] in
                  {code[:5] for code in cities}]  # fmt: skip
        cut = orjson.dumps({"type": content["type"], "features": points})
        cuts[name] = Cut(gzip_bytes(cut), name, f"{len(points)} points, of the same cities")
    return cuts


def _cities_of_eurostat(files: Files) -> set[str]:
    content = read_bytes(files[eurostat_cities.POPULATIONS]).decode("utf-8-sig")
    return {row["cities"] for row in csv.DictReader(io.StringIO(content, newline=""))}


def _code(point: Mapping[str, Any]) -> str:
    return str(point["properties"]["URAU_CODE"])


def _bare(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point with the properties that the reader uses, the others null."""
    used = eurostat_cities.POINT_USED
    properties = {
        name: value if name in used else None for name, value in point["properties"].items()
    }
    return {"type": point["type"], "geometry": point["geometry"], "properties": properties}


def _cut_abs(files: Files, _: Selection) -> dict[str, Cut]:
    """All areas: totals, and persons by country of birth; no sexes, ages and other topics."""
    name = abs_census_2021.ARCHIVE
    totals, births = abs_census_2021.TOTALS, abs_census_2021.BIRTHPLACES
    members = zip_members(files[name], [totals, *births], abs_census_2021.OTHER_MEMBERS)
    used = {
        abs_census_2021.CODE,
        abs_census_2021.POPULATION,
        abs_census_2021.NATIVE_BORN,
        abs_census_2021.FOREIGN_BORN,
    }
    cut = {}
    for member, content in members.items():
        header = content.decode("utf-8-sig").partition("\n")[0].strip().split(",")
        blank = {
            column
            for column in header
            if column not in used
            and not (member in births and column.startswith("P_") and column.endswith("_Tot"))
        }
        cut[member] = part_of_csv(content, keep=lambda _: True, blank=blank).content
    what = "all areas (G01, G09F to G09H): persons, all and by country of birth"
    return {name: Cut(archive_bytes(cut), name, what)}


def _cut_statcan(files: Files, _: Selection) -> dict[str, Cut]:
    """All areas and places of birth; no admission categories."""
    import orjson

    name = statcan_census_2016.FILE
    content = orjson.loads(read_bytes(files[name]))
    content["values"] = {
        kind: figures if kind == statcan_census_2016.FIGURE else []
        for kind, figures in content["values"].items()
    }
    what = "all areas and places of birth; no admission categories"
    return {name: Cut(gzip_bytes(orjson.dumps(content)), name, what)}


def _cut_acs(files: Files, selection: Selection) -> dict[str, Cut]:
    """The selected places; what is not about the foreign-born is blank."""
    name = us_acs.FILE
    places = selection.codes["us_acs"]
    part = part_of_csv(
        read_bytes(files[name]),
        delimiter=";",
        keep=lambda row: f"{row['City']}|{row['State Code']}" in places,
        blank=us_acs.IGNORED,
    )
    found = {f"{row['City']}|{row['State Code']}" for row in part.rows}
    _refuse_missing(name, set(places) - found)
    what = f"{len(found)} places: population and foreign-born"
    return {name: Cut(gzip_bytes(part.content), name, what)}


def _cut_unsd(files: Files, selection: Selection) -> dict[str, Cut]:
    """The selected cities, proper and agglomeration, all years; footnotes without their text."""
    name = unsd_city_population.ARCHIVE
    member = unsd_city_population.member_of(files[name].name, files)
    data, notes = unsd_city_population.split(member, zip_members(files[name], [member])[member])
    cities = selection.codes["unsd_city_population"]
    left_out = selection.left_out.get("unsd_city_population", ())
    part = part_of_csv(
        data,
        keep=lambda row: (
            f"{row['Country or Area']}|{row['City']}" in cities
            and (row["Country or Area"], int(row["Year"])) not in left_out
        ),
    )
    found = {f"{row['Country or Area']}|{row['City']}" for row in part.rows}
    _refuse_missing(name, set(cities) - found)
    width = len(unsd_city_population.CODE) + 8
    numbers = sorted(unsd_city_population.note_ids(member, notes, 0), key=int)
    text = io.StringIO(newline="")
    blank = [""] * (width - 2)
    csv.writer(text, lineterminator="\n").writerows(
        [[""] * width, ["footnoteSeqID", "Footnote", *blank]]
        + [[number, LEFT_OUT, *blank] for number in numbers]
    )
    what = f"{len(found)} cities of {len(part.rows):,} figures; footnotes by number only"
    content = part.content + text.getvalue().encode()
    return {name: Cut(archive_bytes({member: content}), name, what)}


def _cut_geonames(files: Files, selection: Selection) -> dict[str, Cut]:
    """The places that are selected cities; tabs without quoting, so nothing is parsed as CSV."""
    name, member = geonames.ARCHIVE, geonames.MEMBER
    lines = zip_members(files[name], [member])[member].decode().splitlines()
    rows = [line.split("\t") for line in lines]
    wanted = selection.codes["geonames"]
    used = set(geonames.USED.values())
    kept = [
        "\t".join(
            cell if column in used else ""
            for column, cell in zip(geonames.COLUMNS, row, strict=True)
        )
        for row in rows
        if row[0] in wanted
    ]
    content = "".join(f"{line}\n" for line in kept).encode()
    what = f"{len(kept)} of {len(rows):,} places: those of the selected cities"
    return {name: Cut(archive_bytes({member: content}), name, what)}


def _refuse_missing(file: str, missing: set[str]) -> None:
    if missing:
        names = ", ".join(sorted(missing))
        problem = f"selected cities are not there: {names}. Correct {SELECTION.name}"
        raise ReadError(problem, file=file)


CITY_RULES: Final[Mapping[str, Callable[[Files, Selection], dict[str, Cut]]]] = {
    "eurostat_cities": _cut_eurostat,
    "abs_census_2021": _cut_abs,
    "statcan_census_2016": _cut_statcan,
    "us_acs": _cut_acs,
    "unsd_city_population": _cut_unsd,
    "geonames": _cut_geonames,
}
"""How each source of figures of cities is cut, as in ``extract_rules.RULES``."""
