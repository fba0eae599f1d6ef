"""The steps between the raw store and a published release, strung together.

``plan`` says what is to be built and whether anything is new, ``prepare`` reads and checks each
source, ``assemble`` makes the published tables with SQL and accounts for every row that was
read, ``inspect`` checks them, and ``publish`` writes the release.  ``build`` runs all of them;
the flow runs them as tasks.  Nothing here parses a file, opens a connection or knows a rule.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urban_migration.errors import (
    CheckError,
    MissingSourceError,
    ProductError,
    ReadError,
    ReleaseError,
    UsageError,
)
from urban_migration.files import atomic_write_bytes, sha256_file
from urban_migration.raw import RawFile, RawStore
from urban_migration.reading import digest, lighten, load, read_into, reader_key
from urban_migration.sources import all_sources
from urban_migration.tables import TableSpec, load_tables

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from urban_migration.checks import Finding, Withheld
    from urban_migration.sources.source import Tables

SERIES = ("wup2018",)
PACKAGE = Path(__file__).parent
PLACES = PACKAGE / "places"
ASSEMBLED_LAST = ("sources", "quarantine")
"""Tables about the others: what became of every row."""

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Plan:
    """What a build is made from: the files of every source that was ever had."""

    files: Mapping[str, Mapping[str, RawFile]]
    extract: bool
    series: str
    out: Path
    expectations: Path
    fingerprint: str
    stale: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """Where what was read and built is kept by content."""
        return self.out / ".cache"


@dataclass(frozen=True)
class Prepared:
    """One source, read and checked row by row."""

    source_id: str
    key: str
    tables: Mapping[str, pa.Table]
    findings: Sequence[Finding]
    withheld: Sequence[Withheld]


@dataclass(frozen=True)
class Assembled:
    """The published tables in a DuckDB connection, with the keys of their content.

    ``writer`` is a second connection to them, so that they can be written while being checked.
    """

    con: duckdb.DuckDBPyConnection
    writer: duckdb.DuckDBPyConnection
    keys: Mapping[str, str]
    reused: Mapping[str, Path]


@dataclass(frozen=True)
class Outcome:
    """How a build ended: a new release, or none because nothing is new."""

    published: bool
    release_id: str
    folder: Path
    extract: bool
    warnings: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            "status": "published" if self.published else "nothing new",
            "release": self.release_id,
            "folder": str(self.folder),
            "bundled_extract": self.extract,
            "rows": dict(self.rows),
            "warnings": list(self.warnings),
        }


# ------------------------------------------------------------------ what is to be built


def plan(
    raw: RawStore,
    out: Path,
    expectations: Path,
    *,
    series: str = SERIES[0],
    stale: Mapping[str, str] | None = None,
) -> Plan:
    """Verify the raw files and fingerprint them together with the code.

    Raises :class:`MissingSourceError` when a required source was never had,
    :class:`UsageError` for an unknown series.
    """
    if series not in SERIES:
        raise UsageError(f"no series {series!r}; there are: {', '.join(SERIES)}")
    sources = all_sources()
    files = {source_id: raw.verify(source_id) for source_id in sources}
    missing = [source_id for source_id in sources if not files[source_id]]
    required = [source_id for source_id in missing if sources[source_id].required]
    if required:
        raise MissingSourceError(
            f"required but never downloaded into {raw.root}: {', '.join(required)}. "
            "Run: urban-migration refresh (or refresh --offline for the bundled extract)"
        )
    extract = (raw.root / "manifest.json").is_file()
    had = {source_id: found for source_id, found in files.items() if found}
    facts = [
        [source_id, name, file.url, file.sha256, file.first_seen]
        for source_id, found in sorted(had.items())
        for name, file in sorted(found.items())
    ]
    fingerprint = digest(_code(expectations), series, str(extract), json.dumps(facts))
    return Plan(had, extract, series, out, expectations, fingerprint, stale or {})


def _code(expectations: Path) -> str:
    """A hash of everything that decides what a release holds, apart from the data."""
    files = [p for p in PACKAGE.rglob("*") if p.suffix in {".py", ".sql", ".yaml", ".csv"}]
    state = hashlib.sha256()
    for path in sorted(files) + sorted(expectations.glob("*.yaml")):
        state.update(path.name.encode() + path.read_bytes())
    for package in ("duckdb", "pyarrow", "numpy", "python-calamine"):
        state.update(version(package).encode())
    return state.hexdigest()


def nothing_new(plan: Plan) -> Outcome | None:
    """The standing release, when it was built from the same files by the same code."""
    from urban_migration import release

    status = release.read_status(plan.out)
    folder = release.latest(plan.out)
    if folder is None or status.get("inputs") != plan.fingerprint:
        return None
    try:
        release.verify(folder)
    except ProductError:
        return None
    return Outcome(False, folder.name, folder, plan.extract)


# ------------------------------------------------------------------ sources


@contextmanager
def readers(plan: Plan) -> Iterator[Executor]:
    """Processes that parse what is not in the cache, one core left to this one."""
    todo = [source_id for source_id in plan.files if not _folder(plan, source_id).exists()]
    count = max(1, min(len(todo), (os.cpu_count() or 2) - 1))
    spawned = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=spawned, initializer=lighten)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_source(plan: Plan, source_id: str, pool: Executor) -> Prepared:
    """Read one source (unless its content was read before) and check its rows.

    Raises :class:`ReadError` where a file is not as its reader expects, :class:`CheckError`
    where a check blocks.
    """
    try:
        return _checked(plan, source_id, _read(plan, source_id, pool))
    except BrokenProcessPool:
        problem = "the process that read it was killed; the file may be damaged"
        raise ReadError(problem, file=source_id) from None
    except OSError as error:
        raise ReleaseError(
            f"{plan.cache}: what was read of {source_id} cannot be kept ({error}). The previous "
            "release stands: free some space there and run again."
        ) from error


def _read(plan: Plan, source_id: str, pool: Executor) -> Tables:
    """The tidy tables of a source: those kept, unless a power cut damaged them, or read anew."""
    folder = _folder(plan, source_id)
    if folder.exists():
        try:
            return load(source_id, folder)
        except (OSError, ValueError):
            shutil.rmtree(folder)
    pool.submit(read_into, source_id, _paths(plan, source_id), folder).result()
    return load(source_id, folder)


def prepare(plan: Plan, say: Say = silent) -> dict[str, Prepared]:
    """Read and check every source, the largest first; checking runs beside parsing."""

    from urban_migration import checks

    def size(source_id: str) -> int:
        return sum(file.bytes for file in plan.files[source_id].values())

    with readers(plan) as pool, ThreadPoolExecutor(len(plan.files) + 1) as threads:
        if any(not _folder(plan, source_id).exists() for source_id in plan.files):
            threads.submit(checks.import_library)
        futures = {
            threads.submit(prepare_source, plan, source_id, pool): source_id
            for source_id in sorted(plan.files, key=size, reverse=True)
        }
        ready = {}
        for future in as_completed(futures):
            source_id = futures[future]
            ready[source_id] = future.result()
            rows = sum(table.num_rows for table in ready[source_id].tables.values())
            say(f"{source_id}: {rows:,} rows read and checked")
    return {source_id: ready[source_id] for source_id in plan.files}


def _folder(plan: Plan, source_id: str) -> Path:
    return plan.cache / "sources" / f"{source_id}-{reader_key(source_id, plan.files[source_id])}"


def _paths(plan: Plan, source_id: str) -> dict[str, Path]:
    return {name: file.path for name, file in plan.files[source_id].items()}


def _checked(plan: Plan, source_id: str, tables: Mapping[str, pa.Table]) -> Prepared:
    """Row checks of one source, remembered beside what was read."""
    from urban_migration import checks

    findings: list[Finding] = []
    withheld: list[Withheld] = []
    checking = (PACKAGE / "checks.py").read_bytes()
    for name, table in tables.items():
        path = plan.expectations / f"{source_id}.{name}.yaml"
        suite = checks.load_suite(plan.expectations, path.stem, extract=plan.extract)
        suite_key = digest(checking, path.read_bytes(), str(plan.extract))
        known = _folder(plan, source_id) / f"{name}-{suite_key}.json"
        if known.exists():
            found, kept = checks.findings_from_json(known.read_text("utf-8"))
        else:
            found, kept = checks.check_rows(suite, table)
            atomic_write_bytes(known, checks.findings_to_json(found, kept).encode())
        findings += found
        withheld += kept
    _stop_at_blocks(findings)
    key = reader_key(source_id, plan.files[source_id])
    return Prepared(source_id, key, tables, findings, withheld)


def _stop_at_blocks(findings: Sequence[Finding]) -> None:
    from urban_migration import checks

    blocking = checks.blocked(findings)
    if blocking:
        lines = "\n- ".join(finding.message for finding in blocking)
        raise CheckError(f"checks blocked the release:\n- {lines}")


# ------------------------------------------------------------------ published tables


def assemble(plan: Plan, prepared: Mapping[str, Prepared], say: Say = silent) -> Assembled:
    """Make every published table with its SQL, and account for every row that was read.

    A table whose SQL and inputs have not changed is taken from the cache.  Raises
    :class:`CheckError` when a row was read and is nowhere.
    """
    import duckdb

    con = duckdb.connect()
    con.execute("set variable series = ?", [plan.series])
    con.execute("set variable extract = ?", [plan.extract])
    keys = _register_places(con)
    for source_id in all_sources():
        keys |= _register_source(con, source_id, prepared.get(source_id))
    con.execute("create table country_codes as " + (PLACES / "country_codes.sql").read_text())

    specs = load_tables()
    reused: dict[str, Path] = {}
    for name, spec in specs.items():
        if name in ASSEMBLED_LAST:
            continue
        keys[name] = _table_key(plan, spec, keys)
        known = _cached(plan, name, keys[name])
        if known:
            con.execute(f"create view {name} as from read_parquet('{_quoted(known)}')")
            reused[name] = known
        else:
            con.execute(f"create table {name} as {spec.sql}")
    say(f"{len(specs) - len(ASSEMBLED_LAST)} tables built, {len(reused)} of them unchanged")

    accounts = [_account(con, source_id, prepared) for source_id in all_sources()]
    registers = {
        "source_register": _source_register(plan, accounts),
        "withheld": _withheld_register(prepared),
    }
    for name, register in registers.items():
        con.register(name, register)
    for name in ASSEMBLED_LAST:
        con.execute(f"create table {name} as {specs[name].sql}")
    return Assembled(con, con.cursor(), keys, reused)


def _register_places(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The reviewed files of ``places`` as relations ``place_<file>``, all columns text."""
    keys = {}
    for path in sorted(PLACES.glob("*.csv")):
        con.execute(
            f"create table place_{path.stem} as from read_csv('{_quoted(path)}',"
            " all_varchar=true, header=true, delim=',', quote='\"', nullstr='')"
        )
        keys[f"place_{path.stem}"] = digest(path.read_bytes())
    keys["country_codes"] = digest((PLACES / "country_codes.sql").read_bytes())
    return keys


