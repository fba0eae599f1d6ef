"""The matching of cities between relations: places and candidates in, one table of matches out.

``matching`` decides; this module hands it what the connection holds and writes its verdicts as
rows.  It also lists the cities in their own right that the registry lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urban_migration.places import matching
from urban_migration.places.atlas import Candidate, Entry, read_gazetteer
from urban_migration.places.matching import Match, Place

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

READS = ("source_places", "un_wup_2018.cities", "un_wup_2018.city_pop", "geonames.", "un_m49.")
"""Beginnings of the names of the relations that the matches depend on."""
CANDIDATES = Path(__file__).with_name("candidates.sql")
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
    """One match per place, in the order of the places."""
    places = read_places(con)
    located = [place for place in places if place.country_iso3]
    found = matching.match(
        located, read_candidates(con), _gazetteer(con), matching.read_decisions()
    )
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
