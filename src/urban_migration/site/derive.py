"""Small files derived from a release alone, so that a page need not read whole tables.

They hold what a first view needs: the cities that a search looks through, what a profile says of
its country, and one indicator of all cities for one year.  Every figure in them stands in a
published table as well; a table that a release does not have leaves its part empty.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

CITY_COLUMNS: Final = (
    "id",
    "name",
    "local_name",
    "country",
    "latitude",
    "longitude",
    "kind",
    "capital",
    "wup2025",
    "population",
    "population_year",
    "aliases",
)
"""The columns of each row of ``cities.json`` and of the cities in a country's file."""

TOP: Final = 15
"""Origins that a country's file lists; the tables hold them all."""

MIGRATION_COLUMNS: Final = (
    "migrant_stock",
    "migrant_pct",
    "migrant_stock_status",
    "migrant_stock_definition",
    "refugees",
    "asylum_seekers",
    "idps",
    "stateless",
    "conflict_idps_idmc",
    "disaster_idps_idmc",
    "conflict_displacements_idmc",
    "disaster_displacements_idmc",
    "net_migration_per_1000",
    "natural_increase_per_1000",
    "population_status",
)


@dataclass(frozen=True)
class Layer:
    """A column of ``city_indicators`` that the map can show."""

    id: str
    label: str
    unit: str
    source: str
    diverging: bool = False
    national: bool = False
    modelled: bool = False


LAYERS: Final = (
    Layer("population", "Population", "persons", "population"),
    Layer("population_growth_pct", "Population growth", "% a year", "population", diverging=True),
    Layer(
        "implied_net_migration_pct",
        "Implied net migration",
        "% a year",
        "un_wpp_2024",
        diverging=True,
        modelled=True,
    ),
    Layer("urban_population_share_pct", "Share of the country's urban people", "%", "population"),
    Layer("foreign_born_pct", "Foreign-born or foreign people, observed", "%", "row"),
    Layer("foreign_born_estimate_pct", "Foreign-born, estimated", "%", "model", modelled=True),
    Layer(
        "country_migrant_pct",
        "Migrants in the country's population",
        "%",
        "un_migrant_stock_2024",
        national=True,
    ),
    Layer("country_urban_pct", "Urban share of the country", "%", "population", national=True),
)


class Tables:
    """The tables of one release, read from its Parquet files by DuckDB."""

    def __init__(self, con: duckdb.DuckDBPyConnection, columns: Mapping[str, Sequence[str]]):
        self.con = con
        self.columns = {name: frozenset(names) for name, names in columns.items()}

    def has(self, table: str, *columns: str) -> bool:
        """Whether the release has a table with these columns."""
        return table in self.columns and self.columns[table].issuperset(columns)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a query returns."""
        answer: list[tuple[Any, ...]] = self.con.execute(sql, list(values)).fetchall()
        return answer


@contextmanager
def reading(release: Path, descriptor: Mapping[str, Any]) -> Iterator[Tables]:
    """Open the tables that a release's descriptor lists."""
    import duckdb

    columns = {}
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for resource in descriptor.get("resources", ()):
            name, path = resource["name"], str(release / resource["path"]).replace("'", "''")
            con.execute(f"create view \"{name}\" as from read_parquet('{path}')")
            columns[name] = [field["name"] for field in resource["schema"]["fields"]]
        yield Tables(con, columns)


def to_bytes(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str
    ).encode()


# ---- cities --------------------------------------------------------------------------------


def cities(tables: Tables) -> list[tuple[Any, ...]]:
    """A row per city as CITY_COLUMNS says, largest first: the order of every other index."""
    if not tables.has("cities", "city_id", "name", "country_iso3"):
        return []

    def column(name: str, otherwise: str = "null") -> str:
        return f"c.{name}" if tables.has("cities", name) else otherwise

    aliases = _aliases(tables)
    found = tables.rows(
        f"""
        with size as ({_sizes(tables)})
        select c.city_id, c.name, nullif({column("local_name", "c.name")}, c.name),
               c.country_iso3, round({column("latitude", "null::double")}, 3),
               round({column("longitude", "null::double")}, 3), {column("kind", "''")},
               {column("is_capital", "null::boolean")},
               {column("wup2025_code", "null::text")} is not null,
               size.population, size.year
        from cities c left join size using (city_id)
        order by size.population desc nulls last, c.city_id
        """
    )
    return [
        (
            *row[:7],
            None if row[7] is None else int(row[7]),
            int(row[8]),
            *row[9:],
            sorted(aliases.get(row[0], set()) - {row[1], row[2]}) or None,
        )
        for row in found
    ]


