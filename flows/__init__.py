"""The steps of the pipeline as Prefect flows: orchestration alone, no work of their own.

``settle`` must run before anything here is imported that imports Prefect; ``refresh`` holds the
flow, ``schedule`` serves it on a cron.
"""

from __future__ import annotations

import os
from pathlib import Path

from urban_migration.sources import all_sources


def settle(home: Path, *, logging_level: str = "CRITICAL") -> None:
    """Prefect's settings for this project; what the environment already says wins.

    Its database stays in ``home``, it sends no analytics, and its own log is quiet, because the
    command line reports progress and errors itself.
    """
    home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
    defaults = {
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "0",
        "PREFECT_LOGGING_LEVEL": logging_level,
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def keys() -> dict[str, str]:
    """The users' keys that the environment holds, by the names that sources give them."""
    names = {source.secret for source in all_sources().values() if source.secret}
    return {name: key for name in sorted(names) if (key := os.environ.get(name))}
