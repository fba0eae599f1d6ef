"""The refresh flow: download -> read and check each source -> build -> check -> publish.

One task per source for downloading and one for reading and checking, in parallel; the steps
themselves are plain functions of the package.  A source that cannot be fetched now but was had
before is used as it stands; bad data or a crash leaves the standing release as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from flows import keys
from urban_migration import build, preparing, release
from urban_migration.download import Downloader, Outcome
from urban_migration.errors import DownloadError, MissingSourceError, ProductError
from urban_migration.raw import RawStore
from urban_migration.sources import all_sources, get_source
from urban_migration.sources.source import Source, with_secret

Say = Callable[[str], None]
Unlock = Callable[[Source], Source | None]
"""A source with the user's key in it, or None where it needs one and there is none.  A function,
because Prefect keeps the parameters of a flow, and a key must not be among them."""
RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=8)


@dataclass(frozen=True)
class Order:
    """What a refresh is asked to do; ``sources`` limits what is downloaded, empty means all.

    A ``private`` release stands in ``out/private`` and has the sources that must not be
    redistributed too.
    """

    raw: Path
    bundled: Path
    out: Path
    expectations: Path
    series: str = build.SERIES[0]
    sources: tuple[str, ...] = ()
    mirror: str | None = None
    offline: bool = False
    keep: int | None = None
    private: bool = False
    download_retries: int = 0
    retry_delay_seconds: float = 300.0

    @property
    def home(self) -> Path:
        """Where its releases stand."""
        return release.home(self.out, self.private)


@dataclass(frozen=True)
class Summary:
    """How a refresh ended: the release, what was transferred, what is stale or was never had.

    ``off`` are sources without the key that they need, with what to do.
    """

    outcome: build.Outcome
    downloads: Sequence[Outcome] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    off: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            **self.outcome.to_json(),
            "downloads": {
                done.source_id: {
                    "status": done.status,
                    "requests": done.requests,
                    "bytes": done.bytes_transferred,
                    "error": done.error,
                }
                for done in self.downloads
            },
            "stale": dict(self.stale),
            "missing": list(self.missing),
            "off": dict(self.off),
        }


class _FailedError(DownloadError):
    """A download that did not come, so that Prefect shows and retries it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error or "")
        self.outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return _FailedError, (self.outcome,)


@task(task_run_name="download {source_id}", cache_policy=NO_CACHE)
def download(source_id: str, raw: Path, downloader: Downloader, unlock: Unlock) -> Outcome:
    """Bring one source's files up to date in the raw store."""
    source = unlock(get_source(source_id))
    if source is None:
        raise ProductError(f"{source_id}: is to be downloaded without the key that it needs")
    outcome = downloader.refresh(source, RawStore(raw))
    if outcome.status == "failed":
        raise _FailedError(outcome)
    return outcome


@task(task_run_name="read and check {source_id}", cache_policy=NO_CACHE)
def read_and_check(
    source_id: str, plan: build.Plan, pool: Executor
) -> build.Prepared | preparing.LeftOut:
    """Read one source into tidy tables, unless its content was read before, and check its rows."""
    return preparing.prepare_source(plan, source_id, pool)


@task(cache_policy=NO_CACHE)
def build_tables(
    plan: build.Plan,
    prepared: Mapping[str, build.Prepared],
    work: build.Work,
    say: Say,
) -> build.Assembled:
    """Make the published tables with SQL and account for every row."""
    return build.assemble(plan, prepared, say, work.table)


@task(cache_policy=NO_CACHE)
def check(
    prepared: Mapping[str, build.Prepared],
    assembled: build.Assembled,
    work: build.Work,
    say: Say,
) -> Sequence[Any]:
    """Check the published tables, sums and references."""
    return build.inspect(prepared, assembled, work, say)


@task(cache_policy=NO_CACHE)
def publish(
    assembled: build.Assembled, findings: Sequence[Any], work: build.Work, keep: int | None
) -> build.Outcome:
    """Complete the release and make it the latest."""
    return build.publish(assembled, lambda: findings, work, keep=keep)


@flow(name="refresh", task_runner=RUNNER, validate_parameters=False)
def refresh(
    order: Order, downloader: Downloader | None, say: Say, unlock: Unlock, pool: Executor
) -> Summary:
    """Refresh the sources and publish a release when anything is new."""
    return _refresh(order, downloader, say, unlock, pool)


@flow(name="scheduled-refresh", task_runner=RUNNER, log_prints=True)
def scheduled_refresh(
    raw: str,
    bundled: str,
    out: str,
    expectations: str,
    series: str,
    sources: list[str],
    mirror: str | None,
    offline: bool,
    keep: int | None,
    private: bool = False,
    download_retries: int = 3,
    retry_delay_seconds: float = 300.0,
) -> dict[str, Any]:
    """The same for a schedule: plain parameters, patient with publishers, a log of lines.

    Keys come from the environment of the process that runs it, at each run.
    """
    order = Order(
        raw=Path(raw),
        bundled=Path(bundled),
        out=Path(out),
        expectations=Path(expectations),
        series=series,
        sources=tuple(sources),
        mirror=mirror,
        offline=offline,
        keep=keep,
        private=private,
        download_retries=download_retries,
        retry_delay_seconds=retry_delay_seconds,
    )
    with Downloader(mirror=mirror) as downloader, preparing.readers(order.home) as pool:
        fetcher = None if offline else downloader
        summary = _refresh(order, fetcher, print, unlocking(keys()), pool)
    print(summary.outcome.release_id)
    return summary.to_json()


