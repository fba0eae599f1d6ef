"""Running the whole product in tests: its command line, and publishers that answer with faults.

``World`` is a raw store, a folder of releases and suites that a test may spoil; ``Mirror`` serves
the files of a raw store over HTTP as their publishers would, so that these tests need nothing
from outside the project.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import duckdb
import publishers

from urban_migration import build, release
from urban_migration.raw import Fetched, RawStore

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "data" / "raw" / "bundled"
EXPECTATIONS = ROOT / "expectations"
PATIENCE = 600
"""Seconds that a command may take on a busy machine."""


# ------------------------------------------------------------------ the command line


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Running:
    """A command under way; its output never is a pipe that a child could hold."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def end(self) -> Ended:
        """Wait for its end."""
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        texts = []
        for stream in (self.out, self.err):
            stream.seek(0)
            texts.append(stream.read().decode())
            stream.close()
        return Ended(code, *texts)


def cli(*arguments: object, **options: Any) -> Ended:
    """Run ``urban-migration`` to its end."""
    return start(*arguments, **options).end()


def start(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    preexec: Callable[[], object] | None = None,
) -> Running:
    """Start ``urban-migration``, from a folder that has nothing to do with it."""
    command = [*prefix, sys.executable, "-m", "urban_migration.cli", *map(str, arguments)]
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env={**_without_prefect(os.environ), **(env or {})},
        preexec_fn=preexec,
        cwd=tempfile.gettempdir(),
    )
    return Running(process, out, err)


