"""The site in a browser: found, read, compared, downloaded, asked, honest about what is broken.

Walks are taken by site/tests/walk.mjs with Debian's Chromium, all hosts but the site's own blocked.
They run where Node, the built front end and Chromium are; `make test` needs none of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import small_release

from urban_migration import build as steps
from urban_migration import release as releases
from urban_migration.raw import RawStore
from urban_migration.site import build_site, server

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "data" / "raw" / "bundled"
FRONT_END = ROOT / "site"
CHROMIUM = "/usr/bin/chromium"

Walk = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def walk() -> Walk:
    """Take walks through a site: ``walk(folder, "find", ranges=True)``; the report."""
    missing = [
        what
        for what, there in (
            ("Node (node)", shutil.which("node")),
            ("the npm packages (cd site && npm ci)", FRONT_END / "node_modules/playwright-core"),
            ("the built front end (make site)", FRONT_END / "dist/manifest.json"),
            ("Chromium (apt-get install chromium)", CHROMIUM),
        )
        if there is None or not Path(there).exists()
    ]
    if missing:
        reason = f"browser tests need {', '.join(missing)}"
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)

    def take(folder: Path, *walks: str, ranges: bool = True, shots: Path | None = None) -> Any:
        with serving(folder, ranges) as address:
            command = ["node", "tests/walk.mjs", ",".join(walks), address]
            done = subprocess.run(
                [*command, *([str(shots)] if shots else [])],
                cwd=FRONT_END,
                capture_output=True,
                text=True,
                timeout=300,
            )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert report["hosts"] == [], "a page asked another host"
        return report

    return take


@contextmanager
def serving(folder: Path, ranges: bool) -> Iterator[str]:
    """The site at an address of this machine, on a host with or without range requests."""
    kind = type("Handler", (server.Handler,), {"ranges": ranges})
    with ThreadingHTTPServer((server.HOST, 0), partial(kind, directory=str(folder))) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://{server.HOST}:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="module")
def site(walk: Walk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a release that is made from the bundled extract."""
    folder = tmp_path_factory.mktemp("site")
    outcome = steps.build(RawStore(BUNDLED), folder / "out", ROOT / "expectations")
    assert outcome is not None
    release = releases.latest(folder / "out")
    assert release is not None
    build_site(release, folder / "site")
    return folder / "site"


@pytest.fixture
def copy(site: Path, tmp_path: Path) -> Path:
    """A copy of the site to damage."""
    return Path(shutil.copytree(site, tmp_path / "copy"))


def cities(folder: Path) -> list[str]:
    """What a query that counts the cities answers."""
    return [str(len(json.loads((folder / "data" / "cities.json").read_bytes())["rows"]))]


def serious(report: dict[str, Any]) -> dict[str, list[str]]:
    return {page: found for page, found in report["axe"].items() if found}


# ---- the way of an analyst


@pytest.fixture(scope="module")
def found(walk: Walk, site: Path) -> dict[str, Any]:
    return walk(site, "find", "transfers")


def test_munchen_finds_munich_and_its_profile(found: dict[str, Any]) -> None:
    seen = found["seen"]
    assert seen["options"][0].startswith("Munich")
    assert seen["profile"].endswith("city.html?id=deu-munich")
    assert seen["title"].startswith("Munich")
    assert seen["compared"].endswith("MunichVienna")


def test_every_chart_names_its_source_and_licence(found: dict[str, Any]) -> None:
    sources = dict(found["seen"]["sources"])
    assert {"population", "growth", "origins", "migrants", "displacement"} <= sources.keys()
    for chart, line in sources.items():
        assert line.startswith("Source: "), chart
        assert "not named" not in line, chart
    assert "World Urbanization Prospects" in sources["population"]
    assert "CC BY 3.0 IGO" in sources["population"]


def test_the_downloaded_rows_are_the_releases(found: dict[str, Any]) -> None:
    csv = found["seen"]["csv"]
    assert csv["columns"][-3:] == ["sources", "licence", "release"]
    assert csv["rows"] == 2 * 86  # two cities, 1950 to 2035
    row = dict(zip(csv["columns"], csv["munich2018"], strict=True))
    assert row["population"] == "1503708"
    assert row["population_status"] == "estimate"
    assert row["sources"] == "un_wup_2018"


def test_the_sql_of_a_chart_gives_its_rows(found: dict[str, Any]) -> None:
    assert found["seen"]["chartSql"]["columns"][:4] == [
        "city_id",
        "city_name",
        "year",
        "population",
    ]
    assert found["seen"]["chartSql"]["status"].startswith("172 rows")


def test_nothing_is_wrong_on_the_way(found: dict[str, Any]) -> None:
    assert found["console"] == []
    assert serious(found) == {}


def test_a_first_view_of_a_profile_is_small(found: dict[str, Any]) -> None:
    profile = found["transfers"]["profile"]
    assert profile["page"] <= 400_000
    assert profile["data"] <= 600_000
    for name, sums in found["transfers"].items():
        assert sums["page"] <= 400_000, name


