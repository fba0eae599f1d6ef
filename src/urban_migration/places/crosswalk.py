"""The matching of cities between relations: places and candidates in, one table of matches out.

``matching`` decides; this module hands it what the connection holds and writes its verdicts as
rows.  For the maintainer it also grows the registry by the cities that it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urban_migration.places import matching
from urban_migration.places.areas import Match, Place, read_decisions
from urban_migration.places.atlas import Atlas, Candidate, Entry, read_gazetteer

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from urban_migration.places.registry import City

READS = ("source_places", "un_wup_2018.cit", "un_wup_2025.cit", "geonames.", "un_m49.")
"""Beginnings of the names of the relations that the matches depend on."""
CANDIDATES = Path(__file__).with_name("candidates.sql")
DENOMINATORS = frozenset({"unsd_city_population"})
"""Compilations of populations: a place of theirs is a city where an office or the UN lists it."""
NO_COUNTRY = "the publisher names no country that is known"

TEXT = ("source_id", "source_code", "source_name", "country_iso3", "city_id", "status", "method")


def read_places(con: duckdb.DuckDBPyConnection) -> list[Place]:
    """Every place of the city sources; ``country_iso3`` is empty where it is not known."""
    rows = _rows(con, "from source_places order by source_id, source_code")
    return [
        Place(
            **{name: row[name] for name in PLACE_FIELDS},
            country_iso3=row["country_iso3"] or "",
            other_names=tuple((row["other_names"] or "").split("|")) if row["other_names"] else (),
        )
        for row in rows
    ]


PLACE_FIELDS = (
    "source_id",
    "source_code",
    "source_name",
    "principal_city",
    "latitude",
    "longitude",
    "population",
    "geography",
    "not_a_city",
)


def read_candidates(con: duckdb.DuckDBPyConnection) -> list[Candidate]:
    """Every city of the registry that is in today's files, or an office's own."""
    return [Candidate(**row) for row in _rows(con, CANDIDATES.read_text("utf-8"))]


def find_matches(con: duckdb.DuckDBPyConnection) -> tuple[list[Place], list[Match]]:
    """One match per place, in the order of the places.

    A review that names a city which today's files lack (an extract has few) waits for it.
    """
    places = read_places(con)
    located = [place for place in places if place.country_iso3]
    candidates = read_candidates(con)
    here = {candidate.city_id for candidate in candidates}
    decisions = [d for d in read_decisions() if d.city_id is None or d.city_id in here]
    found = matching.match(located, candidates, _gazetteer(con), decisions)
    by_code = {(match.source_id, match.source_code): match for match in found}
    return places, [by_code.get((p.source_id, p.source_code)) or _nowhere(p) for p in places]


def place_matches(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row per place of a city source: which city it is, how that was found, and why.

    A city in its own right that the registry lacks is unmatched until it is registered.
    """
    import pyarrow as pa

    schema = pa.schema(
        [(name, pa.string()) for name in TEXT]
        + [("score", pa.float64()), ("distance_km", pa.float64()), ("reason", pa.string())]
    )
    rows = []
    if con.sql("from source_places limit 1").fetchall():
        for match in find_matches(con)[1]:
            row = {name: getattr(match, name) for name in (*TEXT, "score", "distance_km")}
            row["reason"], row["country_iso3"] = match.why, match.country_iso3 or None
            if match.status == "own" and match.city_id is None:
                row["status"] = "unmatched"
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema)


def grow(con: duckdb.DuckDBPyConnection, known: Sequence[City]) -> tuple[list[City], list[str]]:
    """The registry with the cities and codes that today's files add, and reviews to drop.

    A city of WUP 2025 is the one of WUP 2018 that it was found to be, or a new one; a city that
    a statistical office counts and no UN list has is a city in its own right.  No id changes.
    """
    from urban_migration.places import proposals
    from urban_migration.places.editions import cross_editions
    from urban_migration.places.registry import register

    candidates, gazetteer, decisions = read_candidates(con), _gazetteer(con), read_decisions()
    places, matches = find_matches(con)
    cities = _cities_of_2025(con)
    every_place = [*places, *cities]
    every_match = [*matches, *cross_editions(cities, candidates, gazetteer, decisions)]
    new = [
        (place, match)
        for place, match in zip(every_place, every_match, strict=True)
        if place.source_id not in DENOMINATORS
    ]
    grown = register(known, proposals.propose(*_unzip(new), known))
    links = Atlas(candidates, gazetteer).links()
    grown = proposals.with_codes(grown, every_place, every_match, links)
    return grown, proposals.unneeded(decisions, every_place, candidates, gazetteer)


def _unzip(pairs: Sequence[tuple[Place, Match]]) -> tuple[list[Place], list[Match]]:
    return [place for place, _ in pairs], [match for _, match in pairs]


def _cities_of_2025(con: duckdb.DuckDBPyConnection) -> list[Place]:
    """The cities of WUP 2025 with their population of 2018, estimated in both revisions."""
    rows = _rows(con, CITIES_OF_2025)
    return [Place(source_id="un_wup_2025", **row) for row in rows]


CITIES_OF_2025 = """
    select
        cities.city_code as source_code,
        cities.name as source_name,
        codes.country_iso3,
        cities.latitude,
        cities.longitude,
        populations.population,
        'city' as geography
    from un_wup_2025.cities
    join country_codes as codes on codes.scheme = 'm49' and codes.code = cities.location_code
    left join un_wup_2025.city_populations as populations
        on populations.city_code = cities.city_code and populations.year = 2018
    order by source_code
"""


def _gazetteer(con: duckdb.DuckDBPyConnection) -> Mapping[str, Sequence[Entry]] | None:
    """GeoNames by country, where it was ever had."""
    cities = con.sql("from geonames.cities_as_read").to_arrow_table()
    if not cities.num_rows:
        return None
    codes = con.sql("select code, country_iso3 from country_codes where scheme = 'iso2'")
    return read_gazetteer(cities, dict(codes.fetchall()))


def _nowhere(place: Place) -> Match:
    return Match(
        source_id=place.source_id,
        source_code=place.source_code,
        source_name=place.source_name,
        country_iso3="",
        status="unmatched",
        method="no country",
        why=NO_COUNTRY,
    )


def _rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = con.sql(sql).to_arrow_table().to_pylist()
    return rows
