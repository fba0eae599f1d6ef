"""The published tables, made from checked source tables in one DuckDB connection.

Source tables become relations, the reviewed files of ``places`` and the matching of cities stand
beside them, and every published table is made by its own SQL, in the order in which they read
each other.  Then every row that was read is accounted for.  Nothing here checks a figure or
writes a release.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urban_migration.errors import CheckError
from urban_migration.files import atomic_write_bytes, sha256_file
from urban_migration.plausibility import POPULATION_WITHHELD
from urban_migration.preparing import Plan, Prepared, Say, silent
from urban_migration.reading import digest
from urban_migration.sources import all_sources, city_tables
from urban_migration.tables import MADE, TableSpec, load_tables

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from urban_migration.plausibility import Block

PLACES = Path(__file__).parent / "places"
REVIEWED = {"place": PLACES, "indicator": PLACES.parent / "indicators"}
"""Folders of files written by hand, by the beginning of the names of their relations."""
ASSEMBLED_LAST = ("sources", "quarantine")
"""Tables about the others: what became of every row."""

OnTable = Callable[["duckdb.DuckDBPyConnection", str, Path | None], None]
"""Is told of a table that was made: where it is, its name, its Parquet file where it has one."""


@dataclass(frozen=True)
class Assembled:
    """The published tables in a DuckDB connection, with the keys of their content.

    ``writer`` is a second connection to them, so that they can be written while being checked.
    """

    con: duckdb.DuckDBPyConnection
    writer: duckdb.DuckDBPyConnection
    keys: Mapping[str, str]
    blocks: Sequence[Block]


def assemble(
    plan: Plan,
    prepared: Mapping[str, Prepared],
    say: Say = silent,
    made: OnTable = lambda *_: None,
) -> Assembled:
    """Make every published table with its SQL, and account for every row that was read.

    A table whose SQL and inputs have not changed is taken from the cache.  ``made`` is told of
    each table at once.  Raises :class:`CheckError` when a row was read and is nowhere.
    """
    con, keys = relations(plan, prepared)
    keys["place_matches"] = _register_matches(con, plan, keys)

    specs = load_tables()
    reused = 0
    for name, spec in specs.items():
        if name in ASSEMBLED_LAST:
            continue
        for needed in sorted(spec.relations() & MADE.keys() - keys.keys()):
            keys[needed] = _register_made(con, plan, needed, keys)
        keys[name] = _table_key(plan, spec, keys)
        known = _cached(plan, name, keys[name])
        if known:
            con.execute(f"create view {name} as from read_parquet('{_quoted(known)}')")
            reused += 1
        else:
            con.execute(f"create table {name} as {spec.sql}")
        made(con, name, known)
    say(f"{len(specs) - len(ASSEMBLED_LAST)} tables built, {reused} of them unchanged")

    accounts = [_account(con, source_id, prepared) for source_id in all_sources()]
    registers = {
        "source_register": _source_register(plan, accounts, _coverage(con)),
        "withheld": _withheld_register(prepared),
    }
    for name, register in registers.items():
        con.register(name, register)
    for name in ASSEMBLED_LAST:
        con.execute(f"create table {name} as {specs[name].sql}")
        made(con, name, None)
    blocks = [block for source in prepared.values() for block in source.blocks]
    return Assembled(con, con.cursor(), keys, blocks)


def relations(
    plan: Plan, prepared: Mapping[str, Prepared]
) -> tuple[duckdb.DuckDBPyConnection, dict[str, str]]:
    """A connection with the source tables and the reviewed files, and the key of each relation."""
    import duckdb

    con = duckdb.connect()
    con.execute("set variable series = ?", [plan.series])
    con.execute("set variable extract = ?", [plan.extract])
    con.execute("set variable private = ?", [plan.private])
    keys = _register_reviewed(con) | _declare_absent(con, prepared)
    for source_id, source in prepared.items():
        keys |= _register_source(con, source_id, source)
    con.execute("create table country_codes as " + (PLACES / "country_codes.sql").read_text())
    _enumerate(con)
    return con, keys | _register_city_sources(con, keys)


def _register_reviewed(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The reviewed files as relations ``place_<file>`` and so on, all columns text."""
    keys = {}
    for kind, folder in REVIEWED.items():
        for path in sorted(folder.glob("*.csv")):
            name = f"{kind}_{path.stem}"
            con.execute(
                f"create table {name} as from read_csv('{_quoted(path)}',"
                " all_varchar=true, header=true, delim=',', quote='\"', nullstr='')"
            )
            keys[name] = digest(path.read_bytes())
    keys["country_codes"] = digest((PLACES / "country_codes.sql").read_bytes())
    return keys


