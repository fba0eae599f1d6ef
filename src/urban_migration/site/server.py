"""A static server for this machine alone, with the range requests that the site reads by.

For looking at a site before it is published.  It binds the loopback address and nothing else;
what people see on a network belongs on a real web server.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Final

from urban_migration.errors import UsageError

HOST: Final = "127.0.0.1"
TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".parquet": "application/vnd.apache.parquet",
    ".md": "text/markdown; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".duckdb": "application/octet-stream",
    ".f32": "application/octet-stream",
    "": "text/plain; charset=utf-8",
}
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class _Part:
    """The bytes of a file that a range asks for, as the handler's copying reads them."""

    def __init__(self, stream: BinaryIO, start: int, length: int) -> None:
        stream.seek(start)
        self._stream, self._left = stream, length

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, whole or in part; quiet unless told otherwise."""

    protocol_version = "HTTP/1.1"
    ranges = True
    extensions_map = {**mimetypes.types_map, **TYPES}  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal shows where the site is and stays readable."""

    def end_headers(self) -> None:
        """Add what a careful host would send too."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> None:  # noqa: ARG002
        """No listings: a folder without a page is not found."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def send_head(self) -> Any:
        """Answer a range of bytes with them; everything else as the base class does."""
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not (self.ranges and wanted and _RANGE.fullmatch(wanted) and path.is_file()):
            return super().send_head()
        size = path.stat().st_size
        span = _span(wanted, size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        start, end = span
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(end - start + 1))
        self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
        self.end_headers()
        return _Part(path.open("rb"), start, end - start + 1)


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header means, or None where the file has none of it."""
    match = _RANGE.fullmatch(wanted)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(size - int(match[2]), 0), size - 1
    else:
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
    return (start, end) if start <= end else None


def start(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of ``folder`` on the loopback address; port 0 takes any that is free."""
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder}: no site is here. Make one with `urban-migration site`.")
    try:
        server = ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        raise UsageError(f"{HOST}:{port}: {error.strerror}. Choose another --port.") from None
    server.daemon_threads = True
    return server


def serve(folder: Path, port: int = 0, say: Callable[[str], None] = print) -> None:
    """Serve ``folder`` to this machine until interrupted, and say where."""
    with start(folder, port) as server:
        say(f"http://{HOST}:{server.server_port}/  (this machine only; Ctrl+C stops it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
