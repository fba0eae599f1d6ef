"""Bringing the publishers' files into the raw store: politely, bounded, and whole or not at all.

A source is asked for what changed since the files in the store came; what comes is written
beside the store, checked by content, and committed as one set.  A publisher's trouble is an
:class:`Outcome`; only trouble on this side (a full disk, a lock) is an exception.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from urban_migration.content import Misfit, Page, check_content, check_pages, read_page
from urban_migration.errors import DownloadError, RawStoreError
from urban_migration.raw import Fetched, RawFile, RawStore
from urban_migration.sources.source import Download, Source
from urban_migration.transfer import (
    CONTACT,
    USER_AGENT,
    Answer,
    Client,
    Progress,
    ProgressEvent,
    RefusedError,
    StoppedError,
    Wanted,
    Watch,
)

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "CONTACT",
    "USER_AGENT",
    "Downloader",
    "Fetched",
    "Outcome",
    "ProgressEvent",
    "check_content",
    "refresh_all",
    "terminal_progress",
]

Status = Literal["new", "changed", "unchanged", "failed"]
Item = Fetched | RawFile
"""A file of the set to be: one that came, or one of the store that stays."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """What a refresh of one source came to; ``error`` is for the user, if it failed.

    ``bytes_transferred`` counts bodies as they were unpacked, of failed attempts too.
    """

    source_id: str
    status: Status
    bytes_transferred: int
    requests: int
    error: str | None = None


@dataclass(frozen=True)
class _Part:
    """One file of a source: a download, or one page of a paged one."""

    download: Download
    page: int = 1

    @property
    def name(self) -> str:
        return self._of_page(self.download.file)

    @property
    def url(self) -> str:
        return self._of_page(self.download.url)

    def _of_page(self, text: str) -> str:
        return text if self.download.pages is None else text.replace("{page}", str(self.page))


class Downloader:
    """Refreshes sources over one pool of connections; use it in a ``with`` block.

    Args:
        mirror: replaces ``https:/`` of every address, for institutions behind a proxy.
        per_host: how many requests one publisher's host gets at a time.
        timeout: seconds to connect, and seconds of silence before a read is given up.
        retries: attempts after the first, for what may pass by itself.
        backoff: seconds; the n-th pause is drawn from 0 to ``backoff * 2**n``.
        max_wait: the longest pause in seconds, also where a publisher asks for more.
        total_timeout: seconds that one file may take, attempts and pauses together.
        min_speed: bytes per second below which a body is given up, and ...
        slow_after: ... the seconds over which that is measured.
        progress: is told how far each file is, from several threads.
    """

    def __init__(
        self,
        *,
        mirror: str | None = None,
        per_host: int = 2,
        timeout: tuple[float, float] = (10.0, 60.0),
        retries: int = 4,
        backoff: float = 0.5,
        max_wait: float = 120.0,
        total_timeout: float = 1800.0,
        min_speed: float = 1024.0,
        slow_after: float = 30.0,
        progress: Progress = lambda _: None,
    ) -> None:
        self._client = Client(
            mirror=mirror,
            per_host=per_host,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            max_wait=max_wait,
            total_timeout=total_timeout,
            min_speed=min_speed,
            slow_after=slow_after,
        )
        self._workers, self._progress = 2 * per_host, progress
        self._watches: set[Watch] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what is still under way, and close all connections."""
        with self._lock:
            for watch in self._watches:
                watch.stop.set()
        self._client.close()

    def refresh(self, source: Source, store: RawStore) -> Outcome:
        """Bring the files of a source up to date: all of them, or the store stays as it is.

        A publisher's trouble is an outcome ``failed``.  Raises :class:`DownloadError` where the
        files cannot be written here, and other :class:`ProductError` where the store is
        unreadable or is in use for too long.
        """
        old = store.files(source.id)
        with self._watching(source.id) as watch:
            try:
                with store.incoming(source.id, on_wait=lambda m: watch.report("", note=m)) as at:
                    return self._refresh(source, store, at, watch)
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                what = "the disk is full" if full else "cannot be read or written"
                stands = "The files had before stand" if old else "Nothing was kept"
                raise DownloadError(
                    f"{source.id}: {error.filename or store.root}: {what} "
                    f"({error.strerror or error}). {stands}; "
                    f"{'make room' if full else 'correct the permissions'} and run again."
                ) from error

    def _refresh(self, source: Source, store: RawStore, folder: Path, watch: Watch) -> Outcome:
        old = store.files(source.id)
        try:
            held = store.verify(source.id)
        except RawStoreError:  # damaged here, so everything is asked for anew
            held = {}
        try:
            items = _Set(source, held, folder, self._client, watch, self._workers).collect()
        except DownloadError as error:
            stands = "The files had before stay in use." if old else "It was never had before."
            if source.secret and source.secret_optional:
                stands = f"{source.secret_help} {stands}"
            elif source.secret and isinstance(error, RefusedError):
                refused = f"The key in {source.secret} was not accepted. {source.secret_help}"
                stands = f"{refused} {stands}"
            message = f"{source.id}: {error}. {stands}"
            return Outcome(source.id, "failed", watch.bytes, watch.requests, message)
        if items != held:
            store.commit(source.id, items)
        same = _hashes(items) == _hashes(old)
        status: Status = "unchanged" if same else "changed" if old else "new"
        return Outcome(source.id, status, watch.bytes, watch.requests)

    @contextmanager
    def _watching(self, source_id: str) -> Iterator[Watch]:
        watch = Watch(source_id, self._progress)
        with self._lock:
            self._watches.add(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)


