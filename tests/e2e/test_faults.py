"""Bad input and faults, through the whole product.

After each: the message says what is wrong and where, the exit code is the one that is promised,
the release that stood still stands and opens, and the next run succeeds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from publishers import (
    CITIES,
    CITIES_ANNUAL,
    LOCATIONS,
    M49,
    ORIGINS,
    PAGE,
    STOCKS,
    TOTALS,
    URBAN_ANNUAL,
    WPP,
    Edition,
    Rows,
    Spoil,
    delete_column,
    files_of,
    put,
    unhcr_pages,
    wup_archive,
)
from runs import Fault, Mirror, World, ask, standing, tiny_world

from urban_migration import build, release
from urban_migration.errors import CheckError, MissingSourceError, ProductError, ReadError
from urban_migration.raw import RawStore

WUP, IMS, UNHCR = "un_wup_2018", "un_migrant_stock_2024", "unhcr_population"
ARCHIVE = "WUP2018-Excel-files.zip"
DATA, TABLE = "Data", "Table 1"
TOKYO_2017 = {"population": {(21671, 2017): 37_000_000}}
"""A figure that is changed in every good edition that comes after a fault."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["duckdb", "great_expectations", "publishers", "pyarrow.parquet", "urban_migration.build"]
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny edition and the release made from it; not to be changed."""
    world = tiny_world(tmp_path_factory.mktemp("tiny"))
    assert world.build().published
    return world


@pytest.fixture
def world(published: World, tmp_path: Path) -> World:
    """A copy to spoil."""
    return published.copy(tmp_path / "world")


@pytest.fixture(scope="module")
def victim(published: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A copy whose files are spoilt one after the other, and mended after each."""
    return published.copy(tmp_path_factory.mktemp("victim"))


@contextmanager
def spoilt(world: World, source_id: str, files: Mapping[str, bytes]) -> Iterator[None]:
    """A source's files are these; within, the release stands, and afterwards they are mended."""
    before = standing(world.out)
    world.receive(source_id, files)
    yield
    assert standing(world.out) == before
    assert not (world.out / ".incoming").exists()
    world.receive_tiny()


def publishes_what_came(world: World, before: str) -> None:
    """The release still stands, and the next run publishes the good edition that waits."""
    assert standing(world.out) == before
    assert not (world.out / ".incoming").exists()
    assert world.build().published
    assert standing(world.out) != before
    query = "select population from city_population where city_id = 'jpn-tokyo' and year = 2017"
    assert ask(world.out, query) == [(37_000_000,)]


# ------------------------------------------------------------------ files that are not as expected


def rename_sheet(book: dict[str, Rows]) -> None:
    book["Figures"] = book.pop(DATA)


def without_year(year: int) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        rows[:] = [row for row in rows if row[WPP_TIME] != year]

    return spoil


WPP_TIME = 12
"""Column ``Time`` of the demographic indicators."""


def pages_without_year(pages: list[dict[str, Any]]) -> None:
    pages[0]["items"] = [item for item in pages[0]["items"] if item["year"] != 1980]


