"""Readers' SQL: what is answered, what is refused, what is stopped."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from urban_migration import query
from urban_migration.errors import QueryError


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release folder with three cities of WUP 2018, and files beside it to be left alone."""
    folder = tmp_path_factory.mktemp("it's a release") / "umi-0123456789ab"
    folder.mkdir()
    with duckdb.connect() as connection:
        path = str(folder / query.DATABASE).replace("'", "''")
        connection.execute(f"ATTACH '{path}' AS release (STORAGE_VERSION 'v1.4.0')")
        connection.execute(
            """
            CREATE TABLE release.city_population AS
            FROM (VALUES ('jpn-tokyo', 2018::INTEGER, 37468302::BIGINT),
                         ('ind-delhi', 2018, 28513682),
                         ('prt-lisbon', 2018, NULL)) AS t(city_id, year, population)
            """
        )
        connection.execute("DETACH release")
        connection.execute("CREATE TABLE t AS SELECT 42 AS secret")
        connection.execute(f"COPY t TO '{path}.parquet' (FORMAT parquet)")
    (folder / "secret.csv").write_text("secret\n42\n")
    return folder


def rows(release: Path, sql: str, **options: float) -> list[tuple[object, ...]]:
    return list(query.run(release, sql, **options).rows())  # type: ignore[arg-type]


def test_a_query_answers_with_names_types_and_values(release: Path) -> None:
    result = query.run(release, "select * from city_population where year = 2018 order by 3 desc;")
    assert result.columns == ("city_id", "year", "population")
    assert result.types == ("VARCHAR", "INTEGER", "BIGINT")
    assert next(result.rows()) == ("jpn-tokyo", 2018, 37_468_302)
    assert not result.truncated


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("from city_population limit 1", "jpn-tokyo"),
        ("with t as (select 1 as n) select n from t", 1),
        ("with recursive r as (select 1 n union all select n + 1 from r where n < 9) "
         "select max(n) from r", 9),
        ("values (7)", 7),
        ("table city_population", "jpn-tokyo"),
        ("select count(*) from range(5), unnest([1, 2])", 10),
        ("show tables", "city_population"),
        ("describe city_population", "city_id"),
        ("describe select 1 as a", "a"),
        ("summarize city_population", "city_id"),
        ("explain select 1", "physical_plan"),
        ("-- hów?\nexplain analyze select 'Tōkyō'", "analyzed_plan"),
        ("unpivot city_population on population", "jpn-tokyo"),
        ("pivot city_population on year in (2018) using sum(population) order by 1", "ind-delhi"),
        ("select table_name from information_schema.tables", "city_population"),
        ("select list_transform([1], lambda x: x + 1)", [2]),
        ("select sum(population) from city_population", Decimal(65_981_984)),
        ("select timestamptz '2020-01-01 00:00:00+00' :: varchar", "2020-01-01 00:00:00+00"),
    ],
)  # fmt: skip
def test_whatever_only_reads_the_tables_is_answered(release: Path, sql: str, first: object) -> None:
    assert rows(release, sql)[0][0] == first


def test_columns_of_one_name_are_told_apart(release: Path) -> None:
    assert query.run(release, "select 1 a, 2 a, 3 a_1, 4 a").columns == ("a", "a_1", "a_1_1", "a_2")


def test_max_rows_cuts_and_says_so(release: Path) -> None:
    result = query.run(release, "from city_population", max_rows=2)
    assert result.table.num_rows == 2 and result.truncated
    assert not query.run(release, "from city_population", max_rows=3).truncated
    assert not query.run(release, "from city_population where false", max_rows=3).truncated


FOLDER = "FOLDER"

