"""Publishes, finds and verifies releases: the folders that readers open.

A release is written in full in a staging folder (``writing``), then renamed into place, then
``latest`` is moved to it; whatever happens in between, readers see the old release or the new
one.  ``status.json`` beside them says when each source was last looked at.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

from urban_migration import diff
from urban_migration.errors import ReleaseError
from urban_migration.files import (
    atomic_write_bytes,
    exclusive_lock,
    sha256_file,
    sync,
    utc_now,
)

if TYPE_CHECKING:
    from urban_migration.download import Outcome

DATABASE: Final = "urban_migration.duckdb"
SUMS: Final = "SHA256SUMS"
BESIDE_TABLES: Final = (
    DATABASE,
    "changes.json",
    "changes.md",
    "datapackage.json",
    "quality.html",
    "quality.json",
)
RELEASE_ID: Final = re.compile(r"umi-(private-)?(bundled-)?[0-9a-f]{12}")
PRIVATE: Final = "private"
"""Folder below the public releases for those that must not be passed on."""


# ---- publishing ----------------------------------------------------------------------------


@dataclass(frozen=True)
class PublishOutcome:
    """``published`` is false where ``latest`` was this very release already."""

    published: bool
    release_id: str


@contextmanager
def publishing(
    out: Path, *, wait_seconds: float = 600.0, on_wait: Callable[[str], None] | None = None
) -> Iterator[Path]:
    """Hold the right to publish in ``out`` and give an empty staging folder inside it.

    One process at a time, from before the previous release is looked at until ``latest`` is
    moved.  What a killed run left behind is cleared first.
    """
    with exclusive_lock(out / ".publish.lock", wait_seconds=wait_seconds, on_wait=on_wait):
        incoming = out / ".incoming"
        staging = incoming / "release"
        shutil.rmtree(incoming, ignore_errors=True)
        try:
            try:
                staging.mkdir(parents=True)
            except OSError as error:
                raise failed(error, f"preparing {incoming}") from error
            yield staging
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def publish(
    staging: Path, out: Path, release_id: str, *, keep: int | None = None
) -> PublishOutcome:
    """Make the release in ``staging`` the latest one of ``out``; call it inside `publishing`.

    A release of that id that stands already, whole, is kept as it is and ``staging`` dropped.
    ``keep`` limits how many releases stay.  Raises ReleaseError; ``latest`` then stands.
    """
    releases = out / "releases"
    target = releases / release_id
    try:
        releases.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _settle(staging, target)
        else:
            os.rename(staging, target)  # noqa: PTH104 (the tests of kill -9 stop at this call)
        sync(releases)
        published = _point(out, release_id)
    except OSError as error:
        raise failed(error, f"publishing {release_id} in {out}") from error
    if keep is not None:
        prune(out, keep)
    return PublishOutcome(published, release_id)


def _settle(staging: Path, target: Path) -> None:
    """Keep a whole release; mend a damaged one file by file, so that it never is out of sight."""
    try:
        verify(target)
    except ReleaseError:
        for path in sorted(staging.iterdir(), key=lambda path: path.name == SUMS):
            os.replace(path, target / path.name)  # noqa: PTH105
        sync(target)
    shutil.rmtree(staging)


def _point(out: Path, release_id: str) -> bool:
    """Move ``latest``; says whether it pointed elsewhere."""
    link, goal = out / "latest", f"releases/{release_id}"
    if link.is_symlink() and os.readlink(link) == goal:  # noqa: PTH115 (text, not a path)
        return False
    if link.is_dir() and not link.is_symlink():
        raise ReleaseError(
            f"{link} is a folder, not the link to a release that this program keeps there. "
            "Move it away and run again."
        )
    os.utime(out / goal)  # retention counts from when a release was last made the latest
    temporary = out / ".incoming" / f"latest-{secrets.token_hex(4)}"
    temporary.parent.mkdir(exist_ok=True)
    os.symlink(goal, temporary)  # noqa: PTH211
    os.replace(temporary, link)  # noqa: PTH105
    with suppress(OSError):  # it has moved; after a power cut either link stands, and both hold
        sync(out)
    return True


def prune(out: Path, keep: int) -> list[str]:
    """Remove all but the ``keep`` newest releases, never ``latest``; return the ids removed.

    No release needs another: a file that two of them share is linked, and stays.
    """
    if keep < 1:
        raise ReleaseError(f"cannot keep {keep} releases: the latest one always stays; keep >= 1")
    current = latest(out)
    old = [path for path in _releases(out) if current is None or path.name != current.name]
    spare = old[keep - (current is not None) :]
    incoming = out / ".incoming"
    for path in spare:
        away = incoming / f"{path.name}-{secrets.token_hex(4)}"
        try:
            incoming.mkdir(exist_ok=True)
            os.rename(path, away)  # noqa: PTH104 (out of sight at once, then removed)
        except OSError as error:
            raise ReleaseError(f"the old release {path} cannot be removed: {error}") from error
        shutil.rmtree(away, ignore_errors=True)
    return [path.name for path in spare]


def _releases(out: Path) -> list[Path]:
    """The release folders of ``out``, the one most recently published first."""
    folder = out / "releases"
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if RELEASE_ID.fullmatch(path.name)]
    return sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name))


def home(out: Path, private: bool) -> Path:
    """Where releases are kept: private ones apart from those for the public."""
    return out / PRIVATE if private else out


def failed(error: Exception, doing: str) -> ReleaseError:
    """What a fault of the disk or of a library that writes means for the reader."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or re.search("No space left|File too large|quota", str(error)):
        return ReleaseError(
            f"no space left on the disk while {doing}. Nothing of it was kept and the previous "
            "release stands: free some space and run again."
        )
    return ReleaseError(f"{doing} failed: {error}. The previous release stands.")


