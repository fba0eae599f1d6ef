"""Tiny files of the optional sources in their publishers' layouts, for the extract's tests.

Every file has rows that an extract keeps and rows that it leaves out, and prose where the
publisher has some.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from urban_migration.sources import (
    abs_census_2021,
    eurostat_cities,
    geonames,
    idmc_displacement,
    iom_missing_migrants,
    statcan_census_2016,
    un_wup_2025,
    unhcr_locations,
    unhcr_totals,
    unsd_city_population,
    us_acs,
)
from urban_migration.sources.grid import reference_rows

PROSE = "Footnotes that explain at some length what the publisher means by all of this."


def tiny_offices() -> dict[str, dict[str, bytes]]:
    """The files of every optional source by its id."""
    return {
        "eurostat_cities": eurostat(),
        "abs_census_2021": {abs_census_2021.ARCHIVE: australia()},
        "statcan_census_2016": {statcan_census_2016.FILE: canada()},
        "us_acs": {us_acs.FILE: united_states()},
        "unsd_city_population": {unsd_city_population.ARCHIVE: yearbook()},
        "geonames": {geonames.ARCHIVE: gazetteer()},
        "un_wup_2025": {un_wup_2025.FILE: grid_cities()},
        "unhcr_locations": locations(),
        "unhcr_totals": totals(),
        "idmc_displacement": internal_displacement(),
        "iom_missing_migrants": incidents(),
    }


def eurostat() -> dict[str, bytes]:
    """Lisbon, Porto and Portugal; points of both cities."""
    header = [*eurostat_cities.USED, *eurostat_cities.FLAGS, *eurostat_cities.IGNORED]
    labels = {"PT001C": "Lisboa (greater city)", "PT002C": "Porto", "PT": "Portugal"}

    def rows(structure: str, indicator: str, first: int) -> list[list[object]]:
        return [
            [f"{structure}(1.0)", "A", indicator, code, labels[code], year, first + at, "", ""]
            + [PROSE] * len(eurostat_cities.IGNORED)
            for at, code in enumerate(labels)
            for year in (2020, 2021)
        ]

    def points(kind: str) -> bytes:
        properties = dict.fromkeys(eurostat_cities.POINT_IGNORED, "x")
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [-9.1, 38.7]},
                "properties": properties
                | {"URAU_CODE": code, "URAU_NAME": code, "NUTS3_2021": "PT170"},
            }
            for code in (f"PT001{kind}", f"PT002{kind}")
        ]
        return json.dumps({"type": "FeatureCollection", "features": features}).encode()

    migrants = rows("ESTAT:URB_CPOPCB", "DE2009V", 100)
    populations = rows("ESTAT:URB_CPOP1", eurostat_cities.POPULATION, 1000)
    return {
        eurostat_cities.MIGRANTS: text([header, *migrants]),
        eurostat_cities.POPULATIONS: text([header, *populations]),
        **{name: points(kind) for name, kind in zip(eurostat_cities.POINTS, "CF", strict=True)},
    }


def australia() -> bytes:
    """Sydney and a rest of state."""
    countries = [
        row["code"]
        for row in reference_rows(abs_census_2021.__file__)
        if row["kind"] == "birthplace"
    ]
    headers = {
        abs_census_2021.TOTALS: [f"{t}_{sex}" for t in abs_census_2021.TOPICS for sex in "MFP"]
    }
    thirds = (countries[:20], countries[20:40], countries[40:])
    for name, some in zip(abs_census_2021.BIRTHPLACES, thirds, strict=True):
        ages = abs_census_2021.AGES
        headers[name] = [f"{sex}_{each}_{age}" for each in some for age in ages for sex in "FP"]
    members = {
        f"2021 Census GCP/{name}": text(
            [
                [abs_census_2021.CODE, *header],
                *([code, *range(len(header))] for code in ("1GSYD", "19499")),
            ]
        )
        for name, header in headers.items()
    }
    return archive(members)


def canada() -> bytes:
    """Every area and place of birth, each figure another."""
    reference = reference_rows(statcan_census_2016.__file__)
    births, areas = (
        [row["code"] for row in reference if row["kind"] == kind and row["code"] != "505"]
        for kind in ("birthplace", "area")
    )
    figures = list(range(len(births) * len(areas)))
    names = [statcan_census_2016.FIGURE, *statcan_census_2016.IGNORED_FIGURES]
    content = {
        "meta": {"license": {}},
        "indexes": [{"type": "pob", "data": births}, {"type": "sgc", "data": areas}],
        "values": dict.fromkeys(names, figures),
        "matrix": [list(range(at, at + len(areas))) for at in range(0, len(figures), len(areas))],
    }
    return json.dumps(content).encode()


def united_states() -> bytes:
    """Both Concords and a Newark, twice each."""
    places = [
        ("Concord", "California", "CA"),
        ("Concord", "North Carolina", "NC"),
        ("Newark", "New Jersey", "NJ"),
    ]
    header = ["City", "State", *us_acs.IGNORED, "Total Population", "Foreign-born"]
    rows = [
        [city, state, *[1.5] * len(us_acs.IGNORED), 70_000 + at, 10_000 + at, code, race]
        for at, (city, state, code) in enumerate(places)
        for race in ("White", "Asian")
    ]
    return text([[*header, "State Code", "Race"], *rows], delimiter=";", end="\r\n")


def yearbook() -> bytes:
    """Lisbon and Porto in two years, and a note for each figure."""
    columns = ["Country or Area", "Year", "Area", "Sex", "City", "City type", "Record Type"]
    rows = [
        ["Portugal", year, "Total", "Both Sexes", city, "City proper", "Estimate - de jure",
         "Final figure, complete", year, 500_000.5, "1,2"]
        for city in ("LISBOA", "Porto")
        for year in (2005, 2010)
    ]  # fmt: skip
    notes = [[""] * 11, ["footnoteSeqID", "Footnote"], [1, PROSE], [2, f"{PROSE}\nAnd more."]]
    header = [*columns, "Reliability", "Source Year", "Value", "Value Footnotes"]
    blocks = [[cells + [""] * (11 - len(cells)) for cells in part] for part in (rows, notes)]
    return archive({"UNdata_Export_20150604_240.csv": text([header, *blocks[0], *blocks[1]])})


def gazetteer() -> bytes:
    """Lisbon and Porto, with a quotation mark in a name."""
    rows = [
        ["2267057", "Lisbon", "Lisbon", 'Lisboa,"Lissabon', "38.7", "-9.1", "P", "PPLC", "PT",
         "", "14", "1106", "", "", "517802", "", "45", "Europe/Lisbon", "2013-01-01"],
        ["2735943", "Porto", "Porto", "Oporto", "41.1", "-8.6", "P", "PPLA", "PT",
         "", "17", "1312", "", "", "249633", "", "86", "Europe/Lisbon", "2013-01-01"],
    ]  # fmt: skip
    return archive({geonames.MEMBER: "".join("\t".join(row) + "\n" for row in rows).encode()})


def grid_cities() -> bytes:
    """Lisbon and Jakarta as clusters of grid cells, thousands."""
    header = ["LocID", "Location", "Notes", "ISO3_Code", "ISO2_Code", "City_Code", "City_Name"]
    header += ["Capital", "Year", "TimeMid", "Pop", "Pop_1Jan", "PWCent_Longitude"]
    header += ["PWCent_Latitude", "AREA_km2", "BU_km2", "Pop_plausibility"]
    rows = [
        [country, "x", "", "x", "x", code, name, 1, year, year + 0.5, 2500.125, 2499, -9.1, 38.7,
         500.0, 200.0, "High"]
        for country, code, name in ((620, 10, "Lisboa (Lisbon)"), (360, 20, "Jakarta"))
        for year in (2018, 2025)
    ]  # fmt: skip
    return gzip.compress(text([header, *rows]), mtime=0)


def locations() -> dict[str, bytes]:
    """Kampala and Lisbon in three years, on two pages."""
    ages = {f"{sex}_{age}": 3 for sex in "fm" for age in unhcr_locations.AGES}
    items = [
        {
            **api_labels(year, "SSD", asylum),
            "coa_name": asylum, "pop_type": kind, "location": f"{city} : City",
            "loc_type": "U", "acc_type": "I", **ages, "total": year,
        }
        for year in (2016, 2023, 2024) for asylum, city in (("UGA", "Kampala"), ("PRT", "Lisbon"))
        for kind in ("REF", "ASY")
    ]  # fmt: skip
    return paged("demographics", [items[:7], items[7:]])


def totals() -> dict[str, bytes]:
    """Two figures of each endpoint, one of them not collected."""
    pages = {}
    for endpoint in unhcr_totals.ENDPOINTS:
        items = [
            {**api_labels(year, "PSE", "LBN"), "coa_name": "Lebanon", "total": total}
            for year, total in ((1990, 5), (2024, "-"))
        ]
        pages |= paged(endpoint, [items])
    return pages


def api_labels(year: int, origin: str, asylum: str) -> dict[str, Any]:
    """What every item of UNHCR's API begins with."""
    ids = {"coo_id": 1, "coo_name": "x", "coo": "x", "coa_id": 2, "coa": "x"}
    return {"year": year, "coo_iso": origin, "coa_iso": asylum, **ids}


