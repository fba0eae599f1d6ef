"""Writing files so that nothing half-done is ever seen, and locks between processes.

What is here knows nothing of raw stores or releases; both stand on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from urban_migration.errors import ProductError


class LockedError(ProductError):
    """Another process holds a lock for longer than one is willing to wait."""


def utc_now() -> str:
    """The time to the second, as the lock and ``status.json`` write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step: a reader sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (the tests of kill -9 stop at this call)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def exclusive_lock(
    path: Path,
    *,
    wait_seconds: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
    shared: bool = False,
) -> Iterator[None]:
    """Hold the lock file ``path``, alone or, with ``shared``, beside others who share it.

    The file holds the process id of the one that has it alone; ``on_wait`` is told once who that
    is.  The system releases the lock when its holder ends, however it ends, so a lock file that
    lies about locks nobody out.  Raises :class:`LockedError` after ``wait_seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(handle, path, wait_seconds, on_wait, shared)
        if not shared:
            os.ftruncate(handle, 0)
            with suppress(OSError):  # a full disk costs the name of the holder, not the lock
                os.pwrite(handle, f"process {os.getpid()} since {utc_now()}\n".encode(), 0)
        try:
            yield
        finally:
            if not shared:
                os.ftruncate(handle, 0)
            fcntl.flock(handle, fcntl.LOCK_UN)  # also for workers that were forked meanwhile
    finally:
        os.close(handle)


def _acquire(
    handle: int,
    path: Path,
    wait_seconds: float,
    on_wait: Callable[[str], None] | None,
    shared: bool,
) -> None:
    deadline, pause = time.monotonic() + wait_seconds, 0.002
    while True:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            holder = holder or "a process that reads"
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{path}: in use by {holder}; gave up after {wait_seconds:g} s. "
                    "Wait until it has finished, or stop it, and try again."
                ) from None
            if on_wait is not None and pause > 0.05:
                on_wait(f"waiting for {holder} ({path})")
                on_wait = None
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
        else:
            return
