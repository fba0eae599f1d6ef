"""UNHCR's Refugee Population Statistics by location: who lives in which place, since 2001.

The paged JSON API's demographics, end of year: persons by country of asylum and origin,
population type, location, urban or rural setting and accommodation.  ``-`` as a number means *not
collected* and is null; as a label it stands for a dimension that was summed over, which is not
asked for and an error.  Counts below five are rounded to 0 or 5 by UNHCR; they do not add up to
its population statistics.  Locations are text that changes with the years (``Kampala : City``,
``Kampala [Admin 2]``) and are codes of their own: the country's name and the text, joined by
``|``.

``persons`` has every row; ``migrants`` adds those of one location, year, concept and origin that
differ in setting or accommodation; ``places`` says what each location is, from its text: a city,
an administrative unit that may bear the name of its principal city (``governorate``), or no city
(a camp, a province, people dispersed in the country, ...).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.sources import city_tables
from urban_migration.sources.grid import (
    BigGrid,
    Values,
    big_json_pages,
    reference_rows,
    tidy,
)
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

ID = "unhcr_locations"
API = "https://api.unhcr.org/population/v1/demographics/"
PAGE = "demographics-{page}.json"
QUERY = (
    "ptype_show=1&locationDescription_show=1&locationUR_show=1&locationAccType_show=1"
    "&coo_all=true&coa_all=true&cf_type=ISO&yearFrom=2001&yearTo=2050&limit=10000&page={page}"
)
"""One question for all years: with the years apart, the one to come would answer nothing."""

ENVELOPE = {"page", "short-url", "maxPages", "total", "items"}
TEXTS = ("coo_iso", "coa_iso", "coa_name", "pop_type", "location", "loc_type", "acc_type")
AGES = ("0_4", "5_11", "12_17", "18_59", "60", "other", "total")
IGNORED = {
    "coo_id": "internal number",
    "coa_id": "internal number",
    "coo": "UNHCR's own code; the ISO code is used",
    "coa": "UNHCR's own code; the ISO code is used",
    "coo_name": "names are taken from M49",
    **{
        f"{sex}_{age}": "by age and sex, for which most rows have no breakdown (zero in all)"
        for sex in "fm"
        for age in AGES
    },
}

CONCEPTS = {
    "REF": "refugee",
    "ASY": "asylum_seeker",
    "IDP": "idp",
    "STA": "stateless",
    "OOC": "other_of_concern",
}
"""Population types that are published by city."""
NOT_BY_CITY = {
    "RET": "returned_refugee",  # came home during the year: a flow, not people who live there
    "RDP": "returned_idp",  # likewise
    "OIP": "other_in_need",  # other people in need of international protection: not in DESIGN.md
    "HST": "host_community",  # were not displaced
}
"""Population types that are published by country and setting only."""
TYPES = CONCEPTS | NOT_BY_CITY
SETTINGS = {"U": "urban", "R": "rural", "C": "camp", "V": "unknown"}
ACCOMMODATIONS = {
    "I": "individual",
    "C": "collective_centre",
    "P": "planned_camp",
    "S": "self_settled_camp",
    "R": "reception_or_transit",
    "U": "unknown",
}
PUBLISHED_ORIGINS = {"UNK": "XXX", "TIB": "XTB"}
"""UNHCR's codes that are not ISO's, as ``country_codes.csv`` has them."""
NOT_COLLECTED = "not collected"
PROVENANCE = SourceTable(columns={}, key=(), code=(), lands="true")
"""The columns that :func:`tidy` adds to every table, alone."""

TABLES = {
    "persons": SourceTable(
        columns={
            "source_code": "text",
            "asylum_code": "text",
            "origin_code": "text",
            "year": "year",
            "population_type": "text",
            "setting": "text",
            "accommodation": "text",
            "persons": "integer",
        },
        key=(
            "source_code",
            "origin_code",
            "year",
            "population_type",
            "setting",
            "accommodation",
        ),
        code=("source_code",),
        lands="""exists (
            select 1 from displacement_settings d join country_codes c
            on c.country_iso3 = d.asylum_iso3 and c.scheme = 'iso3'
            where c.code = fact.asylum_code and d.year = fact.year
            and d.population_type = fact.population_type and d.setting = fact.setting)""",
    ),
    "migrants": city_tables.migrants(ID),
    "places": city_tables.places(ID),
}


def read(files: Files) -> Tables:
    """One row per figure, per location's year, concept and origin, and per location; persons."""
    pages = big_json_pages(
        files,
        PAGE,
        ENVELOPE,
        text=TEXTS,
        numbers=("year", "total"),
        ignore=IGNORED,
        null=("-",),
    )
    persons = pa.concat_tables([_persons(grid) for grid in pages]).unify_dictionaries()
    facts = _Facts.of(persons)
    return {
        "persons": _with_schema(persons, "persons"),
        "migrants": _migrants(persons, facts),
        "places": _places(persons, facts),
    }