UNREADABLE: dict[str, tuple[str, Spoil, str]] = {
    "a renamed sheet": (
        WUP,
        {CITIES_ANNUAL: rename_sheet},
        f"{CITIES_ANNUAL}, sheet 'Data': the workbook has no sheet of this name; "
        "it has 'NOTES', 'Figures'",
    ),
    "a missing column": (
        WUP,
        {CITIES_ANNUAL: lambda book: delete_column(book[DATA], "K")},
        f"{CITIES_ANNUAL}, sheet 'Data', row 17, column '1952': the header row has no such column",
    ),
    "a new column": (
        WUP,
        {CITIES_ANNUAL: lambda book: put(book[DATA], "CQ17", "2036")},
        f"{CITIES_ANNUAL}, sheet 'Data', row 17, column '2036': unknown column",
    ),
    "a moved header row": (
        IMS,
        {STOCKS: lambda book: book[TABLE].insert(0, [])},
        f"{STOCKS}, sheet 'Table 1', row 12: the column headers stand in this row, not in row 11",
    ),
    "text in a number cell": (
        WUP,
        {CITIES_ANNUAL: lambda book: put(book[DATA], "L19", "n.a.")},
        f"{CITIES_ANNUAL}, sheet 'Data', row 19, column '1953': "
        "the text 'n.a.' stands where a number is expected (cell L19)",
    ),
    "text in a CSV file": (
        "un_wpp_2024",
        {WPP: lambda rows: put(rows, "O6", "..")},
        f"{WPP}, row 6, column 'TPopulation1July': the text '..' stands where a number",
    ),
    "a missing column of a CSV file": (
        "un_m49",
        {M49: lambda rows: delete_column(rows, "J")},
        f"{M49}, row 1, column 'M49 Code': the header row has no such column",
    ),
    "a new member of JSON": (
        UNHCR,
        {PAGE: lambda pages: pages[0]["items"][3].update(fun=1)},
        "population-1.json, row 4, column 'fun': unknown member",
    ),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_file_that_is_not_as_expected(victim: World, fault: str) -> None:
    source_id, spoil, says = UNREADABLE[fault]
    with (
        spoilt(victim, source_id, files_of(Edition(), spoil)[source_id]),
        pytest.raises(ReadError, match=re.escape(says)) as caught,
    ):
        victim.build()
    assert caught.value.exit_code == 1


BLOCKED: dict[str, tuple[str, Spoil, list[str]]] = {
    "a city twice": (
        WUP,
        {CITIES_ANNUAL: lambda book: book[DATA].append(list(book[DATA][-1]))},
        ["city_code never repeats", f"{CITIES_ANNUAL}, sheet 'Data', row 26, column 'city_code'"],
    ),
    "a country twice": (
        "un_m49",
        {M49: lambda rows: rows.append(list(rows[2]))},
        [f"{M49}, row 3, column 'm49'", f"{M49}, row 12, column 'm49'"],
    ),
    "a country's year twice": (
        "un_wpp_2024",
        {WPP: lambda rows: rows.append(list(rows[150]))},
        [f"{WPP}, row 151: location_code 392, year 1998", f"{WPP}, row 709: location_code 392"],
    ),
    "a pair twice": (
        IMS,
        {ORIGINS: lambda book: book[TABLE].append(list(book[TABLE][-1]))},
        [
            f"{ORIGINS}, sheet 'Table 1', row 36, column '1990': location_code 840, "
            "origin_code 2003, year 1990",
            "a destination's origins add up to its total",
        ],
    ),
    "a missing year in the middle": (
        "un_wpp_2024",
        {WPP: without_year(1999)},
        [f"{WPP}, row 150: location_code 392, missing_year 1999, next_year 2000"],
    ),
    "a missing year of JSON": (
        UNHCR,
        {PAGE: pages_without_year},
        ["missing_year 1980"],
    ),
    "a city in one file and not in its twin": (
        WUP,
        {CITIES_ANNUAL: lambda book: book[DATA].pop()},
        [f"{CITIES}, sheet 'Data', row 25, column '1950': city_code 23426", "F12 and F22"],
    ),
    "a negative population that stands in sums": (
        WUP,
        {URBAN_ANNUAL: lambda book: put(book[DATA], "F20", -1.5)},
        [f"{URBAN_ANNUAL}, sheet 'Data', row 20, column '1951': location_code 392, year 1951"],
    ),
    "a negative total": (
        WUP,
        {TOTALS: lambda book: put(book[DATA], "G20", -1.5)},
        [f"{TOTALS}, sheet 'Data', row 20: location_code 392, year 2018", "population -1500"],
    ),
    "a sum that does not hold": (
        IMS,
        {ORIGINS: lambda book: put(book[TABLE], "O35", 99)},
        [f"{ORIGINS}, sheet 'Table 1', row 35, column '2024': location_code 840"],
    ),
    "an unknown country": (
        UNHCR,
        {PAGE: lambda pages: pages[0]["items"][3].update(coo_iso="ZZZ")},
        ["population-1.json, row 4", "ZZZ"],
    ),
}


@pytest.mark.parametrize("fault", BLOCKED)
def test_figures_that_cannot_be_right(victim: World, fault: str) -> None:
    source_id, spoil, says = BLOCKED[fault]
    with (
        spoilt(victim, source_id, files_of(Edition(), spoil)[source_id]),
        pytest.raises(CheckError) as caught,
    ):
        victim.build()
    for words in says:
        assert words in str(caught.value)
    assert caught.value.exit_code == 1


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "a member outside": (wup_archive(also={"../x": b"x"}), "the member '../x' leads outside"),
    "a bomb": (
        wup_archive(without=[LOCATIONS], also={f"WUP2018/{LOCATIONS}": bytes(2**28 + 1)}),
        "unpacks to more than 256 MiB",
    ),
    "a member missing": (wup_archive(without=[CITIES]), f"the archive has no member '{CITIES}'"),
    "no archive": (b"<html>", "cannot be unpacked"),
}


