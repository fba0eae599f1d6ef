"""The steps between the raw store and a published release, strung together.

``plan`` and ``prepare`` read and check each source, ``sort_out`` leaves out experimental ones that
failed, ``assemble`` makes the published tables and accounts for every row, ``inspect`` checks
them, and ``publish`` completes the release.  ``build`` runs all of them; the flow runs them as
tasks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urban_migration.assembly import ASSEMBLED_LAST, Assembled, assemble
from urban_migration.errors import CheckError, ProductError, ReleaseError
from urban_migration.preparing import (
    SERIES,
    LeftOut,
    Plan,
    Prepared,
    Say,
    plan,
    prepare,
    readers,
    silent,
    source_folder,
    stop_at_blocks,
)
from urban_migration.raw import RawStore
from urban_migration.sources import all_sources
from urban_migration.tables import MADE, load_tables, relations

if TYPE_CHECKING:
    import duckdb

    from urban_migration.checks import Finding, Suite
    from urban_migration.writing import Writing

EVALUATIONS = ("estimate_evaluation",)
"""Published tables that say how good an estimate is."""
CHECKERS = 2
"""Threads that check tables: while one is in Python, the other may be in SQL; at the end, while
one waits for what is left, the other does it."""


@dataclass(frozen=True)
class Outcome:
    """How a build ended: a new release, or none because nothing is new.

    ``withheld`` are sources that are in the raw store and not in the release, and why.
    """

    published: bool
    release_id: str
    folder: Path
    extract: bool
    warnings: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            "status": "published" if self.published else "nothing new",
            "release": self.release_id,
            "folder": str(self.folder),
            "bundled_extract": self.extract,
            "rows": dict(self.rows),
            "warnings": list(self.warnings),
            "withheld": dict(self.withheld),
        }


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
    withheld = {**plan.withheld, **status.get("left_out", {})}
    return Outcome(False, folder.name, folder, plan.extract, withheld=withheld)


def sort_out(
    plan: Plan, done: Sequence[Prepared | LeftOut], say: Say = silent
) -> tuple[Plan, dict[str, Prepared]]:
    """The sources that are ready, and the plan as if those left out had never been had."""
    ready = {one.source_id: one for one in done if isinstance(one, Prepared)}
    failed = [*(one for one in done if isinstance(one, LeftOut)), *_contradictory(plan, ready)]
    left_out = {one.source_id: one.reason for one in failed}
    for source_id, reason in left_out.items():
        say(f"{source_id}: left out: {reason}")
        ready.pop(source_id, None)
    fewer = replace(
        plan,
        files={source_id: files for source_id, files in plan.files.items() if source_id in ready},
        absent={**plan.absent, **left_out},
        withheld={**plan.withheld, **left_out},
        left_out=left_out,
    )
    return fewer, {source_id: ready[source_id] for source_id in fewer.files}


def _contradictory(plan: Plan, ready: Mapping[str, Prepared]) -> Iterator[LeftOut]:
    """Experimental sources whose tables, taken together, block; asked before any is published."""
    from urban_migration import assembly, checks

    experimental = [name for name in ready if all_sources()[name].experimental]
    if not experimental:
        return
    con, _ = assembly.relations(plan, ready)
    for source_id in experimental:
        suites = [f"{source_id}.{name}" for name in ready[source_id].tables]
        try:
            for suite in suites:
                stop_at_blocks(checks.check_derived(load_suite(plan, suite), con))
        except CheckError as error:
            yield LeftOut.because(source_id, error)


class Work:
    """What is done with each table as soon as it is made: it is written, and checked.

    Its rows are checked at once, and what should hold between tables as soon as all that are read
    for it are made.
    """

    def __init__(self, plan: Plan, writing: Writing, threads: Executor) -> None:
        self.plan, self.writing, self.threads = plan, writing, threads
        self._suites = {name: load_suite(plan, name) for name in load_tables()}
        self._laws = {
            (name, query.rule): (replace(suite, derived=(query,)), relations(query.sql))
            for name, suite in self._suites.items()
            for query in suite.derived
        }
        self._rows: dict[str, Future[list[Finding]]] = {}
        self._judged: dict[tuple[str, str], Future[list[Finding]]] = {}

    def table(self, con: duckdb.DuckDBPyConnection, name: str, earlier: Path | None) -> None:
        """Begin with a table of ``con``; ``earlier`` is a Parquet file of the same content."""
        from urban_migration import checks

        self.writing.table(con, name, earlier)
        self._rows[name] = self.threads.submit(_check_rows, self._suites[name], con.cursor())
        yet_to_come = load_tables().keys() - self._rows.keys()
        for law, (suite, reads) in self._laws.items():
            if law not in self._judged and not reads & yet_to_come:
                self._judged[law] = self.threads.submit(checks.check_derived, suite, con.cursor())

    def findings(self, con: duckdb.DuckDBPyConnection) -> list[Finding]:
        """All that was found, table by table; ``con`` made the tables."""
        from urban_migration import checks

        found = {name: [*rows.result()] for name, rows in self._rows.items()}
        for law, (suite, _) in self._laws.items():
            try:
                found[law[0]] += self._judged[law].result()
            except checks.SuiteError:  # it may read what only this connection has: a source's table
                found[law[0]] += checks.check_derived(suite, con)
        return [finding for findings in found.values() for finding in findings]


@contextmanager
def working(plan: Plan, staging: Path) -> Iterator[Work]:
    """Write a release into ``staging`` and check its tables, beside making them."""
    from urban_migration.writing import begin

    with (
        begin(staging, load_tables(), extract=plan.extract) as writing,
        ThreadPoolExecutor(CHECKERS) as threads,
    ):
        try:
            yield Work(plan, writing, threads)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def inspect(
    prepared: Mapping[str, Prepared], assembled: Assembled, work: Work, say: Say = silent
) -> list[Finding]:
    """Check the published tables, and the sums and references of all tables.

    Raises :class:`CheckError` when one blocks the release; returns every finding, those of the
    sources included.
    """
    from urban_migration import checks

    con = assembled.con
    of_sources = []
    for source_id, source in prepared.items():
        for name in source.tables:
            suite = load_suite(work.plan, f"{source_id}.{name}")
            of_sources += checks.check_derived(suite, con)
    findings = [finding for source in prepared.values() for finding in source.findings]
    findings += [*work.findings(con), *of_sources]
    stop_at_blocks(findings)
    say(f"{len(findings)} checks held; {len(_warnings(findings))} warnings")
    return findings


def load_suite(plan: Plan, table: str) -> Suite:
    """What is expected of a table, in this kind of release."""
    from urban_migration import checks

    return checks.load_suite(plan.expectations, table, extract=plan.extract)


def _check_rows(suite: Suite, con: duckdb.DuckDBPyConnection) -> list[Finding]:
    """The row checks of one published table."""
    from urban_migration import checks

    if not suite.rows:
        return []
    spec = load_tables()[suite.table]
    wanted = {column for rule in suite.rows for column in rule.columns()} | {*spec.key}
    columns = ", ".join(f'"{column}"' for column in spec.columns if column in wanted)
    rows = con.sql(f"select {columns} from {suite.table}").to_arrow_table()
    findings, withheld = checks.check_rows(suite, rows)
    if withheld:
        raise ProductError(f"{suite.file}: a published table cannot withhold rows")
    return findings


def _warnings(findings: Sequence[Finding]) -> list[str]:
    """One line each: the table, what should hold, and the first place where it does not."""
    failed = [finding for finding in findings if finding.action == "warn" and not finding.success]
    return [" ".join(" ".join(f.message.splitlines()[:2]).split()) for f in failed]


def publish(
    assembled: Assembled,
    findings: Callable[[], Sequence[Finding]],
    work: Work,
    *,
    keep: int | None = None,
) -> Outcome:
    """Complete the release whose tables are being written and make it the latest, all at once.

    ``findings`` may still be under way; it is waited for before anything is published, and what
    it raises stops that.  Raises :class:`CheckError` when an id of a city would change meaning.
    """
    from urban_migration import quality, release

    plan = work.plan
    con, previous = assembled.writer, release.latest(plan.out)
    _refuse_repointed_ids(con, previous)
    rows = {name: con.sql(f"from {name}").count("*").fetchall()[0][0] for name in load_tables()}
    sources = con.sql("from sources order by source_id").to_arrow_table().to_pylist()
    quarantine = con.sql("from quarantine order by all").to_arrow_table().to_pylist()
    evaluations = {
        name: con.sql(f"from {name} order by all").to_arrow_table().to_pylist()
        for name in EVALUATIONS
    }

    def report() -> tuple[dict[str, Any], str]:
        facts = quality.quality_json(
            extract=plan.extract,
            series=plan.series,
            tables=rows,
            findings=findings(),
            sources=sources,
            quarantine=quarantine,
            stale=plan.stale,
            blocks=[asdict(block) for block in assembled.blocks],
            evaluations=evaluations,
        )
        return facts, quality.quality_html(facts)

    release_id = work.writing.finish(
        series=plan.series,
        quality=report,
        sources=sources,
        previous=previous,
        private=plan.private,
    )
    done = release.publish(work.writing.staging, plan.out, release_id, keep=keep)
    folder = plan.out / "releases" / release_id
    status = release.read_status(plan.out)
    status["release"], status["inputs"] = release_id, plan.fingerprint
    status["left_out"] = {**plan.left_out}
    release.write_status(plan.out, status)
    _remember(plan, assembled, folder)
    return Outcome(
        done.published,
        release_id,
        folder,
        plan.extract,
        _warnings(findings()),
        rows,
        plan.withheld,
    )


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
    from urban_migration import release

    hashes = release.read_sums(folder)
    tables = plan.cache / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    wanted = set()
    for name in load_tables():
        if name not in ASSEMBLED_LAST:
            built = f"{name}.parquet"
            kept = tables / f"{name}-{assembled.keys[name]}.{hashes[built]}.parquet"
            if not kept.exists():
                os.link(folder / built, kept)
            wanted.add(kept)
    for name in ("place_matches", *MADE):
        wanted.add(tables / f"{name}-{assembled.keys[name]}.arrow")
    for path in tables.iterdir():
        if path not in wanted:
            path.unlink()
    sources = {source_folder(plan, source_id) for source_id in plan.files}
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
    private: bool = False,
    say: Say = silent,
) -> Outcome:
    """Everything from the raw store to the latest release; nothing new publishes nothing.

    A ``private`` release has the sources that must not be redistributed too, and stands in
    ``out/private``.
    """
    from urban_migration import release

    out = release.home(out, private)
    with release.publishing(out, on_wait=say) as staging, readers(out) as pool:
        stale = release.stale_sources(out)
        todo = plan(raw, out, expectations, series=series, stale=stale, private=private)
        standing = nothing_new(todo)
        if standing:
            return standing
        todo, prepared = sort_out(todo, prepare(todo, pool, say), say)
        with working(todo, staging) as work:
            work.threads.submit(pool.shutdown)
            assembled = assemble(todo, prepared, say, work.table)
            checked = work.threads.submit(inspect, prepared, assembled, work, say)
            try:
                return publish(assembled, checked.result, work, keep=keep)
            except ReleaseError:
                checked.result()  # a check names the publisher's file and row
                raise