def _persons(grid: BigGrid) -> pa.Table:
    """A page's rows, with texts as dictionaries and provenance."""
    total = grid.integers("total", null=("-",))
    columns = {
        "source_code": _source_codes(grid),
        "asylum_code": grid.required_strings("coa_iso"),
        "origin_code": grid.required_strings("coo_iso"),
        "year": grid.years("year"),
        "population_type": _labels(grid, "pop_type", TYPES, "unknown population type {}"),
        "setting": _labels(grid, "loc_type", SETTINGS, "unknown type of setting {}"),
        "accommodation": _labels(grid, "acc_type", ACCOMMODATIONS, "unknown accommodation {}"),
        "persons": total,
    }
    reasons = pc.if_else(total.is_null(), NOT_COLLECTED, None)
    provenance = tidy(PROVENANCE, grid, {}, column="total", ignored=reasons)
    return pa.table(columns | {name: provenance[name] for name in provenance.column_names})


def _labels(grid: BigGrid, member: str, names: dict[str, str], problem: str) -> pa.Array:
    """A publisher's letters as words; an unknown one is an error."""
    codes = grid.one_of(member, names, problem)
    words = pa.array([names[code] for code in codes.dictionary.to_pylist()])
    return pa.DictionaryArray.from_arrays(codes.indices, words)