def unlocking(secrets: Mapping[str, str]) -> Unlock:
    """What puts users' keys (by the names that sources give them) into their sources."""
    return lambda source: with_secret(source, secrets.get(source.secret or ""))


def _refresh(
    order: Order, downloader: Downloader | None, say: Say, unlock: Unlock, pool: Executor
) -> Summary:
    order = replace(order, out=order.home)
    off = {} if downloader is None else _off(order, unlock)
    with release.publishing(order.out, on_wait=say) as staging:
        raw, downloads = _fetch(order, downloader, say, unlock, off)
        stale = {
            source_id: error
            for source_id, error in release.stale_sources(order.out).items()
            if raw.files(source_id) and source_id not in off
        }
        try:
            plan = build.plan(
                raw,
                order.out,
                order.expectations,
                series=order.series,
                stale=stale,
                private=order.private,
            )
        except MissingSourceError as error:
            raise _with_causes(error, downloads) from error
        outcome = build.nothing_new(plan) or _build(plan, pool, staging, order.keep, say)
    missing = sorted(plan.absent.keys() - off.keys() - plan.withheld.keys())
    return Summary(outcome, downloads, stale, missing, off)


def _off(order: Order, unlock: Unlock) -> dict[str, str]:
    """Sources that need a key of the user's and have none, with what to do."""
    return {
        source_id: get_source(source_id).secret_help
        for source_id in order.sources or tuple(all_sources())
        if unlock(get_source(source_id)) is None
    }


def _with_causes(error: MissingSourceError, downloads: Sequence[Outcome]) -> MissingSourceError:
    """What is missing, and why it did not come just now."""
    causes = [f"\n- {done.error}" for done in downloads if done.error]
    return MissingSourceError(f"{error}{''.join(causes)}")


def _build(
    plan: build.Plan, pool: Executor, staging: Path, keep: int | None, say: Say
) -> build.Outcome:
    reading = [
        read_and_check.submit(source_id, quote(plan), quote(pool))
        for source_id in preparing.largest_first(plan)
    ]
    plan, prepared = build.sort_out(plan, [_result(future) for future in reading], say)
    with build.working(plan, staging) as work:
        work.threads.submit(pool.shutdown)
        assembled = build_tables(quote(plan), quote(prepared), quote(work), quote(say))
        findings = check(quote(prepared), quote(assembled), quote(work), quote(say))
        return publish(quote(assembled), quote(findings), quote(work), keep)


def _fetch(
    order: Order,
    downloader: Downloader | None,
    say: Say,
    unlock: Unlock,
    off: Mapping[str, str],
) -> tuple[RawStore, list[Outcome]]:
    """Download what was asked for; offline, the raw store or, where empty, the extract."""
    raw = RawStore(order.raw)
    if downloader is None:
        if raw.empty:
            say("the raw store is empty: building from the bundled extract")
            return RawStore(order.bundled), []
        return raw, []
    wanted = order.sources or tuple(all_sources())
    futures = {
        source_id: _patient(source_id, order).submit(
            source_id, quote(order.raw), quote(downloader), quote(unlock)
        )
        for source_id in wanted
        if source_id not in off
    }
    outcomes = [_downloaded(future) for future in futures.values()]
    release.note_downloads(order.out, outcomes)
    return raw, outcomes


def _patient(source_id: str, order: Order) -> Any:
    """The task that tries again later; nobody waits for an experimental source."""
    retries = 0 if get_source(source_id).experimental else order.download_retries
    return download.with_options(retries=retries, retry_delay_seconds=order.retry_delay_seconds)


def _downloaded(future: PrefectFuture[Outcome]) -> Outcome:
    try:
        return _result(future)
    except _FailedError as error:
        return error.outcome


def _result(future: PrefectFuture[Any]) -> Any:
    """A task's result, or the very error that it raised."""
    return future.result(raise_on_failure=True)


def run(
    order: Order,
    downloader: Downloader | None,
    say: Say,
    secrets: Mapping[str, str] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Summary:
    """Run the flow once, here and now; raises what a step raised.

    ``secrets`` are users' keys by the names that sources give them.  ``ready`` waits for Prefect's
    server; what the steps need is loaded meanwhile.
    """
    unlock = unlocking(secrets or {})
    preparing.get_ready_to_build()
    with preparing.readers(order.home) as pool:
        ready()
        state = refresh(order, downloader, say, unlock, pool, return_state=True)
        result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    if not isinstance(result, Summary):
        raise ProductError(f"the flow ended without a result: {state}")
    return result
