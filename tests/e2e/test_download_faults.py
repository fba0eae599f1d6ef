"""Every fault of a download, against the simulator of the publishers.

After each: the files had before stand, the message says what happened where, and the next run,
with the publisher in order again, succeeds.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from urban_migration.download import Downloader, Outcome, refresh_all
from urban_migration.errors import DownloadError
from urban_migration.raw import RawStore
from urban_migration.sources.source import Download, Source

HOST = "https://population.un.org"
WUP = Download(
    "WUP2018-Excel-files.zip",
    f"{HOST}/wup/assets/Download/Archive/WUP2018-Excel-files.zip",
    "zip",
)
FILES = "https://www.un.org/development/desa/pd/sites/www.un.org.development.desa.pd/files"
STOCK_FILE = "undesa_pd_2024_ims_stock_by_sex_and_destination.xlsx"
STOCK = Download(STOCK_FILE, f"{FILES}/{STOCK_FILE}", "xlsx")
WPP_FILE = "WPP2024_Demographic_Indicators_Medium.csv.gz"
WPP = Download(
    WPP_FILE,
    f"{HOST}/wpp/assets/Excel%20Files/1_Indicator%20(Standard)/CSV_FILES/{WPP_FILE}",
    "csv.gz",
)
M49_FILE = "UNSD-Methodology.csv"
M49 = Download(M49_FILE, f"https://unstats.un.org/unsd/methodology/m49/overview/{M49_FILE}", "csv")
UNHCR = Download(
    "population-{page}.json",
    "https://api.unhcr.org/population/v1/population/?coo_all=true&coa_all=true&cf_type=ISO"
    "&yearFrom=2024&yearTo=2024&limit=3000&page={page}",
    "json",
    pages="maxPages",
)
EVERY = {"zip": WUP, "xlsx": STOCK, "csv.gz": WPP, "csv": M49, "json": UNHCR}

Simulate = Callable[..., Any]


def a_source(download: Download, source_id: str = "un") -> Source:
    words = dict.fromkeys(
        ("title", "publisher", "licence", "licence_url", "citation", "homepage", "edition"), ""
    )
    return Source(id=source_id, downloads=(download,), tables={}, read=lambda _: {}, **words)


def refresh(base: str, store: RawStore, download: Download, **settings: Any) -> Outcome:
    quick = {"backoff": 0.01, "max_wait": 2.0, "timeout": (2.0, 0.3), "retries": 2}
    with Downloader(mirror=base, **quick | settings) as downloader:
        return downloader.refresh(a_source(download), store)


@pytest.fixture(autouse=True, scope="module")
def _tables_are_read_once(serve: Any) -> None:
    """Spare every simulator the unpacking of UNHCR's table."""
    serve.read_table = functools.cache(serve.read_table)


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    return RawStore(tmp_path / "raw")


def had_before(store: RawStore, simulator: Simulate, download: Download) -> dict[str, bytes]:
    """Fill the store; then forget the validators, so that the next refresh transfers bodies."""
    assert refresh(simulator().base_url, store, download, timeout=(5, 30)).status == "new"
    lock = json.loads(store.lock.read_bytes())
    for entry in lock["sources"]["un"]["files"].values():
        entry |= {"etag": None, "last_modified": None}
    store.lock.write_text(json.dumps(lock))
    return snapshot(store)


def snapshot(store: RawStore) -> dict[str, bytes]:
    """The lock and every file of the source, verified."""
    files = {name: file.path.read_bytes() for name, file in store.verify("un").items()}
    return {"lock": store.lock.read_bytes(), **files}


# ------------------------------------------------------------------------- passing difficulties


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("fault", ["status:503", "reset", "truncate", "html", "corrupt"])
def test_a_fault_that_passes_is_overcome(
    simulator: Simulate, store: RawStore, kind: str, fault: str
) -> None:
    match = "page=2" if kind == "json" else "."
    faults = [{"match": match, "kind": fault, "times": 2, "retry_after": 0}]
    server = simulator(faults=faults)
    # Without haste: the simulator works out its first UNHCR answer in a second or two.
    outcome = refresh(server.base_url, store, EVERY[kind], timeout=(5, 30))
    assert outcome.status == "new", outcome.error
    assert store.verify("un")
    assert all(fault.times == 0 for fault in server.faults)