def _register_source(
    con: duckdb.DuckDBPyConnection, source_id: str, source: Prepared | None
) -> dict[str, str]:
    """Make a source's tables relations, empty where the source was never had.

    ``<source>.<table>`` lacks what is ignored or withheld, ``<source>.<table>_as_read`` has all.
    """
    import numpy as np
    import pyarrow as pa

    con.execute(f"create schema {source_id}")
    keys = {}
    for name, declared in all_sources()[source_id].tables.items():
        table = source.tables[name] if source else declared.schema().empty_table()
        accepted = np.asarray(table["ignored"].is_null())
        withheld = [
            item.index
            for item in (source.withheld if source else ())
            if item.table == f"{source_id}.{name}"
        ]
        accepted[withheld] = False
        relations = {f"{name}_as_read": table, name: table.filter(pa.array(accepted))}
        for relation, rows in relations.items():
            con.register(f"{source_id}__{relation}", rows)
            con.execute(f"create view {source_id}.{relation} as from {source_id}__{relation}")
        content = source.key if source else "never had"
        keys[f"{source_id}.{name}"] = digest(content, json.dumps(sorted(set(withheld))))
    return keys


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


def _source_register(plan: Plan, accounts: Sequence[Mapping[str, Any]]) -> pa.Table:
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


