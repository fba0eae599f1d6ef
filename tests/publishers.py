"""Small files in the publishers' layouts, for tests: a world of six countries and eight cities.

``Edition`` holds the figures, all of them consistent (parts sum to wholes, repeated tables agree),
and ``tiny_edition`` writes every registered source as a raw store and as a mirror.  A test changes
a figure by ``Edition``'s fields, and spoils a file by editing its cells before they are written:

    wup_archive(spoil={CITIES_ANNUAL: lambda book: put(book["Data"], "L19", "n.a.")})
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import xlsxwriter
import yaml

from urban_migration.sources import all_sources, get_source

Rows = list[list[Any]]
"""Cells of a sheet or a CSV file from A1 on."""
Book = dict[str, Rows]
"""Sheets of a workbook by name."""
Spoil = Mapping[str, Callable[[Any], None]]
"""By file or member: edits its sheets (workbook), rows (CSV) or list of pages (JSON) in place."""

LOCATIONS = "WUP2018-F00-LOCATIONS.xlsx"
TOTALS = "WUP2018-F01-Total_Urban_Rural.xls"
PERCENTAGES = "WUP2018-F02-Proportion_Urban.xls"
URBAN = "WUP2018-F03-Urban_Population.xls"
CITIES = "WUP2018-F12-Cities_Over_300K.xls"
URBAN_ANNUAL = "WUP2018-F19-Urban_Population_Annual.xls"
CITIES_ANNUAL = "WUP2018-F22-Cities_Over_300K_Annual.xls"
STOCKS = "undesa_pd_2024_ims_stock_by_sex_and_destination.xlsx"
ORIGINS = "undesa_pd_2024_ims_stock_by_sex_destination_and_origin.xlsx"
WPP = "WPP2024_Demographic_Indicators_Medium.csv.gz"
M49 = "UNSD-Methodology.csv"
PAGE = "population-{page}.json"

YEARS = range(1950, 2051)
CITY_YEARS = range(1950, 2036)
STOCK_YEARS = (1990, 1995, 2000, 2005, 2010, 2015, 2020, 2024)
UNHCR_YEARS = range(1951, 2025)
FIRST_SEEN = "2026-01-01T00:00:00Z"
WORLD, EUROPE, OTHER = 900, 908, 2003


# ------------------------------------------------------------------ the figures


@dataclass(frozen=True)
class Country:
    """A country; ``elsewhere`` is its urban population of 2018 outside the cities below."""

    m49: int
    iso3: str
    iso2: str
    unhcr: str
    name: str
    region: str
    subregion: str
    elsewhere: int = 0
    urban_pct: int = 50


@dataclass(frozen=True)
class City:
    """A city by its code in WUP 2018, with its population of 2018."""

    code: int
    country: int
    name: str
    latitude: float
    longitude: float
    population: int


JAPAN = Country(392, "JPN", "JP", "JPN", "Japan", "Asia", "Eastern Asia", 79_053_223, 92)
JORDAN = Country(400, "JOR", "JO", "JOR", "Jordan", "Asia", "Western Asia", 6_945_791, 91)
MEXICO = Country(
    484,
    "MEX",
    "MX",
    "MEX",
    "Mexico",
    "Americas",
    "Latin America and the Caribbean",
    83_230_671,
    80,
)
PORTUGAL = Country(620, "PRT", "PT", "POR", "Portugal", "Europe", "Southern Europe", 2_476_743, 65)
SYRIA = Country(
    760, "SYR", "SY", "SYR", "Syrian Arab Republic", "Asia", "Western Asia", 7_583_692, 54
)
USA = Country(
    840,
    "USA",
    "US",
    "USA",
    "United States of America",
    "Americas",
    "Northern America",
    267_753_147,
    82,
)
COUNTRIES = (JAPAN, JORDAN, MEXICO, PORTUGAL, SYRIA, USA)
OTHER_AREAS = (
    Country(10, "ATA", "AQ", "", "Antarctica", "", ""),
    Country(516, "NAM", "NA", "NAM", "Namibia", "Africa", "Sub-Saharan Africa"),
    Country(
        652,
        "BLM",
        "BL",
        "",
        "Saint Barthélemy",
        "Americas",
        "Latin America and the Caribbean",
    ),
    Country(680, "", "", "", "Sark", "Europe", "Northern Europe"),
)
"""M49 rows with a quirk: no region, ISO code NA, no migrant figures, no ISO code."""

EIGHT_CITIES = (
    City(21671, 392, "Tokyo", 35.6895, 139.69171, 37_468_302),
    City(21700, 400, "Amman", 31.95522, 35.94503, 2_064_582),
    City(21853, 484, "Ciudad de México  (Mexico City)", 19.427318, -99.141869, 21_580_827),
    City(22167, 620, "Lisboa (Lisbon)", 38.71686, -9.139867, 2_927_316),
    City(22168, 620, "Porto", 41.14961, -8.61099, 1_306_934),
    City(22610, 760, "Dimashq (Damascus)", 33.508586, 36.308444, 2_319_545),
    City(23027, 840, "Concord", 35.408752, -80.579511, 359_874),
    City(23426, 840, "Concord ", 37.97798, -122.03107, 673_694),
)
MIGRANTS_2024 = {
    (392, 840): 61_000,
    (392, OTHER): 12_345,
    (400, 760): 1_250_000,
    (484, 840): 780_000,
    (620, 840): 9_000,
    (620, OTHER): 871_813,
    (760, 400): 1_001,
    (840, 392): 350_000,
    (840, 484): 11_279_561,
    (840, 760): 115_000,
    (840, OTHER): 3_101_202,
}
"""Destination and origin to persons of both sexes; 2003 is *unknown*."""
NEVER_COUNTED = (840, 760, 1990)
"""A pair whose figure is blank, which is not zero."""
DATA_TYPES = {392: "C", 400: "C R", 484: "B", 620: "B", 760: "I R", 840: "B"}
DISPLACED_2024 = {
    ("JOR", "SYR"): (619_000, 2_000, 0, 0),
    ("PRT", "XXX"): (800, 45, 0, 0),
    ("JPN", "XXA"): (0, 0, 0, 500),
    ("SYR", "SYR"): (0, 0, 7_408_845, 160_000),
    ("USA", "MEX"): (3_500, 120_000, 0, 0),
    ("USA", "SYR"): (8_500, 1_200, 0, 0),
}
"""Asylum and origin to refugees, asylum-seekers, IDPs, stateless."""


@dataclass(frozen=True)
class Edition:
    """The figures of all publishers; the mappings override single ones, and all sums follow.

    ``population`` (city code, year), ``migrants`` (destination, origin, year) and ``refugees``
    (asylum, origin, year) are persons.
    """

    countries: Sequence[Country] = COUNTRIES
    cities: Sequence[City] = EIGHT_CITIES
    population: Mapping[tuple[int, int], int] = field(default_factory=dict)
    migrants: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    refugees: Mapping[tuple[str, str, int], int] = field(default_factory=dict)

    def city(self, city: City, year: int) -> int:
        """A city's population: that of 2018, and 1 % of it more or less for each year."""
        grown = city.population * (100 + year - 2018) // 100
        return self.population.get((city.code, year), grown)

    def urban(self, location: int, year: int) -> int:
        """The urban population of a country, of Europe or of the world."""
        cities = {
            city.code: self.city(city, year)
            for city in self.cities
            for country in self.members(location)
            if city.country == country.m49
        }
        elsewhere = sum(
            country.elsewhere * (100 + year - 2018) // 100 for country in self.members(location)
        )
        return sum(cities.values()) + elsewhere

    def total(self, location: int, year: int) -> int:
        """The total population of a country, of Europe or of the world."""
        return sum(
            self.urban(country.m49, year) * 100 // country.urban_pct
            for country in self.members(location)
        )

    def members(self, location: int) -> list[Country]:
        """The countries of a location, which may be a country itself."""
        return [
            country
            for country in self.countries
            if location in (WORLD, country.m49)
            or (location == EUROPE and country.region == "Europe")
        ]

    def urban_pct(self, location: int, year: int) -> float:
        """Per cent of the population."""
        return 100 * self.urban(location, year) / (self.total(location, year) or 1)

    def by_sex(self, destination: int, origin: int, year: int) -> tuple[int | None, ...]:
        """Migrants of both sexes, males and females; for the world and all origins, the sums."""
        pairs = [
            pair
            for pair in MIGRANTS_2024
            if destination in (WORLD, pair[0]) and origin in (WORLD, pair[1])
        ]
        figures = [self._pair(*pair, year) for pair in pairs if (*pair, year) != NEVER_COUNTED]
        if not figures:
            return (None, None, None)
        males = sum(both * 11 // 20 for both in figures)
        return (sum(figures), males, sum(figures) - males)

    def _pair(self, destination: int, origin: int, year: int) -> int:
        known = MIGRANTS_2024[destination, origin] * (year - 1950) // 74
        return self.migrants.get((destination, origin, year), known)

    def displaced(self, asylum: str, origin: str, year: int) -> list[int]:
        """Refugees, asylum-seekers, IDPs and stateless people, rounded to 5 as UNHCR does."""
        figures = [full * (year - 1950) // 74 // 5 * 5 for full in DISPLACED_2024[asylum, origin]]
        figures[0] = self.refugees.get((asylum, origin, year), figures[0])
        return figures


# ------------------------------------------------------------------ World Urbanization Prospects


def wup_archive(
    edition: Edition | None = None,
    *,
    sheet: str = "Data",
    header_row: int = 17,
    spoil: Spoil | None = None,
    also: Mapping[str, bytes] | None = None,
    without: Sequence[str] = (),
) -> bytes:
    """``WUP2018-Excel-files.zip``; ``also`` adds members, ``without`` leaves some out."""
    members = {
        f"WUP2018/{name}": content
        for name, content in wup_members(edition, sheet, header_row, spoil).items()
        if name not in without
    }
    return archive({**members, **(also or {})})


def wup_members(
    edition: Edition | None = None,
    sheet: str = "Data",
    header_row: int = 17,
    spoil: Spoil | None = None,
) -> dict[str, bytes]:
    """The seven workbooks; all are written as ``.xlsx``, whatever they are called."""
    books = wup_books(edition or Edition(), sheet, header_row)
    return {name: workbook(_spoilt(name, book, spoil)) for name, book in books.items()}


def wup_books(edition: Edition, sheet: str, header_row: int) -> dict[str, Book]:
    """The cells of the seven workbooks."""
    places = [WORLD, EUROPE, *(country.m49 for country in edition.countries)]
    names = {WORLD: "WORLD", EUROPE: "Europe"}
    names |= {country.m49: country.name for country in edition.countries}

    def by_location(header: Sequence[Any], figures: Callable[[int], list[float]]) -> Rows:
        rows = [
            [index, names[code], "", code, *figures(code)] for index, code in enumerate(places, 1)
        ]
        head = ["Index", "Region, subregion, country or area", "Note", "Country\ncode", *header]
        return table(head, rows, header_row)

    def by_city(years: Sequence[int]) -> Rows:
        countries = {country.m49: country.name for country in edition.countries}
        rows = [
            [
                index,
                city.country,
                countries[city.country],
                city.code,
                city.name,
                "",
                city.latitude,
                city.longitude,
                *(edition.city(city, year) / 1000 for year in years),
            ]
            for index, city in enumerate(edition.cities, 1)
        ]
        head = ["Index", "Country Code", "Country or area", "City Code", "Urban Agglomeration"]
        return table([*head, "Note", "Latitude", "Longitude", *years], rows, header_row)

    def totals(code: int) -> list[float]:
        urban, total = edition.urban(code, 2018), edition.total(code, 2018)
        figures = [urban / 1000, (total - urban) / 1000, total / 1000]
        return [*figures, edition.urban_pct(code, 2018)]

    def urban_of(years: Sequence[int]) -> Rows:
        return by_location(years, lambda code: [edition.urban(code, y) / 1000 for y in years])

    five = YEARS[::5]
    sheets = {
        TOTALS: by_location(["Urban", "Rural", "Total", "Percentage urban"], totals),
        PERCENTAGES: by_location(five, lambda code: [edition.urban_pct(code, y) for y in five]),
        URBAN: urban_of(five),
        CITIES: by_city(CITY_YEARS[::5]),
        URBAN_ANNUAL: urban_of(YEARS),
        CITIES_ANNUAL: by_city(CITY_YEARS),
    }
    notes = [["(a) A footnote in prose."]]
    return {
        LOCATIONS: {"Location": _locations(edition), "NOTES": notes},
        **{name: {sheet: rows, "NOTES": notes} for name, rows in sheets.items()},
    }


def _locations(edition: Edition) -> Rows:
    """F00 with its two header rows: where the lower cell is blank, the upper one counts."""
    groups = """
        Index|Region, subregion, country or area|Notes|code|Alpha-code|Code|Name|Code|Name|Code|
        Name|More Developed Regions|Less Developed Regions|Least developed countries|
        Less developed regions, excluding least developed countries|High-income Countries|
        Middle-income Countries|Upper-middle-income Countries|Lower-middle-income Countries|
        Low-income Countries||with a population of less than 90,000 by mid-2018"""
    header = [" ".join(name.split()) for name in groups.split("|")]
    above: list[Any] = [""] * len(header)
    above[3:6] = ["Country", "ISO3", "Location Type"]
    above[-2:] = ["Sub-Saharan Africa", "Countries or areas "]
    rest = [""] * (len(header) - 7)
    rows: Rows = [
        [1, "WORLD", "", WORLD, "   ", 0, "Special groupings", *rest],
        [2, "Europe", "", EUROPE, "   ", 2, "Region", *rest],
    ]
    for index, country in enumerate(edition.countries, 3):
        kind = [4, "Country/Area", *rest]
        rows.append([index, country.name, "", country.m49, country.iso3, *kind])
    return table(header, rows, 17, above)


# ------------------------------------------------------------------ International Migrant Stock


def migrant_stock_workbooks(
    edition: Edition | None = None, *, header_row: int = 11, spoil: Spoil | None = None
) -> dict[str, bytes]:
    """Both workbooks: by destination, and by destination and origin."""
    books = migrant_stock_books(edition or Edition(), header_row)
    return {name: workbook(_spoilt(name, book, spoil)) for name, book in books.items()}


def migrant_stock_books(edition: Edition, header_row: int) -> dict[str, Book]:
    """The cells of both workbooks."""
    names = {WORLD: "World", OTHER: "Others"}
    names |= {c.m49: f"{c.name}*" for c in (*edition.countries, *OTHER_AREAS)}
    destinations = [WORLD, *(country.m49 for country in edition.countries), 652]
    years = [*STOCK_YEARS] * 3

    def figures(destination: int, origin: int) -> list[int | None]:
        cells = [edition.by_sex(destination, origin, year) for year in STOCK_YEARS]
        return [cell[sex] for sex in range(3) for cell in cells]

    def percentages(destination: int) -> list[float | None]:
        stocks = figures(destination, WORLD)
        populations = [edition.total(destination, year) for year in years]
        return [
            None if stock is None else 100 * stock / population
            for stock, population in zip(stocks, populations, strict=True)
        ]

    def by_destination(cells: Callable[[int], Sequence[float | None]]) -> Rows:
        rows = [
            [index, names[code], "", DATA_TYPES.get(code, ""), code, *cells(code)]
            for index, code in enumerate(destinations, 1)
        ]
        head = ["", "Region, development group, country or area", "Coverage", "Data type"]
        above = ["", "", "Migrant notes", *[""] * (2 + len(years))]
        return table([*head, "Location code", *years], rows, header_row, above)

    pairs = [
        (destination, origin)
        for destination in destinations
        for origin in (WORLD, *(country.m49 for country in edition.countries), OTHER)
        if any(cell is not None for cell in figures(destination, origin))
    ]
    by_origin = [
        [index, names[d], "", DATA_TYPES.get(d, ""), d, names[o], o, *figures(d, o)]
        for index, (d, o) in enumerate(pairs, 1)
    ]
    area = "Region, development group, country or area"
    header = ["Index", f"{area} of destination", "Coverage", "Data type"]
    header += ["Location code of destination", f"{area} of origin", "Location code of origin"]
    prose = [["Prose."]]
    return {
        STOCKS: {
            "Table of contents": prose,
            "Table 1": by_destination(lambda code: figures(code, WORLD)),
            "Table 2": prose,
            "Table 3": by_destination(percentages),
            "Table 4": prose,
            "Table 5": prose,
            "Migrant notes": prose,
            "Population notes": prose,
        },
        ORIGINS: {
            "Table of contents": prose,
            "Table 1": table([*header, *years], by_origin, header_row),
            "Migrant notes": prose,
        },
    }


# ------------------------------------------------------------------ WPP, M49


WPP_HEADER = """
    SortOrder LocID Notes ISO3_code ISO2_code SDMX_code LocTypeID LocTypeName ParentID Location
    VarID Variant Time TPopulation1Jan TPopulation1July TPopulationMale1July
    TPopulationFemale1July PopDensity PopSexRatio MedianAgePop NatChange NatChangeRT PopChange
    PopGrowthRate DoublingTime Births BirthsMale BirthsFemale Births1519 CBR TFR NRR MAC SRB
    Deaths DeathsMale DeathsFemale CDR LEx LExMale LExFemale LE15 LE15Male LE15Female LE60
    LE60Male LE60Female LE65 LE65Male LE65Female LE80 LE80Male LE80Female InfantDeaths IMR
    LBsurvivingAge1 Under5Deaths Q5 Q0040 Q0040Male Q0040Female Q0060 Q0060Male Q0060Female
    Q1550 Q1550Male Q1550Female Q1560 Q1560Male Q1560Female NetMigrations CNMR
""".split()


def wpp_rows(edition: Edition, years: Sequence[int] = YEARS) -> Rows:
    """The cells of the demographic indicators; the world's natural increase is that of all."""
    rows: Rows = [list(WPP_HEADER)]
    world = Country(WORLD, "", "", "", "World", "", "")
    for order, place in enumerate([world, *edition.countries], 1):
        for year in years:
            cells = {
                "SortOrder": order,
                "LocID": place.m49,
                "ISO3_code": place.iso3,
                "ISO2_code": place.iso2,
                "LocTypeID": 4 if place.iso3 else 1,
                "LocTypeName": "Country/Area" if place.iso3 else "World",
                "ParentID": 0,
                "Location": place.name,
                "VarID": 2,
                "Variant": "Medium",
                "Time": year,
                "TPopulation1July": f"{edition.total(place.m49, year) / 1000:.3f}",
                "NatChangeRT": f"{(2050 - year) / 10:.3f}",
                "CNMR": f"{place.m49 % 7 - 3:.3f}" if place.iso3 else "0",
            }
            rows.append([cells.get(column, "") for column in WPP_HEADER])
    return rows


def wpp_csv(edition: Edition | None = None, *, spoil: Spoil | None = None) -> bytes:
    """``WPP2024_Demographic_Indicators_Medium.csv.gz``: UTF-8 with byte order mark, CRLF."""
    text = csv_text(_spoilt(WPP, wpp_rows(edition or Edition()), spoil))
    return gzip.compress(text.encode("utf-8-sig"), mtime=0)


def m49_rows(edition: Edition) -> Rows:
    """The cells of the M49 table."""
    header = """Global Code;Global Name;Region Code;Region Name;Sub-region Code;Sub-region Name;
        Intermediate Region Code;Intermediate Region Name;Country or Area;M49 Code;
        ISO-alpha2 Code;ISO-alpha3 Code;Least Developed Countries (LDC);
        Land Locked Developing Countries (LLDC);Small Island Developing States (SIDS)"""
    return [
        [" ".join(name.split()) for name in header.split(";")],
        *(
            [
                *("001", "World", "", area.region, "", area.subregion, "", "", area.name),
                *(f"{area.m49:03}", area.iso2, area.iso3, "", "", ""),
            ]
            for area in (*edition.countries, *OTHER_AREAS)
        ),
    ]


def m49_csv(edition: Edition | None = None, *, spoil: Spoil | None = None) -> bytes:
    """``UNSD-Methodology.csv``: semicolons, UTF-8 with byte order mark."""
    rows = _spoilt(M49, m49_rows(edition or Edition()), spoil)
    return csv_text(rows, ";", "\n").encode("utf-8-sig")


# ------------------------------------------------------------------ UNHCR


UNHCR_FIGURES = (
    "refugees asylum_seekers returned_refugees idps returned_idps stateless ooc oip hst".split()
)


def unhcr_records(edition: Edition, years: Sequence[int] = UNHCR_YEARS) -> Iterator[list[Any]]:
    """Rows of the table behind the API: labels and figures, None for what is not collected."""
    known = {country.iso3: country for country in edition.countries}
    known["XXA"] = Country(0, "XXA", "", "STA", "Stateless", "", "")
    known["XXX"] = Country(0, "UNK", "", "UKN", "Unknown", "", "")
    for year in years:
        for asylum, origin in DISPLACED_2024:
            coo, coa = known[origin], known[asylum]
            refugees, seekers, idps, stateless = edition.displaced(asylum, origin, year)
            others = None if year < 2018 else 0
            yield [
                *(year, coo.name, coo.unhcr, coo.iso3, coa.name, coa.unhcr, coa.iso3),
                *(refugees, seekers, 0, idps, 0, stateless, 0, others, 0),
            ]


def unhcr_items(edition: Edition, years: Sequence[int] = UNHCR_YEARS) -> list[dict[str, Any]]:
    """Items of the API: integers, the text ``0`` for zero and ``-`` for *not collected*."""
    labels = ["year", "coo_name", "coo", "coo_iso", "coa_name", "coa", "coa_iso"]
    items = []
    for record in unhcr_records(edition, years):
        item = dict(zip(labels, record[:7], strict=True)) | {"coo_id": 1, "coa_id": 2}
        for name, value in zip(UNHCR_FIGURES, record[7:], strict=True):
            item[name] = "-" if value is None else value or "0"
        items.append(item)
    return items


def unhcr_pages(
    edition: Edition | None = None,
    *,
    per_page: int = 10_000,
    years: Sequence[int] = UNHCR_YEARS,
    spoil: Spoil | None = None,
) -> dict[str, bytes]:
    """``population-1.json`` and so on; ``spoil`` edits the list of all pages under ``PAGE``."""
    items = unhcr_items(edition or Edition(), years)
    batches = [items[at : at + per_page] for at in range(0, len(items), per_page)]
    pages = [
        {
            "page": number,
            "short-url": "1408be",
            "maxPages": len(batches),
            "total": [],
            "items": batch,
        }
        for number, batch in enumerate(batches, 1)
    ]
    texts = [json.dumps(page, separators=(",", ":")) for page in _spoilt(PAGE, pages, spoil)]
    return {PAGE.format(page=n): text.encode() for n, text in enumerate(texts, 1)}


# ------------------------------------------------------------------ a whole edition


def files_of(edition: Edition, spoil: Spoil | None = None) -> dict[str, dict[str, bytes]]:
    """The files of the first five sources, the required ones among them, by source."""
    files = {
        "un_m49": {M49: m49_csv(edition, spoil=spoil)},
        "un_wup_2018": {"WUP2018-Excel-files.zip": wup_archive(edition, spoil=spoil)},
        "un_migrant_stock_2024": migrant_stock_workbooks(edition, spoil=spoil),
        "un_wpp_2024": {WPP: wpp_csv(edition, spoil=spoil)},
        "unhcr_population": unhcr_pages(edition, spoil=spoil),
    }
    required = {source.id for source in all_sources().values() if source.required}
    missing = required - files.keys()
    assert not missing, f"tests/publishers.py writes no files of {', '.join(sorted(missing))}"
    return files


def tiny_edition(
    root: Path,
    *,
    spoil: Spoil | None = None,
    omit: Sequence[str] = (),
    edition: Edition | None = None,
    **changes: Any,
) -> Edition:
    """Write a raw store below ``root`` and a mirror of the same files in ``root/mirror``.

    ``root/<source_id>/<file>`` with ``root/raw.lock.json``, and ``root/mirror`` with
    ``files/<host>/<path>`` and ``tables/unhcr``, which ``serve.Simulator(root / "mirror")``
    takes.  ``changes`` are fields of :class:`Edition`; ``omit`` names sources that are left out.
    """
    edition = edition or Edition(**changes)
    lock: dict[str, Any] = {}
    for source_id, files in files_of(edition, spoil).items():
        if source_id in omit:
            continue
        lock[source_id] = {"files": {}}
        for name, content in files.items():
            url = _url(source_id, name)
            _write(root / source_id / name, content)
            if "?" not in url:
                address = urlsplit(url)
                path = f"{address.netloc}{unquote(address.path)}"
                _write(root / "mirror" / "files" / path, content)
            lock[source_id]["files"][name] = {
                "url": url,
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "etag": None,
                "last_modified": None,
                "first_seen": FIRST_SEEN,
            }
    text = json.dumps({"version": 1, "sources": lock}, indent=1, sort_keys=True)
    _write(root / "raw.lock.json", f"{text}\n".encode())
    if "unhcr_population" not in omit:
        _write_unhcr_tables(root / "mirror" / "tables" / "unhcr", edition)
    return edition


def tiny_expectations(suites: Path, target: Path) -> Path:
    """Copy the suites without the bands of row counts that a tiny edition must fall below."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(suites.glob("*.yaml")):
        suite = yaml.safe_load(path.read_text("utf-8"))
        suite["rows"] = [
            rule
            for rule in suite.get("rows") or []
            if rule["type"] != "expect_table_row_count_to_be_between"
        ]
        (target / path.name).write_text(
            yaml.safe_dump(suite, allow_unicode=True, sort_keys=False), "utf-8"
        )
    return target


def _url(source_id: str, name: str) -> str:
    """Where the publisher serves a file."""
    for download in get_source(source_id).downloads:
        pattern = re.escape(download.file).replace(r"\{page\}", r"(\d+)")
        if match := re.fullmatch(pattern, name):
            return download.url.replace("{page}", match[1]) if download.pages else download.url
    raise ValueError(f"{source_id} has no download for {name}")


def _write_unhcr_tables(folder: Path, edition: Edition) -> None:
    """The tables from which the simulator computes the answers of UNHCR's API."""
    header = ["year", "coo_name", "coo", "coo_iso", "coa_name", "coa", "coa_iso", *UNHCR_FIGURES]
    places = [[c.iso3, c.unhcr, c.name, "", c.region, c.subregion, ""] for c in edition.countries]
    places += [["XXA", "STA", "Stateless", *[""] * 4], ["XXX", "UKN", "Unknown", *[""] * 4]]
    columns = "iso_code unhcr_code name unhcr_region unsd_region unsd_subregion unsd_imregion"
    tables = {
        "population": [header, *unhcr_records(edition)],
        "countries": [columns.split(), *places],
    }
    for name, rows in tables.items():
        content = gzip.compress(csv_text(rows).encode(), mtime=0)
        _write(folder / f"{name}.csv.gz", content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# ------------------------------------------------------------------ cells, sheets, archives


class ExcelError(str):
    """An Excel error such as ``#N/A``, to be put into a cell."""


def table(
    header: Sequence[Any], rows: Iterable[list[Any]], header_row: int, above: Sequence[Any] = ()
) -> Rows:
    """A sheet with its header in ``header_row``, blank rows and ``above`` before it."""
    blank: Rows = [[] for _ in range(header_row - 1)]
    if above:
        blank[-1] = list(above)
    return [*blank, list(header), *rows]


def put(rows: Rows, cell: str, value: Any) -> None:
    """Write a value into a cell that is named as a spreadsheet names it: ``K19``."""
    row, column = place(cell)
    while len(rows) <= row:
        rows.append([])
    rows[row].extend([""] * (column + 1 - len(rows[row])))
    rows[row][column] = value


def place(cell: str) -> tuple[int, int]:
    """Row and column, from 0, of a cell such as ``K19``."""
    match = re.fullmatch(r"([A-Z]+)([1-9]\d*)", cell)
    assert match, f"{cell!r} is no cell"
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(match[2]) - 1, column - 1


def delete_column(rows: Rows, letter: str) -> None:
    """Take a column out; those to the right of it move to the left."""
    _, column = place(f"{letter}1")
    for row in rows:
        del row[column : column + 1]


def workbook(sheets: Mapping[str, Rows]) -> bytes:
    """An ``.xlsx`` workbook; the same cells give the same bytes."""
    stream = io.BytesIO()
    book = xlsxwriter.Workbook(stream, {"in_memory": True, "strings_to_formulas": False})
    book.set_properties({"created": datetime(2018, 10, 1)})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                if isinstance(cell, ExcelError):
                    sheet.write_formula(row, column, "=1/0", None, str(cell))
                elif isinstance(cell, bool):
                    sheet.write_boolean(row, column, cell)
                elif isinstance(cell, date):
                    sheet.write_datetime(row, column, cell, day)
                elif isinstance(cell, str) and cell:
                    sheet.write_string(row, column, cell)
                elif isinstance(cell, int | float):
                    sheet.write_number(row, column, cell)
    book.close()
    return stream.getvalue()


def archive(members: Mapping[str, bytes]) -> bytes:
    """A zip archive; the same members give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name, (2018, 10, 1, 0, 0, 0)), content, 8)
    return stream.getvalue()


def csv_text(rows: Iterable[Sequence[Any]], delimiter: str = ",", end: str = "\r\n") -> str:
    """Rows as CSV; None is written as nothing."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end).writerows(rows)
    return stream.getvalue()


def _spoilt(name: str, document: Any, spoil: Spoil | None) -> Any:
    if spoil and name in spoil:
        spoil[name](document)
    return document
