"""Whether the bytes that came are the file that was asked for: judged by the bytes alone.

Headers are not believed: an error page with status 200 is not a workbook.  What a member, a
row or a column holds is the reader's affair; here only the container is looked at, within
limits that no publisher's file comes near.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import hashlib
import html
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple

import orjson

from urban_migration.errors import DownloadError
from urban_migration.sources.source import Download

MAX_MEMBERS = 2_000
MAX_UNPACKED = 2**30
MAX_RATIO = 200
"""Unpacked bytes per packed byte; a workbook reaches 10, a CSV of one repeated line 100."""
SMALL = 2**20
"""The ratio of what unpacks to less than this is of no consequence."""
MAX_PAGES = 10_000
CHUNK = 2**20

NOUNS = {
    "zip": "a zip archive",
    "xlsx": "a workbook",
    "csv": "a CSV file",
    "csv.gz": "a gzipped CSV file",
    "json": "JSON",
}
ITEM_MEMBERS = ("items", "results", "data")
ERROR_MEMBERS = {"error", "errors", "message", "detail"}
BESIDE_ERRORS = {"status", "statuscode", "code", "title", "type", "path", "timestamp", "success"}


class ContentError(DownloadError):
    """What came is not the file; another attempt may bring it."""


class UnsafeError(ContentError):
    """What came exceeds a limit or would write outside its folder; coming twice, it is meant."""


@dataclass(frozen=True)
class Page:
    """One page of a paged JSON API: how many there are, and how many items are on this one."""

    pages: int
    items: int
    digest: str


class Misfit(NamedTuple):
    """Why pages do not make up a set: where it shows, which to ask for again, what is wrong."""

    page: int
    again: set[int]
    what: str


def check_content(path: Path, download: Download) -> None:
    """Raise :class:`ContentError` unless ``path`` holds a whole file of the download's kind."""
    _refuse_other(path, download)
    checks: Mapping[str, Callable[[Path], None]] = {
        "zip": _check_zip,
        "xlsx": _check_workbook,
        "csv": _check_csv,
        "csv.gz": _check_csv_gz,
        "json": _check_json,
    }
    checks[download.kind](path)


def read_page(path: Path, download: Download, number: int) -> Page:
    """What page ``number`` says of itself; raises :class:`ContentError` if it is another."""
    _refuse_other(path, download)
    page, member = _json(path), download.pages
    pages = page.get(member) if isinstance(page, dict) else None
    if not isinstance(page, dict) or not isinstance(pages, int):
        raise ContentError(f"has no number of pages in {member!r}: {_excerpt(path)}")
    says = page.get("page", number)
    if str(says) != str(number):
        raise ContentError(f"asked for page {number}, answered with page {says}")
    items = next((page[name] for name in ITEM_MEMBERS if isinstance(page.get(name), list)), None)
    if items is None:
        raise ContentError(f"has no list of items (looked for {', '.join(ITEM_MEMBERS)})")
    if not items:
        raise ContentError(f"page {number} of {pages} has no items")
    if not 1 <= pages <= MAX_PAGES:
        raise ContentError(f"says that there are {pages} pages")
    return Page(pages, len(items), hashlib.sha256(orjson.dumps(items)).hexdigest())


def check_pages(pages: Mapping[int, Page]) -> Misfit | None:
    """What is wrong with a set of pages, if anything.

    Every page must name the same number of pages and none may repeat another; only the last
    may be shorter than the first.
    """
    first, last = pages[1], max(pages)
    seen: dict[str, int] = {}
    for number, page in sorted(pages.items()):
        if page.pages != first.pages:
            what = f"says that there are {page.pages} pages, page 1 says {first.pages}"
            return Misfit(number, set(pages), f"page {number} {what}")
        if (other := seen.setdefault(page.digest, number)) != number:
            return Misfit(number, {other, number}, f"page {number} repeats page {other}")
        if page.items > first.items or (number < last and page.items < first.items):
            what = f"of {last} has {page.items} items where page 1 has {first.items}"
            return Misfit(number, {1, number}, f"page {number} {what}")
    return None


def _refuse_other(path: Path, download: Download) -> None:
    """Recognise what services send instead of a file: nothing, a web page, a message."""
    with path.open("rb") as stream:
        head = stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    noun = NOUNS[download.kind]
    if not head:
        raise ContentError(f"answered with nothing, not {noun}")
    if head.startswith(b"<"):
        is_html = b"<html" in head.lower() or b"<!doctype html" in head.lower()
        title = re.search(rb"<title[^>]*>\s*(.*?)\s*</title", head, re.IGNORECASE | re.DOTALL)
        what = "a web page" if is_html else "an XML message"
        said = html.unescape(title[1].decode("utf-8", "replace")) if title else ""
        raise ContentError(f"answered with {what}{f' ({said[:80]!r})' if said else ''}, not {noun}")
    if download.kind != "json" and head.startswith((b"{", b"[")):
        raise ContentError(f"answered with a JSON message, not {noun}: {_excerpt(path)}")


