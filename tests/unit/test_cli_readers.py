"""The readers' commands, on small releases written by hand."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from urban_migration import catalogue, cli, render

CITIES = """
    SELECT * FROM (VALUES
        ('jpn-tokyo', 2018, 37468302, 2.0::DOUBLE, 'Tōkyō'),
        ('pol-lodz', 2018, 700123, 1.9371::DOUBLE, 'Łódź'),
        ('prt-lisbon', 2018, 2927316, NULL, E'Lis\\x1b[31mboa')
    ) AS t(city_id, year, population, country_migrant_pct, local_name)
"""
SOURCES = """
    SELECT * FROM (VALUES
        ('un_wup_2018', 'World Urbanization Prospects: The 2018 Revision', 'United Nations, DESA',
         'CC BY 3.0 IGO', 'https://creativecommons.org/licenses/by/3.0/igo/', '2018 Revision',
         '2026-11-01T00:00:00Z', [{url: 'https://population.un.org/x', sha256: 'ab', bytes: 9}],
         160000, 159960, 0, 0, 40, true),
        ('unhcr_population', 'Refugee Data Finder', 'UNHCR', 'CC BY 4.0', NULL, '2025-06',
         '2026-10-01T00:00:00Z', [], 70000, 69998, 2, 0, 0, false),
        ('idmc_gidd', 'Global Internal Displacement Database', 'IDMC', 'CC BY 4.0', NULL, '2025',
         NULL, [], 0, 0, 0, 0, 0, false)
    ) AS t(source_id, title, publisher, licence, licence_url, edition, first_seen, files,
           rows_read, rows_published, rows_quarantined, rows_unmatched, rows_ignored, required)
"""
FIELDS: list[dict[str, Any]] = [
    {"name": "city_id", "type": "string", "description": "Id of the city."},
    {"name": "year", "type": "integer", "description": "Calendar year.", "unit": "calendar year"},
    {
        "name": "population",
        "type": "integer",
        "description": "People on 1 July, as the publisher's edition has it; a projection after "
        "the edition's base year, an estimate before it, and never carried from another edition.",
        "unit": "persons",
    },
    {
        "name": "country_migrant_pct",
        "type": "number",
        "description": "Migrants in the country's population.",
        "unit": "per cent",
    },
    {"name": "local_name", "type": "string", "description": "Name in the country's language."},
]


def write_release(out: Path, *, extract: bool = False, change: str = "") -> Path:
    """A release of two tables in ``out``; ``change`` is SQL that runs on its database."""
    marked = "bundled-" if extract else ""
    name = f"umi-{marked}{hashlib.sha256(change.encode()).hexdigest()[:12]}"
    folder = out / "releases" / name
    folder.mkdir(parents=True)
    resources = []
    with duckdb.connect() as connection:
        connection.execute(
            f"ATTACH '{folder}/urban_migration.duckdb' AS r (STORAGE_VERSION 'v1.4.0')"
        )
        connection.execute("USE r")
        for table, body in {"city_indicators": CITIES, "sources": SOURCES}.items():
            connection.execute(f"CREATE TABLE {table} AS {body}")
            if change and table == "city_indicators":
                connection.execute(change)
            path = folder / f"{table}.parquet"
            connection.execute(f"COPY {table} TO '{path}' (FORMAT parquet)")
            resources.append(
                {
                    "name": table,
                    "path": path.name,
                    "title": f"Title of {table}",
                    "description": "One row per city and year, with everything known about it.",
                    "rows": 3,
                    "bytes": path.stat().st_size,
                    "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
                    "sources": [
                        {
                            "title": "World Urbanization Prospects",
                            "path": "https://population.un.org/wup/",
                            "source_id": "un_wup_2018",
                            "edition": "2018 Revision",
                        }
                    ],
                    "licenses": [{"name": "CC-BY-3.0-IGO", "title": "CC BY 3.0 IGO"}],
                    "schema": {
                        "fields": FIELDS,
                        "primaryKey": ["city_id", "year"],
                        "foreignKeys": [
                            {
                                "fields": ["local_name"],
                                "reference": {"resource": "cities", "fields": ["name"]},
                            }
                        ],
                    },
                }
            )
        connection.execute("USE memory")
        connection.execute("DETACH r")
    descriptor = {
        "name": "urban-migration-indicators",
        "version": name,
        "extract": extract,
        "series": "wup2018",
        "created": "2026-11-01T00:00:00Z",
        "resources": resources,
    }
    (folder / "datapackage.json").write_text(json.dumps(descriptor))
    sums = "".join(f"{'0' * 64}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / "SHA256SUMS").write_text(sums)
    (out / "latest").unlink(missing_ok=True)
    (out / "latest").symlink_to(f"releases/{name}")
    status = {
        "un_wup_2018": {
            "last_checked": "2026-11-20T06:00:00Z",
            "last_changed": "2026-11-01T06:00:00Z",
            "last_failed": "2026-10-01T06:00:00Z",
            "error": None,
        },
        "unhcr_population": {
            "last_checked": "2026-11-01T06:00:00Z",
            "last_changed": "2026-10-01T06:00:00Z",
            "last_failed": "2026-11-20T06:00:00Z",
            "error": "api.unhcr.org answered 503 five times",
        },
    }
    (out / "status.json").write_text(
        json.dumps({"version": 1, "release": name, "inputs": None, "sources": status})
    )
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    write_release(folder)
    return folder


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled")
    write_release(folder, extract=True)
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def answer(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "urban_migration.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, **options)


def terminal(*arguments: object, columns: int = 80) -> tuple[int, str]:
    """Run a command on a pseudo-terminal; its exit code and all that it shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "urban_migration.cli", *map(str, arguments)],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    ) as running:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # the other end closed: Linux says EIO
        os.close(ours)
    return running.returncode, shown.decode().replace("\r\n", "\n")


