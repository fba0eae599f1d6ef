"""A schedule fires, publishes, and leaves no process behind when it is stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import Running, standing, start

from urban_migration import release

WAIT = 300.0
"""Seconds for a server to start and a run to publish on a busy machine; about 20 are needed."""


def waited_for(condition: Callable[[], bool], running: Running | None = None) -> bool:
    """Whether it came true in time, and before the process ended."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if condition():
            return True
        if running is not None and running.process.poll() is not None:
            return False
        time.sleep(0.2)
    return False


def processes_of(home: Path) -> list[str]:
    """Commands of the processes that have Prefect's folder of this schedule in their settings."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"PREFECT_HOME={home}".encode() in environ.read_bytes().split(b"\0"):
                command = environ.with_name("cmdline").read_text().replace("\0", " ")
                found.append(command)
        except OSError:
            continue
    return [command for command in found if command]


@pytest.mark.slow
def test_a_cron_schedule_fires_a_run_and_ends_with_all_its_processes(tmp_path: Path) -> None:
    """Every five seconds: the sixth field of a cron is its seconds."""
    out, home = tmp_path / "processed", tmp_path / "prefect"
    running = start(
        *("schedule", "--cron", "* * * * * */5", "--offline"),
        *("--raw", tmp_path / "raw", "--out", out),
        env={"PREFECT_HOME": str(home), "PREFECT_RUNNER_POLL_FREQUENCY": "2"},
        preexec=os.setsid,
    )
    try:
        fired = waited_for(lambda: release.latest(out) is not None, running)
        alive = processes_of(home)
    finally:
        running.process.send_signal(signal.SIGTERM)
        ended = running.end()
        gone = waited_for(lambda: not processes_of(home))
        if not gone:
            os.killpg(running.process.pid, signal.SIGKILL)
    assert fired, ended
    assert gone, processes_of(home)
    assert "* * * * * */5" in ended.out + ended.err
    assert standing(out).startswith("umi-bundled-")
    if Path("/proc").is_dir():
        assert any("flows.server" in command for command in alive)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_a_run_that_is_killed_takes_its_server_with_it(tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    running = start(
        *("refresh", "--offline", "--raw", tmp_path / "raw", "--out", tmp_path / "processed"),
        env={"PREFECT_HOME": str(home)},
        preexec=os.setsid,
    )
    begun = waited_for(lambda: any("flows.server" in c for c in processes_of(home)), running)
    running.process.send_signal(signal.SIGKILL)
    running.end()
    assert begun
    assert waited_for(lambda: not processes_of(home)), processes_of(home)