def _excerpt(path: Path) -> str:
    """The beginning of a file, fit for a message."""
    with path.open("rb") as stream:
        text = stream.read(400).decode("utf-8", "replace")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 100 else text[:100] + "…"


def _check_zip(path: Path) -> None:
    with path.open("rb") as stream:
        _check_archive(stream, path.stat().st_size, "a zip archive")


def _check_workbook(path: Path) -> None:
    with path.open("rb") as stream:
        names = _check_archive(stream, path.stat().st_size, "a workbook")
    missing = {"[Content_Types].xml", "xl/workbook.xml"} - names
    if missing:
        raise ContentError(f"is a zip archive but not a workbook: without {min(missing)!r}")


def _check_archive(stream: IO[bytes], packed: int, noun: str) -> set[str]:
    """Limits first, from the directory; then every member is unpacked against its checksum."""
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            _refuse_unsafe(members, packed)
            for member in members:
                with archive.open(member) as content:
                    if member.filename.lower().endswith((".xlsx", ".zip")):
                        inner = io.BytesIO(content.read())
                        _check_archive(inner, member.file_size, "a zip archive")
                    while content.read(CHUNK):
                        pass
            return {member.filename for member in members}
    except ContentError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # a disk that cannot be read; zipfile itself seeks to where nothing can be
        raise ContentError(f"is damaged, or not {noun}: {error}") from error


def _refuse_unsafe(members: list[zipfile.ZipInfo], packed: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise UnsafeError(f"has {len(members):,} members; at most {MAX_MEMBERS:,} are accepted")
    if len({member.filename for member in members}) < len(members):
        raise UnsafeError("has two members of one name")
    for member in members:
        _refuse_unsafe_member(member)
        _refuse_bomb(member.file_size, member.compress_size)
    _refuse_bomb(sum(member.file_size for member in members), packed)


def _refuse_unsafe_member(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outside = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if outside or "\0" in name:
        raise UnsafeError(f"has a member that would be written outside its folder: {name!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UnsafeError(f"has a member that is a symbolic link: {name!r}")
    if member.flag_bits & 0x1:
        raise UnsafeError(f"has an encrypted member: {name!r}")


def _refuse_bomb(unpacked: int, packed: int) -> None:
    if unpacked > MAX_UNPACKED:
        raise UnsafeError(f"unpacks to more than {MAX_UNPACKED:,} bytes")
    if unpacked > SMALL and unpacked > MAX_RATIO * packed:
        raise UnsafeError(
            f"unpacks {packed:,} bytes to {unpacked:,} or more, over {MAX_RATIO} times as many"
        )


def _check_csv(path: Path) -> None:
    with path.open("rb") as stream:
        _check_text(iter(lambda: stream.read(CHUNK), b""), path)


def _check_csv_gz(path: Path) -> None:
    packed = path.stat().st_size

    def chunks() -> Iterator[bytes]:
        unpacked = 0
        with gzip.open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                unpacked += len(chunk)
                _refuse_bomb(unpacked, packed)
                yield chunk

    try:
        _check_text(chunks(), path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ContentError(f"is damaged, or not a gzipped CSV file: {error}") from error


def _check_text(chunks: Iterator[bytes], path: Path) -> None:
    """Accept UTF-8 (and UTF-16 that says so) in which the first lines look like a table.

    No source of ours is in an eight-bit encoding, and in UTF-8 flipped bytes show.
    """
    first = next(chunks, b"")
    wide = first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")()
    done = 0
    try:
        head = text = decoder.decode(first)
        done = len(first)
        for chunk in chunks:
            _refuse_nul(text)
            text = decoder.decode(chunk)
            done += len(chunk)
        _refuse_nul(text + decoder.decode(b"", final=True))
    except UnicodeDecodeError as error:
        raise ContentError(
            f"is damaged, or not UTF-8 text: near byte {done + error.start + 1:,}"
        ) from error
    lines = [line for line in head.splitlines() if line.strip()]
    if head.lstrip().startswith("<"):
        raise ContentError("holds a web page, not a CSV file")
    if len(lines) < 2 or not any(sign in line for line in lines for sign in ",;\t"):
        raise ContentError(f"answered with text that is no table: {_excerpt(path)}")


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise ContentError("is damaged: has NUL bytes in its text")


def _check_json(path: Path) -> None:
    value = _json(path)
    if isinstance(value, dict):
        names = {name.lower() for name in value}
        if names & ERROR_MEMBERS and names <= ERROR_MEMBERS | BESIDE_ERRORS:
            raise ContentError(f"answered with a message, not with data: {_excerpt(path)}")


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise ContentError(f"is damaged, or not JSON: {error}") from error