@pytest.mark.parametrize("fault", ARCHIVES)
def test_an_archive_that_was_put_into_the_raw_store_by_hand(victim: World, fault: str) -> None:
    """A download would have been refused; the reader does not rely on that."""
    content, says = ARCHIVES[fault]
    with (
        spoilt(victim, WUP, {ARCHIVE: content}),
        pytest.raises(ReadError, match=re.escape(f"{ARCHIVE}: {says}")),
    ):
        victim.build()
    assert not (victim.root / "x").exists()


def page_set(trick: str) -> dict[str, bytes]:
    """The tiny edition's five pages of UNHCR; one repeats another, or the last ones are missing."""
    pages = unhcr_pages(per_page=100)
    names = list(pages)
    if trick == "repeat":
        page = json.loads(pages[names[1]]) | {"page": 3}
        pages[names[2]] = json.dumps(page).encode()
    else:
        del pages[names[-1]]
    return pages


@pytest.mark.parametrize(
    ("trick", "says"),
    [
        ("repeat", "population-3.json, row 3: asylum_code JOR, origin_code SYR, year 1968"),
        ("stop", "population-1.json: says that there are 5 pages, and 4 are here"),
    ],
)
def test_pages_that_repeat_or_stop_early(victim: World, trick: str, says: str) -> None:
    with (
        spoilt(victim, UNHCR, page_set(trick)),
        pytest.raises(ProductError, match=re.escape(says)),
    ):
        victim.build()


def test_after_all_these_faults_the_next_run_succeeds(victim: World) -> None:
    """A good edition is published, and the same as ever with the files as they were."""
    before = standing(victim.out)
    assert victim.build().release_id == before
    victim.receive_tiny(**TOKYO_2017)
    publishes_what_came(victim, before)


# ------------------------------------------------------------------ publishers in trouble


@pytest.fixture
def mirror(published: World) -> Iterator[Mirror]:
    """The tiny edition's publishers."""
    with Mirror.of(published.raw).running() as mirror:
        yield mirror


def test_a_publisher_in_trouble_leaves_its_source_as_it_stands(
    flow: Any, mirror: Mirror, world: World
) -> None:
    before = standing(world.out)
    mirror.serve(WUP, files_of(Edition(**TOKYO_2017))[WUP])
    for kind, says in {
        "429": "answered 429 Too Many Requests",
        "503": "answered 503 Service Unavailable",
        "html": "answered with a web page ('Maintenance'), not a zip archive",
        "corrupt": "is damaged",
        "truncate": "ended after",
        "reset": "ended after",
        "stall": "nothing came for 2 s",
        "slow": "comes too slowly",
    }.items():
        mirror.faults = [Fault("wup", kind)]
        summary = flow(world, mirror.base_url)
        assert summary.to_json()["status"] == "nothing new"
        assert summary.stale.keys() == {WUP}
        assert ARCHIVE in summary.stale[WUP] and says in summary.stale[WUP], kind
        assert release.read_status(world.out)["sources"][WUP]["error"] == summary.stale[WUP]
        assert standing(world.out) == before, kind

    mirror.faults = []
    summary = flow(world, mirror.base_url)
    assert summary.outcome.published and not summary.stale
    assert "Tokyo 2017" in (summary.outcome.folder / "changes.md").read_text("utf-8")
    status = release.read_status(world.out)["sources"][WUP]
    assert status["last_failed"] and not status["error"]


