"""One file from one address: requests, redirects, retries, and every bound on a transfer.

What the file should hold is said by the caller's check; which files make up a source, and where
they are kept, is the affair of ``download`` and ``raw``.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from urban_migration import __version__
from urban_migration.content import ContentError, UnsafeError
from urban_migration.errors import DownloadError, UsageError

CONTACT = "https://github.com/urban-migration-indicators/urban-migration-indicators"
"""Where a publisher who minds our requests finds us; part of every request."""

USER_AGENT = f"urban-migration-indicators/{__version__} (+{CONTACT})"
"""www.un.org answers 403 to the names that HTTP libraries give themselves."""

CHUNK = 2**16
MAX_REDIRECTS = 5
PASSING = {408, 425, 429}
"""Client errors that pass by themselves; so do all from 500 on."""


@dataclass(frozen=True)
class ProgressEvent:
    """How far one file is: ``total`` is None where the publisher does not say.

    ``note`` is a difficulty, in words; a file that did not change finishes with no bytes.
    """

    source_id: str
    file: str
    bytes: int
    total: int | None
    finished: bool = False
    note: str | None = None


Progress = Callable[[ProgressEvent], None]
"""Is called from several threads."""


@dataclass(frozen=True)
class Wanted:
    """One file to ask for; with ``etag`` or ``last_modified``, only if it is another by now.

    ``query`` goes with the address to the publisher alone: neither a redirect nor a message has it.
    ``squeeze`` asks for compressed transfer.  ``unpack`` undoes ``Content-Encoding``: not for
    .gz files, which some servers label with their own packing.
    """

    name: str
    url: str
    max_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    squeeze: bool = False
    unpack: bool = True
    etag: str | None = None
    last_modified: str | None = None

    def without_query(self, text: str) -> str:
        """A message as it may be shown: what another library says may quote the whole address."""
        for value in self.query.values():
            for form in (value, quote(value), quote_plus(value)):
                text = text.replace(form, "(key)")
        return text

    @property
    def condition(self) -> dict[str, str]:
        """The headers of a conditional request."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True)
class Answer:
    """What came: the hash and size of the file as written, and the publisher's validators."""

    sha256: str
    bytes: int
    etag: str | None
    last_modified: str | None