def visible(shown: str) -> list[str]:
    """The lines without colours."""
    from rich.text import Text

    return Text.from_ansi(shown).plain.splitlines()


# ---- sql -------------------------------------------------------------------------------------

TOKYO = "select city_id, year, population from city_indicators where city_id = 'jpn-tokyo'"


def test_sql_in_a_pipe_is_plain_and_exact(out: Path) -> None:
    assert answer("sql", TOKYO, "--out", out) == (
        "city_id    year  population\njpn-tokyo  2018    37468302\n"
    )
    spelt = answer(
        "sql", "select local_name, country_migrant_pct from city_indicators", "--out", out
    )
    assert "Łódź" in spelt and "1.9371" in spelt and "–" in spelt
    assert "\x1b" not in spelt and "Lis\\x1b[31mboa" in spelt


def test_sql_on_a_terminal_groups_digits_but_not_of_years(out: Path) -> None:
    code, shown = terminal("sql", TOKYO, "--out", out)
    lines = visible(shown)
    assert code == 0
    assert lines[0].split() == ["city_id", "year", "population"]
    assert lines[2].split() == ["jpn-tokyo", "2018", "37,468,302"]
    assert lines[0].index("population") + len("population") == len(lines[2].rstrip())


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_wide_result_fits_the_terminal_and_loses_nothing(out: Path, columns: int) -> None:
    query = "select i.*, i.* from city_indicators i, range(2) order by 1"
    code, shown = terminal("sql", query, "--out", out, columns=columns)
    lines = visible(shown)
    assert code == 0
    assert max(map(len, lines)) <= columns
    everything = "".join("".join(lines).split())
    assert everything.count("37,468,302") == 4 and everything.count("ó") >= 4
    assert "\x1b[31m" not in shown


def test_a_terminal_gets_the_first_rows_and_is_told(out: Path) -> None:
    _, shown = terminal("sql", "from range(1000)", "--out", out)
    assert "the first 200 rows" in shown and len(visible(shown)) < 210
    assert len(answer("sql", "from range(1000)", "--out", out).splitlines()) == 1001
    result = invoke("sql", "from range(1000)", "--max-rows", 10, "--out", out)
    assert len(result.stdout.splitlines()) == 11 and "the first 10 rows" in result.stderr


