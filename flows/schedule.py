"""Serves the refresh flow on a cron, for refreshes that nobody watches.

With ``PREFECT_API_URL`` set, runs are scheduled and shown by that server.  Without one, a server
of our own is started on the loopback interface and ends with this process: Prefect schedules
nothing on the short-lived server that a single run makes for itself.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from flows import server
from urban_migration.errors import UsageError


def serve(cron: str, parameters: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Run ``scheduled_refresh`` whenever ``cron`` says, one at a time, until interrupted.

    ``say`` is told when the schedule is in force.  Raises :class:`UsageError` for a ``cron`` that
    is none, :class:`ProductError` when the scheduler's server does not start.
    """
    signal.signal(signal.SIGTERM, _stop)
    ready = server.start(scheduling=True)
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
