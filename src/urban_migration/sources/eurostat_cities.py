"""Eurostat's city statistics (Urban Audit): population and foreign-born of cities, with points.

Two SDMX-CSV tables with labels, ``urb_cpopcb`` (citizenship and country of birth) and
``urb_cpop1`` (population on 1 January), all years, and the label points of GISCO.  A figure that
does not exist has no row; a blank or ``:`` in ``OBS_VALUE`` is *not available* and is null, 0 is
zero.  Codes of two letters are countries (``EL`` Greece, ``UK`` United Kingdom).  Since 2020 a
city and its greater city share a code and only the label tells which it is; older codes such as
``DE041C1`` were renumbered, not shortened, so a code means what it says in full or nothing.

Indicators are those of Eurostat's *City statistics - demography* (Statistics Explained, City
statistics manual) and *Methodological manual on city statistics* (2017, KS-GQ-17-006); their
meanings are spelt out in Statistics Norway's scripts for the collection of 2022 (DE2 tables).
Flags: Eurostat's code lists OBS_STATUS and CONF_STATUS of 27 January 2025, with r, s and z of
the list before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import median_high
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from urban_migration.errors import ReadError
from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, csv_grid, read_bytes, records_grid, tidy
from urban_migration.sources.source import Download, Files, Source, Tables

ID = "eurostat_cities"
MIGRANTS = "urb_cpopcb.csv"
POPULATIONS = "urb_cpop1.csv"
POINTS = ("URAU_LB_2021_4326_CITIES.geojson", "URAU_LB_2021_4326_FUA.geojson")

POPULATION = "DE1001V"
PART = "a part of a total that is published by itself"
CONCEPTS: Mapping[str, tuple[str, str | None]] = {
    "DE2001V": ("national", "nationals are the population without the foreign citizens"),
    "DE2002V": ("eu_citizen", f"foreign citizens of EU countries: {PART}"),
    "DE2003V": ("non_eu_citizen", f"foreign citizens of other than EU countries: {PART}"),
    "DE2008V": ("native_born", "the native-born are the population without the foreign-born"),
    "DE2009V": ("foreign_born", None),
    "DE2010V": ("eu_born", f"born in another EU country: {PART}"),
    "DE2011V": ("non_eu_born", f"born outside the EU: {PART}"),
    "DE2012V": ("foreign_citizen", None),
}
"""What an indicator of ``urb_cpopcb`` counts, and why it is not published where it is not."""

STATUS = frozenset("bdefimnprsuz")
"""Break, definition differs, estimated, forecast, imputed, missing, not significant,
provisional, revised, Eurostat's estimate, low reliability, not applicable."""
CONFIDENTIALITY = frozenset("CNP")
"""Confidential, not for publication, under non-statistical secrecy."""

COUNTRY = "a country, not a city"
NO_FIGURE = "no figure: the publisher says that it is not available"

ISO2 = {"EL": "GR", "UK": "GB"}
"""Eurostat's country letters that are not ISO 3166-1."""
OVERSEAS = {"FRY1": "GP", "FRY2": "MQ", "FRY3": "GF", "FRY4": "RE", "FRY5": "YT"}
"""Regions of France that ISO 3166-1 and the UN count apart, by their NUTS 2 code."""
CITY_CODE = re.compile(r"[A-Z]{2}[0-9]{3}([CKFL])[0-9]?")
GEOGRAPHIES = {"K": "greater_city", "F": "functional_urban_area", "L": "functional_urban_area"}
"""By the letter of the code; for C (city or greater city) the label decides."""
GREATER = "(greater city)"

LOST_LETTERS = {
    "RO": str.maketrans("ŞşŢţǍǎ", "ȘșȚțĂă"),  # cedilla and caron: comma below and breve
    "HU": str.maketrans("ÕõÛû", "ŐőŰű"),  # tilde, circumflex: Hungarian has double acutes
}
"""Letters that the country's language does not have, and the only ones they can stand for."""

LABEL = "Geopolitical entity (declaring)"
USED = ("STRUCTURE_ID", "freq", "indic_ur", "cities", LABEL, "TIME_PERIOD", "OBS_VALUE")
FLAGS = ("OBS_FLAG", "CONF_STATUS")
IGNORED = {
    "STRUCTURE": "always dataflow",
    "STRUCTURE_NAME": "the title of the table",
    "Time frequency": "the code is used",
    "Urban audit indicator": "the code is used",
    "Time": "empty: years have no label",
    "Observation value": "empty: figures have no label",
    "Observation status (Flag) V2 structure": "the code is used",
    "Confidentiality status (flag)": "the code is used",
}

