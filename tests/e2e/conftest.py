"""One Prefect for all tests that run the flow in this process: its server starts once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from runs import BUNDLED, World

from urban_migration.download import Downloader


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Refresh a world: ``flow(world, mirror_url)``; without an address, offline."""
    before = dict(os.environ)
    from flows import server, settle

    settle(tmp_path_factory.mktemp("prefect"))
    ready = server.start()
    from flows.refresh import Order, run

    ready()

    def refresh(
        world: World,
        mirror: str | None = None,
        say: Callable[[str], None] = lambda _: None,
        bundled: Path = BUNDLED,
        secrets: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Any:
        order = Order(
            raw=world.raw,
            bundled=bundled,
            out=world.out,
            expectations=world.expectations,
            mirror=mirror,
            offline=mirror is None,
            **options,
        )
        if mirror is None:
            return run(order, None, say)
        quick = {"backoff": 0.01, "retries": 1, "timeout": (5.0, 2.0), "slow_after": 1.0}
        with Downloader(mirror=mirror, **quick) as downloader:
            return run(order, downloader, say, secrets)

    yield refresh
    os.environ.clear()
    os.environ.update(before)
