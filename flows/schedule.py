"""Serves the refresh flow on a cron, for refreshes that nobody watches.

With ``PREFECT_API_URL`` set, runs are scheduled and shown by that server.  Without one, a server
of our own is started on the loopback interface and ends with this process: Prefect schedules
nothing on the short-lived server that a single run makes for itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from urban_migration.errors import ProductError, UsageError

START_SECONDS = 120.0
STOP_SECONDS = 5.0


def serve(cron: str, parameters: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Run ``scheduled_refresh`` whenever ``cron`` says, one at a time, until interrupted.

    ``say`` is told when the schedule is in force.  Raises :class:`UsageError` for a ``cron`` that
    is none, :class:`ProductError` when the scheduler's server does not start.
    """
    signal.signal(signal.SIGTERM, _stop)
    ready = _server()
    from prefect._vendor.croniter import croniter

    if not croniter.is_valid(cron):
        raise UsageError(f"{cron!r} is no cron expression, such as '0 6 1 * *'")
    from flows.refresh import scheduled_refresh

    ready()
    say(f"refreshing whenever {cron!r} says (UTC), until stopped")
    with suppress(KeyboardInterrupt):
        scheduled_refresh.serve(
            name="refresh",
            cron=cron,
            parameters=parameters,
            limit=1,
            print_starting_message=False,
        )


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _server() -> Callable[[], None]:
    """See to a server, the one that the environment names or one of our own.

    It starts meanwhile; call what is returned to wait for it.  Call this before Prefect is
    imported: then ours ends after Prefect's last messages to it, which otherwise try for a minute
    to reach a server that is gone.
    """
    if os.environ.get("PREFECT_API_URL"):
        return lambda: None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--no-ui"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(_end, server)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    return lambda: _await(server, f"http://127.0.0.1:{port}/api/health")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server with all that it started, politely if it listens."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)


def _await(server: subprocess.Popen[bytes], health: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ProductError(f"the scheduler's server ended at once (code {server.returncode})")
        try:
            with urlopen(health, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise ProductError(f"the scheduler's server did not answer within {START_SECONDS:g} s")