def _sizes(tables: Tables) -> str:
    """SQL for the last population of each city that is not a projection, else the first."""
    parts = [
        f"select city_id, year, population, {status} = 'projection' as projected, "
        f"{number} as preferred from {table} where population is not null"
        for number, (table, status) in enumerate(
            (
                ("city_indicators", "population_status"),
                ("city_population", "status"),
            )
        )
        if tables.has(table, "city_id", "year", "population", status)
    ]
    if not parts:
        return "select null::text as city_id, null::bigint as population, null::int as year"
    return f"""
        select city_id, population, year from ({" union all ".join(parts)})
        qualify row_number() over (
            partition by city_id
            order by preferred, projected, if(projected, year, -year)
        ) = 1
    """


def _aliases(tables: Tables) -> dict[str, set[str]]:
    """Names that sources use for a city, where the release says so."""
    aliases: dict[str, set[str]] = defaultdict(set)
    if tables.has("city_crosswalk", "city_id", "source_name"):
        for city_id, name in tables.rows(
            "select distinct city_id, source_name from city_crosswalk "
            "where city_id is not null and source_name is not null and len(source_name) <= 60"
        ):
            aliases[city_id].add(name)
    return aliases


def groups(tables: Tables) -> dict[str, dict[str, Any]]:
    """Groups of cities by id, with their name and members."""
    found: dict[str, dict[str, Any]] = {}
    if tables.has("city_groups", "group_id", "city_id"):
        name = "group_name" if tables.has("city_groups", "group_name") else "group_id"
        for group_id, title, city_id in tables.rows(
            f"select group_id, {name}, city_id from city_groups order by all"
        ):
            found.setdefault(group_id, {"name": title, "cities": []})["cities"].append(city_id)
    return found


def countries(tables: Tables) -> dict[str, list[Any]]:
    """Name, region and subregion by ISO 3166-1 alpha-3 code."""
    if not tables.has("countries", "country_iso3", "name", "region", "subregion"):
        return {}
    sql = "select country_iso3, name, region, subregion from countries order by name"
    return {row[0]: list(row[1:]) for row in tables.rows(sql)}


# ---- countries -----------------------------------------------------------------------------


