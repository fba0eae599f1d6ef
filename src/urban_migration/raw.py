"""The raw store: the publishers' files as they were served, and the lock that describes them.

The files of one source change together: whoever reads them finds the set of one refresh or that
of the next, never a mixture, wherever a run was killed.  Bytes that were replaced are kept under
their hash.  Nothing here opens a connection.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urban_migration.errors import RawStoreError
from urban_migration.files import atomic_write_bytes, exclusive_lock, sha256_file, sync, utc_now

VERSION = 1
LOCK = "raw.lock.json"
PREVIOUS = "previous"
WORK = ".incoming"
"""Files on their way in and the lock files; what is in it may be removed between runs."""
ENTRY = ("url", "sha256", "bytes", "etag", "last_modified", "first_seen")


@dataclass(frozen=True)
class Fetched:
    """A file that has just come and waits beside the store; ``path`` is temporary."""

    name: str
    url: str
    path: Path
    sha256: str
    bytes: int
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class RawFile:
    """A file of the store; ``first_seen`` is when these bytes were first had (UTC)."""

    name: str
    url: str
    sha256: str
    bytes: int
    etag: str | None
    last_modified: str | None
    first_seen: str
    path: Path

    @property
    def intact(self) -> bool:
        """Whether the file holds the bytes that the lock says."""
        try:
            same_size = self.path.stat().st_size == self.bytes
            return same_size and sha256_file(self.path) == self.sha256
        except (FileNotFoundError, NotADirectoryError):
            return False

    @property
    def kept(self) -> Path:
        """Where these bytes are once others have taken their place."""
        return self.path.parent / PREVIOUS / self.sha256


class RawStore:
    """The files below ``root``, by source, with ``raw.lock.json``.

    Reading writes nothing, so that a store may be read-only; only a set that a killed run left
    torn is put right by :meth:`verify`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / LOCK

    @property
    def empty(self) -> bool:
        """Whether no source was ever had."""
        return not self.sources()

    def sources(self) -> list[str]:
        """The sources that were ever had, in order."""
        return sorted(self._load())

    def files(self, source_id: str) -> dict[str, RawFile]:
        """The files of a source by name, as the lock has them; none if it was never had."""
        return self._files(self._load(), source_id)

    def verify(self, source_id: str) -> dict[str, RawFile]:
        """The files of a source, each with the bytes that the lock says.

        A file that a killed run had already replaced is put back.  Raises
        :class:`RawStoreError` with the name of a file whose bytes are nowhere.
        """
        files = self.files(source_id)
        torn = [file for file in files.values() if not file.intact]
        if any(file.kept.is_file() for file in torn):
            with self._writing():  # who is committing now may finish first
                files = self.files(source_id)
                torn = self._put_back(files)
        if torn:
            names = ", ".join(str(file.path) for file in torn)
            raise RawStoreError(
                f"{names}: missing, or not the bytes that {self.lock} says. "
                f"Fetch again: urban-migration refresh --source {source_id}"
            )
        return files

    @contextmanager
    def reading(self, source_id: str) -> Iterator[dict[str, RawFile]]:
        """The verified files of a source, which stay as they are until the end of the block.

        Commits of other processes wait meanwhile, and so does one of the same thread: read
        first, then refresh.
        """
        while True:
            with self._sharing():
                files = self.files(source_id)
                if all(file.intact for file in files.values()):
                    yield files
                    return
            self.verify(source_id)

    @contextmanager
    def incoming(
        self,
        source_id: str,
        *,
        wait_seconds: float = 3600.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> Iterator[Path]:
        """An empty folder for the files of one refresh of one source.

        A second refresh of the source waits for the first, so that it finds the new files
        instead of fetching them again.  What a killed run left there is removed.
        """
        folder = self.root / WORK / source_id
        lock = folder.with_name(f"{source_id}.lock")
        with exclusive_lock(lock, wait_seconds=wait_seconds, on_wait=on_wait):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def commit(self, source_id: str, new: Mapping[str, Fetched | RawFile]) -> None:
        """Make ``new`` the files of a source, all at once; other names leave the set.

        A :class:`RawFile` in ``new`` stays as it is.  The temporary files of the others are
        moved; they must be on the store's file system.  The lock changes only when an address
        or the bytes do.  On an error (``OSError`` where the disk is full) the old set stands.
        """
        _refuse_odd_names(source_id, new)
        with self._writing():
            lock = self._load()
            old = self._files(lock, source_id)
            after = {name: self._after(source_id, item, old) for name, item in new.items()}
            try:
                self._keep(old, after)
                for name, item in new.items():
                    _place(item, after[name])
                if _content(after) != _content(old):
                    entries = {name: _entry(file) for name, file in after.items()}
                    self._save(lock | {source_id: {"files": entries}})
            except BaseException:
                self._take_back(source_id, after)
                raise
            for name in old.keys() - after.keys():
                old[name].path.unlink(missing_ok=True)

    def _after(
        self, source_id: str, item: Fetched | RawFile, old: Mapping[str, RawFile]
    ) -> RawFile:
        """What the lock is to say of a file: the same bytes keep the day they were first seen."""
        was = old.get(item.name)
        if isinstance(item, RawFile):
            first_seen = item.first_seen
        else:
            first_seen = was.first_seen if was and was.sha256 == item.sha256 else utc_now()
        return RawFile(
            item.name,
            item.url,
            item.sha256,
            item.bytes,
            item.etag,
            item.last_modified,
            first_seen,
            self.root / source_id / item.name,
        )

    def _keep(self, old: Mapping[str, RawFile], after: Mapping[str, RawFile]) -> None:
        """Give the bytes that are about to go a second name, their hash."""
        going = [
            file
            for name, file in old.items()
            if (name not in after or after[name].sha256 != file.sha256) and file.intact
        ]
        for file in going:
            file.kept.parent.mkdir(exist_ok=True)
            if not file.kept.exists() or sha256_file(file.kept) != file.sha256:
                _duplicate(file.path, file.kept)
        if going:
            sync(going[0].kept.parent)

    def _put_back(self, files: Mapping[str, RawFile]) -> list[RawFile]:
        """Restore files from their kept bytes; returns those that have none."""
        lost = []
        for file in files.values():
            if file.intact:
                continue
            if file.kept.is_file() and sha256_file(file.kept) == file.sha256:
                _duplicate(file.kept, file.path)
            else:
                lost.append(file)
        return lost

    def _take_back(self, source_id: str, after: Mapping[str, RawFile]) -> None:
        """After an error: the files are again what the lock says, and nothing else is left."""
        with suppress(OSError):  # on a broken disk the next ``verify`` does it
            stands = self.files(source_id)
            self._put_back(stands)
            for name in after.keys() - stands.keys():
                after[name].path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with exclusive_lock(self.root / WORK / ".lock"):
            for pattern in (".*.tmp", "*/.*.tmp", f"*/{PREVIOUS}/.*.tmp"):
                for leftover in self.root.glob(pattern):
                    leftover.unlink(missing_ok=True)
            yield

    @contextmanager
    def _sharing(self) -> Iterator[None]:
        lock = self.root / WORK / ".lock"
        if lock.exists():
            with exclusive_lock(lock, shared=True):
                yield
        else:  # a store that nobody refreshes, such as the bundled extract
            yield

    def _load(self) -> dict[str, Any]:
        try:
            lock = json.loads(self.lock.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RawStoreError(f"{self.lock}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise RawStoreError(
                f"{self.lock}: not readable as JSON ({error}). Restore it, or remove the folder "
                f"{self.root} and fetch everything again: urban-migration refresh"
            ) from error
        if not isinstance(lock, dict) or lock.get("version") != VERSION:
            raise RawStoreError(
                f"{self.lock}: not a raw store of version {VERSION}; it was written by another "
                "version of urban-migration. Use that version, or another --raw folder."
            )
        sources: dict[str, Any] = lock["sources"]
        return sources

    def _files(self, lock: Mapping[str, Any], source_id: str) -> dict[str, RawFile]:
        try:
            entries = lock.get(source_id, {"files": {}})["files"]
            return {
                name: RawFile(
                    name=name,
                    path=self.root / source_id / name,
                    **{member: entry[member] for member in ENTRY},
                )
                for name, entry in sorted(entries.items())
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise RawStoreError(
                f"{self.lock}: the entry of {source_id} is not as expected ({error!r}). "
                "Restore the file from a copy."
            ) from error

    def _save(self, sources: Mapping[str, Any]) -> None:
        lock = {"version": VERSION, "sources": sources}
        text = json.dumps(lock, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        atomic_write_bytes(self.lock, text.encode())


def _entry(file: RawFile) -> dict[str, Any]:
    return {member: getattr(file, member) for member in ENTRY}


def _content(files: Mapping[str, RawFile]) -> dict[str, tuple[str, str]]:
    return {name: (file.url, file.sha256) for name, file in files.items()}


def _refuse_odd_names(source_id: str, names: Mapping[str, object]) -> None:
    for name in (source_id, *names):
        if name in ("", PREVIOUS) or name.startswith(".") or "/" in name or "\0" in name:
            raise RawStoreError(f"{name!r} cannot be the name of a source or of its file")


def _place(item: Fetched | RawFile, target: RawFile) -> None:
    """Bring the bytes of ``item`` to where ``target`` says."""
    if target.intact:
        if isinstance(item, Fetched):
            item.path.unlink(missing_ok=True)
        return
    target.path.parent.mkdir(exist_ok=True)
    if isinstance(item, Fetched):
        sync(item.path)
        os.replace(item.path, target.path)  # noqa: PTH105 (the tests of kill -9 stop here)
        sync(target.path.parent)
    elif target.kept.is_file() and sha256_file(target.kept) == target.sha256:
        _duplicate(target.kept, target.path)
    else:
        raise RawStoreError(f"{target.path}: its bytes are gone; refresh the source again")


def _duplicate(source: Path, target: Path) -> None:
    """Give the bytes of ``source`` the name ``target`` too, in one step.

    A second link needs no space, which matters on a full disk; where the file system has no
    links the bytes are copied.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            sync(temporary)
        os.replace(temporary, target)  # noqa: PTH105
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync(target.parent)