def _enumerate(con: duckdb.DuckDBPyConnection) -> None:
    """Types for texts that repeat in many rows, in the order in which texts are sorted."""
    sources = ", ".join(f"'{source_id}'" for source_id in sorted(all_sources()))
    ids = "select indicator_id from indicator_dictionary order by all"
    units = "select distinct unit from indicator_dictionary order by all"
    for name, values in {"source_ids": sources, "indicator_ids": ids, "units": units}.items():
        con.execute(f"create type {name} as enum ({values})")


def _declare_absent(
    con: duckdb.DuckDBPyConnection, prepared: Mapping[str, Prepared]
) -> dict[str, str]:
    """Empty relations for the tables of sources that were never had."""
    keys = {}
    statements = []
    for source_id, source in all_sources().items():
        if source_id not in prepared:
            statements.append(f"create schema {source_id}")
            for name, declared in source.tables.items():
                relation = f"{source_id}.{name}"
                statements.append(f"create table {relation} ({declared.columns_sql()})")
                statements.append(f"create view {relation}_as_read as from {relation}")
                keys[relation] = digest("never had")
    con.execute(";".join(statements))
    return keys


def _register_source(
    con: duckdb.DuckDBPyConnection, source_id: str, source: Prepared
) -> dict[str, str]:
    """Make a source's tables relations.

    ``<source>.<table>`` lacks what is ignored or withheld, ``<source>.<table>_as_read`` has all.
    """
    import numpy as np
    import pyarrow as pa

    con.execute(f"create schema {source_id}")
    keys = {}
    for name, table in source.tables.items():
        accepted = np.asarray(table["ignored"].is_null())
        items = [item for item in source.withheld if item.table == f"{source_id}.{name}"]
        bare = [item.index for item in items if item.rule == POPULATION_WITHHELD]
        gone = [item.index for item in items if item.rule != POPULATION_WITHHELD]
        accepted[gone] = False
        kept = _without_population(table, bare)
        if not accepted.all():
            kept = kept.filter(pa.array(accepted))
        for relation, rows in {f"{name}_as_read": table, name: kept}.items():
            con.register(f"{source_id}__{relation}", rows)
            con.execute(f"create view {source_id}.{relation} as from {source_id}__{relation}")
        keys[f"{source_id}.{name}"] = digest(source.key, json.dumps([sorted(gone), sorted(bare)]))
    return keys


