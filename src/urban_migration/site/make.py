"""Makes the site: the built front end, a release and the older ones, and what is derived.

A site is written in full beside where it shall stand and then put there in one step; a folder
that holds anything but a site of ours is refused, never emptied.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from urban_migration import catalogue
from urban_migration import release as releases
from urban_migration.errors import ReleaseError, UsageError
from urban_migration.files import sha256_file
from urban_migration.site import derive, pages

MARK: Final = "site.json"
"""The file that says that a folder is a site of ours."""

FRONT_END_MISSING: Final = (
    "the front end of the site is not built: {where} is missing. In a checkout, run `make site` "
    "(needs Node 20 or newer, and npm); elsewhere, name a built one with --front-end DIR."
)


@dataclass(frozen=True)
class Site:
    """A site that was made: where, of which release, how large."""

    folder: Path
    release: str
    extract: bool
    bytes: int
    older: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``site --json``."""
        return {
            "folder": str(self.folder),
            "release": self.release,
            "extract": self.extract,
            "bytes": self.bytes,
            "older": list(self.older),
        }


def find_front_end() -> Path:
    """The built front end: of the checkout, else one that the installed package carries."""
    places = (
        catalogue.project_root() / "site" / "dist",
        Path(__file__).parent / "dist",
    )
    for place in places:
        if (place / "manifest.json").is_file():
            return place
    raise UsageError(FRONT_END_MISSING.format(where=places[0] / "manifest.json"))


def build_site(
    release: Path,
    to: Path,
    *,
    front_end: Path | None = None,
    url: str | None = None,
) -> Site:
    """Make the site of ``release`` in the folder ``to``, in place of a site that is there.

    ``url`` is where the site will stand, for the sitemap and the canonical addresses.  Raises
    ReleaseError where the release is not whole, and UsageError where the front end is not built
    or ``to`` holds something that is not a site.
    """
    front_end = front_end or find_front_end()
    assets = _manifest(front_end)
    url = _address(url)
    _check_place(to)
    releases.verify(release)
    opened = catalogue.open_release(str(release), None)
    to.parent.mkdir(parents=True, exist_ok=True)
    staging = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    try:
        staging.mkdir()
        shutil.copytree(front_end, staging / "assets", ignore=shutil.ignore_patterns("manifest*"))
        older = _copy_releases(opened, staging)
        archive = _archive(opened, staging)
        with derive.reading(opened.folder, opened.descriptor) as tables:
            facts = _write_data(opened, tables, staging, assets, older, archive, url)
        for name, text in pages.render(facts).items():
            (staging / name).write_text(text, "utf-8")
        (staging / "sitemap.xml").write_text(_sitemap(facts), "utf-8")
        robots = _robots(url, private=bool(opened.descriptor.get("private")))
        (staging / "robots.txt").write_text(robots, "utf-8")
        size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
        _put(staging, to)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Site(to, opened.id, opened.extract, size, tuple(str(item["id"]) for item in older))


