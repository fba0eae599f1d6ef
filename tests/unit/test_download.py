"""Downloads against small servers that misbehave in ways of their own, and the gate by content."""

from __future__ import annotations

import email.utils
import gzip
import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from urban_migration.content import ContentError, UnsafeError, check_content
from urban_migration.download import (
    USER_AGENT,
    Downloader,
    Outcome,
    ProgressEvent,
    refresh_all,
    terminal_progress,
)
from urban_migration.errors import DownloadError, RawStoreError, UsageError
from urban_migration.raw import RawStore
from urban_migration.sources.source import Download, Kind, Source
from urban_migration.transfer import mirrored

CSV = b"code,name\n1,Lisbon\n2,Porto\n"


# ------------------------------------------------------------------------- a server of one's own


@dataclass
class Reply:
    """What the server answers; ``raw`` replaces the whole answer, status line included."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


Script = Callable[[str, dict[str, str]], Reply]


class Publisher(ThreadingHTTPServer):
    """Answers as ``script(path, headers)`` says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked = script, list[tuple[str, dict[str, str]]]()
        self.now = self.most = 0
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        """What it was asked for."""
        return [path for path, _ in self.asked]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    server: Publisher
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one packet, or the client waits 40 ms for the second

    def do_GET(self) -> None:
        """Ask the script."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.guard:
            self.server.asked.append((self.path, headers))
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            reply = self.server.script(self.path, headers)
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
        finally:
            with self.server.guard:
                self.server.now -= 1

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def publisher(script: Script | Reply | list[Reply]) -> Iterator[Publisher]:
    """A server for a ``with`` block: one answer always, several in turn, or a script."""
    if isinstance(script, Reply):
        script = [script]
    if isinstance(script, list):
        replies, last = iter(script), script[-1]

        def in_turn(path: str, headers: dict[str, str]) -> Reply:
            return next(replies, last)

        script = in_turn
    server = Publisher(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def a_source(*downloads: Download, source_id: str = "un") -> Source:
    words = dict.fromkeys(
        ("title", "publisher", "licence", "licence_url", "citation", "homepage", "edition"), ""
    )
    return Source(id=source_id, downloads=downloads, tables={}, read=lambda _: {}, **words)


TABLE = Download("table.csv", "https://un.org/table.csv", "csv", max_bytes=10_000)
PAGED = Download("page-{page}.json", "https://un.org/api?page={page}", "json", pages="maxPages")


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    return RawStore(tmp_path / "raw")


def a_downloader(server: Publisher, **settings: Any) -> Downloader:
    quick = {"backoff": 0.01, "max_wait": 0.2, "timeout": (1.0, 0.5), "retries": 2}
    return Downloader(mirror=server.url, **quick | settings)


def refresh(server: Publisher, store: RawStore, *downloads: Download, **settings: Any) -> Outcome:
    with a_downloader(server, **settings) as downloader:
        return downloader.refresh(a_source(*(downloads or (TABLE,))), store)


# ---------------------------------------------------------------------------------- one file


def test_a_file_comes_with_its_provenance(store: RawStore) -> None:
    headers = {"ETag": '"v1"', "Last-Modified": "Tue, 01 Oct 2024 00:00:00 GMT"}
    with publisher(Reply(CSV, headers=headers)) as server:
        outcome = refresh(server, store)
    assert outcome == Outcome("un", "new", len(CSV), 1)
    file = store.verify("un")["table.csv"]
    assert file.path.read_bytes() == CSV
    assert (file.url, file.etag, file.bytes) == (TABLE.url, '"v1"', len(CSV))
    assert file.last_modified == headers["Last-Modified"]
    assert list((store.root / ".incoming").glob("un")) == []


def test_every_request_names_the_project_and_where_to_complain(store: RawStore) -> None:
    with publisher(Reply(CSV)) as server:
        refresh(server, store)
    assert server.asked[0][1]["user-agent"] == USER_AGENT
    assert USER_AGENT.startswith("urban-migration-indicators/") and "(+https://" in USER_AGENT


def test_what_did_not_change_is_not_sent_again(store: RawStore) -> None:
    def script(path: str, headers: dict[str, str]) -> Reply:
        validators = {"ETag": '"v1"', "Last-Modified": "Tue, 01 Oct 2024 00:00:00 GMT"}
        if headers.get("if-none-match") == '"v1"':
            assert headers["if-modified-since"] == validators["Last-Modified"]
            return Reply(status=304, headers=validators)
        return Reply(CSV, headers=validators)

    with publisher(script) as server:
        refresh(server, store)
        lock = store.lock.read_bytes()
        assert refresh(server, store) == Outcome("un", "unchanged", 0, 1)
        assert store.lock.read_bytes() == lock
        store.files("un")["table.csv"].path.write_text("edited")
        assert refresh(server, store).bytes_transferred == len(CSV)  # not "304, keep it"
    assert store.verify("un")["table.csv"].path.read_bytes() == CSV


def test_a_publisher_without_validators_is_compared_by_hash(store: RawStore) -> None:
    with publisher([Reply(CSV), Reply(CSV), Reply(CSV + b"3,Faro\n")]) as server:
        assert refresh(server, store).status == "new"
        lock = store.lock.read_bytes()
        assert refresh(server, store).status == "unchanged"
        assert store.lock.read_bytes() == lock
        assert refresh(server, store).status == "changed"


def test_validators_of_another_address_are_not_used(store: RawStore) -> None:
    moved = Download(TABLE.file, "https://un.org/2025.csv", "csv")
    with publisher(Reply(CSV, headers={"ETag": '"1"'})) as server:
        refresh(server, store)
        assert refresh(server, store, moved).status == "unchanged"
    assert "if-none-match" not in server.asked[1][1]
    assert store.files("un")["table.csv"].url == moved.url


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("https://un.org/a%20b/(c).csv", "http://m/un.org/a%20b/(c).csv"),
        ("https://x.eu/d?c[a]=b,c&e=%3B", "http://m/x.eu/d?c[a]=b,c&e=%3B"),
        ("https://x.eu:8443/d", "http://m/x.eu:8443/d"),
    ],
)
def test_a_mirror_stands_before_host_and_path(url: str, through: str) -> None:
    assert mirrored(url, "http://m") == through
    assert mirrored(url, None) == url


def test_percent_encoding_reaches_the_publisher_untouched(store: RawStore) -> None:
    path = "un.org/Excel%20Files/1_(Standard)/f.csv?DataFilter=t:240;s:0&d=%3B"
    with publisher(Reply(CSV)) as server:
        refresh(server, store, Download("f.csv", f"https://{path}", "csv"))
    assert server.paths == [f"/{path}"]


def test_a_mirror_that_is_no_web_address_is_refused() -> None:
    with pytest.raises(UsageError, match="--mirror ftp://x: must begin with http"):
        Downloader(mirror="ftp://x")


def test_redirects_are_followed_through_the_mirror_but_not_off_the_web(store: RawStore) -> None:
    def script(path: str, headers: dict[str, str]) -> Reply:
        targets = {
            "/un.org/table.csv": "https://cdn.un.org/t.csv",
            "/cdn.un.org/t.csv": "/cdn.un.org/u.csv",
            "/un.org/file": "file:///etc/passwd",
            "/un.org/circle": "https://un.org/circle",
        }
        if path in targets:
            return Reply(status=302, headers={"Location": targets[path]})
        return Reply(CSV)

    secret = Download(TABLE.file, TABLE.url, "csv", headers={"X-Key": "secret"})
    with publisher(script) as server:
        assert refresh(server, store, secret).status == "new"
        assert server.paths[1:] == ["/cdn.un.org/t.csv", "/cdn.un.org/u.csv"]
        assert ["x-key" in headers for _, headers in server.asked] == [True, False, False]
        off = refresh(server, store, Download("f", "https://un.org/file", "csv"))
        circle = refresh(server, store, Download("f", "https://un.org/circle", "csv"))
    assert off.status == circle.status == "failed"
    assert "redirects to 'file:///etc/passwd'" in str(off.error)
    assert "redirects more than 5 times" in str(circle.error)


def test_text_travels_compressed_and_archives_as_they_are(store: RawStore) -> None:
    packed = gzip.compress(CSV)

    def script(path: str, headers: dict[str, str]) -> Reply:
        if path.endswith(".gz"):  # some servers label the file's own packing as the transfer's
            assert headers["accept-encoding"] == "identity"
            return Reply(packed, headers={"Content-Encoding": "gzip"})
        assert headers["accept-encoding"] == "gzip"
        return Reply(packed, headers={"Content-Encoding": "gzip"})

    with publisher(script) as server:
        refresh(server, store, TABLE, Download("t.csv.gz", "https://un.org/t.csv.gz", "csv.gz"))
    files = store.verify("un")
    assert files["table.csv"].path.read_bytes() == CSV
    assert files["t.csv.gz"].path.read_bytes() == packed


# ---------------------------------------------------------------- difficulties on the way


def test_what_passes_is_asked_for_again(store: RawStore) -> None:
    with publisher([Reply(status=503), Reply(status=500), Reply(CSV)]) as server:
        assert refresh(server, store) == Outcome("un", "new", len(CSV), 3)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, "answered 403 Forbidden: it refuses this client"),
        (404, "answered 404 Not Found: the file is no longer at this address"),
        (204, "answered 204 No Content"),
    ],
)
def test_what_does_not_pass_is_asked_for_once(store: RawStore, status: int, says: str) -> None:
    with publisher(Reply(status=status)) as server:
        outcome = refresh(server, store)
    assert (outcome.status, outcome.requests) == ("failed", 1)
    assert says in str(outcome.error)
    assert str(outcome.error).startswith("un: table.csv: the publisher")
    assert server.url in str(outcome.error)
    assert store.empty


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(store: RawStore, form: str) -> None:
    wait = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    with publisher([Reply(status=429, headers={"Retry-After": wait}), Reply(CSV)]) as server:
        begun = time.monotonic()
        assert refresh(server, store, max_wait=5).status == "new"
    assert 0.9 < time.monotonic() - begun < 3.5


@pytest.mark.parametrize("wait", ["3600", "soon", "-1"])
def test_no_publisher_makes_us_wait_for_ever(store: RawStore, wait: str) -> None:
    with publisher([Reply(status=429, headers={"Retry-After": wait}), Reply(CSV)]) as server:
        begun = time.monotonic()
        assert refresh(server, store, max_wait=0.1).status == "new"
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncode,name\n1,Lis",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\ncode,name\n1,Lis",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
    ids=["body", "chunk", "header", "nothing", "another protocol"],
)
def test_an_answer_cut_short_is_asked_for_again_and_never_kept(store: RawStore, raw: bytes) -> None:
    with publisher([Reply(raw=raw), Reply(CSV), Reply(raw=raw)]) as server:
        assert refresh(server, store).status == "new"
        outcome = refresh(server, store)
    assert outcome.status == "failed" and "tried 3 times" in str(outcome.error)
    assert store.verify("un")["table.csv"].path.read_bytes() == CSV


def test_a_cut_body_is_told_in_bytes(store: RawStore) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncode,name\n1,Lis"
    with publisher(Reply(raw=raw)) as server:
        assert "ended after 15 of 100 bytes" in str(refresh(server, store).error)


def test_silence_and_trickle_are_given_up(store: RawStore) -> None:
    stop = threading.Event()

    def script(path: str, headers: dict[str, str]) -> Reply:
        stop.wait(5)
        return Reply(CSV)

    with publisher(script) as server:
        begun = time.monotonic()
        outcome = refresh(server, store, timeout=(1, 0.1), retries=1)
        assert time.monotonic() - begun < 2
        stop.set()
    assert "nothing came for 0.1 s" in str(outcome.error)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"min_speed": 1000, "slow_after": 0.2, "retries": 1}, "comes too slowly"),
        ({"total_timeout": 0.3}, "had not ended in the time allowed"),
    ],
)
def test_a_slow_trickle_is_bounded(store: RawStore, settings: dict[str, float], says: str) -> None:
    class Trickle(Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "9999")
            self.end_headers()
            for _ in range(200):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.02)

    with publisher(Reply()) as server:
        server.RequestHandlerClass = Trickle
        begun = time.monotonic()
        outcome = refresh(server, store, **settings)
        assert time.monotonic() - begun < 2
    assert says in str(outcome.error)


def test_nobody_there_is_said_in_plain_words(store: RawStore) -> None:
    with publisher(Reply()) as server:
        pass
    outcome = refresh(server, store, retries=1)
    assert "the connection was refused" in str(outcome.error)
    assert "It was never had before." in str(outcome.error)


@pytest.mark.parametrize("announced", [True, False])
def test_more_than_is_accepted_is_refused(store: RawStore, announced: bool) -> None:
    body = CSV * 1000
    raw = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n" % len(body) if announced else b"")
    with publisher(Reply(raw=raw + b"\r\n" + body)) as server:
        outcome = refresh(server, store)
    assert "is larger than the 10,000 bytes that are accepted" in str(outcome.error)
    assert outcome.requests == 1
    assert outcome.bytes_transferred < (1 if announced else len(body) + 1)


def test_a_body_that_unpacks_without_end_is_refused(store: RawStore) -> None:
    body = gzip.compress(b"a,b\n" * 10_000_000)
    with publisher(Reply(body, headers={"Content-Encoding": "gzip"})) as server:
        outcome = refresh(server, store)
    assert "is larger than the 10,000 bytes" in str(outcome.error)


# ----------------------------------------------------------------------------- sets of files


def test_a_set_is_whole_or_not_at_all(store: RawStore) -> None:
    version = ["1"]

    def script(path: str, headers: dict[str, str]) -> Reply:
        if path.endswith("b.csv") and version == ["2"]:
            return Reply(status=404)
        return Reply(CSV + version[0].encode())

    pair = [Download(name, f"https://un.org/{name}", "csv") for name in ("a.csv", "b.csv")]
    with publisher(script) as server:
        refresh(server, store, *pair)
        lock, version[0] = store.lock.read_bytes(), "2"
        outcome = refresh(server, store, *pair)
    assert "b.csv: the publisher answered 404" in str(outcome.error)
    assert "The files had before stay in use." in str(outcome.error)
    assert store.lock.read_bytes() == lock
    assert store.verify("un")["a.csv"].path.read_bytes() == CSV + b"1"


def pages_of(items: list[list[int]], **wrong: Any) -> Script:
    """A paged API: ``items[0]`` on page 1 and so on; ``wrong`` replaces members by page."""

    def script(path: str, headers: dict[str, str]) -> Reply:
        number = int(path.rpartition("=")[2])
        here = items[number - 1] if number <= len(items) else []
        page = {"page": number, "maxPages": len(items), "items": [{"id": n} for n in here]}
        return Reply(json.dumps(page | wrong.get(f"page{number}", {})).encode())

    return script


def test_all_pages_come_and_pages_that_are_gone_leave(store: RawStore) -> None:
    with publisher(pages_of([[1, 2], [3, 4], [5]])) as server:
        assert refresh(server, store, PAGED).status == "new"
        assert sorted(store.verify("un")) == ["page-1.json", "page-2.json", "page-3.json"]
        assert refresh(server, store, PAGED).status == "unchanged"
        server.script = pages_of([[1, 2], [3]])
        assert refresh(server, store, PAGED).status == "changed"
        assert sorted(store.verify("un")) == ["page-1.json", "page-2.json"]
        server.script = pages_of([[1, 2], [3, 4], [5, 6], [7]])
        refresh(server, store, PAGED)
    assert len(store.verify("un")) == 4


@pytest.mark.parametrize(
    ("items", "wrong", "says"),
    [
        ([[1, 2], [1, 2], [5]], {}, "page-2.json: page 2 repeats page 1"),
        ([[1, 2], [3, 4], [3, 4]], {}, "page-3.json: page 3 repeats page 2"),
        ([[1, 2], [3], [5]], {}, "page-2.json: page 2 of 3 has 1 items where page 1 has 2"),
        ([[1, 2], [], [5]], {}, "page-2.json: page 2 of 3 has no items"),
        ([[1, 2], [3, 4], [5, 6, 7]], {}, "page 3 of 3 has 3 items"),
        ([[1, 2], [3]], {"page2": {"page": 1}}, "asked for page 2, answered with page 1"),
        ([[1, 2], [3]], {"page2": {"maxPages": 3}}, "page 2 says that there are 3 pages"),
        ([[1, 2], [3]], {"page1": {"maxPages": "many"}}, "has no number of pages in 'maxPages'"),
        ([[1, 2], [3]], {"page1": {"maxPages": 10**6}}, "says that there are 1000000 pages"),
        ([[1, 2], [3]], {"page2": {"items": None}}, "page-2.json: has no list of items"),
        ([[]], {}, "page 1 of 1 has no items"),
    ],
)
def test_pages_that_do_not_fit_together_are_refused_by_name(
    store: RawStore, items: list[list[int]], wrong: dict[str, Any], says: str
) -> None:
    good = [[1, 2], [3, 4], [5]]
    with publisher(pages_of(good)) as server:
        refresh(server, store, PAGED)
        lock = store.lock.read_bytes()
        server.script = pages_of(items, **wrong)
        outcome = refresh(server, store, PAGED)
        assert outcome.status == "failed" and says in str(outcome.error)
        assert "tried 3 times" in str(outcome.error)
        assert store.lock.read_bytes() == lock
        server.script = pages_of([*good, [6]] if len(good[-1]) == 2 else [[1, 2], [3, 9]])
        assert refresh(server, store, PAGED).status == "changed"


def test_a_page_that_is_wrong_once_is_asked_for_again(store: RawStore) -> None:
    right, wrong = pages_of([[1, 2], [3, 4], [5]]), pages_of([[1, 2], [1, 2], [5]])
    seen = list[str]()

    def script(path: str, headers: dict[str, str]) -> Reply:
        seen.append(path)
        return (right if seen.count(path) > 1 else wrong)(path, headers)

    with publisher(script) as server:
        assert refresh(server, store, PAGED).status == "new"
    assert '"id": 3' in (store.verify("un")["page-2.json"].path.read_text())


def test_pages_of_two_editions_are_not_mixed(store: RawStore) -> None:
    old, new = pages_of([[1, 2], [3, 4], [5]]), pages_of([[0, 1], [2, 3], [4]])
    seen = list[str]()

    def script(path: str, headers: dict[str, str]) -> Reply:
        seen.append(path)  # the publisher changes the data after the first page
        return (old if len(seen) == 1 else new)(path, headers)

    with publisher(script) as server:
        assert refresh(server, store, PAGED).status == "new"
    ids = [
        item["id"]
        for file in store.verify("un").values()
        for item in json.loads(file.path.read_bytes())["items"]
    ]
    assert ids == [0, 1, 2, 3, 4]


def test_sources_and_hosts_are_asked_in_parallel_within_the_limit_per_host(
    store: RawStore,
) -> None:
    def script(path: str, headers: dict[str, str]) -> Reply:
        time.sleep(0.05)
        return Reply(CSV)

    one_host = [Download(f"{n}.csv", f"https://un.org/{n}.csv", "csv") for n in range(6)]
    hosts = [
        a_source(Download("a.csv", f"https://h{n}.org/a.csv", "csv"), source_id=f"s{n}")
        for n in range(4)
    ]
    with publisher(script) as server:
        with a_downloader(server) as downloader:
            downloader.refresh(a_source(*one_host), store)
        assert server.most == 2
        with a_downloader(server) as downloader:
            outcomes = refresh_all(hosts, store, downloader)
        assert server.most == 4
    assert [outcome.source_id for outcome in outcomes] == ["s0", "s1", "s2", "s3"]


def test_one_source_that_fails_does_not_hinder_the_others(store: RawStore) -> None:
    def script(path: str, headers: dict[str, str]) -> Reply:
        return Reply(CSV) if "good" in path else Reply(status=404)

    sources = [
        a_source(Download("a.csv", f"https://{name}.org/a.csv", "csv"), source_id=name)
        for name in ("good", "bad")
    ]
    with publisher(script) as server, a_downloader(server) as downloader:
        outcomes = refresh_all(sources, store, downloader)
    assert [outcome.status for outcome in outcomes] == ["new", "failed"]
    assert store.sources() == ["good"]


def test_a_refresh_with_nothing_new_takes_well_under_a_second(store: RawStore) -> None:
    def script(path: str, headers: dict[str, str]) -> Reply:
        status = 304 if "if-none-match" in headers else 200
        return Reply(CSV if status == 200 else b"", status, {"ETag": '"1"'})

    many = [Download(f"{n}.csv", f"https://h{n % 5}.org/{n}.csv", "csv") for n in range(25)]
    with publisher(script) as server:
        refresh(server, store, *many)
        begun = time.monotonic()
        assert refresh(server, store, *many) == Outcome("un", "unchanged", 0, 25)
        assert time.monotonic() - begun < 1


def test_importing_it_imports_no_pandas() -> None:
    script = "import sys, urban_migration.download; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


# ---------------------------------------------------------------------------------- progress


def test_progress_is_told_per_file_and_difficulties_in_words(store: RawStore) -> None:
    events = list[ProgressEvent]()
    with publisher([Reply(status=503), Reply(CSV)]) as server:
        refresh(server, store, progress=events.append)
    assert "answered 503 Service Unavailable; trying again in" in str(events[0].note)
    assert events[-1] == ProgressEvent("un", "table.csv", len(CSV), len(CSV), finished=True)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_bars_on_a_terminal_and_lines_elsewhere(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with terminal_progress(console) as show:
        show(ProgressEvent("un", "t.csv", 0, 100))
        show(ProgressEvent("un", "t.csv", 50, 100, note="answered 503; trying again in 1 s"))
        show(ProgressEvent("un", "t.csv", 100, 100, finished=True))
        show(ProgressEvent("un", "same.csv", 0, 0, finished=True))
    assert "un t.csv: answered 503; trying again in 1 s\n" in out.getvalue()
    assert "un t.csv: 100 bytes\n" in out.getvalue()
    assert "same.csv" not in out.getvalue()
    assert ("\x1b[" in out.getvalue()) == terminal


# ------------------------------------------------------------------------ the gate by content


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def encrypted(body: bytes) -> bytes:
    """Set the flag of encryption in the member's directory entry."""
    at = body.index(b"PK\x01\x02") + 8
    return body[:at] + bytes([body[at] | 1]) + body[at + 1 :]


