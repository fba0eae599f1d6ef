"""The main job through the command line: what a new user, an operator and a script meet."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
from publishers import CITIES_ANNUAL, archive
from runs import BUNDLED, EXPECTATIONS, Ended, Mirror, Running, World, ask, cli, standing, start

from urban_migration.release import DATABASE
from urban_migration.tables import load_tables

WUP, ARCHIVE = "un_wup_2018", "WUP2018-Excel-files.zip"
GUARD = """
import os, socket

def guard(owner, name, place):
    real = getattr(owner, name)
    def call(*arguments, **options):
        host = str(place(*arguments))
        with open(os.environ["CONNECTIONS"], "a") as log:
            log.write(host + chr(10))
        if host not in ("127.0.0.1", "::1", "localhost", "None"):
            raise OSError(f"no connection to {host} here")
        return real(*arguments, **options)
    setattr(owner, name, call)

def peer(sock, *arguments):
    address = arguments[-1]
    return address[0] if isinstance(address, tuple) else "localhost"

for name in ("connect", "connect_ex", "sendto"):
    guard(socket.socket, name, peer)
guard(socket, "getaddrinfo", lambda host, *_, **__: host)
"""
"""Put into every Python process (``sitecustomize``): notes each host, and refuses all but ours."""


def without_network() -> list[str]:
    """A command before a command that takes all networks away but the loopback; none if refused."""
    alone = ["unshare", "--map-root-user", "--net"]
    up = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("unshare") and shutil.which("ip"):
        tried = subprocess.run([*alone, *up, "true"], capture_output=True)
        if tried.returncode == 0:
            return [*alone, *up]
    return []


# ------------------------------------------------------------------ a new user, offline


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``refresh --offline`` leaves where nothing was ever downloaded."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "guard").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD)
    log = folder / "connections"
    ended = cli(
        *("refresh", "--offline", "--raw", folder / "raw", "--out", folder / "processed"),
        env={"PYTHONPATH": _path(folder / "guard"), "CONNECTIONS": str(log)},
        prefix=without_network(),
    )
    assert ended.code == 0, ended.err
    (folder / "printed").write_text(ended.out)
    (folder / "told").write_text(ended.err)
    return folder


def _path(first: Path) -> str:
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_bundled_extract_is_published_without_any_connection(offline: Path) -> None:
    hosts = set((offline / "connections").read_text().split())
    assert hosts, "the guard saw nothing at all, not even the orchestrator's own server"
    assert hosts <= {"127.0.0.1", "::1", "localhost", "None"}
    assert standing(offline / "processed").startswith("umi-bundled-")
    assert not (offline / "raw").exists(), "nothing is put into the raw store"


def test_it_says_bundled_extract_wherever_a_user_looks(offline: Path) -> None:
    out = offline / "processed"
    latest = out / "latest"
    assert "bundled extract" in (offline / "printed").read_text()
    assert "building from the bundled extract" in (offline / "told").read_text()
    for command in (["tables"], ["describe", "cities"], ["sources"]):
        assert "bundled extract" in cli(*command, "--out", out).out
    assert "bundled extract" in cli("sql", "from cities limit 1", "--out", out).err
    descriptor = json.loads((latest / "datapackage.json").read_text("utf-8"))
    assert descriptor["extract"] is True
    assert (
        "bundled extract" in descriptor["title"] and "bundled extract" in descriptor["description"]
    )
    assert json.loads((latest / "quality.json").read_text("utf-8"))["extract"] is True
    assert "bundled extract" in (latest / "quality.html").read_text("utf-8").lower()
    comments = ask(out, "select comment from duckdb_tables() where not temporary")
    assert all("bundled extract" in comment for (comment,) in comments)
    editions = ask(out, "select edition from sources where first_seen is not null")
    assert all("bundled extract" in edition for (edition,) in editions)


def test_what_would_be_wrong_in_an_extract_is_null(offline: Path) -> None:
    query = """select count(*), count(rank_in_country), count(population),
        count(country_migrant_pct) from city_indicators"""
    ((rows, ranks, populations, shares),) = ask(offline / "processed", query)
    assert rows >= populations > 10_000 and shares > 4_000
    assert ranks == 0, "a rank among some cities is no rank"


def test_the_national_figures_are_complete_in_the_extract(offline: Path) -> None:
    out = offline / "processed"
    urban = """select sum(urban_population) from country_urbanization
        where year = 2018 and series = 'wup2018'"""
    ((world,),) = ask(out, urban)
    assert abs(world - 4_219_817_318) <= 1_000
    stocks = "select sum(migrant_stock) from country_migration where year = 2024"
    assert ask(out, stocks) == [(304_021_813,)]
    refugees = "select sum(refugees) from displacement_origins where year = 2024"
    assert ask(out, refugees) == [(30_958_200,)]


# ------------------------------------------------------------------ a script that asks with SQL


LISBON = """select city_name, year, population, country_migrant_pct from city_indicators
    where city_id='prt-lisbon' and year<=2024 order by year desc limit 5"""


def test_sql_answers_for_lisbon(offline: Path) -> None:
    ended = cli("sql", LISBON, "--out", offline / "processed", "--format", "json")
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)
    assert [(row["city_name"], row["year"]) for row in rows] == [
        ("Lisbon", year) for year in range(2024, 2019, -1)
    ]
    assert all(2_900_000 < row["population"] < 3_100_000 for row in rows)
    assert all(9 < row["country_migrant_pct"] < 11 for row in rows)
    table = cli("sql", LISBON, "--out", offline / "processed")
    assert table.code == 0 and table.out.count("Lisbon") == 5


@pytest.mark.parametrize(
    "query",
    [
        "copy cities to '{folder}/stolen.csv'",
        "attach '{folder}/other.duckdb' as other",
        "install httpfs",
        "load httpfs",
        "from read_csv('{folder}/secret.csv')",
        "from '{folder}/secret.csv'",
        "select * from read_text('{folder}/secret.csv')",
        "from read_parquet('{folder}/processed/latest/cities.parquet')",
        "create table mine as select 1",
        "set enable_external_access = true",
        "pragma database_list",
        "select 1; drop table cities",
    ],
)
def test_sql_refuses_all_but_a_question_to_the_tables(offline: Path, query: str) -> None:
    (offline / "secret.csv").write_text("secret\n42\n")
    ended = cli("sql", query.format(folder=offline), "--out", offline / "processed")
    assert ended.code == 1
    assert ended.err.startswith("error: ") and "Traceback" not in ended.err
    assert "42" not in ended.out + ended.err
    assert not (offline / "stolen.csv").exists() and not (offline / "other.duckdb").exists()


def test_a_runaway_query_is_stopped(offline: Path) -> None:
    query = "select count(*) from range(10000000) a, range(10000000) b where a.range % 7 < b.range"
    ended = cli("sql", query, "--timeout", "1", "--out", offline / "processed")
    assert ended.code == 1
    assert ended.err.startswith("error: ") and "Traceback" not in ended.err
    assert standing(offline / "processed")


# ------------------------------------------------------------------ an operator with publishers


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """The publishers, who serve the bundled extract."""
    with Mirror.of(BUNDLED).running() as mirror:
        yield mirror


def raw_of_extract(folder: Path) -> Path:
    """A raw store that is empty and says that it holds an extract, so that its bands apply."""
    folder.mkdir(parents=True)
    shutil.copy(BUNDLED / "manifest.json", folder)
    return folder


def changed_archive(city_code: str, year: int, thousands: float) -> bytes:
    """The extract's archive with one figure of the annual city populations changed."""
    with zipfile.ZipFile(BUNDLED / WUP / ARCHIVE) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    (name,) = (name for name in members if name.endswith(CITIES_ANNUAL))
    book = openpyxl.load_workbook(io.BytesIO(members[name]))
    header, *rows = book["Data"].iter_rows(min_row=17)
    columns = {str(cell.value).removesuffix(".0"): at for at, cell in enumerate(header)}
    for row in rows:
        if str(row[columns["City Code"]].value).removesuffix(".0") == city_code:
            row[columns[str(year)]].value = thousands
            break
    stream = io.BytesIO()
    book.save(stream)
    return archive({**members, name: stream.getvalue()})