class _Set:
    """The files of one source, while they are being fetched."""

    def __init__(
        self,
        source: Source,
        held: Mapping[str, RawFile],
        folder: Path,
        client: Client,
        watch: Watch,
        workers: int,
    ) -> None:
        self._source, self._held, self._folder = source, held, folder
        self._client, self._watch, self._workers = client, watch, workers
        self._numbers = itertools.count()
        self._read: dict[tuple[int, str], Page] = {}

    def collect(self) -> dict[str, Item]:
        """Every file of the source by name; raises :class:`DownloadError` if one is not had."""
        downloads = self._source.downloads
        sets = self._at_once(self._whole, downloads)
        return {item.name: item for items in sets for item in items}

    def _whole(self, download: Download) -> list[Item]:
        if download.pages is None:
            part = _Part(download)
            return [self._fetch(part, self._held.get(part.name))]
        return self._pages(download)

    def _pages(self, download: Download) -> list[Item]:
        """All pages of a paged download; what does not fit together is asked for again."""
        pages: dict[int, Item] = {}
        suspects, known = {1}, self._held
        for attempt in itertools.count():
            pages |= self._fetch_pages(download, suspects, known)
            count = self._page_count(_Part(download), pages[1])
            missing = set(range(1, count + 1)) - pages.keys()
            pages |= self._fetch_pages(download, missing, known)
            pages = {number: pages[number] for number in range(1, count + 1)}
            misfit = self._misfit(download, pages)
            if misfit is None:
                break
            part, what, tries = _Part(download, misfit.page), misfit.what, attempt + 1
            if attempt == self._client.retries:
                raise DownloadError(f"{part.name}: {what} ({part.url}; tried {tries} times)")
            self._client.pause(part.name, DownloadError(what), attempt, self._watch)
            suspects, known = misfit.again, {}
        return list(pages.values())

    def _fetch_pages(
        self, download: Download, numbers: set[int], known: Mapping[str, RawFile]
    ) -> dict[int, Item]:
        parts = [_Part(download, number) for number in sorted(numbers)]
        items = self._at_once(lambda part: self._fetch(part, known.get(part.name)), parts)
        return {part.page: item for part, item in zip(parts, items, strict=True)}

    def _page_count(self, first: _Part, item: Item) -> int:
        """A first page that did not change stands for its set, which was checked when it came."""
        if self._unchanged(item):
            numbers = itertools.count(1)
            held = itertools.takewhile(
                lambda number: _Part(first.download, number).name in self._held, numbers
            )
            return len(list(held))
        return self._page(first, item).pages

    def _misfit(self, download: Download, pages: Mapping[int, Item]) -> Misfit | None:
        """What the pages say against each other, or that they changed while being fetched."""
        if all(self._unchanged(item) for item in pages.values()):
            return None
        told = {n: self._page(_Part(download, n), item) for n, item in pages.items()}
        if (misfit := check_pages(told)) is not None or len(pages) == 1:
            return misfit
        first = _Part(download)
        if self._page(first, self._fetch(first, pages[1])).digest != told[1].digest:
            return Misfit(1, set(pages), "page 1 changed while the other pages were fetched")
        return None

    def _fetch(self, part: _Part, known: Item | None) -> Item:
        """One file, unless the publisher says that it is still ``known``."""
        if known is not None and known.url != part.url:
            known = None
        download, target = part.download, self._folder / str(next(self._numbers))

        def check(answer: Answer) -> None:
            if known is not None and known.sha256 == answer.sha256:
                return
            if download.pages is None:
                check_content(target, download)
            else:
                self._read[part.page, answer.sha256] = read_page(target, download, part.page)

        wanted = Wanted(
            part.name,
            part.url,
            download.max_bytes,
            download.headers,
            download.query,
            squeeze=download.kind in ("csv", "json"),
            unpack=download.kind != "csv.gz",
            etag=known.etag if known else None,
            last_modified=known.last_modified if known else None,
        )
        answer = self._client.fetch(wanted, target, check, self._watch)
        if answer is None:
            assert known is not None
            return known
        return Fetched(
            part.name,
            part.url,
            target,
            answer.sha256,
            answer.bytes,
            answer.etag,
            answer.last_modified,
        )

    def _page(self, part: _Part, item: Item) -> Page:
        """What a page says of itself; pages of the store are read only when others changed."""
        key = part.page, item.sha256
        if key not in self._read:
            self._read[key] = read_page(item.path, part.download, part.page)
        return self._read[key]

    def _unchanged(self, item: Item) -> bool:
        held = self._held.get(item.name)
        return held is not None and (held.url, held.sha256) == (item.url, item.sha256)

    def _at_once(self, task: Callable[[T], R], wanted: Sequence[T]) -> list[R]:
        """Do a task for each in parallel, in order; the first failure ends the others."""
        if len(wanted) < 2:
            return [task(each) for each in wanted]
        with ThreadPoolExecutor(min(len(wanted), self._workers)) as pool:
            futures = [pool.submit(task, each) for each in wanted]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException as error:
                self._watch.stop.set()
                pool.shutdown(cancel_futures=True)
                raise _root(futures, error) from None
        return [future.result() for future in futures]


