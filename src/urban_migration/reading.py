"""From raw files to tidy source tables on disk: each content is read once.

The tables of a source are kept under a key made of the bytes of its files and of the code that
reads them, so that a source is parsed again only when either changes.  Reading may happen in
another process: paths go in and a folder of Arrow files comes out.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from urban_migration.errors import ReadError
from urban_migration.sources import all_sources, get_source
from urban_migration.sources.source import Source, Tables

if TYPE_CHECKING:
    from urban_migration.raw import RawFile

READERS = ("columns.py", "sources/source.py", "sources/grid.py", "sources/city_tables.py")
PACKAGE = Path(__file__).parent


def digest(*parts: str | bytes) -> str:
    """A short hash of several parts, none of which runs into the next."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()[:24]


@cache
def _reader_code(source_id: str) -> str:
    files = [PACKAGE / name for name in READERS]
    files += sorted((PACKAGE / "sources").glob(f"{source_id}.*"))  # with its reference CSV
    versions = [version(package) for package in ("numpy", "pyarrow", "python-calamine")]
    return digest(*[path.read_bytes() for path in files], *versions)


def reader_key(source_id: str, files: Mapping[str, RawFile]) -> str:
    """The key of what a source's files hold, as its present reader reads them."""
    contents = [f"{name} {file.sha256}" for name, file in sorted(files.items())]
    return digest(_reader_code(source_id), *contents)


def lighten() -> None:
    """Spare a process that only reads what it does not need, and end it with its parent.

    Arrow imports pandas (0.2 s) merely to recognise its types, NumPy starts a thread per core for
    linear algebra, and the garbage collector looks through millions of cells that are all in use.
    """
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.meta_path.insert(0, _NoPandas())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def get_ready() -> None:
    """Import what reading needs."""
    all_sources()


def _end_with_parent() -> None:
    """A process of a pool waits for work for ever, also when its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _NoPandas(MetaPathFinder):
    """Says that pandas is not installed."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def read_into(source_id: str, paths: Mapping[str, Path], folder: Path) -> Path:
    """Read a source's files and put its tidy tables into ``folder``, complete or not at all.

    Raises :class:`ReadError` where a file is not as its reader expects.
    """
    if folder.exists():
        return folder
    import pyarrow as pa

    source = get_source(source_id)
    tables = source.read(paths)
    _check_schemas(source, tables)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".reading-"))
    try:
        for name, table in tables.items():
            whole = table.unify_dictionaries().combine_chunks()
            with pa.ipc.new_file(str(staging / f"{name}.arrow"), whole.schema) as writer:
                writer.write_table(whole)
        if not folder.exists():
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def load(source_id: str, folder: Path) -> Tables:
    """The tidy tables of a folder that ``read_into`` filled, mapped rather than copied."""
    import pyarrow as pa

    return {
        name: pa.ipc.open_file(pa.memory_map(str(folder / f"{name}.arrow"))).read_all()
        for name in get_source(source_id).tables
    }


def _check_schemas(source: Source, tables: Tables) -> None:
    if tables.keys() != source.tables.keys():
        raise ReadError(f"its reader gave the tables {sorted(tables)}", file=source.id)
    for name, table in tables.items():
        if table.schema != source.tables[name].schema():
            raise ReadError(f"its reader gave {table.schema}", file=f"{source.id}.{name}")