def paged(name: str, batches: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, bytes]:
    """Items on the pages of UNHCR's API."""
    envelope = {"short-url": "x", "maxPages": len(batches), "total": []}
    return {
        f"{name}-{number}.json": json.dumps({**envelope, "page": number, "items": items}).encode()
        for number, items in enumerate(batches, 1)
    }


def internal_displacement() -> dict[str, bytes]:
    """Conflict and disasters in two years; two events are equal."""
    conflict = ["iso3", "year", "new_displacement", "total_displacement"]
    ignored = [*idmc_displacement.IGNORED]
    disasters = [*idmc_displacement.IGNORED_OF_EVENTS]
    rows = [["COL", year, "", 5] for year in (2010, 2024)]
    events = [["PHL", year, 7, ""] for year in (2010, 2024, 2024)]
    return {
        idmc_displacement.CONFLICT: text(
            [[*conflict, *ignored], *([*row, *["x"] * len(ignored)] for row in rows)]
        ),
        idmc_displacement.DISASTERS: text(
            [[*conflict, *disasters], *([*row, *[PROSE] * len(disasters)] for row in events)]
        ),
    }


def incidents() -> dict[str, bytes]:
    """One incident a year, told at length."""
    blank = dict.fromkeys(iom_missing_migrants.IGNORED, PROSE)
    return {
        iom_missing_migrants.FILE.format(year=year): json.dumps(
            [
                {
                    **blank, "web_id": f"{year}.MMP0001", "reported_date": f"{year}-05-01",
                    "number_dead": "1", "number_missing": "", "total_dead_and_missing": "1",
                    "number_of_survivors": "", "cause_death": "Drowning\n",
                    "migration_route": "", "location_description": PROSE,
                    "country_of_incident": "Libya", "region": "Mediterranean",
                    "location_coodinates": "33.5, 14",
                }
            ]
        ).encode()
        for year in iom_missing_migrants.YEARS
    }  # fmt: skip


def text(rows: Iterable[Sequence[object]], delimiter: str = ",", end: str = "\n") -> bytes:
    """Rows as CSV."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end).writerows(rows)
    return stream.getvalue().encode()


def archive(members: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return stream.getvalue()