def _source_codes(grid: BigGrid) -> pa.DictionaryArray:
    """``Uganda|Kampala : City``: the country's name and the location's text."""
    countries, locations = grid.required_strings("coa_name"), grid.required_strings("location")
    if pc.any(pc.equal(locations, "-")).as_py():
        index = pc.index(locations.cast(pa.string()), "-").as_py()
        problem = "the location was summed over: the query's locationDescription_show is missing"
        raise grid.error(problem, index, "location")
    count = len(locations.dictionary)
    pairs = countries.indices.to_numpy().astype(np.int64) * count + locations.indices.to_numpy()
    unique, inverse = np.unique(pairs, return_inverse=True)
    names = zip(
        countries.dictionary.take(unique // count).to_pylist(),
        locations.dictionary.take(unique % count).to_pylist(),
        strict=True,
    )
    codes = pa.array([f"{country}|{location}" for country, location in names])
    return pa.DictionaryArray.from_arrays(pa.array(inverse.astype(np.int32)), codes)


def _with_schema(persons: pa.Table, name: str) -> pa.Table:
    return persons.cast(TABLES[name].schema())


@dataclass(frozen=True)
class _Facts:
    """The columns of all pages as numbers: codes of texts, and persons (0 where null)."""

    places: Values
    names: list[str]
    types: Values
    type_names: list[str]
    settings: Values
    setting_names: list[str]
    persons: Values

    @classmethod
    def of(cls, persons: pa.Table) -> _Facts:
        places, names = _coded(persons["source_code"])
        types, type_names = _coded(persons["population_type"])
        settings, setting_names = _coded(persons["setting"])
        counts = persons["persons"].fill_null(0).to_numpy()
        return cls(places, names, types, type_names, settings, setting_names, counts)

    def share(self, setting: str) -> Values:
        """The share of a setting in the persons that each location ever had."""
        if setting not in self.setting_names:
            return np.zeros(len(self.names))
        there = self.settings == self.setting_names.index(setting)
        weights = np.where(there, self.persons, 0)
        of_setting = np.bincount(self.places, weights, len(self.names))
        return of_setting / np.maximum(np.bincount(self.places, self.persons, len(self.names)), 1)


def _coded(column: pa.ChunkedArray) -> tuple[Values, list[str]]:
    whole = column.combine_chunks()
    return whole.indices.to_numpy(), whole.dictionary.to_pylist()


# ------------------------------------------------------------------ migrants


def _migrants(persons: pa.Table, facts: _Facts) -> pa.Table:
    """One row per location, year, concept and origin, the rows of each added up."""
    concepts = [
        facts.type_names.index(name) for name in CONCEPTS.values() if name in facts.type_names
    ]
    counted = np.flatnonzero(
        np.isin(facts.types, concepts) & persons["persons"].is_valid().to_numpy()
    )
    origins, origin_names = _coded(persons["origin_code"])
    years = persons["year"].to_numpy()
    key = facts.places.astype(np.int64)[counted]
    for part, size in ((years, 10_000), (facts.types, 100), (origins, 1_000)):
        key = key * size + part[counted]
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # the order of the publisher's rows
    rows = counted[first[order]]
    sums = np.bincount(inverse, facts.persons[counted])[order]
    times = np.bincount(inverse)[order]
    published = [PUBLISHED_ORIGINS.get(code, code) for code in origin_names]
    at = pa.array(rows)
    return pa.table(
        {
            "source_code": persons["source_code"].take(at),
            "year": persons["year"].take(at),
            "concept": persons["population_type"].take(at),
            "origin": pa.array(published).take(pa.array(origins[rows])),
            "migrants": pa.array(sums.astype(np.int64)),
            "population": pa.nulls(len(rows), pa.int64()),
            "base": pa.nulls(len(rows), pa.int64()),
            "flag": pa.nulls(len(rows), pa.string()),
            "file": persons["file"].take(at),
            "row_number": persons["row_number"].take(at),
            "column": _how_many(times),
            "ignored": pa.nulls(len(rows), pa.string()),
        }
    ).cast(TABLES["migrants"].schema())


def _how_many(times: Values) -> pa.Array:
    """Which column a figure is from, and how many rows it adds up (the first is the one named)."""
    counts, codes = np.unique(times, return_inverse=True)
    texts = ["total" if n == 1 else f"total (sum of {n} rows)" for n in counts.tolist()]
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(texts))


# ------------------------------------------------------------------ places


def _places(persons: pa.Table, facts: _Facts) -> pa.Table:
    """One row per location, with what its text and its setting say that it is."""
    _, first = np.unique(facts.places, return_index=True)
    at = pa.array(first)
    countries = persons["asylum_code"].take(at).to_pylist()
    locations = [name.split("|", 1)[1] for name in facts.names]
    kinds = _kinds(countries, locations, facts.share("urban") >= 0.5, _since(persons, facts))
    count = len(locations)
    return pa.table(
        {
            "source_code": pa.array(facts.names),
            "source_name": pa.array([kind.name for kind in kinds]),
            "principal_city": pa.array([kind.principal_city for kind in kinds], pa.string()),
            "other_names": pa.nulls(count, pa.string()),
            "country_scheme": pa.array(["iso3"] * count),
            "country_code": pa.array(countries),
            "latitude": pa.nulls(count, pa.float64()),
            "longitude": pa.nulls(count, pa.float64()),
            "population": pa.nulls(count, pa.int64()),
            "geography": pa.array([kind.geography for kind in kinds], pa.string()),
            "not_a_city": pa.array([kind.not_a_city for kind in kinds], pa.string()),
            "file": persons["file"].take(at),
            "row_number": persons["row_number"].take(at),
            "column": pa.array(["location"] * count),
            "ignored": pa.nulls(count, pa.string()),
        }
    ).cast(TABLES["places"].schema())