def country_files(
    tables: Tables, listed: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each country, what the profile of any of its cities says beside the city's figures."""
    names, notes = countries(tables), _notes(tables)
    by_country: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in listed:
        by_country[row[3]].append(row)
    member: dict[str, list[list[str]]] = defaultdict(list)
    for group_id, group in groups(tables).items():
        for city_id in group["cities"]:
            member[city_id].append([group_id, group["name"]])
    parts = {
        "migration": _migration(tables),
        "origins": _origins(tables),
        "displaced": _displaced(tables),
        "settings": _settings(tables),
        "incidents": _incidents(tables),
    }
    withheld, latest = _withheld(tables), _latest(tables)
    for code in sorted({*by_country, *names}):
        own = by_country.get(code, [])
        ids = [row[0] for row in own]
        yield (
            code,
            {
                "country": code,
                "name": names.get(code, [code])[0],
                "region": names[code][1] if code in names else None,
                "subregion": names[code][2] if code in names else None,
                "notes": notes.get(code),
                "cities": [list(row) for row in own],
                "groups": {city_id: member[city_id] for city_id in ids if city_id in member},
                "latest": {city_id: latest[city_id] for city_id in ids if city_id in latest},
                "withheld": {city_id: withheld[city_id] for city_id in ids if city_id in withheld},
                **{name: part[code] for name, part in parts.items() if code in part},
            },
        )


def _latest(tables: Tables) -> dict[str, dict[str, list[Any]]]:
    """By city and indicator: the last year that is no projection, and its figure."""
    names = [
        name
        for name in ("rank_in_country", "urban_population_share_pct", "implied_net_migration_pct")
        if tables.has("city_indicators", "city_id", "year", "population_status", name)
    ]
    found: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for name in names:
        for city_id, year, value in tables.rows(
            f"select city_id, max(year), arg_max({name}, year)::double from city_indicators "
            f"where {name} is not null and population_status is distinct from 'projection' "
            "group by city_id order by city_id"
        ):
            found[city_id][name] = [year, round(value, 4)]
    return found


def _notes(tables: Tables) -> dict[str, str]:
    if not tables.has("countries", "country_iso3", "notes"):
        return {}
    sql = "select country_iso3, notes from countries where notes is not null"
    return {str(row[0]): str(row[1]) for row in tables.rows(sql)}


def _migration(tables: Tables) -> dict[str, dict[str, list[Any]]]:
    """A list per column of ``country_migration``, year by year; columns without a figure left out.

    Numbers are rounded to what a chart can show; the table holds them in full.
    """
    if not tables.has("country_migration", "country_iso3", "year"):
        return {}
    names = [name for name in MIGRATION_COLUMNS if tables.has("country_migration", name)]
    until = "where year <= 2030"
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    shown = ", ".join(
        f"round({name}, 3)" if name.endswith(("_pct", "_per_1000")) else name for name in names
    )
    for row in tables.rows(
        f"select country_iso3, year, {shown} from country_migration {until} order by all"
    ):
        found[row[0]].append(row[1:])
    answer = {}
    for code, rows in found.items():
        columns = {
            name: list(values)
            for name, values in zip(("year", *names), zip(*rows, strict=True), strict=True)
        }
        answer[code] = {
            name: values
            for name, values in columns.items()
            if any(value is not None for value in values)
        }
    return answer


def _origins(tables: Tables) -> dict[str, dict[str, Any]]:
    """The largest origins of a country's migrants in the newest reference year."""
    if not tables.has("migrant_stock_origins", "destination_iso3", "origin_iso3", "sex"):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for code, year, origin, name, migrants, total in tables.rows(
        f"""
        with newest as (
            select * from migrant_stock_origins where sex = 'both' and migrants > 0
            qualify year = max(year) over (partition by destination_iso3)
        )
        select destination_iso3, year, origin_iso3, {_name(tables, "origin_iso3")}, migrants,
               sum(migrants) over (partition by destination_iso3)::bigint
        from newest {_join(tables, "origin_iso3")}
        qualify row_number() over (
            partition by destination_iso3 order by migrants desc, origin_iso3) <= {TOP}
        order by destination_iso3, migrants desc, origin_iso3
        """
    ):
        part = found.setdefault(code, {"year": year, "total": total, "top": []})
        part["top"].append([origin, name, migrants])
    return found


def _displaced(tables: Tables) -> dict[str, dict[str, Any]]:
    """Where a country's refugees and asylum seekers come from, in the newest year."""
    wanted = ("asylum_iso3", "origin_iso3", "refugees", "asylum_seekers")
    if not tables.has("displacement_origins", *wanted):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for code, year, origin, name, refugees, seekers in tables.rows(
        f"""
        with newest as (
            select *, coalesce(refugees, 0) + coalesce(asylum_seekers, 0) as both_kinds
            from displacement_origins
            qualify year = max(year) over (partition by asylum_iso3)
        )
        select asylum_iso3, year, origin_iso3, {_name(tables, "origin_iso3")},
               refugees, asylum_seekers
        from newest {_join(tables, "origin_iso3")} where both_kinds > 0
        qualify row_number() over (
            partition by asylum_iso3 order by both_kinds desc, origin_iso3) <= {TOP}
        order by asylum_iso3, both_kinds desc, origin_iso3
        """
    ):
        part = found.setdefault(code, {"year": year, "top": []})
        part["top"].append([origin, name, refugees, seekers])
    return found


def _settings(tables: Tables) -> dict[str, dict[str, Any]]:
    """Where displaced people live: urban, rural, camp; newest year of each country."""
    if not tables.has("displacement_settings", "asylum_iso3", "year", "setting", "persons"):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for code, year, kind, setting, persons in tables.rows(
        "select asylum_iso3, year, population_type, setting, sum(persons)::bigint "
        "from (from displacement_settings where persons is not null "
        "qualify year = max(year) over (partition by asylum_iso3)) group by all order by all"
    ):
        found.setdefault(code, {"year": year, "rows": []})["rows"].append([kind, setting, persons])
    return found


def _incidents(tables: Tables) -> dict[str, dict[str, list[Any]]]:
    """By country and city: incidents to which the city is nearest, the dead, first, last year."""
    wanted = ("incident_id", "nearest_city_id", "dead_and_missing", "year")
    if not tables.has("migrant_incidents", *wanted):
        return {}
    found: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for city_id, *row in tables.rows(
        "select nearest_city_id, count(*), sum(dead_and_missing)::bigint, min(year), max(year) "
        "from migrant_incidents where nearest_city_id is not null group by all order by all"
    ):
        found[city_id[:3].upper()][city_id] = row
    return found


def _withheld(tables: Tables) -> dict[str, list[list[Any]]]:
    """Figures of a city that a check kept back: year, column, source, value, reason."""
    if not tables.has("quarantine", "source_id", "source_code", "year", "column", "reason"):
        return {}
    codes: list[str] = []
    if tables.has("city_crosswalk", "source_id", "source_code", "city_id"):
        codes.append("select source_id, source_code, city_id from city_crosswalk")
    codes += [
        f"select '{source}' as source_id, {column} as source_code, city_id from cities"
        for source, column in (
            ("un_wup_2018", "wup2018_code"),
            ("un_wup_2025", "wup2025_code"),
        )
        if tables.has("cities", column)
    ]
    if not codes:
        return {}
    found: dict[str, list[list[Any]]] = defaultdict(list)
    for city_id, *row in tables.rows(
        f"""
        select distinct city_id, q.year, q.column, q.source_id, q.value, q.reason
        from quarantine q join (select distinct * from ({" union ".join(codes)})) k
          on k.source_id = q.source_id and k.source_code = q.source_code
        where city_id is not null order by all
        """
    ):
        found[city_id].append(row)
    return found


def _name(tables: Tables, column: str) -> str:
    return f"coalesce(countries.name, {column})" if countries(tables) else column


def _join(tables: Tables, column: str) -> str:
    if not countries(tables):
        return ""
    return f"left join countries on countries.country_iso3 = {column}"


# ---- the map -------------------------------------------------------------------------------


def map_layers(
    tables: Tables, listed: Sequence[tuple[Any, ...]], descriptor: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the map can show, and per layer 32-bit floats, year after year, cities as listed.

    A year of a layer is a run of ``4 * cities`` bytes, so a range request brings just that; not
    a number means no figure.
    """
    about: dict[str, Any] = {"cities": len(listed), "years": [], "layers": []}
    files: dict[str, bytes] = {}
    if not listed or not tables.has("city_indicators", "city_id", "year", "population"):
        return about, files
    ((first, last),) = tables.rows("select min(year), max(year) from city_indicators")
    if first is None:
        return about, files
    about["years"] = [first, last]
    about["estimates_until"] = _last_estimate(tables)
    order = {row[0]: number for number, row in enumerate(listed)}
    layers = [layer for layer in LAYERS if tables.has("city_indicators", layer.id)]
    columns = tables.con.execute(
        f"select city_id, year, {', '.join(layer.id for layer in layers)} from city_indicators"
    ).fetchnumpy()
    places = np.array([order.get(city_id, -1) for city_id in columns["city_id"]], dtype=np.int64)
    known = places >= 0
    years = np.asarray(columns["year"], dtype=np.int64) - first
    said = _descriptions(descriptor)
    for layer in layers:
        values = np.ma.filled(np.ma.asarray(columns[layer.id]).astype(np.float32), np.nan)
        grid = np.full((last - first + 1, len(listed)), np.nan, dtype="<f4")
        grid[years[known], places[known]] = values[known]
        drawn = _drawn(grid, first, (10, 90) if layer.diverging else (2, 98))
        if drawn is None:
            continue
        about["layers"].append(
            {
                "id": layer.id,
                "label": layer.label,
                "unit": layer.unit,
                "source": layer.source,
                "definition": said.get(layer.id, ""),
                "diverging": layer.diverging,
                "national": layer.national,
                "modelled": layer.modelled,
                **_row_sources(tables, layer),
                **drawn,
            }
        )
        files[f"{layer.id}.f32"] = grid.tobytes()
    return about, files


def _row_sources(tables: Tables, layer: Layer) -> dict[str, list[str]]:
    """The sources of a layer whose rows name their own."""
    if layer.source != "row" or not tables.has("city_indicators", "foreign_born_source_id"):
        return {}
    found = tables.rows(
        f"select distinct foreign_born_source_id from city_indicators where {layer.id} is not null "
        "and foreign_born_source_id is not null order by all"
    )
    return {"sources": [str(row[0]) for row in found]}


def _drawn(
    grid: npt.NDArray[np.float32], first: int, span: tuple[int, int]
) -> dict[str, Any] | None:
    """The years that have figures, and the percentiles ``span``: the range of the colours."""
    present = np.isfinite(grid)
    if not present.any():
        return None
    years = [int(first + number) for number in np.flatnonzero(present.any(axis=1))]
    low, high = (float(value) for value in np.percentile(grid[present], span))
    return {"years": years, "low": round(low, 3), "high": round(high, 3)}


def _last_estimate(tables: Tables) -> int | None:
    if not tables.has("city_indicators", "population_status"):
        return None
    sql = "select max(year) from city_indicators where population_status = 'estimate'"
    ((year,),) = tables.rows(sql)
    return None if year is None else int(year)


def _descriptions(descriptor: Mapping[str, Any]) -> dict[str, str]:
    return {
        field["name"]: field.get("description", "")
        for resource in descriptor.get("resources", ())
        if resource["name"] == "city_indicators"
        for field in resource["schema"]["fields"]
    }


# ---- claims and examples -------------------------------------------------------------------

EXAMPLES: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    (
        "Lisbon against its peers: growth, and what migration explains",
        ("city_indicators",),
        """select city_name, year, population, population_growth_pct,
       country_natural_increase_pct, implied_net_migration_pct
from city_indicators
where city_id in ('prt-lisbon', 'esp-barcelona', 'grc-athens') and year in (2000, 2010, 2018)
order by year, city_name""",
    ),
    (
        "The largest cities of each region in 2018",
        ("city_indicators",),
        """select region, city_name, country_name, population
from city_indicators
where year = 2018 and region is not null
qualify row_number() over (partition by region order by population desc) <= 5
order by region, population desc""",
    ),
    (
        "Where the Syrians abroad live, by country, in 2024",
        ("migrant_stock_origins", "countries"),
        """select name as destination, migrants
from migrant_stock_origins
join countries on country_iso3 = destination_iso3
where origin_iso3 = 'SYR' and year = 2024 and sex = 'both'
order by migrants desc
limit 20""",
    ),
    (
        "Foreign-born observed in cities, newest year of each source",
        ("city_migrants", "cities"),
        """select name, country_iso3, concept, year, migrants, migrants_pct, geography, source_id
from city_migrants
join cities using (city_id)
where origin = 'all' and migrants_pct is not null
qualify year = max(year) over (partition by city_id, concept, source_id)
order by migrants_pct desc
limit 50""",
    ),
    (
        "Countries that host the most refugees for each 1,000 people",
        ("country_migration", "countries"),
        """select name, year, refugees, population,
       1000 * refugees / population as refugees_per_1000
from country_migration
join countries using (country_iso3)
where year = 2024 and refugees is not null and population >= 1000000
order by refugees_per_1000 desc
limit 20""",
    ),
    (
        "Where each source stands: rows read, published, withheld",
        ("sources",),
        """select source_id, edition, rows_read, rows_published, rows_quarantined,
       rows_unmatched, rows_ignored
from sources
order by source_id""",
    ),
)


def claims(tables: Tables) -> list[dict[str, Any]]:
    """The rows of ``claims``, where the release has them."""
    names = (
        "claim_id",
        "document",
        "statement",
        "published_value",
        "computed_value",
        "unit",
        "difference",
        "verdict",
        "explanation",
        "sql",
    )
    present = [name for name in names if tables.has("claims", name)]
    if "claim_id" not in present:
        return []
    rows = tables.rows(f"select {', '.join(present)} from claims order by document, claim_id")
    return [{**dict.fromkeys(names), **dict(zip(present, row, strict=True))} for row in rows]


def examples(tables: Tables) -> list[dict[str, str]]:
    """Queries to start from: those whose tables the release has, then those of the claims."""
    found = [
        {"title": title, "sql": sql}
        for title, needed, sql in EXAMPLES
        if all(tables.has(table) for table in needed)
    ]
    found += [
        {"title": f"Claim: {claim['statement']}", "sql": str(claim["sql"])}
        for claim in claims(tables)
        if claim["sql"]
    ]
    return found