class Watch:
    """What several transfers of one source share: counts, reports, and the sign to stop."""

    def __init__(self, source_id: str, progress: Progress) -> None:
        self.source_id, self.stop = source_id, threading.Event()
        self.requests = self.bytes = 0
        self._progress, self._lock = progress, threading.Lock()

    def count(self, *, requests: int = 0, bytes: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            self.requests += requests
            self.bytes += bytes

    def report(
        self,
        file: str,
        bytes: int = 0,
        total: int | None = None,
        *,
        finished: bool = False,
        note: str | None = None,
    ) -> None:
        """Tell how far a file is."""
        self._progress(ProgressEvent(self.source_id, file, bytes, total, finished, note))

    def go_on(self) -> None:
        """Raise where the run is to stop."""
        if self.stop.is_set():
            raise StoppedError("stopped")


class StoppedError(DownloadError):
    """Another file of the source failed, or the user stopped the run."""


class RefusedError(DownloadError):
    """The publisher wants to know who asks, or does not want them to: 401 or 403."""


class PassingError(DownloadError):
    """An attempt failed in a way that may pass; ``wait`` is what the publisher asks for."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class Client:
    """A polite HTTP client with one pool of connections; ``Downloader`` documents its settings."""

    def __init__(
        self,
        *,
        mirror: str | None,
        per_host: int,
        timeout: tuple[float, float],
        retries: int,
        backoff: float,
        max_wait: float,
        total_timeout: float,
        min_speed: float,
        slow_after: float,
    ) -> None:
        if mirror is not None and not _is_http(mirror):
            raise UsageError(f"--mirror {mirror}: must begin with http:// or https://")
        self._mirror = mirror.rstrip("/") if mirror else None
        self._per_host, self._timeout, self.retries = per_host, timeout, retries
        self._backoff, self._max_wait, self._total_timeout = backoff, max_wait, total_timeout
        self._min_speed, self._slow_after = min_speed, slow_after
        self._slots: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.headers["User-Agent"] = USER_AGENT
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # A proxy for the world outside is not asked for a mirror on this machine.
        self._session.trust_env = not (self._mirror and _is_loopback(self._mirror))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=64, pool_maxsize=16))

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def fetch(
        self, wanted: Wanted, target: Path, check: Callable[[Answer], None], watch: Watch
    ) -> Answer | None:
        """Write a file to ``target``; None where the publisher says that it did not change.

        ``check`` raises :class:`ContentError` for what is not the file.  Raises
        :class:`DownloadError` when the publisher does not deliver, ``OSError`` when ``target``
        cannot be written.
        """
        url, left = mirrored(wanted.url, self._mirror), self._total_timeout
        refused: str | None = None
        problem: DownloadError
        for attempt in itertools.count():
            try:
                with self._slot(wanted.url, watch):
                    begun, answer = time.monotonic(), None
                    answer = self._attempt(wanted, url, target, begun + left, watch)
                if answer is not None:
                    check(answer)
            except StoppedError:
                raise
            except UnsafeError as error:
                # Damage on the way can look like harm; the same bytes again are meant.
                assert answer is not None
                problem, last = error, refused == answer.sha256
                refused = answer.sha256
            except (PassingError, ContentError) as error:
                problem, last = error, False
            except DownloadError as error:
                watch.report(wanted.name, finished=True, note=str(error))
                kind = RefusedError if isinstance(error, RefusedError) else DownloadError
                raise kind(f"{wanted.name}: {error} ({url})") from error
            else:
                size = answer.bytes if answer else 0
                watch.report(wanted.name, size, size, finished=True)
                return answer
            left -= time.monotonic() - begun
            if attempt == self.retries or left <= 0 or last:
                watch.report(wanted.name, finished=True, note=str(problem))
                tries = f"; tried {attempt + 1} times" if attempt else ""
                raise DownloadError(f"{wanted.name}: {problem} ({url}{tries})") from problem
            left -= self.pause(wanted.name, problem, attempt, watch)
        raise AssertionError("unreachable")

    def pause(self, name: str, problem: DownloadError, attempt: int, watch: Watch) -> float:
        """Wait before the next attempt: exponential backoff with full jitter, or as asked for.

        Returns the seconds waited.
        """
        seconds = random.uniform(0, self._backoff * 2**attempt)
        if isinstance(problem, PassingError) and problem.wait is not None:
            seconds = problem.wait + random.uniform(0, self._backoff)
        seconds = min(seconds, self._max_wait)
        watch.report(name, note=f"{problem}; trying again in {seconds:.1f} s")
        if watch.stop.wait(seconds):
            raise StoppedError("stopped")
        return seconds

    @contextmanager
    def _slot(self, url: str, watch: Watch) -> Iterator[None]:
        """One of the requests that the publisher's host gets at a time."""
        with self._lock:
            host = urlsplit(url).netloc
            slot = self._slots.setdefault(host, threading.Semaphore(self._per_host))
        while not slot.acquire(timeout=0.2):
            watch.go_on()
        try:
            watch.go_on()
            yield
        finally:
            slot.release()

    def _attempt(
        self, wanted: Wanted, url: str, target: Path, deadline: float, watch: Watch
    ) -> Answer | None:
        try:
            with self._open(wanted, url, deadline, watch) as response:
                status = response.status_code
                if status == HTTPStatus.NOT_MODIFIED and wanted.condition:
                    response.raw.drain_conn()  # gives the connection back to the pool
                    return None
                if status != HTTPStatus.OK:
                    raise _refusal(response)
                return self._receive(wanted, response, target, deadline, watch)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = wanted.without_query(self._reason(error))
            cause = None if wanted.query else error  # its text may hold the whole address
            if isinstance(error, ValueError) or "CERTIFICATE_VERIFY_FAILED" in reason:
                raise DownloadError(reason) from cause
            raise PassingError(reason) from cause

    def _open(self, wanted: Wanted, url: str, deadline: float, watch: Watch) -> requests.Response:
        """The answer at the end of all redirects; other hosts do not see the source's headers."""
        first, query = self._host(url), wanted.query
        for _ in range(MAX_REDIRECTS + 1):
            own = wanted.headers if self._host(url) == first else {}
            packing = "gzip" if wanted.squeeze else "identity"
            read = max(min(self._timeout[1], deadline - time.monotonic()), 0.001)
            watch.count(requests=1)
            response = self._session.get(
                url,
                params=query,
                headers={**own, **wanted.condition, "Accept-Encoding": packing},
                timeout=(self._timeout[0], read),
                stream=True,
                allow_redirects=False,
            )
            if not response.is_redirect:
                return response
            response.close()
            url, query = self._redirected(url, response.headers["Location"], wanted), {}
        raise DownloadError(f"redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, url: str, location: str, wanted: Wanted) -> str:
        """Where a redirect leads: through the mirror too, if there is one."""
        target = urljoin(url, location)
        if not _is_http(target):
            shown = wanted.without_query(repr(target))
            raise DownloadError(f"redirects to {shown}, which is not on the web")
        if self._mirror and not target.startswith(f"{self._mirror}/"):
            return mirrored(target, self._mirror)
        return target

    def _host(self, url: str) -> str:
        """The publisher's host, also behind a mirror."""
        if self._mirror and url.startswith(f"{self._mirror}/"):
            return url.removeprefix(f"{self._mirror}/").partition("/")[0]
        return urlsplit(url).netloc

    def _receive(
        self,
        wanted: Wanted,
        response: requests.Response,
        target: Path,
        deadline: float,
        watch: Watch,
    ) -> Answer:
        """Stream a body to the disk, counting, hashing and watching the clock."""
        length = _length(response)
        packed = response.headers.get("Content-Encoding", "identity") != "identity"
        total = None if packed and wanted.unpack else length
        if total is not None and total > wanted.max_bytes:
            raise DownloadError(_too_large(wanted, total))
        digest, done = hashlib.sha256(), 0
        watch.report(wanted.name, 0, total)
        pace = _Pace(self._min_speed, self._slow_after, deadline)
        with target.open("wb") as stream:
            while chunk := response.raw.read1(CHUNK, decode_content=wanted.unpack):
                done += len(chunk)
                watch.count(bytes=len(chunk))
                if done > wanted.max_bytes:
                    raise DownloadError(_too_large(wanted, done))
                stream.write(chunk)
                digest.update(chunk)
                watch.report(wanted.name, done, total)
                watch.go_on()
                pace.check(done)
        if length is not None and response.raw.tell() != length:
            raise PassingError(f"ended after {response.raw.tell():,} of {length:,} bytes")
        validators = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
        etag, last_modified = validators
        return Answer(digest.hexdigest(), done, etag, last_modified)

    def _reason(self, error: BaseException) -> str:
        """What went wrong on the way, in a few words, from an exception and its causes."""
        cause: BaseException | None = error
        while cause is not None:
            if words := _words(cause, *self._timeout):
                return words
            error, cause = cause, cause.__cause__ or cause.__context__
        return f"could not be fetched: {error}"


def _words(cause: BaseException, connect: float, read: float) -> str | None:
    match cause:
        case urllib3.exceptions.IncompleteRead(partial=int(came), expected=int(more)):
            return f"ended after {came:,} of {came + more:,} bytes"
        case http.client.IncompleteRead():
            return "ended before its end"
        case urllib3.exceptions.NewConnectionError():
            return None  # says less than its cause, and counts as a timeout to urllib3
        case urllib3.exceptions.ConnectTimeoutError():
            return f"no connection within {connect:g} s"
        case urllib3.exceptions.ReadTimeoutError():
            return f"nothing came for {read:g} s"
        case urllib3.exceptions.DecodeError():
            return "the compressed transfer is damaged"
        case socket.gaierror():
            return "the host's name was not found; is there a network?"
        case ConnectionRefusedError():
            return "the connection was refused"
        case ConnectionError():
            return f"the connection was cut ({cause})"
        case _:
            return None


class _Pace:
    """Gives up a body that takes too long: in all, or by what came in the last while."""

    def __init__(self, min_speed: float, slow_after: float, deadline: float) -> None:
        self._min_speed, self._slow_after, self._deadline = min_speed, slow_after, deadline
        self._since, self._done = time.monotonic(), 0

    def check(self, done: int) -> None:
        now = time.monotonic()
        if now > self._deadline:
            raise PassingError(f"had not ended in the time allowed, after {done:,} bytes")
        if now - self._since > self._slow_after:
            speed = (done - self._done) / (now - self._since)
            if speed < self._min_speed:
                raise PassingError(
                    f"comes too slowly: {speed:,.0f} bytes a second, "
                    f"{self._min_speed:,.0f} are the least"
                )
            self._since, self._done = now, done


def mirrored(url: str, mirror: str | None) -> str:
    """``https://HOST/PATH?query`` as ``MIRROR/HOST/PATH?query``, percent-encoding untouched."""
    return url if mirror is None else f"{mirror}/{url.partition('://')[2]}"


def _is_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and "Transfer-Encoding" not in response.headers else None


def _too_large(wanted: Wanted, size: int) -> str:
    return f"is larger than the {wanted.max_bytes:,} bytes that are accepted: {size:,} or more"


def _refusal(response: requests.Response) -> DownloadError:
    """What a status other than 200 means for us."""
    status = response.status_code
    phrase = http.client.responses.get(status, response.reason or "")
    answered = f"the publisher answered {status} {phrase}".rstrip()
    if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return PassingError(answered, _retry_after(response.headers.get("Retry-After")))
    hints = {
        401: "it wants a key or a login",
        403: "it refuses this client; its terms or its homepage may say why",
        404: "the file is no longer at this address; look for it on the source's homepage",
        410: "the file was withdrawn; look for its successor on the source's homepage",
    }
    kind = RefusedError if status in (401, 403) else DownloadError
    return kind(f"{answered}: {hints[status]}" if status in hints else answered)


def _retry_after(text: str | None) -> float | None:
    """The seconds of a Retry-After header, which holds seconds or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
