"""From raw files to tidy source tables on disk: each content is read once.

The tables of a source are kept under a key made of the bytes of its files and of the code that
reads them, so that a source is parsed again only when either changes.  Reading may happen in
another process: paths go in and a folder of Arrow files comes out.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from urban_migration.errors import ReadError
from urban_migration.sources import get_source
from urban_migration.sources.source import Source, Tables

if TYPE_CHECKING:
    from urban_migration.raw import RawFile

READERS = ("columns.py", "sources/source.py", "sources/grid.py")
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
    files = [*READERS, f"sources/{source_id}.py"]
    versions = [version(package) for package in ("numpy", "pyarrow", "python-calamine")]
    return digest(*[(PACKAGE / name).read_bytes() for name in files], *versions)


def reader_key(source_id: str, files: Mapping[str, RawFile]) -> str:
    """The key of what a source's files hold, as its present reader reads them."""
    contents = [f"{name} {file.sha256}" for name, file in sorted(files.items())]
    return digest(_reader_code(source_id), *contents)


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
