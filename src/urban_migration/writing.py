"""Writes releases: Parquet files, a DuckDB file and the Frictionless descriptor of them.

A release is written in full into a staging folder, each table as soon as it is made; the bytes of
Parquet files depend on nothing but the figures, so that their hashes are the release's id.  What
the figures mean stands in the dictionary (``tables``); ``release`` makes a folder the latest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from urban_migration import diff
from urban_migration.columns import TYPES
from urban_migration.errors import ReleaseError
from urban_migration.files import sha256_file, sync
from urban_migration.release import BESIDE_TABLES, DATABASE, SUMS, failed, read_sums, verify

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from urban_migration.tables import TableSpec

NOT_DATA: Final = frozenset({"sources"})
"""Tables that the id of a release does not depend on: a file may change without any figure."""

CELLS_PER_GROUP: Final = 409_600
"""Parquet row groups hold about so many cells: a reader of one city decodes one group (8 ms for
50 columns) and the footer still fits the first request of a browser."""
DATABASE_GROUP: Final = 61_440
"""Rows per row group in the DuckDB file; both cores write, and range requests stay small."""


@dataclass(frozen=True)
class Written:
    """What a table's Parquet file measures."""

    rows: int
    sha256: str
    bytes: int


class Writing:
    """A release under way in a staging folder: its tables are written as soon as each is made.

    Parquet files and the DuckDB file are written at once, beside whatever the caller does next;
    what goes wrong meanwhile is raised by :meth:`finish`.
    """

    def __init__(self, staging: Path, specs: Mapping[str, TableSpec], extract: bool) -> None:
        import duckdb

        self.staging, self.specs, self.extract = staging, specs, extract
        self._made: SimpleQueue[Made | None] = SimpleQueue()
        cores = os.cpu_count() or 2
        self._pool = ThreadPoolExecutor(max(1, cores - 1))  # one for what makes the tables
        self._side = ThreadPoolExecutor(1)
        made = iter(self._made.get, None)
        self._database = self._side.submit(
            _write_database, duckdb.connect(), staging / DATABASE, specs, made, extract
        )

    def table(self, con: duckdb.DuckDBPyConnection, name: str, earlier: Path | None = None) -> None:
        """Begin to write a table of ``con``, an ordinary one or a view (no temporary one).

        An ``earlier`` Parquet file of the same content is linked instead of written again.
        """
        spec = self.specs[name]
        job = self._pool.submit(
            _write_table, con.cursor(), spec, self.staging, self.extract, earlier
        )
        self._made.put((name, job))

    def finish(
        self,
        *,
        series: str,
        quality: Callable[[], tuple[Mapping[str, Any], str]],
        sources: Sequence[Mapping[str, Any]],
        previous: Path | None = None,
        private: bool = False,
    ) -> str:
        """Wait for the tables, write what stands beside them and return the release's id.

        ``quality`` gives the report as data and as a page; it is asked last, so that checks may
        still run while the tables are written, and what it raises ends the writing.  ``sources``
        are the rows of the published table ``sources``.  ``previous`` is the release that
        ``changes`` compares with.  A ``private`` release says so in its id and descriptor.
        """
        self._made.put(None)
        staging, specs = self.staging, self.specs
        written = self._database.result()
        release_id = _release_id(
            {name: one.sha256 for name, one in written.items()}, self.extract, private
        )
        descriptor = _descriptor(specs, written, release_id, self.extract, series, sources)
        if private:
            descriptor |= _privacy(descriptor)
        _write(staging / "datapackage.json", _json(descriptor))
        facts, page = quality()
        _write(staging / "quality.json", _json(facts))
        _write(staging / "quality.html", page.encode())
        changes = _changes(previous, staging)
        _write(staging / "changes.json", _json(diff.to_json(changes)))
        _write(staging / "changes.md", diff.to_markdown(changes).encode())
        hashes = {name: sha256_file(staging / name) for name in BESIDE_TABLES}
        hashes |= {f"{name}.parquet": one.sha256 for name, one in written.items()}
        lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
        _write(staging / SUMS, lines.encode())
        sync(staging)
        return release_id

    def end(self) -> None:
        """Wait for what is being written, and begin nothing more."""
        self._made.put(None)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._side.shutdown(wait=True)