def _without_population(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """City figures of these rows without the population that was withheld, and without share."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not rows:
        return table
    known = np.ones(table.num_rows, dtype=bool)
    known[list(rows)] = False
    for name in ("population", "base"):
        at = table.column_names.index(name)
        values = pc.if_else(pa.array(known), table[name], pa.scalar(None, table[name].type))
        table = table.set_column(at, table.schema.field(name), values)
    return table


def _register_city_sources(
    con: duckdb.DuckDBPyConnection, keys: Mapping[str, str]
) -> dict[str, str]:
    """All sources of city figures below each other: ``source_places``, ``_migrants``, ..."""
    found = {}
    for role, shape in city_tables.SHAPES.items():
        columns = ", ".join(shape.columns)
        having = [source_id for source_id, s in all_sources().items() if role in s.tables]
        parts = [f"select '{name}' as source_id, {columns} from {name}.{role}" for name in having]
        con.register(f"source_{role}__none", shape.schema().empty_table())
        parts.append(f"select '' as source_id, {columns} from source_{role}__none")
        every = " union all ".join(parts)
        if role == "places":
            every = f"""
                select every_place.*, codes.country_iso3
                from ({every}) as every_place
                left join country_codes as codes
                    on codes.scheme = every_place.country_scheme
                    and codes.code = every_place.country_code"""
        con.execute(f"create view source_{role} as {every}")
        found[f"source_{role}"] = digest(*[f"{name} {keys[f'{name}.{role}']}" for name in having])
    return found


def _register_matches(con: duckdb.DuckDBPyConnection, plan: Plan, keys: Mapping[str, str]) -> str:
    """Relation ``place_matches``: what each place of the city sources is; returns its key."""
    from urban_migration.places import crosswalk

    code = [path.read_bytes() for path in sorted(PLACES.glob("*")) if path.is_file()]
    inputs = [name for name in keys if name.startswith(crosswalk.READS)]
    key = digest(*code, *[f"{name} {keys[name]}" for name in sorted(inputs)])
    _register_kept(con, plan, "place_matches", key, crosswalk.place_matches)
    return key


def _register_made(
    con: duckdb.DuckDBPyConnection, plan: Plan, name: str, keys: Mapping[str, str]
) -> str:
    """A relation that Python makes between two tables; returns its key."""
    made = MADE[name]
    module = import_module(made.module)
    path = Path(str(module.__file__))
    code = [each.read_bytes() for each in sorted(path.parent.glob(f"{path.stem}.*"))]
    variables = [plan.series, str(plan.extract)]
    key = digest(*code, *variables, *[f"{each} {keys[each]}" for each in made.reads])
    _register_kept(con, plan, name, key, getattr(module, made.function))
    return key


def _register_kept(
    con: duckdb.DuckDBPyConnection,
    plan: Plan,
    name: str,
    key: str,
    make: Callable[[duckdb.DuckDBPyConnection], pa.Table],
) -> None:
    """Make a relation, unless it was made of the same before and is whole."""
    import pyarrow as pa

    kept = plan.cache / "tables" / f"{name}-{key}.arrow"
    try:
        table = pa.ipc.open_file(pa.memory_map(str(kept))).read_all()
    except (OSError, ValueError):
        table = make(con)
        kept.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        atomic_write_bytes(kept, sink.getvalue().to_pybytes())
    con.register(name, table)


def _table_key(plan: Plan, spec: TableSpec, keys: Mapping[str, str]) -> str:
    """What a table's content depends on: its SQL and dictionary, its inputs, the variables."""
    inputs = sorted(spec.relations() & keys.keys())
    parts = [f"{name} {keys[name]}" for name in inputs]
    if "country_codes" in inputs:
        parts += [keys["un_m49.countries"], keys["place_countries"], keys["place_country_codes"]]
    if spec.sql and "getvariable" in spec.sql:
        parts += [plan.series]
    dictionary = repr((spec.title, spec.description, spec.key, list(spec.columns.values())))
    versions = [version("duckdb"), version("pyarrow")]
    return digest(spec.sql or "", dictionary, str(plan.extract), *versions, *parts)


def _cached(plan: Plan, name: str, key: str) -> Path | None:
    """The Parquet file of a table that was built before, when its bytes are still whole."""
    for path in (plan.cache / "tables").glob(f"{name}-{key}.*.parquet"):
        if sha256_file(path) == path.suffixes[-2][1:]:
            return path
        path.unlink()
    return None


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _account(
    con: duckdb.DuckDBPyConnection, source_id: str, prepared: Mapping[str, Prepared]
) -> dict[str, Any]:
    """What became of the rows of one source; every row must be somewhere."""
    account = dict.fromkeys(
        ("rows_read", "rows_published", "rows_quarantined", "rows_unmatched", "rows_ignored"), 0
    )
    source = prepared.get(source_id)
    for name, declared in all_sources()[source_id].tables.items() if source else ():
        relation = f"{source_id}.{name}"
        read, ignored = con.execute(
            f"select count(*), count(ignored) from {relation}_as_read"
        ).fetchall()[0]
        accepted, published, unmatched = con.execute(
            f"""
            select count(*), count(*) filter (lands), count(*) filter (unmatched and not lands)
            from (
                select {declared.lands} as lands, {declared.unmatched} as unmatched
                from {relation} as fact
            )"""
        ).fetchall()[0]
        if accepted != published + unmatched:
            raise CheckError(_unaccounted(con, relation, declared.lands, declared.unmatched))
        account["rows_read"] += read
        account["rows_published"] += published
        account["rows_unmatched"] += unmatched
        account["rows_ignored"] += ignored
        account["rows_quarantined"] += read - ignored - accepted
    return {"source_id": source_id, **account}


def _unaccounted(con: duckdb.DuckDBPyConnection, relation: str, lands: str, unmatched: str) -> str:
    missing = con.sql(
        f"from {relation} as fact where not ({lands}) and not ({unmatched})"
    ).to_arrow_table()
    source_id, _, name = relation.partition(".")
    first = missing.slice(0, 1).to_pylist()[0]
    key = ", ".join(f"{key} {first[key]}" for key in all_sources()[source_id].tables[name].key)
    return (
        f"{relation}: rows were read that are in no published table ({missing.num_rows:,}). The "
        f"first is {first['file']}, row {first['row_number']}: {key}. A code may be new: add it to "
        "places/countries.csv or country_codes.csv, or let the source name the row as unmatched."
    )


def _coverage(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """How much of each source of city figures is about known cities, by the source's id."""
    found = con.sql((PLACES / "coverage.sql").read_text("utf-8")).to_arrow_table().to_pylist()
    return {row.pop("source_id"): row for row in found}


def _source_register(
    plan: Plan, accounts: Sequence[Mapping[str, Any]], coverage: Mapping[str, Mapping[str, int]]
) -> pa.Table:
    """One row per registered source, as the published table ``sources`` has it."""
    import pyarrow as pa

    rows = []
    for account in accounts:
        source = all_sources()[account["source_id"]]
        files = plan.files.get(source.id, {})
        bundled = "bundled extract of: " if plan.extract and files else ""
        rows.append(
            {
                **account,
                **coverage.get(source.id, {}),
                **{
                    name: getattr(source, name)
                    for name in ("title", "publisher", "licence", "licence_url", "citation")
                },
                "homepage": source.homepage,
                "edition": bundled + source.edition,
                "first_seen": max((file.first_seen for file in files.values()), default=None),
                "files": [
                    {"url": file.url, "sha256": file.sha256, "bytes": file.bytes}
                    for _, file in sorted(files.items())
                ]
                or None,
                "required": source.required,
                "redistributable": source.redistributable,
                "experimental": source.experimental,
                "absence": plan.absent.get(source.id),
            }
        )
    return pa.Table.from_pylist(rows, schema=load_tables()["sources"].arrow_schema())


def _withheld_register(prepared: Mapping[str, Prepared]) -> pa.Table:
    """One row per figure that a check kept back, as the published table ``quarantine`` has it."""
    import pyarrow as pa

    rows = []
    for source_id, source in prepared.items():
        for item in source.withheld:
            name = item.table.removeprefix(f"{source_id}.")
            table = source.tables[name]
            fact = table.slice(item.index, 1).to_pylist()[0]
            code = [str(fact[column]) for column in all_sources()[source_id].tables[name].code]
            rows.append(
                {
                    "source_id": source_id,
                    "file": fact["file"],
                    "row_number": fact["row_number"],
                    "column": fact["column"] or item.column,
                    "year": fact.get("year"),
                    "rule": item.rule,
                    "source_code": "|".join(code),
                    "value": item.value,
                    "reason": item.reason,
                }
            )
    return pa.Table.from_pylist(rows, schema=load_tables()["quarantine"].arrow_schema())
