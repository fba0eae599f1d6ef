"""A reader's SQL against the tables of one release, and against nothing else.

What a query may do is decided by construction, twice.  The connection holds the release's
database read only, has no way to files, network or extensions, and its settings are locked; and
before anything runs, DuckDB's own parser says whether the text is one query that calls no table
function but those named here.  How results look on a screen is ``render``'s business.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from urban_migration.errors import QueryError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

DATABASE: Final = "urban_migration.duckdb"
MEMORY_LIMIT: Final = "1GB"
RESULT_LIMIT: Final = 256 * 2**20
"""Bytes of result (as Arrow) that are brought into memory; whole tables of a release fit."""

TABLE_FUNCTIONS: Final = frozenset(
    {
        "duckdb_columns",
        "duckdb_constraints",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_tables",
        "duckdb_types",
        "generate_series",
        "histogram",
        "histogram_values",
        "json_each",
        "json_tree",
        "pragma_table_info",
        "pragma_version",
        "range",
        "repeat",
        "repeat_row",
        "summary",
        "unnest",
    }
)
"""Table functions that compute, or tell about the tables; any other may reach further."""

WORKER: Final = "urban-migration-query"
"""Name of the thread that runs a query; one that is alive after ``run`` could not be stopped."""

_REFUSED = (
    "a query reads the tables of the release and nothing else: no files, network, extensions "
    "or settings, and it changes nothing. `urban-migration tables` lists the tables."
)
_GRACE_SECONDS = 1.0
_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Result:
    """What a query returned: unique column names, DuckDB's types, and the rows as Arrow.

    ``truncated`` says that there were more rows than the caller's ``max_rows``.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    table: pa.Table
    truncated: bool = False

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as Python values, a batch at a time."""
        for batch in self.table.to_batches(max_chunksize=_BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def run(release: Path, sql: str, *, timeout: float = 30.0, max_rows: int | None = None) -> Result:
    """Answer one query from the release in folder ``release``.

    Raises :class:`QueryError` when the text is not one query, asks for more than the release's
    tables, fails (with DuckDB's words), runs longer than ``timeout`` seconds or returns more
    than :data:`RESULT_LIMIT` bytes.
    """
    import duckdb

    connection = _open(release)
    outcome: list[Result | BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append(_answer(connection, _checked(connection, sql), max_rows))
        except BaseException as error:
            outcome.append(error)
        finally:
            done.set()

    # A few functions (repeat, levenshtein) do not hear an interrupt, so the query has a thread
    # of its own, and the caller is answered in time whether or not that thread ends.
    worker = threading.Thread(target=work, name=WORKER, daemon=True)
    worker.start()
    in_time = False
    try:
        in_time = done.wait(timeout)
    finally:
        if not in_time:
            _interrupt(connection, done)
        if done.is_set():
            worker.join()
            connection.close()
    if not in_time:
        raise QueryError(
            f"stopped after {timeout:g} seconds. Add conditions or a LIMIT, look for a join "
            "without a condition, or allow more with --timeout SECONDS."
        )
    answer = outcome.pop()
    if isinstance(answer, Result):
        return answer
    if isinstance(answer, duckdb.Error | OSError):  # Arrow's stream wraps DuckDB's errors
        raise QueryError(_explain(answer, release)) from None
    raise answer


def _interrupt(connection: duckdb.DuckDBPyConnection, done: threading.Event) -> None:
    # Repeatedly, because an interrupt between two steps of a query is lost.
    for _ in range(10):
        connection.interrupt()
        if done.wait(_GRACE_SECONDS / 10):
            return


def _open(release: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    database = release / DATABASE
    if not database.is_file():
        raise QueryError(
            f"release {release.name}: {DATABASE} is missing. "
            "Name another release with --release, or build one with `urban-migration build`."
        )
    # Attached to a private instance: `connect(path)` would share one, and its locked settings,
    # with whoever else in this process has the file open.
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        },
    )
    quoted = str(database).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS release (READ_ONLY)")
        connection.execute("USE release")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise QueryError(
            f"release {release.name}: {DATABASE} cannot be opened: {_explain(error, release)}"
        ) from None
    return connection


def _checked(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The text to run, once the parser has said that it is one harmless query."""
    import duckdb

    try:
        sql.encode()
    except UnicodeEncodeError:
        raise QueryError("the query is not valid UTF-8 text.") from None
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        found = f"{len(statements)} statements" if statements else "no statement"
        raise QueryError(f"one query at a time, please: found {found}.")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        analyze, body = _explained(connection, sql)
        _check_functions(connection, body)
        return f"EXPLAIN {'ANALYZE ' if analyze else ''}{body}"
    if kind == duckdb.StatementType.MULTI:
        raise QueryError("PIVOT needs its values here: PIVOT ... ON column IN (value, ...).")
    if kind != duckdb.StatementType.SELECT:
        raise QueryError(f"{kind.name} is refused: {_REFUSED}")
    _check_functions(connection, sql)
    return sql


def _explained(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[bool, str]:
    """Take EXPLAIN [ANALYZE] apart, so that what runs is the query that was checked."""
    import duckdb

    tokens = duckdb.tokenize(sql)
    words = [offset for offset, kind in tokens if kind != duckdb.token_type.comment]
    for count, offset in enumerate(words[1:3]):
        body = sql.encode()[offset:].decode()  # the tokenizer counts bytes
        if "error_message" not in _tree(connection, body):
            return count > 0, body
    raise QueryError(f"EXPLAIN takes a query: {_REFUSED}")


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    rows = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(rows[0][0])
    return tree


def _check_functions(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    tree = _tree(connection, sql)
    if tree.get("error"):
        raise QueryError(f"{tree.get('error_message')}: {_REFUSED}")
    nodes: list[Any] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION":
                name = str(node["function"].get("function_name")).lower()
                if name not in TABLE_FUNCTIONS:
                    raise QueryError(f"{name}() is refused: {_REFUSED}")
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, max_rows: int | None) -> Result:
    import pyarrow as pa

    relation = connection.sql(sql)
    columns = _unique(relation.columns)
    types = tuple(str(kind) for kind in relation.types)
    # Streamed: `execute` would first make the whole result, outside the memory limit.
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if size > RESULT_LIMIT:
            raise QueryError(
                f"the result is larger than {RESULT_LIMIT // 2**20} MiB. Aggregate, choose "
                f"columns or add a LIMIT; whole tables are in the release as Parquet files."
            )
        if max_rows is not None and rows > max_rows:
            break
    table = pa.Table.from_batches(batches, schema=reader.schema).rename_columns(columns)
    reader.close()
    if max_rows is not None and rows > max_rows:
        return Result(columns, types, table.slice(0, max_rows), truncated=True)
    return Result(columns, types, table)


def _unique(names: list[str]) -> tuple[str, ...]:
    """Column names with a number on those that repeat, as objects and files need them."""
    taken: dict[str, None] = {}
    for name in names:
        unique, count = name, 0
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken[unique] = None
    return tuple(taken)


def _explain(error: Exception, release: Path) -> str:
    """DuckDB's text without this machine's paths and without advice that cannot be followed."""
    import duckdb

    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in text:
        return (
            f"the query needs more than {MEMORY_LIMIT} of memory. Add conditions, aggregate, "
            "or look for a join without a condition."
        )
    if isinstance(error, duckdb.PermissionException) or "Permission Error" in text:
        return f"refused: {_REFUSED}"
    for advice in ("\n\nPlease try installing", "\nPlease try installing"):
        text = text.partition(advice)[0]
    for path in (release / DATABASE, (release / DATABASE).resolve()):
        text = text.replace(str(path), DATABASE)
    return text.strip()