def test_the_others_are_published_meanwhile_and_the_report_says_what_is_stale(
    flow: Any, mirror: Mirror, world: World
) -> None:
    mirror.faults = [Fault("wup", "503")]
    mirror.serve(UNHCR, files_of(Edition(refugees={("JOR", "SYR", 2024): 620_000}))[UNHCR])
    summary = flow(world, mirror.base_url)
    assert summary.outcome.published and summary.stale.keys() == {WUP}
    quality = json.loads((summary.outcome.folder / "quality.json").read_text("utf-8"))
    states = {source["source_id"]: source["state"] for source in quality["sources"]}
    assert states[WUP] == "stale" != states[UNHCR]
    assert not release.read_status(world.out)["sources"][UNHCR]["error"]

    shutil.rmtree(world.out / "releases")
    rebuilt = build.build(RawStore(world.raw), world.out, world.expectations)
    again = json.loads((rebuilt.folder / "quality.json").read_text("utf-8"))
    assert again["sources"] == quality["sources"]  # from what status.json remembers


def test_trouble_that_passes_is_overcome(flow: Any, mirror: Mirror, world: World) -> None:
    mirror.faults = [
        Fault("wup", "503", times=1),
        Fault("unhcr", "429", times=1),
        Fault("m49", "html", times=1),
        Fault("WPP2024", "reset", times=1),
    ]
    mirror.serve(WUP, files_of(Edition(**TOKYO_2017))[WUP])
    summary = flow(world, mirror.base_url)
    assert summary.outcome.published and not summary.stale
    assert all(fault.times == 0 for fault in mirror.faults)


def test_nothing_new_from_a_stale_source_is_said(flow: Any, mirror: Mirror, world: World) -> None:
    before = standing(world.out)
    flow(world, mirror.base_url)
    mirror.faults = [Fault("unhcr", "503")]
    summary = flow(world, mirror.base_url)
    assert summary.to_json()["status"] == "nothing new"
    assert summary.stale.keys() == {UNHCR}
    assert standing(world.out) == before


def test_downloads_that_would_do_harm_are_refused(flow: Any, mirror: Mirror, world: World) -> None:
    before = standing(world.out)
    tricks = {
        "would be written outside its folder": {WUP: {ARCHIVE: ARCHIVES["a member outside"][0]}},
        "over 200 times as many": {WUP: {ARCHIVE: ARCHIVES["a bomb"][0]}},
        "page 3 repeats page 2": {UNHCR: page_set("repeat")},
        "404": {UNHCR: page_set("stop")},
    }
    for says, served in tricks.items():
        with Mirror.of(world.raw).running() as spoilt:
            for source_id, files in served.items():
                spoilt.serve(source_id, files)
            summary = flow(world, spoilt.base_url)
        (error,) = summary.stale.values()
        assert says in error
        assert standing(world.out) == before
    assert not flow(world, mirror.base_url).stale


def test_a_bad_file_from_a_publisher_stops_the_flow_with_the_readers_words(
    flow: Any, mirror: Mirror, world: World
) -> None:
    before = standing(world.out)
    _, spoil, says = UNREADABLE["text in a number cell"]
    mirror.serve(WUP, files_of(Edition(), spoil)[WUP])
    with pytest.raises(ReadError, match=re.escape(says)):
        flow(world, mirror.base_url)
    assert standing(world.out) == before
    _, spoil, blocked = BLOCKED["a city twice"]
    mirror.serve(WUP, files_of(Edition(), spoil)[WUP])
    with pytest.raises(CheckError, match=re.escape(blocked[1])):
        flow(world, mirror.base_url)
    assert standing(world.out) == before
    mirror.serve(WUP, files_of(Edition(**TOKYO_2017))[WUP])
    assert flow(world, mirror.base_url).outcome.published
    assert standing(world.out) != before


def test_the_first_refresh_fails_with_the_reasons_and_the_second_succeeds(
    flow: Any, mirror: Mirror, published: World, tmp_path: Path
) -> None:
    world = World(tmp_path / "new")
    world.root.mkdir()
    (world.root / "expectations").symlink_to(published.expectations)
    mirror.faults = [Fault("m49", "503"), Fault("unhcr", "404")]
    with pytest.raises(MissingSourceError, match=r"un_m49.*\n.*answered 503") as caught:
        flow(world, mirror.base_url)
    assert caught.value.exit_code == 3
    assert release.latest(world.out) is None
    mirror.faults = [Fault("unhcr", "404")]
    summary = flow(world, mirror.base_url)
    assert summary.outcome.published, "an optional source may fail from the start"
    assert UNHCR in summary.missing and UNHCR not in summary.stale
    assert summary.outcome.rows["displacement_origins"] == 0
    mirror.faults = []
    summary = flow(world, mirror.base_url)
    assert summary.outcome.published
    assert UNHCR not in summary.missing and not summary.stale
    assert standing(world.out) == standing(published.out)