Made = tuple[str, Future[tuple[Written, "pa.Table"]]]
"""The name of a table and the job that writes its Parquet file."""


@contextmanager
def begin(staging: Path, specs: Mapping[str, TableSpec], *, extract: bool) -> Iterator[Writing]:
    """Write a release into ``staging``, a folder that is empty or absent.

    Raises ReleaseError for what goes wrong on the disk or with a table; after any error
    ``staging`` is gone.
    """
    import duckdb
    import pyarrow as pa

    if staging.exists() and any(staging.iterdir()):
        raise ReleaseError(f"{staging} is not empty; a release is written into a new folder")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        release = Writing(staging, specs, extract)
        try:
            yield release
        finally:
            release.end()
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise failed(error, f"writing the release in {staging}") from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def write_release(
    con: duckdb.DuckDBPyConnection,
    specs: Mapping[str, TableSpec],
    staging: Path,
    *,
    extract: bool,
    reuse: Mapping[str, Path] | None = None,
    **beside: Any,
) -> str:
    """Write a whole release of the tables that ``con`` holds; return its id.

    ``reuse`` maps tables to earlier Parquet files of the same content; the rest is for
    :meth:`Writing.finish`.
    """
    with begin(staging, specs, extract=extract) as release:
        for name in specs:
            release.table(con, name, (reuse or {}).get(name))
        return release.finish(**beside)


def _write_table(
    con: duckdb.DuckDBPyConnection,
    spec: TableSpec,
    staging: Path,
    extract: bool,
    earlier: Path | None,
) -> tuple[Written, pa.Table]:
    """One Parquet file; returns also the sorted table that is in it."""
    schema = spec.arrow_schema()
    schema = schema.with_metadata(
        {**(schema.metadata or {}), b"extract": b"true" if extract else b"false"}
    )
    path = staging / f"{spec.name}.parquet"
    table = _linked(earlier, path, schema) if earlier else None
    if table is None:
        table = _sorted_table(con, spec, schema)
        _write_parquet(table, spec, path)
        sync(path)
    con.close()
    return Written(len(table), sha256_file(path), path.stat().st_size), table


def _linked(earlier: Path, path: Path, schema: pa.Schema) -> pa.Table | None:
    """Link an earlier file to ``path``; None where it is damaged, of another schema, or afar."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        promised = read_sums(earlier.parent).get(earlier.name)
        if promised not in (None, sha256_file(earlier)):
            return None
        table = pq.ParquetFile(earlier).read()
        if not table.schema.equals(schema, check_metadata=True):
            return None
        os.link(earlier, path)
    except (OSError, ReleaseError, pa.ArrowException):
        path.unlink(missing_ok=True)
        return None
    return table


def _sorted_table(con: duckdb.DuckDBPyConnection, spec: TableSpec, schema: pa.Schema) -> pa.Table:
    """One table sorted by its key and of exactly the dictionary's columns, types and nulls."""
    import pyarrow as pa

    have = {row[0] for row in con.execute(f"describe {_quoted(spec.name)}").fetchall()}
    if have != set(spec.columns):
        missing, unknown = sorted(set(spec.columns) - have), sorted(have - set(spec.columns))
        raise ReleaseError(
            f"table {spec.name}: its SQL and tables/{spec.name}.yaml disagree on the columns: "
            f"missing {missing}, not in the dictionary {unknown}. Correct one of the two."
        )
    columns, key = (", ".join(map(_quoted, names)) for names in (spec.columns, spec.key))
    query = f"select {columns} from {_quoted(spec.name)} order by {key}"
    table = con.sql(query).to_arrow_table()
    _check_nulls(table, spec)
    try:
        table = table.cast(schema)
    except pa.ArrowException as error:
        raise ReleaseError(
            f"table {spec.name}: a column is not of the type that tables/{spec.name}.yaml "
            f"promises: {error}"
        ) from error
    _check_key(table, spec)
    return table


