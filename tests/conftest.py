"""Fixtures shared by all tests: the mirror of the publishers, when it stands beside the project."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = ROOT.parent / "shared" / "upstream"


@pytest.fixture(scope="session")
def upstream() -> Path:
    """The folder of the publishers' files; tests that need it skip where it is absent."""
    if not (UPSTREAM / "serve.py").exists():
        pytest.skip("needs the mirror of the publishers' files in ../shared/upstream")
    return UPSTREAM


@pytest.fixture(scope="session")
def serve(upstream: Path) -> ModuleType:
    """The simulator's module."""
    spec = importlib.util.spec_from_file_location("upstream_serve", upstream / "serve.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def simulator(serve: ModuleType, upstream: Path) -> Iterator[Callable[..., Any]]:
    """Start simulators of the publishers: ``simulator(faults=[{...}], root=..., log=...)``."""
    with ExitStack() as stack:

        def start(
            faults: list[dict[str, Any]] | None = None,
            root: Path | None = None,
            log: Path | None = None,
        ) -> Any:
            spoilt = [serve.Fault(**fault) for fault in faults or []]
            server = serve.Simulator(root or upstream, faults=spoilt, log=log)
            return stack.enter_context(server.running())

        yield start