POINT_USED = ("URAU_CODE", "URAU_NAME", "NUTS3_2021")
POINT_IGNORED = {
    "URAU_CATG": "the code's letter says it",
    "CNTR_CODE": "the code's letters say it",
    "CITY_CPTL": "capitals are taken from the gazetteer",
    "FUA_CODE": "not published; its number is not always the city's",
    "AREA_SQM": "not published",
    "FID": "repeats the code",
}

TABLES = {
    "places": city_tables.places(ID),
    "migrants": city_tables.migrants(ID),
    "populations": city_tables.populations(ID),
}


class Point(NamedTuple):
    """A city or functional urban area of GISCO: name, label point (WGS 84, degrees), NUTS 3."""

    name: str
    longitude: float
    latitude: float
    region: str


class Rows(NamedTuple):
    """The rows of one SDMX-CSV file, columns side by side."""

    grid: Grid
    indicators: list[str]
    codes: list[str]
    labels: list[str]
    years: pa.Array
    figures: pa.Array
    flags: list[str | None]


def read(files: Files) -> Tables:
    """The areas, their migrants by concept, and their populations on 1 January; persons.

    A row of ``migrants`` has the population of the same code and year as population and base,
    null where ``urb_cpop1`` has none.
    """
    parts = _rows(files, MIGRANTS, "ESTAT:URB_CPOPCB", CONCEPTS)
    wholes = _rows(files, POPULATIONS, "ESTAT:URB_CPOP1", {POPULATION})
    points = {code: point for name in POINTS for code, point in _points(files, name).items()}
    keys = zip(wholes.codes, wholes.years.to_pylist(), strict=True)
    counts = zip(keys, wholes.figures.to_pylist(), strict=True)
    population = {key: count for key, count in counts if count is not None}
    return {
        "places": _places([wholes, parts], points, population),
        "migrants": _migrants(parts, population),
        "populations": tidy(
            TABLES["populations"],
            wholes.grid,
            {
                "source_code": wholes.codes,
                "year": wholes.years,
                "population": wholes.figures,
                "flag": wholes.flags,
            },
            column="OBS_VALUE",
            ignored=_ignored(wholes, [None] * len(wholes.codes)),
        ),
    }


def _migrants(parts: Rows, population: Mapping[tuple[str, int], int]) -> pa.Table:
    whole = pa.array(
        [population.get(key) for key in zip(parts.codes, parts.years.to_pylist(), strict=True)],
        pa.int64(),
    )
    concepts = [CONCEPTS[indicator] for indicator in parts.indicators]
    return tidy(
        TABLES["migrants"],
        parts.grid,
        {
            "source_code": parts.codes,
            "year": parts.years,
            "concept": [concept for concept, _ in concepts],
            "origin": ["all"] * len(concepts),
            "migrants": parts.figures,
            "population": whole,
            "base": whole,
            "flag": parts.flags,
        },
        column="OBS_VALUE",
        ignored=_ignored(parts, [reason for _, reason in concepts]),
    )


def _ignored(rows: Rows, reasons: Sequence[str | None]) -> list[str | None]:
    """Why each row is not published: a country, a kind that is not, or no figure."""
    missing = rows.figures.is_null().to_pylist()
    return [
        COUNTRY if len(code) == 2 else reason or (NO_FIGURE if blank else None)
        for code, reason, blank in zip(rows.codes, reasons, missing, strict=True)
    ]


# ------------------------------------------------------------------ SDMX-CSV


def _rows(
    files: Files, name: str, structure: str, indicators: Mapping[str, Any] | set[str]
) -> Rows:
    """One table's rows, once every dimension and flag is one that is known."""
    grid = csv_grid(name, read_bytes(files[name]), use=[*USED, *FLAGS], ignore=IGNORED)
    tables = [table.partition("(")[0] for table in grid.required_text("STRUCTURE_ID")]
    _expect(grid, "STRUCTURE_ID", tables, {structure}, "is not the table expected")
    _expect(grid, "freq", grid.required_text("freq"), {"A"}, "is not annual")
    indicator = grid.required_text("indic_ur")
    _expect(grid, "indic_ur", indicator, indicators, "is an unknown indicator")
    codes = grid.required_text("cities")
    for index, code in enumerate(codes):
        if not CITY_CODE.fullmatch(code) and not re.fullmatch("[A-Z]{2}", code):
            raise grid.error(f"{code!r} is neither a city's code nor a country's", index, "cities")
    return Rows(
        grid,
        indicator,
        codes,
        grid.required_text(LABEL),
        grid.years("TIME_PERIOD"),
        grid.integers("OBS_VALUE", null=("", ":")),
        _flags(grid),
    )