def _check_nulls(table: pa.Table, spec: TableSpec) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in spec.columns.values():
        values = table[column.name]
        if values.null_count and not column.nullable:
            raise ReleaseError(
                f"table {spec.name}, column {column.name}: {values.null_count} rows without a "
                "value, where the dictionary promises one"
            )
        if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
            raise ReleaseError(
                f"table {spec.name}, column {column.name}: NaN or infinite; "
                "a cell without a figure is null"
            )


def _check_key(table: pa.Table, spec: TableSpec) -> None:
    """Raise ReleaseError where two neighbours share their key; the table is sorted by it.

    The last column of a key is the one that neighbours seldom share, so most tables are done
    after it.  (No Python value is handed to Arrow here: that would import pandas.)
    """
    import pyarrow.compute as pc

    count, same = len(table) - 1, None
    if count < 1:
        return
    for name in reversed(spec.key):
        here, following = table[name].slice(0, count), table[name].slice(1)
        equal = pc.equal(here, following)
        if table[name].null_count:
            both_null = pc.and_(pc.is_null(here), pc.is_null(following))
            equal = pc.or_kleene(equal, both_null)
        same = equal if same is None else pc.and_kleene(same, equal)
        if not pc.any(same).as_py():
            return
    row = pc.indices_nonzero(same)[0].as_py()
    shared = table.slice(row, 1).select(spec.key).to_pylist()[0]
    raise ReleaseError(f"table {spec.name}: two rows share the key {shared}")


def _write_parquet(table: pa.Table, spec: TableSpec, path: Path) -> None:
    """Write deterministic bytes: one writer thread, row groups of a fixed size in one chunk each.

    Dictionaries pay for text and years alone: for figures they doubled time and size.
    """
    import pyarrow.parquet as pq

    rows = max(8_192, min(122_880, CELLS_PER_GROUP // len(spec.columns)))
    repeated = [name for name, column in spec.columns.items() if column.type in ("text", "year")]
    order = [(name, "ascending") for name in spec.key]
    with pq.ParquetWriter(
        path,
        table.schema,
        compression="zstd",
        use_dictionary=repeated or False,
        write_page_index=True,
        sorting_columns=pq.SortingColumn.from_ordering(
            table.schema, order, null_placement="at_end"
        ),
    ) as writer:
        for start in range(0, len(table), rows):
            group = table.slice(start, rows).combine_chunks()
            writer.write_table(group, row_group_size=rows)


def _write_database(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    specs: Mapping[str, TableSpec],
    made: Iterator[Made],
    extract: bool,
) -> dict[str, Written]:
    """Write the tables, sorted, with comments, in a format that DuckDB 1.4 can attach.

    Each is taken from the job that writes its Parquet file; returns what those files measure.

    No primary keys: their indexes made the file three times as large and as slow to write, and
    `_check_key` has looked at every key already.
    """
    import pyarrow as pa

    written = {}
    with con:
        con.execute(
            f"attach {_literal(str(path))} as release "
            f"(storage_version 'v1.4.0', row_group_size {DATABASE_GROUP})"
        )
        con.execute("begin")
        for name, job in made:
            spec = specs[name]
            written[name], rows = job.result()
            batches = rows.to_batches(max_chunksize=DATABASE_GROUP)
            con.register("rows", pa.Table.from_batches(batches, rows.schema))
            table = f"release.{_quoted(name)}"
            con.execute(f"create table {table} as select * from rows")
            con.unregister("rows")
            about = f"{spec.title}. {spec.description}" + (" (bundled extract)" * extract)
            con.execute(f"comment on table {table} is {_literal(about)}")
            for column in spec.columns.values():
                unit = f" Unit: {column.unit}." if column.unit else ""
                con.execute(
                    f"comment on column {table}.{_quoted(column.name)} "
                    f"is {_literal(column.description + unit)}"
                )
        con.execute("commit")
        con.execute("detach release")
    sync(path)
    return {name: written[name] for name in specs}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _release_id(hashes: Mapping[str, str], extract: bool, private: bool) -> str:
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes.keys() - NOT_DATA))
    kind = "private-" * private + "bundled-" * extract
    return f"umi-{kind}{sha256(lines.encode()).hexdigest()[:12]}"


