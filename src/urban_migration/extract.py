"""The bundled extract: a small raw store of real figures, cut from a full one.

Its files have the publishers' names, sheets, headers and columns, so that the same readers run
on them; left out are rows, and cells that no reader uses, and the publishers' prose.  What is
selected stands in ``places/extract.yaml``, how a source is cut in ``extract_rules``.  The same
full store gives the same bytes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from urban_migration.errors import MissingSourceError, RawStoreError, UsageError
from urban_migration.extract_rules import RULES
from urban_migration.files import sha256_file
from urban_migration.raw import LOCK, VERSION, RawStore
from urban_migration.selection import Cut, Selection, load_selection
from urban_migration.sources import all_sources
from urban_migration.sources.source import Files, Source

MANIFEST: Final = "manifest.json"

DESCRIPTION: Final = (
    "A small extract of the publishers' files, in their layouts, for use without a network: "
    "selected cities, destinations and years. Every figure is as in the file that it was taken "
    "from (taken_from); rows were left out, so sums and ranks over all cities cannot be had from "
    "it, and of some sources there are single years, or all years of single countries (each file "
    "says what was kept). Footnotes, descriptions of events and other prose were left out too."
)


def write_extract(
    raw: RawStore | Path,
    target: Path,
    *,
    selection: Selection | None = None,
    first_seen: str | None = None,
) -> None:
    """Replace ``target`` by an extract of the full store ``raw``, with its lock and manifest.

    A full store without a lock (``<raw>/<source_id>/<file>``) needs ``first_seen``
    (``YYYY-MM-DDTHH:MM:SSZ``), which its lock would say per file.  A source without a rule is
    left out, and the manifest says so where the full store has it.  Every reader has read its
    part before ``target`` changes.

    Raises :class:`UsageError` where ``target`` holds something else than an extract,
    :class:`MissingSourceError` where a required source is not in ``raw``, and
    :class:`ReadError` where a file is not as its reader expects.
    """
    store = raw if isinstance(raw, RawStore) else RawStore(raw)
    selection = selection or load_selection()
    _refuse(store.root, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".extract-"))
    try:
        staging.chmod(0o755)
        lock: dict[str, Any] = {}
        manifest = _manifest(selection)
        for source in all_sources().values():
            full, seen = _full_files(store, source, first_seen)
            if not full:
                continue
            if source.id not in RULES:
                manifest["left_out"][source.id] = "has no rule to cut it"
                continue
            cuts = RULES[source.id](full, selection)
            paths = _write(cuts, staging / source.id)
            source.read(paths)
            lock[source.id] = {
                "files": {
                    name: _lock_entry(_url(source, name), cut.content, seen)
                    for name, cut in cuts.items()
                }
            }
            manifest["sources"][source.id] = _source_entry(source, full, cuts)
        _write_json(staging / LOCK, {"version": VERSION, "sources": lock})
        _write_json(staging / MANIFEST, manifest)
        _replace(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


# ------------------------------------------------------------------ the store around the files


def _refuse(root: Path, target: Path) -> None:
    if (root / MANIFEST).exists():
        raise UsageError(f"{root}: is an extract itself; give the full raw store")
    strange = target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).exists()
    if strange or target.is_file():
        raise UsageError(f"{target}: exists and is no extract; it is not replaced")


def _full_files(
    store: RawStore, source: Source, first_seen: str | None
) -> tuple[dict[str, Path], str]:
    """The files of a source in the full store, and when the newest of them was first seen."""
    files = store.verify(source.id)
    if files:
        seen = max(file.first_seen for file in files.values())
        return {name: file.path for name, file in files.items()}, seen
    folder = store.root / source.id
    held = folder.is_dir() and store.empty
    paths = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()} if held else {}
    if not paths and source.required:
        raise MissingSourceError(
            f"{store.root}: {source.id} is required and not there. Run: urban-migration refresh"
        )
    if paths and first_seen is None:
        raise RawStoreError(
            f"{store.lock}: missing, so say when the files were first seen (first_seen)"
        )
    return paths, first_seen or ""


def _url(source: Source, name: str) -> str:
    """Where the publisher serves the file of this name."""
    for download in source.downloads:
        if download.pages is None and download.file == name:
            return download.url
        head, _, tail = download.file.partition("{page}")
        page = name.removeprefix(head).removesuffix(tail)
        if download.pages is not None and name == f"{head}{page}{tail}":
            return download.url.format(page=page)
    raise ValueError(f"{source.id} has no download for {name}")


def _lock_entry(url: str, content: bytes, first_seen: str) -> dict[str, Any]:
    return {
        "url": url,
        "sha256": sha256(content).hexdigest(),
        "bytes": len(content),
        "etag": None,
        "last_modified": None,
        "first_seen": first_seen,
    }


def _manifest(selection: Selection) -> dict[str, Any]:
    return {
        "extract": True,
        "description": DESCRIPTION,
        "selection": {
            "counts": {
                "cities": len(selection.cities),
                "destinations_by_origin": len(selection.destinations),
            },
            **selection.document,
        },
        "sources": {},
        "left_out": {},
    }


def _source_entry(source: Source, full: Files, cuts: Mapping[str, Cut]) -> dict[str, Any]:
    about = ("title", "publisher", "edition", "licence", "licence_url", "citation")
    return {
        **{member: getattr(source, member) for member in about},
        "files": [
            {"file": name, "of": cut.of, "kept": cut.kept, "bytes": len(cut.content)}
            for name, cut in cuts.items()
        ],
        "taken_from": [
            {"file": name, "sha256": sha256_file(path), "bytes": path.stat().st_size}
            for name, path in full.items()
        ],
    }


def _write(cuts: Mapping[str, Cut], folder: Path) -> dict[str, Path]:
    folder.mkdir()
    paths = {name: folder / name for name in cuts}
    for name, cut in cuts.items():
        paths[name].write_bytes(cut.content)
    return paths


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    sort = path.name == LOCK
    text = json.dumps(document, indent=1, sort_keys=sort, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")


def _replace(staging: Path, target: Path) -> None:
    """Put the new extract where the old one is; the old one is gone last."""
    old = staging.with_name(f"{staging.name}-old")
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)