def _manifest(front_end: Path) -> dict[str, Any]:
    """The front end's files by role, as paths from a page: script, style, preload by page."""
    path = front_end / "manifest.json"
    try:
        named = json.loads(path.read_bytes())
        early = {page: list(names) for page, names in named.get("preload", {}).items()}
        script, style = str(named["script"]), str(named["style"])
    except FileNotFoundError:
        raise UsageError(FRONT_END_MISSING.format(where=path)) from None
    except (ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: {error!r}. Build it again with `make site`.") from None
    return {
        "script": f"assets/{script}",
        "style": f"assets/{style}",
        "preload": {page: [f"assets/{name}" for name in names] for page, names in early.items()},
    }


def _address(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"--url {url}: give the address of the site, such as https://HOST/PATH/.")
    return url if url.endswith("/") else f"{url}/"


def _check_place(to: Path) -> None:
    if to.is_file():
        raise UsageError(f"{to}: is a file. Name a folder with --to.")
    if to.is_dir() and any(to.iterdir()) and not (to / MARK).is_file():
        raise UsageError(f"{to}: holds other things than a site. Name another folder with --to.")


def _put(staging: Path, to: Path) -> None:
    """Rename the new site into place; the old one, if any, is moved away first and removed."""
    old = None
    if to.exists():
        old = to.with_name(f".{to.name}.{secrets.token_hex(4)}.old")
        to.rename(old)
    try:
        staging.rename(to)
    except OSError:
        if old is not None:
            old.rename(to)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


# ---- the releases --------------------------------------------------------------------------


def _copy_releases(opened: catalogue.Opened, staging: Path) -> list[dict[str, Any]]:
    """Copy the release and those made before it; what the older ones are, newest first."""
    _copy_release(opened.folder, staging / "releases" / opened.id)
    if opened.folder.parent.name != "releases":
        return []
    older: list[dict[str, Any]] = []
    for folder in sorted(opened.folder.parent.glob("umi-*")):
        if folder.name == opened.folder.name or not (folder / releases.SUMS).is_file():
            continue
        other = catalogue.open_release(str(folder), None)
        # An extract and the full thing are not editions of one another.
        if other.extract != opened.extract:
            continue
        database = folder / releases.DATABASE
        _copy_release(folder, staging / "releases" / other.id)
        older.append(
            {
                "id": other.id,
                "created": other.descriptor.get("created"),
                "tables": len(other.tables),
                "rows": sum(int(table.get("rows") or 0) for table in other.tables.values()),
                "bytes": database.stat().st_size if database.is_file() else None,
                "made": folder.stat().st_mtime_ns,
            }
        )
    older.sort(key=lambda item: str(item["id"]))
    older.sort(key=lambda item: item.pop("made"), reverse=True)
    return older


def _copy_release(folder: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.is_file():
            shutil.copyfile(path, to / path.name)


def _archive(opened: catalogue.Opened, staging: Path) -> dict[str, Any]:
    """The whole release as one zip, the same bytes for the same files."""
    target = staging / "releases" / f"{opened.id}.zip"
    sizes = {}
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted((staging / "releases" / opened.id).iterdir()):
            sizes[path.name] = path.stat().st_size
            entry = zipfile.ZipInfo(f"{opened.id}/{path.name}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            packed = path.suffix == ".parquet"  # compressed as it is
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as inside:
                shutil.copyfileobj(source, inside, 1 << 20)
    return {
        "name": target.name,
        "bytes": target.stat().st_size,
        "sha256": sha256_file(target),
        "files": sizes,
    }


# ---- what is derived -----------------------------------------------------------------------


def _write_data(
    opened: catalogue.Opened,
    tables: derive.Tables,
    staging: Path,
    assets: Mapping[str, Any],
    older: Sequence[Mapping[str, Any]],
    archive: Mapping[str, Any],
    url: str | None,
) -> pages.Facts:
    """Write the indexes that the front end reads; the facts that the pages say."""
    folder = staging / "data"
    listed = derive.cities(tables)
    countries = derive.countries(tables)
    (folder / "countries").mkdir(parents=True)
    (folder / "map").mkdir()
    index = {
        "columns": derive.CITY_COLUMNS,
        "rows": listed,
        "countries": countries,
        "groups": derive.groups(tables),
    }
    (folder / "cities.json").write_bytes(derive.to_bytes(index))
    for code, about in derive.country_files(tables, listed):
        (folder / "countries" / f"{code}.json").write_bytes(derive.to_bytes(about))
    layers, files = derive.map_layers(tables, listed, opened.descriptor)
    for name, data in files.items():
        (folder / "map" / name).write_bytes(data)
    (folder / "map.json").write_bytes(derive.to_bytes(layers))
    (folder / "examples.json").write_bytes(derive.to_bytes(derive.examples(tables)))
    sources = _sources(opened, tables)
    stamp = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stamp.update(path.read_bytes())
    mark = _mark(opened, sources, stamp.hexdigest()[:12])
    (staging / MARK).write_bytes(derive.to_bytes(mark))
    descriptor = {**opened.descriptor, "years": layers["years"] or None}
    return pages.Facts(
        descriptor=descriptor,
        release=opened.id,
        extract=opened.extract,
        quality=_json(opened.folder / "quality.json"),
        changes=_json(opened.folder / "changes.json"),
        sources=sources,
        cities=listed,
        countries=countries,
        claims=derive.claims(tables),
        older=older,
        assets=assets,
        archive=archive,
        sums=_sums(opened.folder),
        url=url,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ReleaseError(f"{path}: not JSON ({error}).") from None
    return found if isinstance(found, dict) else {}


def _sums(folder: Path) -> dict[str, str]:
    lines = (folder / releases.SUMS).read_text("utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


SOURCE_FIELDS: Final = (
    "source_id",
    "title",
    "publisher",
    "edition",
    "licence",
    "licence_url",
    "homepage",
    "citation",
    "first_seen",
)


def _sources(opened: catalogue.Opened, tables: derive.Tables) -> dict[str, dict[str, Any]]:
    """What the release says of each source, and when it was last looked at."""
    checked = catalogue.checks(opened.folder)
    names = [name for name in SOURCE_FIELDS if tables.has("sources", name)]
    found: dict[str, dict[str, Any]] = {
        str(source["source_id"]): {
            **dict.fromkeys(SOURCE_FIELDS),
            **{name: source.get(name) for name in ("source_id", "title", "edition", "citation")},
            "homepage": source.get("path"),
        }
        for source in opened.descriptor.get("sources", ())
        if source.get("source_id")
    }
    if "source_id" in names:
        for row in tables.rows(f"select {', '.join(names)} from sources order by source_id"):
            said = dict(zip(names, row, strict=True))
            base = found.setdefault(str(said["source_id"]), dict.fromkeys(SOURCE_FIELDS))
            base.update({name: value for name, value in said.items() if value is not None})
    for source_id, source in found.items():
        times = catalogue.freshness(source_id, checked)
        source.update({name: times[name] for name in ("last_checked", "last_changed", "stale")})
    return found


def _mark(
    opened: catalogue.Opened, sources: Mapping[str, Mapping[str, Any]], stamp: str
) -> dict[str, Any]:
    """``site.json``: what every page of the front end begins with."""
    return {
        "version": 1,
        "release": opened.id,
        "extract": opened.extract,
        "series": opened.descriptor.get("series"),
        "created": opened.descriptor.get("created"),
        "data": stamp,
        "path": f"releases/{quote(opened.id)}/",
        "database_bytes": (opened.folder / releases.DATABASE).stat().st_size,
        "tables": {
            name: {
                "path": table["path"],
                "bytes": (opened.folder / table["path"]).stat().st_size,
                "footer": _footer(opened.folder / table["path"]),
                "rows": table.get("rows"),
                "title": table.get("title"),
                "columns": [column["name"] for column in table["schema"]["fields"]],
            }
            for name, table in opened.tables.items()
        },
        "sources": {
            source_id: {
                name: source.get(name)
                for name in (
                    "title",
                    "publisher",
                    "edition",
                    "licence",
                    "licence_url",
                    "homepage",
                    "first_seen",
                    "stale",
                )
            }
            for source_id, source in sources.items()
        },
    }


def _footer(path: Path) -> int:
    """The bytes at the end of a Parquet file that describe it, so that one request brings them."""
    with path.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        return int.from_bytes(stream.read(4), "little") + 8


def _robots(url: str | None, *, private: bool) -> str:
    """Search engines are welcome, but for what must not be passed on."""
    if private:
        return "User-agent: *\nDisallow: /\n"
    return "User-agent: *\nAllow: /\n" + (f"Sitemap: {url}sitemap.xml\n" if url else "")


def _sitemap(facts: pages.Facts) -> str:
    """Every page and city; addresses are absolute where the site's own is known."""
    base = facts.url or "/"
    names = ["", *(f"{name}.html" for name in pages.PAGES if name not in {"index", "city"})]
    addresses = [base + name for name in names]
    addresses += [f"{base}city.html?id={quote(str(city[0]))}" for city in facts.cities]
    day = str(facts.descriptor.get("created", ""))[:10]
    lines = "".join(
        f"<url><loc>{address}</loc>{f'<lastmod>{day}</lastmod>' if day else ''}</url>\n"
        for address in addresses
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{lines}</urlset>\n'
    )