def _expect(grid: Grid, column: str, values: Sequence[str], known: Any, problem: str) -> None:
    if not set(values) <= set(known):
        index = next(at for at, value in enumerate(values) if value not in known)
        raise grid.error(f"{values[index]!r} {problem}", index, column)


def _flags(grid: Grid) -> list[str | None]:
    """Status and confidentiality as one text, such as ``b``, ``be`` or ``eC``; null for none."""
    status, secrecy = (grid.text(column) for column in FLAGS)
    for column, values, known in zip(
        FLAGS, (status, secrecy), (STATUS, CONFIDENTIALITY), strict=True
    ):
        for value in set(values) - {None}:
            if not set(value or "") <= known:
                problem = f"{value!r} is an unknown flag"
                raise grid.error(problem, values.index(value), column)
    return [(a or "") + (b or "") or None for a, b in zip(status, secrecy, strict=True)]


# ------------------------------------------------------------------ places


def _places(
    tables: Sequence[Rows],
    points: Mapping[str, Point],
    population: Mapping[tuple[str, int], int],
) -> pa.Table:
    """One row per code, from the first row that has it."""
    latest: dict[str, list[int]] = {}
    for (code, _), count in sorted(population.items()):
        latest.setdefault(code, []).append(count)
    known: dict[str, str] = {}
    placed: list[pa.Table] = []
    for rows in tables:
        first = []
        for index, (code, label) in enumerate(zip(rows.codes, rows.labels, strict=True)):
            if len(code) > 2 and known.setdefault(code, label) != label:
                problem = f"{label!r} is another name for {code} than {known[code]!r}"
                raise rows.grid.error(problem, index, LABEL)
        seen = {code for other in placed for code in other["source_code"].to_pylist()}
        for index, code in enumerate(rows.codes):
            if len(code) > 2 and code not in seen:
                seen.add(code)
                first.append(index)
        placed.append(_place_rows(rows, first, points, latest))
    return pa.concat_tables(placed)


def _place_rows(
    rows: Rows,
    first: Sequence[int],
    points: Mapping[str, Point],
    latest: Mapping[str, Sequence[int]],
) -> pa.Table:
    codes = [rows.codes[index] for index in first]
    at = [points.get(code) for code in codes]
    names = [_names(rows.codes[index], rows.labels[index], points) for index in first]
    return tidy(
        TABLES["places"],
        rows.grid,
        {
            "source_code": codes,
            "source_name": [name.name for name in names],
            "principal_city": [name.principal_city for name in names],
            "other_names": [name.other_names for name in names],
            "country_scheme": ["iso2"] * len(codes),
            "country_code": [_country(code, points) for code in codes],
            "latitude": pa.array([point and point.latitude for point in at], pa.float64()),
            "longitude": pa.array([point and point.longitude for point in at], pa.float64()),
            "population": pa.array([_typical(latest.get(code)) for code in codes], pa.int64()),
            "geography": [name.geography for name in names],
            "not_a_city": pa.nulls(len(codes), pa.string()),
        },
        rows=np.array(first, dtype=np.int64),
        column="cities",
    )


def _country(code: str, points: Mapping[str, Point]) -> str:
    """The ISO 3166-1 code of a city: that of its country, or of its part of France overseas."""
    region = points[code].region[:4] if code in points else ""
    return OVERSEAS.get(region) or ISO2.get(code[:2], code[:2])


def _typical(counts: Sequence[int] | None) -> int | None:
    """The middle one of the latest three figures, so that one wrong year misleads nobody."""
    return median_high(counts[-3:]) if counts else None


class Names(NamedTuple):
    """What a label says of an area."""

    name: str
    geography: str
    principal_city: str | None
    other_names: str | None


def _names(code: str, label: str, points: Mapping[str, Point]) -> Names:
    """A label cleaned of what is certainly not the name, and the names hidden in it."""
    match = CITY_CODE.fullmatch(code)
    assert match is not None
    name = " ".join(label.replace(GREATER, " ").split())
    geography = GEOGRAPHIES.get(match[1])
    if geography is None:
        greater = GREATER in label or name.startswith("Greater ")
        geography = "greater_city" if greater else "city"
    letters: Mapping[int, int] = LOST_LETTERS.get(code[:2], {})
    name = name.translate(letters)
    gisco = points[code].name.translate(letters) if code in points else None
    if gisco and "?" in name and _fits(name, gisco):
        name = gisco
    others = [*_variants(name), *([gisco] if gisco else [])]
    others = [other for other in dict.fromkeys(others) if other != name]
    return Names(name, geography, _principal_city(name), "|".join(others) or None)