# ---- reading -------------------------------------------------------------------------------


def latest(out: Path) -> Path | None:
    """The folder of the latest release, or None where there is none yet."""
    link = out / "latest"
    if not (link / SUMS).is_file():
        return None
    return out / "releases" / link.resolve().name if link.is_symlink() else link


def resolve(out: Path, wanted: str = "latest") -> Path:
    """The folder that ``latest``, the id of a release in ``out``, or a path to a folder means."""
    if wanted == "latest":
        current = latest(out)
        if current is None:
            raise ReleaseError(
                f"{out}: no release yet. Run `urban-migration refresh` (or `build`) first, "
                "or name another folder."
            )
        return current
    folder = out / "releases" / wanted
    if not (RELEASE_ID.fullmatch(wanted) and folder.is_dir()):
        folder = Path(wanted)
    if (folder / "datapackage.json").is_file():
        return folder
    known = ", ".join(path.name for path in _releases(out)[:5]) or "none"
    raise ReleaseError(
        f"{wanted}: neither the id of a release in {out} nor the folder of one. "
        f"Releases there: {known}."
    )


def verify(folder: Path) -> None:
    """Raise ReleaseError with the name of every file that is missing or not as it was written."""
    hashes = read_sums(folder)
    advice = "Restore the folder from a copy, or remove it and run `urban-migration build`."
    if not hashes:
        raise ReleaseError(f"{folder / SUMS} is missing or empty. {advice}")
    missing = [name for name in sorted(hashes) if not (folder / name).is_file()]
    present = [name for name in sorted(hashes) if name not in missing]
    with ThreadPoolExecutor(2) as pool:
        now = list(pool.map(lambda name: sha256_file(folder / name), present))
    wrong = [f"{name} is missing" for name in missing]
    wrong += [
        f"{name} differs from {SUMS}"
        for name, found in zip(present, now, strict=True)
        if found != hashes[name]
    ]
    if not wrong:
        expected = {*BESIDE_TABLES, *(f"{name}.parquet" for name in diff.resources(folder))}
        wrong = [f"{SUMS} does not list {name}" for name in sorted(expected - hashes.keys())]
    if wrong:
        raise ReleaseError(f"{folder}: {'; '.join(wrong)}. {advice}")


def read_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a release, as written with it; {} where there is no list."""
    path = folder / SUMS
    if not path.is_file():
        return {}
    hashes = {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)", line)
        if match is None:
            raise ReleaseError(f"{path}, line {number}: not a SHA-256 and a file name: {line!r}")
        hashes[match[2]] = match[1]
    return hashes


# ---- status.json ---------------------------------------------------------------------------


class SourceStatus(TypedDict):
    """When a source was last checked, changed and failed (UTC, ISO 8601; None: never)."""

    last_checked: str | None
    last_changed: str | None
    last_failed: str | None
    error: str | None


class Status(TypedDict):
    """What stands beside the releases: the latest one, what it was built from, the sources.

    ``left_out`` are experimental sources that the inputs have and the release does not, and why.
    """

    version: int
    release: str | None
    inputs: str | None
    sources: dict[str, SourceStatus]
    left_out: NotRequired[dict[str, str]]


def read_status(out: Path) -> Status:
    """Read ``status.json``; where there is none yet, a status that knows of nothing."""
    path = out / "status.json"
    try:
        status = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Status(version=1, release=None, inputs=None, sources={})
    except ValueError as error:
        raise ReleaseError(f"{path} is not JSON ({error}). Remove it and run again.") from error
    if not isinstance(status, dict) or status.get("version") != 1:
        raise ReleaseError(f"{path} is not a status of version 1. Remove it and run again.")
    known = Status(
        version=1,
        release=status.get("release"),
        inputs=status.get("inputs"),
        sources=status.get("sources", {}),
    )
    return Status(**known, left_out=status["left_out"]) if status.get("left_out") else known


def write_status(out: Path, status: Status) -> None:
    """Replace ``status.json`` in one step; equal bytes are left alone."""
    told = {name: value for name, value in status.items() if name != "left_out" or value}
    data = (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    path = out / "status.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (path.is_file() and path.read_bytes() == data):
            atomic_write_bytes(path, data)
    except OSError as error:
        raise failed(error, f"writing {path}") from error


def note_downloads(out: Path, outcomes: Iterable[Outcome]) -> None:
    """Note of each source whether its publisher answered now, and whether the bytes changed."""
    status, now = read_status(out), utc_now()
    for outcome in outcomes:
        never = SourceStatus(last_checked=None, last_changed=None, last_failed=None, error=None)
        entry = status["sources"].setdefault(outcome.source_id, never)
        if outcome.status == "failed":
            entry["last_failed"], entry["error"] = now, outcome.error
        else:
            entry["last_checked"], entry["error"] = now, None
            if outcome.status != "unchanged":
                entry["last_changed"] = now
    write_status(out, status)


def stale_sources(out: Path) -> dict[str, str]:
    """Sources whose publisher did not answer when last asked, with the error."""
    sources = read_status(out)["sources"]
    return {source_id: entry["error"] for source_id, entry in sources.items() if entry["error"]}