# ------------------------------------------------------------------ trouble on this side


def limited(size: int) -> Callable[[], None]:
    """No file may grow beyond ``size`` bytes, which writers meet as they meet a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [2_000, 200_000])
def test_a_disk_that_is_full_is_a_clear_error(world: World, size: int) -> None:
    before = standing(world.out)
    world.receive_tiny(**TOKYO_2017)
    answer = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=build_within, args=(world, size, answer))
    process.start()
    process.join()
    kind, message = answer.get()
    assert kind == "ReleaseError", message
    assert re.search("no space left|File too large|cannot be kept", message)
    assert str(world.out) in message and "previous release stands" in message
    publishes_what_came(world, before)


def build_within(world: World, size: int, answer: Any) -> None:
    limited(size)()
    try:
        world.build()
        answer.put(("published", ""))
    except Exception as error:
        answer.put((type(error).__name__, str(error)))


CALLS = ("replace", "rename", "symlink", "link", "fsync", "utime", "unlink", "rmdir", "mkdir")


def build_and_die(world: World, at_call: int, at_line: int) -> None:
    """Build in a session of its own; killed at a call to the file system, or at a line told."""
    os.setsid()
    calls, lines, lock = [at_call], [at_line], threading.Lock()

    def step(left: list[int]) -> None:
        with lock:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def stepping(real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            step(calls)
            return real(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, stepping(getattr(os, name)))
    world.build(say=lambda _: step(lines))


def left_of(session: int) -> list[str]:
    """Processes of a session that are still alive, by their command."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(stat.with_name("cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize(
    ("calls", "lines"),
    [(range(1, 800, 41), [0]), ([0], range(1, 200, 4))],
    ids=["at calls into the file system", "at lines of progress"],
)
def test_a_build_that_is_killed_leaves_the_last_release_and_no_process(
    published: World, tmp_path: Path, calls: range, lines: range
) -> None:
    """Killed later and later, until a run gets through; every third is followed by a whole run."""
    before, after = standing(published.out), ""
    for number, (call, line) in enumerate((c, n) for c in calls for n in lines):
        world = published.copy(tmp_path / f"world{number}")
        world.receive_tiny(**TOKYO_2017)
        process = PROCESSES.Process(target=build_and_die, args=(world, call, line))
        process.start()
        process.join()
        deadline = time.monotonic() + 60
        while (left := left_of(process.pid or 0)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left
        stands = standing(world.out)
        if process.exitcode == 0:
            assert number > 1 and stands != before
            return
        assert process.exitcode == -signal.SIGKILL
        assert stands in (before, after) or not after
        if number % 3 == 0:
            world.build()
            after = after or standing(world.out)
            assert standing(world.out) == after != before
            assert not (world.out / ".incoming").exists()
            hidden = [p.name for p in (world.out / ".cache").rglob("*") if p.name.startswith(".")]
            assert not hidden, "what a killed reader left is gone"
    raise AssertionError("no run got through")


def test_two_builds_at_once_publish_once(world: World) -> None:
    before = standing(world.out)
    world.receive_tiny(**TOKYO_2017)
    answers = PROCESSES.SimpleQueue()
    crowd = [PROCESSES.Process(target=build_beside, args=(world, answers)) for _ in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
        assert process.exitcode == 0
    told = [answers.get() for _ in crowd]
    assert sorted(published for published, _, _ in told) == [False, False, True]
    assert len({release_id for _, release_id, _ in told}) == 1
    assert any("waiting for process" in said for _, _, said in told)
    assert standing(world.out) == told[0][1] != before


def build_beside(world: World, answers: Any) -> None:
    said = list[str]()
    outcome = world.build(say=said.append)
    answers.put((outcome.published, outcome.release_id, "\n".join(said)))
