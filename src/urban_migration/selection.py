"""What an extract keeps: the reviewed selection of ``places/extract.yaml``, and a cut file.

The file names cities by their ids; the codes under which publishers know them come from the
registry.  Which rows of a file these codes are is known by the rules of the extract.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from urban_migration.errors import UsageError
from urban_migration.places.registry import City, read_registry

SELECTION: Final = Path(__file__).parent / "places" / "extract.yaml"


@dataclass(frozen=True)
class Selection:
    """What an extract keeps, by the codes of the sources.

    ``cities`` maps the code of WUP 2018 to the city's id, ``destinations`` the M49 code to the
    country's ISO code; ``years`` gives first and last year by source, ``whole_series`` the ISO
    codes of the countries of which a source's other years are kept too, ``codes`` a source's own
    codes of the selected cities, and ``left_out`` its country-years that are not kept.
    ``document`` is the whole reviewed selection, with its reasons, for the manifest.
    """

    cities: Mapping[int, str]
    destinations: Mapping[int, str]
    years: Mapping[str, tuple[int, int]]
    document: Mapping[str, Any]
    codes: Mapping[str, Collection[str]] = field(default_factory=dict)
    whole_series: Mapping[str, Collection[str]] = field(default_factory=dict)
    left_out: Mapping[str, Collection[tuple[str, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """One file of the extract: its bytes, the publisher's file(s) that it is of, what was kept."""

    content: bytes
    of: str
    kept: str


def load_selection(path: Path = SELECTION) -> Selection:
    """The reviewed selection; a :class:`UsageError` names a city that is not in the registry."""
    import yaml

    document = yaml.safe_load(path.read_text("utf-8"))
    registry = {city.city_id: city for city in read_registry()}
    wanted = [city for group in document["cities"].values() for city in group["ids"]]
    unknown = sorted(set(wanted) - registry.keys())
    if unknown:
        raise UsageError(f"{path}: not in the registry of cities: {', '.join(unknown)}")
    cities = [registry[city_id] for city_id in dict.fromkeys(wanted)]
    years = {source_id: (first, last) for source_id, (first, last) in document["years"].items()}
    return Selection(
        cities={int(city.wup2018_code): city.city_id for city in cities if city.wup2018_code},
        destinations={entry["m49"]: entry["iso3"] for entry in document["destinations"]},
        years=years,
        document=document,
        codes=_codes(cities, document),
        whole_series=document.get("whole_series", {}),
        left_out={
            source_id: {(entry["country"], entry["year"]) for entry in entries}
            for source_id, entries in document.get("left_out", {}).items()
        },
    )


def _codes(cities: Collection[City], document: Mapping[str, Any]) -> dict[str, Collection[str]]:
    """The codes of cities by source; cities proper of the yearbook have none but their names."""
    yearbook = document.get("unsd_city_population", {})
    codes: dict[str, set[str]] = {
        "un_wup_2025": {city.wup2025_code for city in cities if city.wup2025_code},
        "eurostat_cities": {city.urban_audit_code for city in cities if city.urban_audit_code},
        "geonames": {city.geonames_id for city in cities if city.geonames_id},
        "us_acs": set(document.get("us_acs", ())),
        "unsd_city_population": {
            f"{country}|{name}" for country, names in yearbook.items() for name in names
        },
    }
    for city in cities:
        source_id, _, code = (city.own_code or "").partition(":")
        codes.setdefault(source_id, set()).add(code)
    return {source_id: frozenset(found) for source_id, found in codes.items()}