def test_a_second_refresh_transfers_nothing_and_one_changed_figure_is_published(
    flow: Any, mirror: Mirror, offline: Path, tmp_path: Path
) -> None:
    world = World(tmp_path)
    raw_of_extract(world.raw)
    world.expectations.symlink_to(EXPECTATIONS)
    assert flow(world, mirror.base_url).outcome.published
    release_id = standing(world.out)
    lock = (world.raw / "raw.lock.json").read_bytes()

    mirror.log.clear()
    second = refresh(world, mirror, offline)
    assert second.code == 0, second.err
    assert f"nothing new: release {release_id} stands" in second.out
    there = [entry for entry in mirror.log if entry[0] in mirror.files]
    assert sorted(path for path, _, _ in there) == sorted(mirror.files)
    assert {(status, size) for _, status, size in there} == {(304, 0)}
    assert [path.name for path in (world.out / "releases").iterdir()] == [release_id]
    assert (world.raw / "raw.lock.json").read_bytes() == lock

    figure = """select population from city_population
        where city_id = 'jpn-tokyo' and year = 2017 and series = 'wup2018'"""
    ((tokyo,),) = ask(world.out, figure)
    mirror.serve(WUP, {ARCHIVE: changed_archive("21671", 2017, 37_400)})
    assert flow(world, mirror.base_url).outcome.published
    assert ask(world.out, figure) == [(37_400_000,)]
    changes = (world.out / "latest" / "changes.md").read_text("utf-8")
    assert f"Tokyo 2017 wup2018 population {tokyo:,} -> 37,400,000" in changes
    assert len(list((world.out / "releases").iterdir())) == 2
    compared = cli("diff", release_id, standing(world.out), "--out", world.out)
    assert compared.code == 0 and f"{tokyo:,}" in compared.out
    kept = list((world.raw / WUP / "previous").iterdir())
    assert [path.name for path in kept] == [
        json.loads(lock)["sources"][WUP]["files"][ARCHIVE]["sha256"]
    ]


