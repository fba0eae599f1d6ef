"""Prefect's API server for runs that were given none: on the loopback, gone with its parent.

It is a process of its own (``python -m flows.server PORT``) that starts while the rest of the
program does.  A new database takes Prefect's hundred migrations, longer than a whole build; so
they are run once for an installation (``--prepare``, or when first needed), and every new folder
of Prefect's begins with a copy.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from urban_migration.errors import ProductError

DATABASE = "prefect.db"
START_SECONDS = 120.0
STOP_SECONDS = 5.0
OWN_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
"""Settings with which a user names another database than that of Prefect's folder."""


def start(*, scheduling: bool = False) -> Callable[[], None]:
    """See to a server: the one that the environment names, or one of our own.

    It starts meanwhile; call what is returned to wait for it, which raises :class:`ProductError`
    where it does not come.  Only one that is ``scheduling`` starts runs at their time.  Call this
    before Prefect is imported: then ours ends after Prefect's last messages to it, which
    otherwise try for a minute to reach a server that is gone.
    """
    if os.environ.get("PREFECT_API_URL"):
        return lambda: None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "flows.server", str(port), *["--scheduling"] * scheduling],
        stdin=subprocess.PIPE,  # whose end tells it that this process is gone
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
            raise ProductError(f"Prefect's server ended at once (code {server.returncode})")
        try:
            with urlopen(health, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise ProductError(f"Prefect's server did not answer within {START_SECONDS:g} s")


# ------------------------------------------------------------------ in the server's process


def main() -> None:
    """Serve on the port of the command line until the parent ends, or prepare the database."""
    if "--prepare" in sys.argv:
        _prepared()
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if _has_database(Path(os.environ["PREFECT_HOME"])):
        os.environ["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "0"
    gc.disable()  # half a million objects that stay: looking through them takes a fifth
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral="--scheduling" not in sys.argv, final=True)
    gc.freeze()
    gc.enable()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")


def _end_with_parent() -> None:
    """Nothing is ever written to the pipe; it ends when nobody holds its other end."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)


def _has_database(home: Path) -> bool:
    """Give a new folder of Prefect's its database; False where the server is to see to it."""
    path = home / DATABASE
    if path.exists() or any(name in os.environ for name in OWN_DATABASE):
        return False
    try:
        copy = home / f".{DATABASE}-{os.getpid()}"
        shutil.copyfile(_prepared(), copy)
        copy.replace(path)
    except (OSError, subprocess.CalledProcessError):  # such as an installation that is read-only
        return False
    return True


def _prepared() -> Path:
    """A new database with all migrations, kept with the installation."""
    path = Path(sys.prefix, "share", "urban-migration", f"prefect-{version('prefect')}.db")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as home:
            subprocess.run(
                [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
                env={**os.environ, "PREFECT_HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            Path(home, DATABASE).replace(path)
    return path


if __name__ == "__main__":
    main()