def inspect(
    plan: Plan, prepared: Mapping[str, Prepared], assembled: Assembled, say: Say = silent
) -> list[Finding]:
    """Check the published tables, and the sums and references of all tables.

    Raises :class:`CheckError` when one blocks the release; returns every finding, those of the
    sources included.
    """
    from urban_migration import checks

    findings = [finding for source in prepared.values() for finding in source.findings]
    con = assembled.con
    for name in load_tables():
        suite = checks.load_suite(plan.expectations, name, extract=plan.extract)
        found, withheld = checks.check_rows(suite, con.sql(f"from {name}").to_arrow_table())
        if withheld:
            raise ProductError(f"expectations/{name}.yaml: a published table cannot withhold rows")
        findings += found + checks.check_derived(suite, con)
    for source_id, source in prepared.items():
        for name in source.tables:
            suite = checks.load_suite(
                plan.expectations, f"{source_id}.{name}", extract=plan.extract
            )
            findings += checks.check_derived(suite, con)
    _stop_at_blocks(findings)
    say(f"{len(findings)} checks held; {len(_warnings(findings))} warnings")
    return findings


def _warnings(findings: Sequence[Finding]) -> list[str]:
    return [f"{f.table}: {f.statement}" for f in findings if f.action == "warn" and not f.success]