def _root(futures: Sequence[Future[R]], error: BaseException) -> BaseException:
    """The failure that stopped the others, even if one of those was the first to end."""
    if isinstance(error, StoppedError):
        told = (future.exception() for future in futures if not future.cancelled())
        return next((each for each in told if each and not isinstance(each, StoppedError)), error)
    return error


def _hashes(items: Mapping[str, Item]) -> dict[str, str]:
    return {name: item.sha256 for name, item in items.items()}


def refresh_all(
    sources: Sequence[Source], store: RawStore, downloader: Downloader, workers: int = 8
) -> list[Outcome]:
    """Refresh sources in parallel; one outcome per source, in their order.

    Raises what :meth:`Downloader.refresh` raises, after stopping the other sources.
    """
    with ThreadPoolExecutor(max(1, min(workers, len(sources)))) as pool:
        futures = [pool.submit(downloader.refresh, source, store) for source in sources]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            downloader.close()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


@contextmanager
def terminal_progress(console: Console) -> Iterator[Progress]:
    """What a :class:`Downloader` reports, on a terminal as bars, otherwise as plain lines."""
    if not console.is_terminal:
        yield lambda event: _print_line(console, event)
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
    )
    with rich_progress.Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[tuple[str, str], rich_progress.TaskID] = {}
        lock = threading.Lock()

        def show(event: ProgressEvent) -> None:
            key = event.source_id, event.file
            with lock:
                _print_line(bars.console, event)
                if event.finished:
                    if key in tasks:
                        bars.remove_task(tasks.pop(key))
                elif event.note is None:
                    if key not in tasks:
                        tasks[key] = bars.add_task(" ".join(key), total=event.total)
                    bars.update(tasks[key], completed=event.bytes, total=event.total)

        yield show


def _print_line(console: Console, event: ProgressEvent) -> None:
    """One line per file that came, and one per difficulty."""
    if event.note is None and not (event.finished and event.bytes):
        return
    said = event.note or f"{event.bytes:,} bytes"
    where = " ".join(word for word in (event.source_id, event.file) if word)
    console.print(f"{where}: {said}", markup=False, highlight=False, soft_wrap=True)
