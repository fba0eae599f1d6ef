"""From the raw store to checked source tables: what is to be built, read and judged.

``plan`` verifies the raw files and fingerprints them together with the code; ``prepare`` reads
each source (once per content, in a process of its own) and judges its rows.  Nothing here parses
a file or knows a rule: ``sources`` and ``expectations`` do.
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
from typing import TYPE_CHECKING

from urban_migration.errors import (
    CheckError,
    MissingSourceError,
    ReadError,
    ReleaseError,
    UsageError,
)
from urban_migration.files import atomic_write_bytes
from urban_migration.raw import RawFile, RawStore
from urban_migration.reading import digest, get_ready, lighten, load, read_into, reader_key
from urban_migration.sources import all_sources

if TYPE_CHECKING:
    import pyarrow as pa

    from urban_migration.checks import Finding, Withheld
    from urban_migration.plausibility import Block
    from urban_migration.sources.source import Tables

SERIES_SOURCES = {"wup2018": "un_wup_2018", "wup2025": "un_wup_2025"}
SERIES = tuple(SERIES_SOURCES)
CACHE = ".cache"
NEVER_HAD = "never downloaded"
NOT_FOR_THE_PUBLIC = (
    "its licence forbids redistribution: in private releases only (refresh or build --private)"
)
PACKAGE = Path(__file__).parent

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Plan:
    """What a build is made from: the files of every source that was ever had.

    Sources that must not be redistributed are there only where ``private``; ``absent`` says why
    a source is not, and ``withheld`` has those that are in the raw store nevertheless;
    ``left_out`` are those of them that are experimental and were found not to be usable.
    """

    files: Mapping[str, Mapping[str, RawFile]]
    extract: bool
    series: str
    out: Path
    expectations: Path
    fingerprint: str
    stale: Mapping[str, str] = field(default_factory=dict)
    private: bool = False
    absent: Mapping[str, str] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """Where what was read and built is kept by content."""
        return self.out / CACHE


@dataclass(frozen=True)
class Prepared:
    """One source, read and checked row by row; ``blocks`` are country-years that fell whole."""

    source_id: str
    key: str
    tables: Mapping[str, pa.Table]
    findings: Sequence[Finding]
    withheld: Sequence[Withheld]
    blocks: Sequence[Block]


@dataclass(frozen=True)
class LeftOut:
    """An experimental source that the release is made without, and why."""

    source_id: str
    reason: str

    @classmethod
    def because(cls, source_id: str, error: Exception) -> LeftOut:
        """Left out for what was found in its files."""
        problem = " ".join(str(error).split())
        return cls(source_id, f"experimental, and not as its documentation says: {problem}")


def plan(
    raw: RawStore,
    out: Path,
    expectations: Path,
    *,
    series: str = SERIES[0],
    stale: Mapping[str, str] | None = None,
    private: bool = False,
) -> Plan:
    """Verify the raw files and fingerprint them together with the code.

    ``stale`` says of which sources the publisher did not answer when last asked.  Raises
    :class:`MissingSourceError` when a required source, or that of the series, was never
    had, :class:`UsageError` for an unknown series.
    """
    if series not in SERIES:
        raise UsageError(f"no series {series!r}; there are: {', '.join(SERIES)}")
    sources = all_sources()
    absent = {
        source.id: NOT_FOR_THE_PUBLIC
        for source in sources.values()
        if not (source.redistributable or private)
    }
    files = {source_id: raw.verify(source_id) for source_id in sources.keys() - absent.keys()}
    absent |= {source_id: NEVER_HAD for source_id, found in files.items() if not found}
    required = [source_id for source_id in sources if source_id in absent]
    required = [source_id for source_id in required if sources[source_id].required]
    if required:
        raise MissingSourceError(
            f"required but never downloaded into {raw.root}: {', '.join(required)}. "
            "Run: urban-migration refresh (or refresh --offline for the bundled extract)"
        )
    if SERIES_SOURCES[series] in absent:
        raise MissingSourceError(
            f"series {series} stands on {SERIES_SOURCES[series]}, which was never downloaded into "
            f"{raw.root}. Run: urban-migration refresh"
        )
    extract = (raw.root / "manifest.json").is_file()
    had = {source_id: files[source_id] for source_id in sources if files.get(source_id)}
    facts = [
        [source_id, name, file.url, file.sha256, file.first_seen]
        for source_id, found in sorted(had.items())
        for name, file in sorted(found.items())
    ]
    fingerprint = digest(_code(expectations), series, str(extract), str(private), json.dumps(facts))
    kept = {source_id: why for source_id, why in absent.items() if raw.files(source_id)}
    old = {source_id: error for source_id, error in (stale or {}).items() if source_id in had}
    return Plan(had, extract, series, out, expectations, fingerprint, old, private, absent, kept)


def _code(expectations: Path) -> str:
    """A hash of everything that decides what a release holds, apart from the data."""
    files = [p for p in PACKAGE.rglob("*") if p.suffix in {".py", ".sql", ".yaml", ".csv"}]
    state = hashlib.sha256()
    for path in sorted(files) + sorted(expectations.glob("*.yaml")):
        state.update(path.name.encode() + path.read_bytes())
    for package in ("duckdb", "pyarrow", "numpy", "python-calamine", "scikit-learn"):
        state.update(version(package).encode())
    return state.hexdigest()


@contextmanager
def readers(out: Path) -> Iterator[Executor]:
    """Processes that parse files; a core is left to this one if it has a library to import.

    Each starts when it has work; where nothing was ever read, the first begins at once to import
    what reading needs.
    """
    from urban_migration import checks

    spawned = multiprocessing.get_context("spawn")
    count = max(1, (os.cpu_count() or 2) - (not checks.library_is_here()))
    pool = ProcessPoolExecutor(count, mp_context=spawned, initializer=lighten)
    if not (out / CACHE / "sources").exists():
        pool.submit(get_ready)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_source(plan: Plan, source_id: str, pool: Executor) -> Prepared | LeftOut:
    """Read one source (unless its content was read before) and check its rows.

    Raises :class:`ReadError` where a file is not as its reader expects, :class:`CheckError`
    where a check blocks; an experimental source is left out instead.
    """
    try:
        return _checked(plan, source_id, _read(plan, source_id, pool))
    except (ReadError, CheckError) as error:
        if not all_sources()[source_id].experimental:
            raise
        return LeftOut.because(source_id, error)
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
    folder = source_folder(plan, source_id)
    if folder.exists():
        try:
            return load(source_id, folder)
        except (OSError, ValueError):
            shutil.rmtree(folder)
    from urban_migration import checks

    reading = pool.submit(read_into, source_id, _paths(plan, source_id), folder)
    checks.import_library()  # beside the reading, not after it
    reading.result()
    return load(source_id, folder)


def largest_first(plan: Plan) -> list[str]:
    """The sources in the order in which to read them, so that no process waits long at the end."""

    def size(source_id: str) -> int:
        return sum(file.bytes for file in plan.files[source_id].values())

    return sorted(plan.files, key=size, reverse=True)


def get_ready_to_build() -> None:
    """Load what the next steps need, while this process waits for sources to be read."""
    from urban_migration import checks
    from urban_migration.tables import load_tables

    checks.import_library()
    import duckdb  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from urban_migration.places import crosswalk  # noqa: F401

    load_tables()


def prepare(plan: Plan, pool: Executor, say: Say = silent) -> list[Prepared | LeftOut]:
    """Read and check every source, the largest first; checking runs beside parsing.

    ``pool`` is that of :func:`readers`.
    """
    with ThreadPoolExecutor(len(plan.files) + 1) as threads:
        futures = {
            threads.submit(prepare_source, plan, source_id, pool): source_id
            for source_id in largest_first(plan)
        }
        threads.submit(get_ready_to_build)
        done = []
        for future in as_completed(futures):
            result = future.result()
            done.append(result)
            if isinstance(result, Prepared):
                rows = sum(table.num_rows for table in result.tables.values())
                say(f"{futures[future]}: {rows:,} rows read and checked")
    return done


def source_folder(plan: Plan, source_id: str) -> Path:
    """Where the tidy tables of a source stand, by what its files hold and who reads them."""
    return plan.cache / "sources" / f"{source_id}-{reader_key(source_id, plan.files[source_id])}"


def _paths(plan: Plan, source_id: str) -> dict[str, Path]:
    return {name: file.path for name, file in plan.files[source_id].items()}


def _checked(plan: Plan, source_id: str, tables: Mapping[str, pa.Table]) -> Prepared:
    """Row checks of one source, remembered beside what was read."""
    from urban_migration import checks

    findings: list[Finding] = []
    withheld: list[Withheld] = []
    rules = [(PACKAGE / name).read_bytes() for name in ("checks.py", "plausibility.py")]
    for name, table in tables.items():
        path = plan.expectations / f"{source_id}.{name}.yaml"
        suite = checks.load_suite(plan.expectations, path.stem, extract=plan.extract)
        suite_key = digest(*rules, path.read_bytes(), str(plan.extract))
        known = source_folder(plan, source_id) / f"{name}-{suite_key}.json"
        if known.exists():
            found, kept = checks.findings_from_json(known.read_text("utf-8"))
        else:
            found, kept = checks.check_rows(suite, table)
            atomic_write_bytes(known, checks.findings_to_json(found, kept).encode())
        findings += found
        withheld += kept
    blocks: Sequence[Block] = ()
    if "places" in tables:
        judged, blocks = _implausible(source_id, tables, withheld)
        withheld += judged
    stop_at_blocks(findings)
    key = reader_key(source_id, plan.files[source_id])
    return Prepared(source_id, key, tables, findings, withheld, blocks)


def _implausible(
    source_id: str, tables: Mapping[str, pa.Table], withheld: Sequence[Withheld]
) -> tuple[list[Withheld], Sequence[Block]]:
    """City figures that contradict the others of their series, beside those already withheld."""
    from urban_migration import plausibility

    verdict = plausibility.examine(
        tables.get("populations"), tables.get("migrants"), tables["places"], source_id=source_id
    )
    known = {(item.table, item.index) for item in withheld}
    found = [item for item in verdict.withheld if (item.table, item.index) not in known]
    return found, verdict.blocks


def stop_at_blocks(findings: Sequence[Finding]) -> None:
    """Raise :class:`CheckError` with every finding that forbids a release."""
    from urban_migration import checks

    blocking = checks.blocked(findings)
    if blocking:
        lines = "\n- ".join(finding.message for finding in blocking)
        raise CheckError(f"checks blocked the release:\n- {lines}")