def _without_prefect(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings that ``flows.settle`` made for this process."""
    return {name: value for name, value in env.items() if not name.startswith("PREFECT_")}


# ------------------------------------------------------------------ raw store and releases


@dataclass(frozen=True)
class World:
    """A raw store and the releases made from it, below one folder."""

    root: Path

    @property
    def raw(self) -> Path:
        """The raw store."""
        return self.root / "raw"

    @property
    def out(self) -> Path:
        """Where releases are published."""
        return self.root / "processed"

    @property
    def expectations(self) -> Path:
        """The project's suites, without bands of row counts."""
        return self.root / "expectations"

    def build(self, **options: Any) -> build.Outcome:
        """From the raw store to the latest release, in this process."""
        return build.build(RawStore(self.raw), self.out, self.expectations, **options)

    def receive(self, source_id: str, files: Mapping[str, bytes]) -> None:
        """Commit files to the raw store as a refresh does."""
        store = RawStore(self.raw)
        had = store.files(source_id)
        with store.incoming(source_id) as folder:
            new = {}
            for name, content in files.items():
                path = folder / name
                path.write_bytes(content)
                sha = hashlib.sha256(content).hexdigest()
                url = had[name].url if name in had else publishers._url(source_id, name)
                new[name] = Fetched(name, url, path, sha, len(content), None, None)
            store.commit(source_id, new)

    def receive_tiny(self, spoil: publishers.Spoil | None = None, **changes: Any) -> None:
        """Commit the tiny edition, changed or spoilt; files that are the same stay."""
        files = publishers.files_of(publishers.Edition(**changes), spoil)
        for source_id, content in files.items():
            self.receive(source_id, content)

    def copy(self, to: Path) -> World:
        """The same world elsewhere."""
        shutil.copytree(self.root, to, symlinks=True, dirs_exist_ok=True)
        return World(to)


def tiny_world(root: Path) -> World:
    """The tiny edition, not yet built."""
    world = World(root)
    publishers.tiny_edition(world.raw)
    shutil.move(world.raw / "mirror", world.root / "mirror")
    publishers.tiny_expectations(EXPECTATIONS, world.expectations)
    return world


def standing(out: Path) -> str:
    """The id of the latest release, which is whole and opens in both formats."""
    folder = release.resolve(out)
    release.verify(folder)
    query = "select count(*), sum(population)::bigint from {}"
    with duckdb.connect(str(folder / release.DATABASE), read_only=True) as con:
        (one,) = con.execute(query.format("city_population")).fetchall()
        (two,) = con.execute(query.format(f"'{folder / 'city_population.parquet'}'")).fetchall()
    assert one == two and one[0] > 0
    return folder.name


def ask(out: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows that the latest release's database answers."""
    with duckdb.connect(str(release.resolve(out) / release.DATABASE), read_only=True) as con:
        return con.execute(query).fetchall()


# ------------------------------------------------------------------ publishers


@dataclass
class Fault:
    """Spoils the next ``times`` answers (-1: all) to addresses that contain ``match``."""

    match: str
    kind: str
    times: int = -1


@dataclass
class Mirror:
    """What the publishers serve, by path and query; may be changed while it runs."""

    files: dict[str, bytes]
    faults: list[Fault] = field(default_factory=list)
    log: list[tuple[str, int, int]] = field(default_factory=list)
    base_url: str = ""

    @classmethod
    def of(cls, raw: Path) -> Mirror:
        """The files of a raw store at the addresses that its lock has."""
        store = RawStore(raw)
        return cls(
            {
                file.url.removeprefix("https:/"): _as_served(file.path)
                for source_id in store.sources()
                for file in store.files(source_id).values()
            }
        )

    def serve(self, source_id: str, files: Mapping[str, bytes]) -> None:
        """Let the publisher serve other bytes."""
        for name, content in files.items():
            self.files[publishers._url(source_id, name).removeprefix("https:/")] = content

    def known(self, path: str) -> str:
        """A path as its publisher writes it: clients escape brackets, which mean the same."""
        return next((each for each in self.files if unquote(each) == unquote(path)), path)

    def fault(self, path: str) -> str | None:
        """The kind of fault that this answer gets."""
        for fault in self.faults:
            if fault.times and fault.match in path:
                fault.times -= 1
                return fault.kind
        return None

    @contextmanager
    def running(self) -> Iterator[Mirror]:
        """Serve on the loopback interface for as long as the block."""
        handler = type("Handler", (_Handler,), {"mirror": self})
        with _Server(("127.0.0.1", 0), handler) as server:
            self.base_url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def _as_served(path: Path) -> bytes:
    """The bytes of a file; the extract keeps text compressed under names that do not say so."""
    content = path.read_bytes()
    packed = path.suffix != ".gz" and content.startswith(b"\x1f\x8b")
    return gzip.decompress(content) if packed else content


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has heard enough, or was reset on purpose, is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def do_GET(self) -> None:
        self.path = self.mirror.known(self.path)
        body = self.mirror.files.get(self.path)
        if body is None:
            self._answer(404, b"<html>not here</html>")
            return
        fault = self.mirror.fault(self.path)
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if fault:
            self._spoil(fault, body)
        elif self.headers.get("If-None-Match") == tag:
            self._answer(304, b"", ETag=tag)
        else:
            self._answer(200, body, ETag=tag)

    def _answer(self, status: int, body: bytes, length: int | None = None, **more: str) -> None:
        self.mirror.log.append((self.path, status, len(body)))
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _spoil(self, fault: str, body: bytes) -> None:
        half = body[: len(body) // 2]
        if fault.isdecimal():
            self._answer(int(fault), b"<html>not now</html>", Retry_After="0")
        elif fault == "html":
            self._answer(200, b"<!DOCTYPE html><html><title>Maintenance</title></html>")
        elif fault == "corrupt":
            middle = len(half)
            self._answer(200, half + bytes(16) + body[middle + 16 :])
        elif fault == "stall":
            time.sleep(3)
            self.close_connection = True
        elif fault == "slow":
            self._answer(200, half[:10], length=len(body))
            for at in range(10, 40):
                time.sleep(0.1)
                self.wfile.write(body[at : at + 1])
            self.close_connection = True
        else:  # reset or truncate
            self._answer(200, half, length=len(body))
            if fault == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
