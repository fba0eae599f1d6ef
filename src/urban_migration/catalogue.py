"""A release as it describes itself: found, opened, and asked for its tables and freshness.

What is said comes from the release's ``datapackage.json`` and the ``status.json`` beside the
releases, not from this version of the code, so that an old release is described as it was.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from urban_migration.errors import ReleaseError, UsageError

EXTRACT: Final = "bundled extract, some cities and countries only"


def project_root() -> Path:
    """The checkout that this code runs from, or the working folder when it is installed apart."""
    source = Path(__file__).resolve().parents[1]
    # Only src/ of a checkout: a virtual environment may lie inside some other project.
    if source.name == "src" and (source.parent / "pyproject.toml").is_file():
        return source.parent
    return Path.cwd()


def expectations_folder(root: Path) -> Path:
    """The suites of the checkout, or those that the installed package carries."""
    folder = root / "expectations"
    return folder if folder.is_dir() else Path(__file__).parent / "expectations"


@dataclass(frozen=True)
class Opened:
    """A release as its own ``datapackage.json`` describes it."""

    folder: Path
    descriptor: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The release id; the folder's name where the descriptor has none."""
        return str(self.descriptor.get("version") or self.folder.name)

    @property
    def extract(self) -> bool:
        """Whether it was built from the bundled extract: some cities and countries only."""
        return bool(self.descriptor.get("extract"))

    @property
    def tables(self) -> dict[str, Mapping[str, Any]]:
        """The resources of the descriptor by name."""
        return {table["name"]: table for table in self.descriptor.get("resources", ())}

    def headline(self) -> str:
        """A line that says which release this is, and another where it is an extract only."""
        parts = [f"release {self.id}"]
        if self.descriptor.get("series"):
            parts.append(f"series {self.descriptor['series']}")
        if self.descriptor.get("created"):
            parts.append(f"sources as of {day(self.descriptor['created'])}")
        return " · ".join(parts) + (f"\n{EXTRACT}" if self.extract else "")

    def about(self) -> dict[str, Any]:
        """What every JSON answer begins with."""
        return {"release": self.id, "extract": self.extract}


def open_release(wanted: str | None, out: Path | None) -> Opened:
    """Find a release by id or folder, or the latest one, and read its descriptor."""
    folder = find_release(wanted, out)
    path = folder / "datapackage.json"
    try:
        descriptor = json.loads(path.read_bytes())
        if not isinstance(descriptor, dict):
            raise ValueError("not an object")
    except (FileNotFoundError, ValueError) as error:
        raise ReleaseError(
            f"{path}: cannot be read ({error}). Restore the folder from a copy, or name another "
            "release with --release."
        ) from None
    return Opened(folder, descriptor)


def find_release(wanted: str | None, out: Path | None) -> Path:
    """The folder of a release; an unknown id is answered with those that are spelt nearly so."""
    from urban_migration import release

    out = out or project_root() / "data" / "processed"
    try:
        return release.resolve(out, wanted or "latest").resolve()
    except ReleaseError as error:
        if wanted in (None, "latest"):
            raise
        known = [path.name for path in (out / "releases").glob("umi-*")]
        raise UsageError(f"{error}{did_you_mean(str(wanted), known)}") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: those that are spelt nearly so, if any."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def day(moment: object) -> str:
    """The day of a moment in ISO 8601."""
    return str(moment)[:10]


def checks(folder: Path) -> Mapping[str, Any]:
    """What ``status.json`` says of each source; nothing for a folder that stands alone."""
    from urban_migration import release

    if folder.parent.name != "releases":
        return {}
    return release.read_status(folder.parent.parent)["sources"]


def left_out(folder: Path) -> Mapping[str, str]:
    """Experimental sources that the latest release is made without, and why."""
    from urban_migration import release

    if folder.parent.name != "releases":
        return {}
    status = release.read_status(folder.parent.parent)
    return status.get("left_out", {}) if status["release"] == folder.name else {}


def freshness(source_id: object, checked: Mapping[str, Any]) -> dict[str, Any]:
    """When a source was last looked at; stale means that the last attempt to fetch it failed."""
    times = checked.get(str(source_id), {})
    names = ("last_checked", "last_changed", "last_failed", "error")
    failed, looked = times.get("last_failed"), times.get("last_checked")
    stale = bool(failed) and (not looked or str(failed) >= str(looked))
    return {**{name: times.get(name) for name in names}, "stale": stale}