# ------------------------------------------------------------------ the release


def publish(
    plan: Plan,
    assembled: Assembled,
    findings: Callable[[], Sequence[Finding]],
    staging: Path,
    *,
    keep: int | None = None,
) -> Outcome:
    """Write the release into ``staging`` and make it the latest, all at once.

    ``findings`` may still be under way; it is waited for before anything is published, and what
    it raises stops that.  Raises :class:`CheckError` when an id of a city would change meaning.
    """
    from urban_migration import quality, release

    con, previous = assembled.writer, release.latest(plan.out)
    _refuse_repointed_ids(con, previous)
    rows = {name: con.sql(f"from {name}").count("*").fetchall()[0][0] for name in load_tables()}
    sources = con.sql("from sources order by source_id").to_arrow_table().to_pylist()
    quarantine = con.sql("from quarantine order by all").to_arrow_table().to_pylist()

    def report() -> tuple[dict[str, Any], str]:
        facts = quality.quality_json(
            extract=plan.extract,
            series=plan.series,
            tables=rows,
            findings=findings(),
            sources=sources,
            quarantine=quarantine,
            stale=plan.stale,
        )
        return facts, quality.quality_html(facts)

    release_id = release.write_release(
        con,
        load_tables(),
        staging,
        extract=plan.extract,
        series=plan.series,
        quality=report,
        sources=sources,
        reuse=assembled.reused,
        previous=previous,
    )
    done = release.publish(staging, plan.out, release_id, keep=keep)
    folder = plan.out / "releases" / release_id
    status = release.read_status(plan.out)
    status["release"], status["inputs"] = release_id, plan.fingerprint
    release.write_status(plan.out, status)
    _remember(plan, assembled, folder)
    return Outcome(done.published, release_id, folder, plan.extract, _warnings(findings()), rows)


def _refuse_repointed_ids(con: duckdb.DuckDBPyConnection, previous: Path | None) -> None:
    """An id of a city keeps its meaning; a previous release that is damaged says nothing."""
    from urban_migration import diff

    if previous is None:
        return
    try:
        moved = diff.repointed(previous, con.sql("from cities").to_arrow_table())
    except ReleaseError:
        return
    if moved:
        raise CheckError("city ids must not change their meaning:\n- " + "\n- ".join(moved))


def _remember(plan: Plan, assembled: Assembled, folder: Path) -> None:
    """Keep what was built for the next build, and drop what nothing uses any more."""
    tables = plan.cache / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    wanted = set()
    for name in load_tables():
        if name not in ASSEMBLED_LAST:
            built = folder / f"{name}.parquet"
            kept = tables / f"{name}-{assembled.keys[name]}.{sha256_file(built)}.parquet"
            if not kept.exists():
                os.link(built, kept)
            wanted.add(kept)
    for path in tables.iterdir():
        if path not in wanted:
            path.unlink()
    sources = {_folder(plan, source_id) for source_id in plan.files}
    for path in (plan.cache / "sources").iterdir():
        if path not in sources:
            shutil.rmtree(path, ignore_errors=True)


def build(
    raw: RawStore,
    out: Path,
    expectations: Path,
    *,
    series: str = SERIES[0],
    keep: int | None = None,
    stale: Mapping[str, str] | None = None,
    say: Say = silent,
) -> Outcome:
    """Everything from the raw store to the latest release; nothing new publishes nothing."""
    from urban_migration import release

    with release.publishing(out, on_wait=say) as staging:
        todo = plan(raw, out, expectations, series=series, stale=stale)
        standing = nothing_new(todo)
        if standing:
            return standing
        prepared = prepare(todo, say)
        assembled = assemble(todo, prepared, say)
        with ThreadPoolExecutor(1) as side:
            checked = side.submit(inspect, todo, prepared, assembled, say)
            try:
                return publish(todo, assembled, checked.result, staging, keep=keep)
            except ReleaseError:
                checked.result()  # a check names the publisher's file and row
                raise
