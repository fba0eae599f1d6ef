"""A release of four cities that the tests of releases write again and again.

Kept free of pytest, so that processes which are killed on purpose start in a moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from urban_migration import release, writing
from urban_migration.tables import ColumnSpec, TableSpec


def _spec(
    name: str, key: str, sources: tuple[str, ...], columns: Mapping[str, ColumnSpec]
) -> TableSpec:
    return TableSpec(
        name=name,
        title=name.replace("_", " ").capitalize(),
        description=f"One row per {key}; the city's figures.",
        key=tuple(key.split()),
        columns=columns,
        sources=sources,
        sql=None,
    )


def _columns(key: str, **columns: tuple[str, str | None, str | None]) -> dict[str, ColumnSpec]:
    return {
        name: ColumnSpec(
            name, kind, f"What {name} says.", unit, references, name not in key.split()
        )
        for name, (kind, unit, references) in columns.items()
    }


CITY = ("text", None, "cities.city_id")
YEAR = ("year", "calendar year", None)
TEXT = ("text", None, None)

SPECS: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        _spec(
            "cities",
            "city_id",
            ("un_wup_2018",),
            _columns(
                "city_id",
                city_id=TEXT,
                name=TEXT,
                wup2018_code=TEXT,
                is_capital=("boolean", None, None),
            ),
        ),
        _spec(
            "city_population",
            "city_id year series",
            ("un_wup_2018",),
            _columns(
                "city_id year series",
                city_id=CITY,
                year=YEAR,
                series=TEXT,
                population=("integer", "persons", None),
                source_id=("text", None, "sources.source_id"),
            ),
        ),
        _spec(
            "city_indicators",
            "city_id year",
            ("un_wup_2018", "un_wpp_2024"),
            _columns(
                "city_id year",
                city_id=CITY,
                year=YEAR,
                city_name=TEXT,
                population=("integer", "persons", None),
                population_growth_pct=("number", "percent per year", None),
            ),
        ),
        _spec(
            "sources",
            "source_id",
            (),
            _columns(
                "source_id",
                source_id=TEXT,
                title=TEXT,
                first_seen=TEXT,
                files=("files", None, None),
            ),
        ),
    )
}

CITIES = {
    "jpn-tokyo": ("Tokyo", "21671", 37_468_302),
    "prt-lisbon": ("Lisbon", "22167", 2_927_316),
    "uga-kampala": ("Kampala", "22744", 2_986_352),
    "fra-paris": ("Paris", "20985", 10_900_952),
}
"""Name, WUP 2018 code and population of 2018."""

SOURCES: list[dict[str, Any]] = [
    {
        "source_id": source,
        "title": title,
        "publisher": "United Nations",
        "licence": "CC BY 3.0 IGO",
        "licence_url": "https://creativecommons.org/licenses/by/3.0/igo/",
        "citation": f"United Nations, {title}.",
        "homepage": "https://population.un.org/",
        "edition": title[-4:],
        "first_seen": seen,
        "files": [{"url": "https://population.un.org/file", "sha256": "0" * 64, "bytes": 1}],
    }
    for source, title, seen in (
        ("un_wup_2018", "World Urbanization Prospects 2018", "2026-11-02T06:00:00Z"),
        ("un_wpp_2024", "World Population Prospects 2024", "2026-11-01T06:00:00Z"),
        ("un_m49", "M49", None),
    )
]

QUALITY = {"checks": [{"table": "cities", "passed": True}]}


def tables(
    changed: Mapping[tuple[str, int], int] | None = None,
    *,
    years: int = 5,
    shuffle: int = 0,
    threads: int = 1,
) -> duckdb.DuckDBPyConnection:
    """A connection with the tables of SPECS.

    Populations grow by seven people a year.  ``changed`` replaces the
    population of a (city_id, year); ``shuffle`` is a seed of the order of insertion.
    """
    con = duckdb.connect(config={"threads": threads})
    con.execute("create table start (city_id text, name text, code text, population bigint)")
    con.executemany("insert into start values (?, ?, ?, ?)", [(i, *c) for i, c in CITIES.items()])
    con.execute("create table changed (city_id text, year int, population bigint)")
    for (city, year), population in (changed or {}).items():
        con.execute("insert into changed values (?, ?, ?)", [city, year, population])
    order = f"order by hash(city_id || '{shuffle}')"
    con.execute(
        "create table cities as select city_id, name, code as wup2018_code, "
        f"null::boolean as is_capital from start {order}"
    )
    con.execute(
        "create table city_population as select city_id, year::int as year, 'wup2018' as series, "
        "coalesce(c.population, s.population + (year - 2018) * 7)::bigint "
        "as population, 'un_wup_2018' as source_id "
        f"from start s cross join range(2018 - {years // 2}, 2018 + {years - years // 2}) y(year) "
        f"left join changed c using (city_id, year) order by hash(city_id || year || '{shuffle}')"
    )
    con.execute(
        "create table city_indicators as select city_id, year, name as city_name, p.population, "
        "100 * ln(p.population / lag(p.population) over (partition by city_id order by year)) "
        f"as population_growth_pct from city_population p join start using (city_id) {order}"
    )
    con.execute(
        "create table sources (source_id text, title text, first_seen text, "
        "files struct(url text, sha256 text, bytes bigint)[])"
    )
    for row in SOURCES:
        values = [row[name] for name in ("source_id", "title", "first_seen", "files")]
        con.execute("insert into sources values (?, ?, ?, ?)", values)
    return con


def write(con: duckdb.DuckDBPyConnection, staging: Path, **options: Any) -> str:
    """`write_release` with what the tests seldom vary."""
    given = {"extract": False, "series": "wup2018", "sources": SOURCES, **options}
    return writing.write_release(
        con, SPECS, staging, quality=lambda: (QUALITY, "<title>Quality</title>"), **given
    )


def run(
    out: Path,
    changed: Mapping[tuple[str, int], int] | None = None,
    *,
    keep: int | None = None,
    link: bool = False,
    **options: Any,
) -> release.PublishOutcome:
    """Write a release and publish it, as ``build`` does; ``link`` reuses the table cities."""
    with tables(changed, years=options.pop("years", 5)) as con, release.publishing(out) as staging:
        previous = release.latest(out)
        reuse = {"cities": previous / "cities.parquet"} if previous and link else {}
        release_id = write(con, staging, previous=previous, reuse=reuse, **options)
        return release.publish(staging, out, release_id, keep=keep)