def _privacy(descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """What the descriptor of a private release says instead."""
    return {
        "title": f"{descriptor['title']} (private)",
        "description": f"{descriptor['description']} Private: it may hold figures whose licence "
        "forbids redistribution; do not pass it on.",
        "private": True,
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _changes(previous: Path | None, staging: Path) -> diff.Changes:
    """Compare with the previous release; one that is damaged must not stop the next."""
    if previous is None:
        return diff.first(staging)
    try:
        return diff.compare(previous, staging)
    except ReleaseError:
        try:
            verify(previous)
        except ReleaseError as damage:
            return diff.first(staging, why=f"Not compared with {previous.name}: {damage}")
        raise


# ---- the descriptor ------------------------------------------------------------------------


def _descriptor(
    specs: Mapping[str, TableSpec],
    written: Mapping[str, Written],
    release_id: str,
    extract: bool,
    series: str,
    sources: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The Frictionless data package; ``created`` is when the newest source file was first seen."""
    used = {row["source_id"]: row for row in sources if row.get("first_seen")}
    seen = [row["first_seen"] for row in used.values()]
    kind = " (bundled extract)" if extract else ""
    return {
        "profile": "data-package",
        "name": "urban-migration-indicators",
        "title": f"Urban migration indicators{kind}",
        "description": (
            "Comparable, validated and traceable statistics of migration per city"
            + (", from the bundled extract: some cities and countries only." if extract else ".")
        ),
        "version": release_id,
        **({"created": max(seen)} if seen else {}),
        "extract": extract,
        "series": series,
        "keywords": ["migration", "cities", "urbanization", "displacement", "open data"],
        "contributors": [{"title": "The Urban Migration Indicators authors", "role": "wrangler"}],
        **_provenance(used.values()),
        "resources": [
            _resource(spec, written[name], [used[i] for i in spec.sources if i in used], specs)
            for name, spec in specs.items()
        ],
    }


def _provenance(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The members ``licenses`` and ``sources``; absent where there is nothing to name."""
    licences: dict[str, dict[str, str]] = {}
    named = []
    for row in sources:
        name, url = str(row["licence"]), row.get("licence_url")
        code = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
        licences[name] = {"name": code, "title": name, **({"path": url} if url else {})}
        source = {
            "title": row["title"],
            "path": row.get("homepage"),
            "source_id": row["source_id"],
            "edition": row.get("edition"),
            "citation": row.get("citation"),
        }
        named.append({member: value for member, value in source.items() if value})
    if not named:
        return {}
    return {"licenses": [licences[name] for name in sorted(licences)], "sources": named}


def _resource(
    spec: TableSpec,
    written: Written,
    sources: Sequence[Mapping[str, Any]],
    specs: Mapping[str, TableSpec],
) -> dict[str, Any]:
    fields = [
        {
            "name": column.name,
            "type": TYPES[column.type].frictionless,
            "description": column.description,
            **({"unit": column.unit} if column.unit else {}),
            "constraints": {"required": not column.nullable},
        }
        for column in spec.columns.values()
    ]
    foreign = []
    for column in spec.columns.values():
        table, _, field = (column.references or "").partition(".")
        if table in specs:
            reference = {"resource": "" if table == spec.name else table, "fields": [field]}
            foreign.append({"fields": [column.name], "reference": reference})
    return {
        "profile": "data-resource",
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "path": f"{spec.name}.parquet",
        "format": "parquet",
        "mediatype": "application/vnd.apache.parquet",
        "bytes": written.bytes,
        "hash": f"sha256:{written.sha256}",
        "rows": written.rows,
        **_provenance(sources),
        "schema": {
            "fields": fields,
            "primaryKey": list(spec.key),
            **({"foreignKeys": foreign} if foreign else {}),
            "missingValues": [""],
        },
    }