def flipped(body: bytes) -> bytes:
    """As a bad line or disk spoils it: some bytes other than they were."""
    spoiled = bytearray(body)
    for at in range(0, len(spoiled), max(len(spoiled) // 16, 1)):
        spoiled[at] ^= 0xFF
    return bytes(spoiled)


WORKBOOK = zipped(
    ("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"<workbook/>" + bytes(range(256)))
)
GZIPPED = gzip.compress(CSV * 50, mtime=0)
PAGE = b"<!DOCTYPE html>\n<html><head><title>502 Bad\n Gateway</title></head></html>"
BOMB = zipped(("a.csv", bytes(8 * 2**20)))


def check(tmp_path: Path, kind: Kind, body: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(body)
    check_content(path, Download("file", "https://un.org/file", kind))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("zip", zipped(("folder/a.csv", CSV), ("inner.xlsx", WORKBOOK))),
        ("xlsx", WORKBOOK),
        ("csv", CSV),
        ("csv", b"\xef\xbb\xbfcode;name\r\n1;Lisbo\xc3\xa3\r\n"),
        ("csv", CSV.decode().encode("utf-16")),
        ("csv", b"Extracted on 2015-09-18,,\n,,\nYear,Name\n"),
        ("csv.gz", GZIPPED),
        ("json", b'[{"detail": "x"}]'),
        ("json", b'{"indexes": [], "message": "data with a message"}'),
    ],
)
def test_files_of_every_kind_pass(tmp_path: Path, kind: Kind, body: bytes) -> None:
    check(tmp_path, kind, body)


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("xlsx", PAGE, r"a web page \('502 Bad\\n Gateway'\), not a workbook"),
        ("csv", b"\xef\xbb\xbf\n <html>", "web page, not a CSV file"),
        ("csv", PAGE, "a web page"),
        ("json", PAGE, "a web page .*, not JSON"),
        ("csv.gz", PAGE, "a web page .*, not a gzipped CSV file"),
        ("csv.gz", gzip.compress(PAGE), "web page, not a CSV file"),
        ("zip", b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML message, not a zip"),
        ("csv", b'{"error": "rate limit"}', "JSON message, not a CSV file: .*rate limit"),
        ("json", b'{"detail": "Client is not registered."}', "a message, not with data: .*Client"),
        ("csv", b"Too many requests.\n", "text that is no table: Too many requests."),
        ("xlsx", b"", "answered with nothing, not a workbook"),
        ("csv", b" \n", "answered with nothing"),
        ("xlsx", zipped(("a.csv", CSV)), r"not a workbook: without '\[Content_Types\].xml'"),
        ("xlsx", WORKBOOK[:-30], "is damaged, or not a workbook"),
        ("xlsx", flipped(WORKBOOK), "is damaged, or not a workbook|has an encrypted member"),
        ("zip", flipped(zipped(("a.csv", CSV * 50))), "is damaged, or not a zip archive"),
        ("csv.gz", flipped(GZIPPED), "is damaged, or not a gzipped CSV file"),
        ("csv.gz", GZIPPED[:-12], "is damaged, or not a gzipped"),
        ("csv.gz", GZIPPED[:20] + b"\xff\xff" + GZIPPED[22:], "is damaged, or not a gzipped"),
        ("csv", flipped(CSV * 50), "is damaged, or not UTF-8 text: near byte 1"),
        ("csv", b"a,b\n" * 300_000 + b"\xff", "near byte 1,200,001"),
        ("csv", CSV + b"\0", "NUL bytes"),
        ("json", flipped(b'{"items": [1, 2, 3], "page": 1}'), "is damaged, or not JSON"),
        ("json", b'{"items": [', "is damaged, or not JSON"),
        ("json", b"[" * 100_000, "is damaged, or not JSON"),
    ],
)
def test_what_is_not_the_file_is_told_for_what_it_is(
    tmp_path: Path, kind: Kind, body: bytes, says: str
) -> None:
    with pytest.raises(ContentError, match=says):
        check(tmp_path, kind, body)


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("zip", zipped(("../x", b"")), r"written outside its folder: '../x'"),
        ("zip", zipped(("a/../../x", b"")), "written outside"),
        ("zip", zipped(("/etc/passwd", b"")), "written outside"),
        ("zip", zipped(("C:\\x", b"")), "written outside"),
        ("zip", zipped(("..\\x", b"")), "written outside"),
        ("xlsx", zipped(("[Content_Types].xml", b""), ("../x", b"")), "written outside"),
        ("zip", zipped((link("a"), b"/etc/passwd")), "is a symbolic link: 'a'"),
        ("zip", encrypted(zipped(("a", b"x"))), "has an encrypted member: 'a'"),
        ("zip", zipped(*((str(n), b"") for n in range(2001))), "has 2,001 members"),
        ("zip", BOMB, "unpacks .* bytes to 8,388,608 or more, over 200 times"),
        ("zip", zipped(("inner.zip", BOMB)), "over 200 times"),
        ("csv.gz", gzip.compress(b"a,b\n" * 2**21), "over 200 times"),
    ],
)
def test_archives_that_would_do_harm_are_refused_for_good(
    tmp_path: Path, kind: Kind, body: bytes, says: str
) -> None:
    with pytest.raises(UnsafeError, match=says):
        check(tmp_path, kind, body)


def test_harm_is_believed_the_second_time_since_damage_can_look_like_it(store: RawStore) -> None:
    archive, good = Download("a.zip", "https://un.org/a.zip", "zip"), zipped(("a.csv", CSV))
    with publisher(Reply(BOMB)) as server:
        outcome = refresh(server, store, archive, retries=4)
    assert (outcome.status, outcome.requests) == ("failed", 2)
    with publisher([Reply(encrypted(good)), Reply(PAGE), Reply(good)]) as server:
        assert refresh(server, store, archive).status == "new"


# -------------------------------------------------------------------- trouble on this side


def test_a_folder_that_cannot_be_used_is_an_error_that_says_where(
    tmp_path: Path, store: RawStore
) -> None:
    (tmp_path / "file").write_text("a file in the way")
    store.root.mkdir()
    (store.root / ".incoming").write_text("another")
    with publisher(Reply(CSV)) as server:
        with pytest.raises(RawStoreError, match=r"file/raw.lock.json: cannot be read"):
            refresh(server, RawStore(tmp_path / "file"))
        with pytest.raises(DownloadError, match=r"un: .*\.incoming.* Nothing was kept"):
            refresh(server, store)
    assert server.asked == []