def _fits(name: str, other: str) -> bool:
    """Whether ``other`` is ``name`` with a letter beyond ASCII for each question mark."""
    pattern = re.escape(name).replace(r"\?", r"[^\W\d_a-zA-Z]")
    return re.fullmatch(pattern, other) is not None


def _variants(name: str) -> list[str]:
    """Names in two languages apart (Bruxelles/Brussel), an article back in front (Línea, La)."""
    variants = []
    if "/" in name and "(" not in name:
        variants += [part.strip() for part in name.split("/")]
    if article := re.fullmatch(r"(.+), (El|La|Los|Las|L')", name):
        variants.append(f"{article[2]} {article[1]}")
    return variants


def _principal_city(name: str) -> str | None:
    """The city where the label names more: the area around it, or a neighbour over the border."""
    if name.startswith("Greater "):
        return name.removeprefix("Greater ")
    across = re.fullmatch(r"(.+)-[^-]+,? \(\w+ part\)", name)
    return across[1] if across else None


# ------------------------------------------------------------------ GISCO


def _points(files: Files, name: str) -> dict[str, Point]:
    """Label points by code."""
    try:
        content = orjson.loads(read_bytes(files[name]))
    except orjson.JSONDecodeError as error:
        problem = f"the text is not valid JSON ({error.msg})"
        raise ReadError(problem, file=name, row=error.lineno) from None
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not features:
        raise ReadError("is not a GeoJSON collection of features", file=name)
    records: list[Any] = [
        feature.get("properties") if isinstance(feature, dict) else None for feature in features
    ]
    grid = records_grid(name, records, use=POINT_USED, ignore=POINT_IGNORED)
    codes, names = grid.required_text("URAU_CODE"), grid.required_text("URAU_NAME")
    regions = grid.text("NUTS3_2021")
    points = {
        code: Point(label, *_coordinates(grid, index, features[index]), region or "")
        for index, (code, label, region) in enumerate(zip(codes, names, regions, strict=True))
    }
    if len(points) < len(codes):
        index = next(at for at, code in enumerate(codes) if code in codes[:at])
        raise grid.error(f"{codes[index]!r} occurs twice", index, "URAU_CODE")
    return points


def _coordinates(grid: Grid, index: int, feature: Mapping[str, Any]) -> tuple[float, float]:
    match feature.get("geometry"):
        case {"type": "Point", "coordinates": [int() | float() as x, int() | float() as y]} if (
            -180 <= x <= 180 and -90 <= y <= 90
        ):
            return float(x), float(y)
    problem = "the geometry is not a point with longitude and latitude in degrees"
    raise grid.error(problem, index, "geometry")


# ------------------------------------------------------------------ the source


def _sdmx(table: str, indicators: Sequence[str]) -> str:
    return (
        "https://ec.europa.eu/eurostat/api/dissemination/sdmx/3.0/data/dataflow/ESTAT/"
        f"{table}/1.0?compress=false&format=csvdata&formatVersion=2.0&lang=en&labels=name"
        f"&c[indic_ur]={','.join(indicators)}"
    )


GISCO = "https://gisco-services.ec.europa.eu/distribution/v2/urau/geojson/"

SOURCE = Source(
    id=ID,
    title="City statistics (Urban Audit): population by country of birth and citizenship",
    publisher="Eurostat",
    licence="CC BY 4.0; points © EuroGeographics for the administrative boundaries",
    licence_url="https://commission.europa.eu/legal-notice_en",
    citation=(
        "Eurostat, Population by citizenship and country of birth - cities and greater cities "
        "(urb_cpopcb) and Population on 1 January by age groups and sex - cities and greater "
        "cities (urb_cpop1); points: GISCO, Urban Audit 2021, © EuroGeographics."
    ),
    homepage="https://ec.europa.eu/eurostat/web/cities",
    edition="as downloaded",
    downloads=(
        Download(file=MIGRANTS, url=_sdmx("urb_cpopcb", tuple(CONCEPTS)), kind="csv"),
        Download(file=POPULATIONS, url=_sdmx("urb_cpop1", (POPULATION,)), kind="csv"),
        *(
            Download(file=name, url=GISCO + name, kind="json", max_bytes=8 * 2**20)
            for name in POINTS
        ),
    ),
    tables=TABLES,
    read=read,
)