def test_429_with_retry_after_is_waited_for(
    simulator: Simulate, store: RawStore, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    faults = [{"match": "m49", "kind": "status:429", "retry_after": 1}]
    begun = time.monotonic()
    server = simulator(faults=faults, log=log)
    assert refresh(server.base_url, store, M49) == Outcome("un", "new", 20_270, 2)
    assert time.monotonic() - begun >= 1
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [429, 200]


# ------------------------------------------------------------------------------ lasting faults


@pytest.mark.parametrize(
    ("kind", "fault", "says"),
    [
        ("zip", {"kind": "status:503", "retry_after": 0}, "answered 503 Service Unavailable"),
        ("zip", {"kind": "status:429", "retry_after": 0}, "answered 429 Too Many Requests"),
        ("zip", {"kind": "status:403"}, "answered 403 Forbidden: it refuses this client"),
        ("zip", {"kind": "timeout", "seconds": 5}, "nothing came for 0.3 s"),
        ("zip", {"kind": "reset"}, "the connection was cut"),
        ("zip", {"kind": "truncate"}, "ended after 959,860 of 1,919,721 bytes"),
        ("zip", {"kind": "html"}, "a web page ('502 Bad Gateway'), not a zip archive"),
        ("zip", {"kind": "corrupt"}, "is damaged, or not a zip archive"),
        ("zip", {"kind": "slow", "bytes_per_second": 5000}, "comes too slowly"),
        ("xlsx", {"kind": "html"}, "a web page ('502 Bad Gateway'), not a workbook"),
        ("xlsx", {"kind": "corrupt"}, "is damaged, or not a workbook"),
        ("csv.gz", {"kind": "html"}, "a web page ('502 Bad Gateway'), not a gzipped CSV file"),
        ("csv.gz", {"kind": "corrupt"}, "is damaged, or not a gzipped CSV file"),
        ("csv", {"kind": "html"}, "a web page ('502 Bad Gateway'), not a CSV file"),
        ("csv", {"kind": "corrupt"}, "is damaged, or not UTF-8 text"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value.split()[-1],
)
def test_a_fault_that_lasts_leaves_the_files_had_before(
    simulator: Simulate, store: RawStore, kind: str, fault: dict[str, Any], says: str
) -> None:
    download = EVERY[kind]
    before = had_before(store, simulator, download)
    server = simulator(faults=[{"match": ".", "times": -1, **fault}])
    outcome = refresh(server.base_url, store, download, min_speed=100_000, slow_after=0.4)
    assert outcome.status == "failed"
    message = str(outcome.error)
    assert message.startswith(f"un: {download.file}: "), message
    assert says in message and message.endswith("The files had before stay in use.")
    assert snapshot(store) == before
    server.faults.clear()
    assert refresh(server.base_url, store, download).status == "unchanged"


def changed_archive(upstream: Path, members: dict[str, bytes]) -> bytes:
    """The WUP archive with other members beside its own."""
    buffer = io.BytesIO((upstream / "files" / WUP.url.removeprefix("https://")).read_bytes())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "body", "says"),
    [
        ("../x", b"x", "has a member that would be written outside its folder: '../x'"),
        ("bomb.xls", bytes(2**25), "over 200 times as many"),
    ],
)
def test_an_archive_that_would_do_harm_is_refused(
    simulator: Simulate,
    upstream: Path,
    store: RawStore,
    tmp_path: Path,
    member: str,
    body: bytes,
    says: str,
) -> None:
    before = had_before(store, simulator, WUP)
    root = tmp_path / "root"
    file = root / "files" / WUP.url.removeprefix("https://")
    file.parent.mkdir(parents=True)
    (root / "tables").symlink_to(upstream / "tables")
    file.write_bytes(changed_archive(upstream, {member: body}))
    server = simulator(root=root)
    outcome = refresh(server.base_url, store, WUP)
    assert outcome.status == "failed" and says in str(outcome.error)
    assert snapshot(store) == before
    assert not (store.root.parent / "x").exists()
    file.write_bytes(changed_archive(upstream, {"new.txt": b"x"}))
    assert refresh(server.base_url, store, WUP).status == "changed"


@pytest.mark.parametrize(
    ("trick", "says"),
    [
        ("repeat", "population-3.json: page 3 repeats page 2"),
        ("echo", "population-3.json: asked for page 3, answered with page 2"),
        ("stop", "population-2.json: page 2 of 3 has 1000 items where page 1 has 3000"),
        ("nothing", "population-3.json: page 3 of 3 has no items"),
        ("grow", "population-2.json: page 2 says that there are 4 pages, page 1 says 3"),
    ],
)
def test_pages_that_repeat_or_stop_early_are_refused(
    simulator: Simulate, store: RawStore, serve: Any, trick: str, says: str
) -> None:
    before = had_before(store, simulator, UNHCR)
    assert sorted(before)[1:] == ["population-1.json", "population-2.json", "population-3.json"]
    server = simulator()
    right = server.unhcr.reply

    def spoilt(endpoint: str, query: dict[str, list[str]]) -> Any:
        number = int(query["page"][-1])
        if number == 3 and trick in ("repeat", "echo"):
            page = json.loads(right(endpoint, {**query, "page": ["2"]}).body)
            return serve.Reply.json(page | ({"page": 3} if trick == "repeat" else {}))
        page = json.loads(right(endpoint, query).body)
        if number == 2 and trick == "stop":
            page["items"] = page["items"][:1000]
        if number == 3 and trick == "nothing":
            page["items"] = []
        if number == 2 and trick == "grow":
            page["maxPages"] += 1
        return serve.Reply.json(page)

    server.unhcr.reply = spoilt
    outcome = refresh(server.base_url, store, UNHCR, timeout=(5, 30), retries=1)
    assert outcome.status == "failed" and says in str(outcome.error)
    assert snapshot(store) == before
    server.unhcr.reply = right
    assert refresh(server.base_url, store, UNHCR, timeout=(5, 30)).status == "unchanged"


# ------------------------------------------------------------------------- trouble on this side


def test_a_disk_that_fills_up_is_said_and_leaves_nothing_half_done(
    simulator: Simulate, store: RawStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = had_before(store, simulator, WUP)
    server = simulator()
    real = Path.open

    def filling(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        stream = real(path, mode, *args, **kwargs)
        return Filling(stream) if "w" in mode and ".incoming" in path.parts else stream

    class Filling(io.BufferedWriter):
        def __init__(self, stream: Any) -> None:
            super().__init__(stream.detach())

        def write(self, data: Any) -> int:
            if self.tell() > 500_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", filling)
        with pytest.raises(DownloadError, match=r"un: .*the disk is full.*had before stand"):
            refresh(server.base_url, store, WUP)
        with pytest.raises(DownloadError, match="the disk is full"):
            others = [a_source(WUP), a_source(WUP, "other")]
            with Downloader(mirror=server.base_url) as downloader:
                refresh_all(others, store, downloader)
    assert snapshot(store) == before
    assert not (store.root / ".incoming" / "un").exists()
    assert refresh(server.base_url, store, WUP).status == "unchanged"


RUN = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    import test_download_faults as faults
    from urban_migration.raw import RawStore

    calls, real = 0, os.replace

    def deadly(*args):
        global calls
        calls += 1
        if calls == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    os.replace = deadly
    print(faults.refresh({base!r}, RawStore(Path({root!r})), faults.UNHCR, timeout=(5, 30)))
"""


def a_run(base: str, store: RawStore, at: int = 0) -> subprocess.Popen[str]:
    """A refresh of the UNHCR pages in a process of its own, killed at its ``at``-th rename."""
    script = RUN.format(here=str(Path(__file__).parent), base=base, root=str(store.root), at=at)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_refresh_killed_at_any_rename_leaves_a_whole_set(
    simulator: Simulate, store: RawStore, tmp_path: Path, serve: Any
) -> None:
    old = had_before(store, simulator, UNHCR)
    server = simulator()
    right = server.unhcr.reply

    def revised(endpoint: str, query: dict[str, list[str]]) -> Any:
        page = json.loads(right(endpoint, query).body)
        for item in page["items"]:
            item["refugees"] = 1
        return serve.Reply.json(page)

    server.unhcr.reply = revised
    sets = list[dict[str, bytes]]()
    for at in range(1, 9):  # three kept, three moved, the lock, and one that is not reached
        copy = RawStore(tmp_path / f"raw{at}")
        shutil.copytree(store.root, copy.root)
        run = a_run(server.base_url, copy, at)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == (-signal.SIGKILL if at < 8 else 0), errors
        found = snapshot(copy)
        del found["lock"]
        sets.append(found)
        assert refresh(server.base_url, copy, UNHCR, timeout=(5, 30)).status != "failed"
        assert '"refugees":1,' in copy.verify("un")["population-3.json"].path.read_text()
    del old["lock"]
    assert sets[:-1] == [old] * 7
    assert sets[-1] != old and b'"refugees":1,' in sets[-1]["population-1.json"]


def test_two_refreshes_at_once_fetch_once_and_agree(
    simulator: Simulate, store: RawStore, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    server = simulator(log=log)
    runs = [a_run(server.base_url, store) for _ in range(2)]
    told = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    said = "".join(out for out, _ in told)
    assert said.count("status='new'") == said.count("status='unchanged'") == 1
    statuses = [json.loads(line)["status"] for line in log.read_text().splitlines()]
    assert statuses.count(200) == 3
    assert len(store.verify("un")) == 3


def test_a_run_that_is_stopped_ends_soon(simulator: Simulate, store: RawStore) -> None:
    server = simulator(faults=[{"match": ".", "kind": "status:503", "times": -1}])
    downloader = Downloader(mirror=server.base_url, backoff=60)
    outcomes = list[Outcome]()
    thread = threading.Thread(
        target=lambda: outcomes.append(downloader.refresh(a_source(M49), store))
    )
    thread.start()
    time.sleep(0.3)
    downloader.close()
    thread.join(timeout=2)
    assert outcomes[0].status == "failed" and "stopped" in str(outcomes[0].error)


def test_a_second_refresh_transfers_no_body(
    simulator: Simulate, store: RawStore, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    server = simulator(log=log)
    sources = [a_source(download, name) for name, download in EVERY.items()]
    for status in ("new", "unchanged"):
        with Downloader(mirror=server.base_url) as downloader:
            outcomes = refresh_all(sources, store, downloader)
        assert [outcome.status for outcome in outcomes] == [status] * len(EVERY)
    assert sum(outcome.bytes_transferred for outcome in outcomes) == 0
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    again = asked[-sum(outcome.requests for outcome in outcomes) :]
    assert {line["status"] for line in again} == {304}
    assert all("urban-migration-indicators/" in line["user_agent"] for line in asked)
    left = {path.suffix or path.name for path in (store.root / ".incoming").iterdir()}
    assert left == {".lock"}