def test_csv_and_json_hold_what_the_table_holds(out: Path) -> None:
    query = "from city_indicators order by city_id"
    rows = list(csv.DictReader(io.StringIO(answer("sql", query, "--format", "csv", "--out", out))))
    objects = json.loads(answer("sql", query, "--json", "--out", out))
    assert [row["city_id"] for row in rows] == ["jpn-tokyo", "pol-lodz", "prt-lisbon"]
    assert rows[2]["country_migrant_pct"] == "" and objects[2]["country_migrant_pct"] is None
    assert objects[0]["population"] == int(rows[0]["population"]) == 37_468_302
    assert objects[1]["local_name"] == rows[1]["local_name"] == "Łódź"


def test_json_knows_no_nan_and_keeps_whole_numbers_whole(out: Path) -> None:
    query = """select 'nan'::double a, 'inf'::double b, sum(population) c, 1.5 d, [1, NULL] e,
               {'x': 'nan'::double} f, date '2024-02-29' g, true h, timestamp '2024-02-29 10:00' i,
               'e'::blob j, interval 1 day k, NULL l, map{1: 2} m from city_indicators"""
    (row,) = json.loads(
        answer("sql", query, "--json", "--out", out),
        parse_constant=lambda text: pytest.fail(f"{text} in JSON"),
    )
    assert (row["a"], row["b"], row["c"], row["d"]) == (None, None, 41_095_741, 1.5)
    assert row["e"] == [1, None] and row["f"] == {"x": None} and row["g"] == "2024-02-29"
    assert row["h"] is True and row["i"] == "2024-02-29T10:00:00"
    assert "41095741" in answer("sql", query, "--format", "csv", "--out", out)
    assert json.loads(answer("sql", "from range(0)", "--json", "--out", out)) == []