# ---- SQL


def test_sql_runs_in_the_browser_and_reaches_nothing_else(walk: Walk, site: Path) -> None:
    report = walk(site, "sql")
    seen = report["seen"]
    assert len(seen["examples"]) >= 4
    for example in seen["examples"]:
        assert "problem" not in example, example
    assert seen["sorted"] == "descending"
    assert seen["csv"] > 0
    for query, answer in seen["refused"].items():
        assert "problem" in answer, f"{query} was answered: {answer}"
    # Markup in a result is text.
    assert seen["markup"]["first"][0] == "<img src=x onerror=alert(1)>"
    assert seen["images"] == 0
    # A query that would take hours is stopped, and the next one is answered.
    assert seen["afterStop"]["first"] == ["42"]
    assert seen["stopSeconds"] < 60
    assert serious(report) == {}


# ---- downloads, looks, no script


def test_a_checksum_can_be_verified(walk: Walk, site: Path) -> None:
    report = walk(site, "downloads")
    checksum = report["seen"]["checksum"]
    assert checksum["said"] == checksum["found"]
    assert report["seen"]["checked"] == "The file on this server has this checksum"
    assert any("read_parquet" in code for code in report["seen"]["code"])
    assert report["console"] == []
    assert serious(report) == {}


def test_it_fits_a_phone_and_the_dark(walk: Walk, site: Path) -> None:
    report = walk(site, "looks")
    assert report["seen"].get("wider", []) == []
    assert serious(report) == {}
    assert report["console"] == []


def test_the_essentials_stand_without_a_script(walk: Walk, site: Path) -> None:
    seen = walk(site, "plain")["seen"]
    assert "Tokyo" in seen["index"]["text"]
    assert "needs JavaScript" in seen["city"]["text"]
    assert any(link.endswith("/cities.parquet") for link in seen["downloads"]["links"])
    assert "population_growth_pct" in seen["dictionary"]["text"]
    assert "checks were made" in seen["quality"]["text"]
    assert len({page["title"] for page in seen.values()}) == len(seen)


# ---- bad input


def test_an_unknown_city_is_said(walk: Walk, site: Path) -> None:
    seen = walk(site, "lost")["seen"]
    assert "no city “deu-atlantis”" in seen["unknown"][0]
    assert "no city “zzz-nowhere”" in seen["nowhere"][0]
    assert "no city “<script>”" in seen["nonsense"][0]
    assert "No city is named" in seen["none"][0]
    assert seen["search"] == 1


def test_a_truncated_table_costs_what_depends_on_it(walk: Walk, copy: Path) -> None:
    (table,) = copy.glob("releases/*/city_indicators.parquet")
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    seen = walk(copy, "says")["seen"]
    assert (
        "city_indicators.parquet is not the file that was published"
        in seen["profile"]["problems"][0]
    )
    assert "origins" in seen["profile"]["figures"]
    assert "Munich" in seen["profile"]["headings"][0]
    assert seen["home"]["problems"] == []
    assert seen["asked"]["first"] == cities(copy)


def test_a_damaged_table_costs_what_depends_on_it(walk: Walk, copy: Path) -> None:
    (table,) = copy.glob("releases/*/city_indicators.parquet")
    table.write_bytes(b"\x00" * table.stat().st_size)
    seen = walk(copy, "says")["seen"]
    assert "city_indicators.parquet cannot be read" in seen["profile"]["problems"][0]
    assert "origins" in seen["profile"]["figures"]


def test_a_database_that_is_missing_costs_sql_only(walk: Walk, copy: Path) -> None:
    (database,) = copy.glob("releases/*/urban_migration.duckdb")
    database.unlink()
    seen = walk(copy, "says")["seen"]
    assert "urban_migration.duckdb could not be opened" in seen["sql"]["problems"][0]
    assert "population" in seen["profile"]["figures"]


def test_a_host_without_range_requests_serves_it_too(walk: Walk, site: Path) -> None:
    report = walk(site, "says", ranges=False)
    seen = report["seen"]
    assert "sends whole files" in seen["profile"]["problems"][0]
    assert "population" in seen["profile"]["figures"]
    assert seen["profile"]["plots"] >= 5
    assert seen["asked"]["first"] == cities(site)


def test_a_release_without_most_tables_is_shown_as_far_as_it_goes(
    walk: Walk, tmp_path: Path
) -> None:
    published = small_release.run(tmp_path / "out")
    release = tmp_path / "out" / "releases" / published.release_id
    build_site(release, tmp_path / "site")
    report = walk(tmp_path / "site", "says")
    seen = report["seen"]
    assert "no table of cities" in seen["home"]["text"]
    assert "no city “deu-munich”" in seen["profile"]["problems"][0]
    assert seen["asked"]["first"] == ["4"]
    assert "no table of claims" in (tmp_path / "site" / "quality.html").read_text("utf-8")