REFUSED = [
    "copy city_population to 'FOLDER/out.csv'",
    "copy (select 1) to 'FOLDER/out.parquet' (format parquet)",
    "explain analyze copy city_population to 'FOLDER/out.csv'",
    "explain from read_csv('FOLDER/secret.csv')",
    "attach 'FOLDER/urban_migration.duckdb' as again",
    "attach ':memory:' as m",
    "detach release",
    "use memory",
    "install httpfs",
    "load httpfs",
    "pragma database_list",
    "pragma table_info('city_population')",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset memory_limit",
    "export database 'FOLDER/export'",
    "import database 'FOLDER/export'",
    "create table t as select 1",
    "create temp table t as select 1",
    "create table memory.t as select 1",
    "insert into city_population values ('x', 1, 1)",
    "with gone as (delete from city_population returning *) select * from gone",
    "update city_population set year = 1",
    "delete from city_population",
    "drop table city_population",
    "begin",
    "checkpoint",
    "vacuum",
    "call pragma_version()",
    "prepare p as select 1",
    "select * from read_csv('FOLDER/secret.csv')",
    "select * from 'FOLDER/secret.csv'",
    "describe 'FOLDER/secret.csv'",
    "summarize 'FOLDER/secret.csv'",
    "from 'FOLDER/urban_migration.duckdb.parquet'",
    "from read_parquet('FOLDER/*.parquet')",
    "from parquet_schema('FOLDER/urban_migration.duckdb.parquet')",
    "select (select content from read_text('FOLDER/secret.csv'))",
    "with a as (select 1 from read_blob('FOLDER/secret.csv')) from a",
    "select 1 where exists (from glob('FOLDER/*'))",
    "from sniff_csv('FOLDER/secret.csv')",
    "from read_json('https://example.org/x.json')",
    "from read_duckdb('FOLDER/urban_migration.duckdb')",
    "from query('from read_text(''FOLDER/secret.csv'')')",
    "from query_table(['FOLDER/secret.csv'])",
    "from duckdb_secrets()",
    "from duckdb_settings()",
    "from json_execute_serialized_sql('{}')",
    "from enable_logging('FOLDER/log')",
    "pivot city_population on year using sum(population)",
    "copy (pivot city_population on year using sum(population)) to 'FOLDER/out.csv'",
    "select 1; select 2",
    "select 1; copy city_population to 'FOLDER/out.csv'",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_whatever_reaches_further_is_refused_without_a_trace(release: Path, sql: str) -> None:
    before = {path.name: path.read_bytes() for path in release.iterdir()}
    with pytest.raises(QueryError) as refusal:
        query.run(release, sql.replace(FOLDER, str(release).replace("'", "''")))
    assert {path.name: path.read_bytes() for path in release.iterdir()} == before
    assert str(release) not in str(refusal.value)
    assert str(Path.home()) not in str(refusal.value)
    assert "42" not in str(refusal.value)


OTHER_FILES = [
    sql
    for sql in REFUSED
    if FOLDER in sql
    and not sql.startswith(("copy", "export", "import", "select 1; copy"))
    and "migration.duckdb'" not in sql  # the release's own database is open already
    and "enable_logging" not in sql  # a setting, not a file
    and "''" not in sql  # the folder's own quote would need doubling twice
]


@pytest.mark.parametrize("sql", OTHER_FILES)
def test_the_connection_alone_opens_no_other_file(release: Path, sql: str) -> None:
    """The second lock: what the parser let through, the connection still would not open."""
    connection = query._open(release)
    try:
        with pytest.raises(duckdb.Error, match="disabled by configuration"):
            connection.sql(sql.replace(FOLDER, str(release).replace("'", "''"))).fetchall()
    finally:
        connection.close()


def test_a_variable_of_the_caller_is_no_table(release: Path) -> None:
    import pyarrow as pa

    caller = pa.table({"secret": [42]})
    with pytest.raises(QueryError, match="caller does not exist"):
        query.run(release, "from caller")
    assert caller.num_rows == 1


def test_the_environment_cannot_be_read(release: Path) -> None:
    with pytest.raises(QueryError, match="getenv"):
        query.run(release, "select getenv('HOME')")


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("select populatoin from city_population", '"population"'),
        ("from city_populations", 'Did you mean "city_population"'),
        ("select city_id city_population", "LINE 1|Referenced column"),
        ("selec 1", "syntax error"),
        ("select 'x'::integer", "Could not convert string 'x'"),
        ("select $1", "parameters"),
        ("select '\udcff'", "not valid UTF-8"),
        ("select " + "(" * 3000 + "1" + ")" * 3000, "depth"),
    ],
)
def test_a_mistake_is_answered_with_duckdbs_own_words(release: Path, sql: str, hint: str) -> None:
    with pytest.raises(QueryError, match=hint):
        query.run(release, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "with recursive r as (select 1 n union all select n + 1 from r) select count(*) from r",
        "select count(*) from range(1000000) a, range(1000000) b where hash(a.range, b.range) = 7",
    ],
)
def test_a_runaway_query_is_stopped(release: Path, sql: str) -> None:
    started = time.monotonic()
    with pytest.raises(QueryError, match=r"stopped after 0\.3 seconds"):
        query.run(release, sql, timeout=0.3)
    assert time.monotonic() - started < 5
    assert query.WORKER not in {thread.name for thread in threading.enumerate()}
    assert rows(release, "select 1") == [(1,)]


def test_a_function_that_hears_no_interrupt_keeps_nobody_waiting(release: Path) -> None:
    started = time.monotonic()
    with pytest.raises(QueryError, match="stopped after"):
        query.run(
            release,
            "select max(levenshtein(repeat('ab', 20000), repeat('ba', 20000)))",
            timeout=0.1,
        )
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("select * from range(1000000000)", "result is larger than 256 MiB"),
        ("select list(range) from range(10000000000)", "more than 1GB of memory"),
    ],
)
def test_a_result_that_does_not_fit_is_refused_before_memory_is(
    release: Path, sql: str, why: str
) -> None:
    with pytest.raises(QueryError, match=why):
        query.run(release, sql)


def test_two_queries_at_once(release: Path) -> None:
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(rows(release, "from city_population")[0]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("jpn-tokyo", 2018, 37_468_302)] * 4


def test_a_release_without_its_database_says_so(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"urban_migration\.duckdb is missing"):
        query.run(tmp_path, "select 1")
    (tmp_path / query.DATABASE).write_text("this is not a database, only a text of some length")
    with pytest.raises(QueryError, match="cannot be opened") as error:
        query.run(tmp_path, "select 1")
    assert str(tmp_path) not in str(error.value)