def test_parquet_goes_to_a_file_or_a_pipe_but_not_to_a_terminal(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "cities.parquet"
    answer("sql", "from city_indicators", "--to", target, "--out", out)
    count = "select count(*), max(population) from read_parquet"
    assert duckdb.sql(f"{count}('{target}')").fetchall() == [(3, 37_468_302)]
    piped = process("sql", "from city_indicators", "--format", "parquet", "--out", out)
    assert piped.returncode == 0 and piped.stdout[:4] == piped.stdout[-4:] == b"PAR1"
    code, shown = terminal("sql", "from city_indicators", "--format", "parquet", "--out", out)
    assert code == 2 and "--to FILE" in shown and "PAR1" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["cities.parquet"]


def test_to_is_written_whole_or_not_at_all(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    target.write_text("before")
    assert invoke("sql", "selec", "--to", target, "--out", out).exit_code == 1
    assert target.read_text() == "before"
    assert invoke("sql", "select 1", "--to", tmp_path / "no" / "x.csv", "--out", out).exit_code == 2
    assert invoke("sql", "select 1", "--to", tmp_path / "x.txt", "--out", out).exit_code == 2
    interval = invoke("sql", "select interval 1 day", "--to", tmp_path / "x.parquet", "--out", out)
    assert interval.exit_code == 1 and "cast it to VARCHAR" in interval.stderr
    answer("sql", "select 1 as a", "--to", target, "--out", out)
    assert target.read_text() == "a\n1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_sql_from_standard_input(out: Path) -> None:
    asked = process("sql", "-", "--json", "--out", out, input=b"select 'L\xc3\xb3d\xc5\xba' as a")
    assert json.loads(asked.stdout) == [{"a": "Lódź"}]


def test_a_refused_or_runaway_query_ends_in_one_message(out: Path) -> None:
    refused = process("sql", "copy city_indicators to 'x.csv'", "--out", out)
    assert refused.returncode == 1 and refused.stdout == b""
    assert refused.stderr.startswith(b"error: COPY is refused")
    for query in (
        "select count(*) from range(1000000) a, range(1000000) b where hash(a.range, b.range) = 7",
        "select max(levenshtein(repeat('ab', 100000), repeat('ba', 100000)))",
    ):
        stopped = process("sql", query, "--timeout", "0.2", "--out", out)
        assert stopped.returncode == 1
        assert stopped.stderr.startswith(b"error: stopped after 0.2 seconds.")
        assert stopped.stderr.count(b"\n") == 1


# ---- tables, describe, sources -----------------------------------------------------------------


def test_tables_lists_what_there_is(out: Path) -> None:
    lines = answer("tables", "--out", out).splitlines()
    assert lines[0].startswith("release umi-") and "bundled" not in lines[0]
    assert lines[2].split() == ["table", "rows", "columns", "size", "what", "it", "is"]
    assert "Title of city_indicators" in lines[3]
    listed = json.loads(answer("tables", "--json", "--out", out))
    assert [table["name"] for table in listed["tables"]] == ["city_indicators", "sources"]
    assert listed["tables"][0]["columns"] == 5 and listed["extract"] is False


@pytest.mark.parametrize(
    "arguments", [("tables",), ("describe", "city_indicators"), ("sources",), ("sql", TOKYO)]
)
def test_whatever_is_shown_fits_eighty_columns(bundled: Path, arguments: tuple[str, ...]) -> None:
    code, shown = terminal(*arguments, "--out", bundled)
    assert code == 0
    assert max(map(len, visible(shown))) <= 80, shown


def test_describe_tells_units_key_sources_and_licence(out: Path) -> None:
    for text in (
        answer("describe", "city_indicators", "--out", out),
        " ".join(
            " ".join(visible(terminal("describe", "city_indicators", "--out", out)[1])).split()
        ),
    ):
        for wanted in (
            "city_id, year",
            "persons",
            "per cent",
            "never carried from another edition.",
            "2018 Revision",
            "CC BY 3.0 IGO",
            "cities.name",
        ):
            assert wanted in text
    table = json.loads(answer("describe", "city_indicators", "--json", "--out", out))["table"]
    assert table["schema"]["fields"][2]["unit"] == "persons"


def test_sources_tell_how_fresh_each_is(out: Path) -> None:
    listed = json.loads(answer("sources", "--json", "--out", out))["sources"]
    by_id = {source["source_id"]: source for source in listed}
    assert listed[0]["source_id"] == "un_wup_2018"  # required ones first
    assert [by_id[name]["stale"] for name in sorted(by_id)] == [False, False, True]
    assert by_id["un_wup_2018"]["files"][0]["sha256"] == "ab"
    text = answer("sources", "--out", out)
    assert "unhcr_population  optional, STALE" in text
    assert "api.unhcr.org answered 503 five times" in text
    assert "idmc_gidd  optional, NEVER HAD" in text
    assert text.count("STALE") == 1
    assert "159,960" in text and "https://creativecommons.org/licenses/by/3.0/igo/" in text


def test_a_folder_that_stands_alone_can_be_read(out: Path, tmp_path: Path) -> None:
    alone = tmp_path / "copy"
    alone.mkdir()
    for path in (out / "latest").iterdir():
        (alone / path.name).write_bytes(path.read_bytes())
    assert "37468302" in answer("sql", TOKYO, "--release", alone)
    listed = json.loads(answer("sources", "--json", "--release", alone))["sources"]
    assert not any(source["stale"] or source["last_checked"] for source in listed)


def test_an_extract_says_so_wherever_one_looks(bundled: Path) -> None:
    for arguments in (("tables",), ("describe", "city_indicators"), ("sources",), ("sql", TOKYO)):
        assert "bundled extract" in invoke(*arguments, "--out", bundled).output
    for arguments in (("tables",), ("describe", "city_indicators"), ("sources",)):
        assert json.loads(answer(*arguments, "--json", "--out", bundled))["extract"] is True
    assert "bundled" not in answer("sql", TOKYO, "--json", "--out", bundled)


# ---- names, errors, pipes --------------------------------------------------------------------


def test_unknown_names_are_usage_and_near_ones_are_offered(out: Path) -> None:
    known = (out / "latest").resolve().name
    for arguments, hint in (
        (("describe", "city_indicator", "--out", out), "Did you mean city_indicators?"),
        (("tables", "--release", known[:-1] + "x", "--out", out), f"Did you mean {known}?"),
        (("tabels",), "Did you mean 'tables'?"),
        (("sql", "select 1", "--fromat", "csv"), "--format"),
        (("sql", "select 1", "--json", "--format", "csv"), "choose one"),
        (("sql", "select 1", "--timeout", "0"), "timeout"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert hint in result.stderr and "Traceback" not in result.output


def test_no_release_yet_says_how_to_make_one(tmp_path: Path) -> None:
    result = invoke("tables", "--out", tmp_path)
    assert result.exit_code == 1 and "no release yet" in result.stderr


def test_a_damaged_descriptor_is_named(out: Path, tmp_path: Path) -> None:
    folder = write_release(tmp_path)
    (folder / "datapackage.json").write_text("{")
    result = invoke("tables", "--out", tmp_path)
    assert result.exit_code == 1 and "datapackage.json" in result.stderr


def test_a_closed_pipe_ends_quietly(out: Path) -> None:
    command = f'"{sys.executable}" -m urban_migration.cli sql "from range(300000)" --out "{out}"'
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 2"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout, piped.stderr) == (
        0,
        b" range\n     0\n",
        b"",
    )


def test_a_poor_encoding_spells_names_instead_of_failing(out: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    asked = process("sql", "select local_name from city_indicators", "--out", out, env=environment)
    assert asked.returncode == 0 and b"\\u0141\\xf3d\\u017a" in asked.stdout


def test_diff_compares_two_releases(tmp_path: Path) -> None:
    old = write_release(tmp_path)
    new = write_release(
        tmp_path,
        change="UPDATE city_indicators SET population = 9 WHERE city_id = 'jpn-tokyo'",
    )
    text = answer("diff", old.name, new.name, "--out", tmp_path)
    assert old.name in text and new.name in text
    assert isinstance(json.loads(answer("diff", old, "latest", "--json", "--out", tmp_path)), dict)
    assert invoke("diff", old.name, "umi-none", "--out", tmp_path).exit_code == 2


# ---- starting up -------------------------------------------------------------------------------


def test_help_is_one_clear_line_per_command() -> None:
    text = answer("--help")
    for line in ("sql ", "tables ", "describe ", "sources ", "city ", "claims ", "diff "):
        assert f"\n  {line}" in text
    assert "..." not in text.partition(cli.READING)[2]
    assert 'sql "from cities' in answer("sql", "--help")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (
            ["--help"],
            "pandas pyarrow duckdb numpy great_expectations prefect requests rich.console",
        ),
        (["tables"], "pandas pyarrow duckdb numpy great_expectations prefect requests"),
        (["sql", "select 1"], "pandas great_expectations prefect requests"),
    ],
)
def test_a_command_imports_only_what_it_needs(
    out: Path, arguments: list[str], unwanted: str
) -> None:
    if arguments != ["--help"]:
        arguments = [*arguments, "--out", str(out)]
    code = (
        "import sys\nfrom urban_migration import cli\n"
        f"sys.argv = ['urban-migration', *{arguments!r}]\n"
        "try: cli.app()\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"print(sorted(set(sys.modules) & set({unwanted!r}.split())), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines()[-1] == "[]"


def test_an_error_that_nobody_caught_is_no_success() -> None:
    code = (
        "from urban_migration import cli\ndef app(): raise RuntimeError('a mistake of ours')\n"
        "cli.app = app\ncli.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert ran.returncode == 1 and "a mistake of ours" in ran.stderr


def test_the_project_folder_is_the_checkout() -> None:
    assert catalogue.project_root() == Path(__file__).resolve().parents[2]


# ---- render ----------------------------------------------------------------------------------


def test_figures_of_a_column_share_their_decimals() -> None:
    column = render._screen_column("pct", "DOUBLE", [12.5, 1.0, None, 1234.56789, float("nan")])
    assert column == ["12.5000", "1.0000", "–", "1,234.5679", "nan"]
    assert render._screen_column("country_m49", "INTEGER", [1234567]) == ["1234567"]
    assert render._screen_column("x", "DOUBLE", [0.00001234, 0.5]) == ["1.234e-05", "0.5"]


def test_a_table_of_wide_letters_stays_aligned() -> None:
    lines = list(render.aligned(["name", "n"], [["東京", "1"], ["Rome", "22"]], {1}))
    assert lines == ["name   n", "東京   1", "Rome  22"]


def test_markup_in_the_data_is_text() -> None:
    screen = Console(file=io.StringIO(), width=40)
    render.grid(["[bold]h[/bold]"], [["[red]x[/red]"]], screen=screen)
    assert "[red]x[/red]" in screen.file.getvalue()  # type: ignore[attr-defined]