def refresh(world: World, mirror: Any, offline: Path, *more: object) -> Ended:
    return start_refresh(world, mirror, offline, *more).end()


def start_refresh(world: World, mirror: Any, offline: Path, *more: object) -> Running:
    """Start a refresh with the orchestrator's settled database: a new one takes it five seconds."""
    return start(
        *("refresh", "--mirror", mirror.base_url, "--raw", world.raw, "--out", world.out, *more),
        env={"PREFECT_HOME": str(offline / "processed" / ".prefect")},
    )


def test_two_refreshes_at_once_publish_once(mirror: Mirror, offline: Path, tmp_path: Path) -> None:
    world = World(tmp_path)
    raw_of_extract(world.raw)
    running = [start_refresh(world, mirror, offline, "--json") for _ in range(2)]
    told = [one.end() for one in running]
    assert [ended.code for ended in told] == [0, 0], told
    summaries = [json.loads(ended.out) for ended in told]
    assert sorted(summary["status"] for summary in summaries) == ["nothing new", "published"]
    assert {summary["release"] for summary in summaries} == {standing(world.out)}
    served = [path for path, status, _ in mirror.log if status == 200]
    assert sorted(served) == sorted(mirror.files), "each file was transferred once"


def test_mistakes_and_missing_sources_have_their_exit_codes(tmp_path: Path) -> None:
    world = World(tmp_path)
    folders = ["--raw", world.raw, "--out", world.out]
    ended = cli("build", *folders)
    assert ended.code == 3 and WUP in ended.err and "Traceback" not in ended.err
    ended = cli("build", *folders, "--series", "wup1999")
    assert ended.code == 2 and "wup1999" in ended.err
    ended = cli("refresh", *folders, "--source", "un_wup_1999")
    assert ended.code == 2 and "un_wup_1999" in ended.err
    assert cli("refresh", *folders, "--nonsense").code == 2
    assert cli("schedule", "--cron", "now and then", *folders).code == 2
    assert not (world.out / "latest").exists()


# ------------------------------------------------------------------ the same on every machine


