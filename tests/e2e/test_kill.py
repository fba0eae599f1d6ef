"""kill -9 at every step of writing and publishing, a full disk, and two publishers at once.

Each victim is forked from a server that has the libraries loaded, and sends itself SIGKILL at
its n-th call into the file system; n grows until a run gets through.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import small_release
from small_release import run

from urban_migration import release
from urban_migration.errors import ReleaseError

CALLS = (
    "replace",
    "rename",
    "symlink",
    "link",
    "fsync",
    "utime",
    "unlink",
    "rmdir",
    "mkdir",
    "ftruncate",
)
OLD, NEW = {("jpn-tokyo", 2018): 37_468_302}, {("jpn-tokyo", 2018): 37_468_303}
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["duckdb", "pyarrow.compute", "pyarrow.parquet", "pytest", "urban_migration.writing"]
)


def die_at(step: int) -> None:
    """Arrange for this process to be killed at its ``step``-th call of CALLS."""
    left, lock = [step], threading.Lock()

    def stepping(real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            with lock:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, stepping(getattr(os, name)))


def victim(out: Path, step: int, publishing_only: bool, options: dict[str, Any]) -> None:
    """Steps count from the start, or from when the release is written and to be published."""
    publish = release.publish

    def publish_and_die(*args: Any, **options: Any) -> release.PublishOutcome:
        die_at(step)
        return publish(*args, **options)

    if publishing_only:
        release.publish = publish_and_die
    else:
        die_at(step)
    run(out, **options)


def started(target: Any, *args: Any) -> Any:
    process = PROCESSES.Process(target=target, args=args)
    process.start()
    return process


def killed_at_every_step(
    out: Path, *, publishing_only: bool = False, **options: Any
) -> Iterator[int]:
    """Run a victim on a fresh copy of ``out`` for each step; the copy is ``out`` after each."""
    pristine = out.with_name("pristine")
    out.mkdir(exist_ok=True)
    shutil.copytree(out, pristine, symlinks=True)
    for step in range(1, 200):
        shutil.rmtree(out)
        shutil.copytree(pristine, out, symlinks=True)
        process = started(victim, out, step, publishing_only, options)
        process.join()
        if process.exitcode == 0:
            assert step > 10, "the steps were counted"
            return
        assert process.exitcode == -signal.SIGKILL
        yield step
    raise AssertionError("no run got through")


def opens(folder: Path) -> int:
    """Population of Tokyo in 2018 as both of the release's formats give it."""
    query = "select population from {} where city_id = 'jpn-tokyo' and year = 2018"
    with duckdb.connect(str(folder / release.DATABASE), read_only=True) as con:
        ((one,),) = con.execute(query.format("city_population")).fetchall()
        ((two,),) = con.execute(query.format(f"'{folder / 'city_population.parquet'}'")).fetchall()
    assert one == two
    return int(one)


def test_a_killed_run_leaves_the_last_release_and_the_next_run_is_correct(tmp_path: Path) -> None:
    out = tmp_path / "processed"
    run(out, OLD)
    for step in killed_at_every_step(out, changed=NEW, link=True, keep=1):
        folder = release.resolve(out)
        release.verify(folder)
        assert opens(folder) in (37_468_302, 37_468_303)
        if step % 3 == 0:
            run(out, NEW, keep=1)
            folder = release.resolve(out)
            release.verify(folder)
            assert opens(folder) == 37_468_303
            assert [path.name for path in (out / "releases").iterdir()] == [folder.name]
            assert not (out / ".incoming").exists()
    assert opens(release.resolve(out)) == 37_468_303


def test_a_first_run_that_is_killed_leaves_nothing_or_a_whole_release(tmp_path: Path) -> None:
    out = tmp_path / "processed"
    for step in killed_at_every_step(out, publishing_only=True, changed=NEW):
        if (folder := release.latest(out)) is not None:
            release.verify(folder)
        if step % 3 == 0:
            assert run(out, NEW).published is (folder is None)
            release.verify(release.resolve(out))


def test_moving_back_to_a_release_that_stands_can_be_killed_too(tmp_path: Path) -> None:
    out = tmp_path / "processed"
    run(out, NEW)
    run(out, OLD)
    for step in killed_at_every_step(out, publishing_only=True, changed=NEW):
        release.verify(release.resolve(out))
        if step % 3 == 0:
            run(out, NEW)
            release.verify(release.resolve(out))
            assert opens(release.resolve(out)) == 37_468_303


def test_mending_a_damaged_release_can_be_killed_and_is_done_by_the_next_run(
    tmp_path: Path,
) -> None:
    out = tmp_path / "processed"
    run(out, NEW)
    (release.resolve(out) / "quality.json").write_text("{")
    for step in killed_at_every_step(out, publishing_only=True, changed=NEW):
        assert opens(release.resolve(out)) == 37_468_303, "readable at every moment"
        if step % 3 == 0:
            run(out, NEW)
            release.verify(release.resolve(out))


def slow_victim(out: Path) -> None:
    run(out, NEW, years=9_000)


def test_a_run_killed_at_any_moment_leaves_the_last_release(tmp_path: Path) -> None:
    """By the clock, so that it also falls into the libraries that write the files."""
    out = tmp_path / "processed"
    run(out, OLD)
    started(slow_victim, tmp_path / "warm").join()
    for tenth in range(8):
        process = started(slow_victim, out)
        time.sleep(0.05 + tenth * 0.05)
        process.kill()
        process.join()
        release.verify(release.resolve(out))
        assert opens(release.resolve(out)) in (37_468_302, 37_468_303)
    run(out, NEW)
    assert opens(release.resolve(out)) == 37_468_303


def filling_disk(out: Path, limit: int, answer: Any) -> None:
    """No file may grow beyond ``limit`` bytes, which writers meet as they meet a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        run(out, NEW, years=9_000)
        answer.put("published")
    except ReleaseError as error:
        answer.put(str(error))


@pytest.mark.parametrize("limit", [1_000, 30_000, 300_000])
def test_a_disk_that_is_full_while_libraries_write_is_a_clear_error(
    tmp_path: Path, limit: int
) -> None:
    out = tmp_path / "processed"
    run(out, OLD)
    answer = PROCESSES.SimpleQueue()
    process = started(filling_disk, out, limit, answer)
    assert "no space left on the disk" in answer.get()
    process.join()
    assert process.exitcode == 0
    assert not (out / ".incoming").exists()
    release.verify(release.resolve(out))
    assert opens(release.resolve(out)) == 37_468_302


def publisher(out: Path, population: int) -> None:
    run(out, {("jpn-tokyo", 2018): population})


def test_publishers_at_once_take_turns(tmp_path: Path) -> None:
    out = tmp_path / "processed"
    crowd = [started(publisher, out, population) for population in (1, 2, 3, 4)]
    for process in crowd:
        process.join()
        assert process.exitcode == 0
    folders = list((out / "releases").iterdir())
    assert len(folders) == 4
    before = []
    for folder in folders:
        release.verify(folder)
        before.append(json.loads((folder / "changes.json").read_text())["before"])
    last = release.resolve(out).name
    chain = {folder.name for folder in folders} - {last} | {None}
    assert set(before) == chain, "each compares with the one before it, the first with none"
    assert small_release.SPECS.keys() == {p.stem for p in (out / "latest").glob("*.parquet")}