def _since(persons: pa.Table, facts: _Facts) -> Values:
    """The first year of each location."""
    first = np.full(len(facts.names), 9999)
    np.minimum.at(first, facts.places, persons["year"].to_numpy())
    return first


@dataclass(frozen=True)
class Kind:
    """What a location is: its name, and either its geography or what it is instead of a city."""

    name: str
    geography: str | None = None
    not_a_city: str | None = None
    principal_city: str | None = None


NEW_UNITS_SINCE = 2021
"""From then on some countries' provinces are called by their bare names, until ``[Admin 1]``."""

LEVEL = re.compile(r"(.*?) ?\[(Admin \d|Admin 3: PRP|Admin 3: POC)\]")
LABEL = re.compile(r"([^(]*?) ?: ?([^:)]+)")
TRAILING = re.compile(
    r"(?i)(.+) (governorate|district|county|city|town|municipality|province|region|oblast|state)"
)
WITHIN = re.compile(r" ?\(within Admin [^)]*\)")

CAMP = re.compile(
    r"(?i)\b(camps?|settlements?|sites?|refugee|way station"
    r"|(transit|reception|detention) cent(re|er)|cent(re|er) for)\b"
)
SEVERAL = re.compile(
    r"(?i)dispersed|various|country ?wide|other locations|unknown|unspecified|not specified"
    r"|to be defined|grouping|surrounding"
)
CITY = re.compile(
    r"(?i)\b(city|town|municip\w*|capital|metropol\w*|special (zone|district)|federal"
    r"|autonomous (sector|municipality)|union territory|gwangyeoksi|teukbyeolsi|varos)\b"
)
DISTRICT = re.compile(
    r"(?i)\b(districts?|disctrict|communes?|department|departement|departamento|rayon|raion"
    r"|territoire|county|shahrestan|delegation|(sous|sub)-pr[eé]fecture|division|distrito"
    r"|kabupaten|zone|local (government|authority)|popularate|okresy|admin_2|township)\b"
)
PROVINCE = re.compile(
    r"(?i)\b(provinces?|provincia|oblast_province|states?|regions?|oblast|prefecture|entity|republic"
    r"|admin_1|area|governorates?)\b"
)
GOVERNORATE = re.compile(r"(?i)(\w+ (-|–|GÇô) )?governorates?")
POINT = re.compile(r"(?i)pont|points?")
GOVERNORATES = {"BHR", "EGY", "IRQ", "JOR", "KWT", "LBN", "OMN", "PSE", "SYR", "TUN", "YEM"}
"""Where the first administrative level is called governorate (muhafazah)."""


def _kinds(countries: list[str], locations: list[str], urban: Values, since: Values) -> list[Kind]:
    """What each location is; a text may be a province in one country and a town in another."""
    units = {
        (country, _plain(location[: -len(" [Admin 1]")]))
        for country, location in zip(countries, locations, strict=True)
        if location.endswith(" [Admin 1]")
    }
    kinds = []
    for country, location, is_urban, year in zip(countries, locations, urban, since, strict=True):
        is_unit = year >= NEW_UNITS_SINCE and (country, _plain(location)) in units
        text = f"{location} [Admin 1]" if is_unit else location
        kinds.append(kind_of(country, text, is_urban=bool(is_urban)))
    return kinds