def test_one_core_and_two_give_the_same_release(offline: Path, tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot pin a process to a core")
    cores = sorted(os.sched_getaffinity(0))
    sums = dict[str, list[str]]()
    for name, some in {"one": cores[:1], "two": cores[:2]}.items():

        def pin(some: list[int] = some) -> None:
            os.sched_setaffinity(0, some)

        ended = cli("build", "--raw", BUNDLED, "--out", tmp_path / name, preexec=pin)
        assert ended.code == 0, ended.err
        standing(tmp_path / name)
        sums[name] = parquet_sums(tmp_path / name)
    assert sums["one"] == sums["two"] == parquet_sums(offline / "processed")
    assert differences(tmp_path / "one", tmp_path / "two") == {}
    told = [(tmp_path / name / "latest" / "quality.json").read_bytes() for name in sums]
    assert told[0] == told[1]


def parquet_sums(out: Path) -> list[str]:
    paths = sorted((out / "latest").glob("*.parquet"))
    assert len(paths) == len(load_tables())
    return [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]


def differences(one: Path, two: Path) -> dict[str, int]:
    """Rows of each table of the two databases that the other lacks; equal tables are left out."""
    found = {}
    with duckdb.connect() as con:
        for name, out in {"one": one, "two": two}.items():
            con.execute(f"attach '{out / 'latest' / DATABASE}' as {name} (read_only)")
        tables = con.execute("select table_name from duckdb_tables() where database_name = 'one'")
        for (table,) in tables.fetchall():
            first, second = (f"from {name}.{table}" for name in ("one", "two"))
            lacking = f"({first} except all {second}) union all ({second} except all {first})"
            ((count,),) = con.execute(f"select count(*) from ({lacking})").fetchall()
            if count:
                found[table] = count
    return found


# ------------------------------------------------------------------ all of it


@pytest.mark.slow
def test_the_full_refresh_publishes_the_figures_of_the_world(
    simulator: Callable[..., Any], offline: Path, tmp_path: Path
) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "processed"
    server = simulator(log=log)
    world = World(tmp_path)
    first = refresh(world, server, offline, "--json")
    assert first.code == 0, first.err
    summary = json.loads(first.out)
    assert summary["status"] == "published" and summary["bundled_extract"] is False
    release_id = standing(out)
    assert not release_id.startswith("umi-bundled")

    def value(query: str) -> Any:
        ((found,),) = ask(out, f"select {query}")
        return found

    series = "city_population where series = 'wup2018'"
    assert value("count(*) from cities where kind = 'un_agglomeration'") == 1_860
    assert value(f"count(*) from {series}") == 159_960
    tokyo = "city_id = 'jpn-tokyo' and year = 2018"
    assert value(f"population from {series} and {tokyo}") == 37_468_302
    assert abs(value(f"sum(population) from {series} and year = 2018") - 2_469_358_215) <= 1_000
    urban = "country_urbanization where year = 2018 and series = 'wup2018'"
    assert abs(value(f"sum(urban_population) from {urban}") - 4_219_817_318) <= 1_000
    stocks = "country_migration where year = 2024"
    assert value(f"sum(migrant_stock) from {stocks}") == 304_021_813
    mexicans = """migrant_stock_origins
        where origin_iso3 = 'MEX' and destination_iso3 = 'USA' and year = 2024"""
    by_sex = dict(ask(out, f"select sex, migrants from {mexicans}"))
    assert by_sex["both"] == 11_279_561 == by_sex["female"] + by_sex["male"]
    assert by_sex.keys() == {"both", "female", "male"}
    sums = """with origins as (
            select destination_iso3 as country_iso3, year, sum(migrants) as migrants
            from migrant_stock_origins where sex = 'both' group by all
        )
        select count(*), count(*) filter (origins.migrants = migrant_stock)
        from country_migration full join origins using (country_iso3, year)
        where migrant_stock_status = 'reported' and migrant_stock is not null
            or origins.migrants is not null"""
    ((destinations, equal),) = ask(out, sums)
    assert destinations == equal > 1_800
    assert value("sum(refugees) from displacement_origins where year = 2024") == 30_958_200
    ((rank, population),) = ask(
        out, f"select rank_in_country, population from city_indicators where {tokyo}"
    )
    assert (rank, population) == (1, 37_468_302)
    accounts = """count(*) from sources where rows_read <> rows_published + rows_quarantined
        + rows_unmatched + rows_ignored"""
    assert value(accounts) == 0

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text().splitlines()]

    asked = len(lines())
    second = refresh(world, server, offline, "--json")
    assert second.code == 0, second.err
    again = lines()[asked:]
    bodies = {(line["path"], line["query"]) for line in lines()[:asked] if line["status"] == 200}
    unchanged = [(line["path"], line["query"]) for line in again if line["status"] == 304]
    assert sorted(unchanged) == sorted(bodies), "each file is asked for once, and none is sent"
    assert {line["status"] for line in again} <= {304, 404}, "the mirror lacks some sources"
    summary = json.loads(second.out)
    assert (summary["status"], summary["release"]) == ("nothing new", release_id)
    assert [path.name for path in (out / "releases").iterdir()] == [release_id]
    unfamiliar = {line["user_agent"].partition("/")[0] for line in again}
    assert unfamiliar == {"urban-migration-indicators"}