def kind_of(country: str, location: str, *, is_urban: bool) -> Kind:
    """What a location is; ``is_urban`` when UNHCR calls at least half of its people urban.

    The text decides where it says what the place is.  A first-level unit is a province, which is
    no city, unless our reviewed list says that it is one; a lower unit, a point on the map and a
    bare name stand for a city only where its people live in a city.
    """
    text = _repaired(location)
    name, label = _split(text)
    if CAMP.search(text):
        return Kind(name, not_a_city="camp, settlement or site")
    if SEVERAL.search(text):
        return Kind(name, not_a_city="several places or none in particular")
    if label is not None and _is_first_level(label):
        reviewed = _reviewed().get((country, _plain(name)))
        if reviewed:
            return Kind(name, reviewed[0], principal_city=reviewed[1])
    return _by_label(country, name, label, is_urban)


def _by_label(country: str, name: str, label: str | None, is_urban: bool) -> Kind:
    inner = TRAILING.fullmatch(name)
    principal = inner[1] if inner and not CITY.fullmatch(inner[2]) else None
    label = label or (inner[2] if inner else None)
    if label is None or label == "Admin 3: POC" or POINT.fullmatch(label):
        what = "not said to be urban: a village, a camp or a province"
        return Kind(name, "city") if is_urban else Kind(name, not_a_city=what)
    if label == "Admin 3: PRP" or CITY.search(label):
        return Kind(name, "city", principal_city=principal)
    if country == "ARE" and (label == "Admin 1" or label.startswith("Emirate")):
        return Kind(name, "emirate", principal_city=principal)
    if GOVERNORATE.fullmatch(label) or (label == "Admin 1" and country in GOVERNORATES):
        return Kind(name, "governorate", principal_city=principal)
    if label == "Admin 2" or DISTRICT.search(label) or label.endswith("Governorate"):
        if is_urban:
            return Kind(name, "governorate", principal_city=principal)
        return Kind(name, not_a_city="district, most of whose people are not said to be urban")
    if _is_first_level(label):
        return Kind(name, not_a_city="province, state or region")
    return Kind(name, not_a_city="site in a district")


def _is_first_level(label: str) -> bool:
    return label == "Admin 1" or bool(PROVINCE.search(label) or label.startswith("Planification"))


def _split(text: str) -> tuple[str, str | None]:
    """Name and label: ``Kampala`` and ``City``, ``Amman`` and ``Admin 1``; a bare name has none."""
    text = WITHIN.sub("", text)
    level = LEVEL.fullmatch(text)
    if level:
        inner = LABEL.fullmatch(level[1])
        return (inner[1] if inner else level[1]), level[2]
    labelled = LABEL.fullmatch(text)
    return (labelled[1], labelled[2]) if labelled else (text, None)


def _repaired(text: str) -> str:
    """UTF-8 that was taken for Windows' Western code page, once or twice, as it was meant."""
    for _ in range(2):
        if not re.search("[ÃÅ]", text):
            break
        try:
            text = text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            try:
                text = text.encode("latin-1").decode("utf-8")
            except UnicodeError:
                break
    return text


def _plain(name: str) -> str:
    return " ".join(re.sub(r"\W+", " ", _without_accents(_repaired(name))).lower().split())


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@cache
def _reviewed() -> dict[tuple[str, str], tuple[str, str | None]]:
    """First-level units that are cities, by country and name: geography and the city's name."""
    return {
        (row["country_iso3"], _plain(row["name"])): (
            row["geography"],
            row["principal_city"] or None,
        )
        for row in reference_rows(__file__)
    }


SOURCE = Source(
    id=ID,
    title="Refugee Population Statistics Database: demographics by location",
    publisher="United Nations High Commissioner for Refugees (UNHCR)",
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="UNHCR Refugee Population Statistics Database.",
    homepage="https://www.unhcr.org/refugee-statistics/",
    edition="as downloaded",
    downloads=(Download(file=PAGE, url=f"{API}?{QUERY}", kind="json", pages="maxPages"),),
    tables=TABLES,
    read=read,
)
