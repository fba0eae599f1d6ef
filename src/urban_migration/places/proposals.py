"""What a matching asks of the maintainer: cities to register, codes to fill in, reviews to drop.

Nothing here is written by itself: the maintainer's command shows it and passes it on to
`registry`, and a reviewed decision is deleted by hand.
"""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from urban_migration.places.areas import Decision, Match, Place
from urban_migration.places.atlas import Atlas, Candidate, Gazetteer
from urban_migration.places.matching import match
from urban_migration.places.names import key, region_name
from urban_migration.places.registry import City, NewCity, Scheme

ENGLISH_NAMES = Path(__file__).with_name("english_names.csv")

SCHEMES: Mapping[str, Scheme] = {
    "un_wup_2025": "wup2025_code",
    "eurostat_cities": "urban_audit_code",
}
"""The column of the registry for a publisher's codes; other publishers' stand in `own_code`."""
NAMES_FROM = (
    "un_wup_2025",
    "eurostat_cities",
    "us_acs",
    "statcan_census_2016",
    "abs_census_2021",
    "ons_census_2021",
    "oecd_fua",
)
"""Whose name and code a new city gets, where several publishers count it; then by their ids."""


def propose(
    places: Sequence[Place], matches: Sequence[Match], known: Sequence[City] = ()
) -> list[NewCity]:
    """The cities in their own right that the registry (`known`) lacks, one NewCity per city.

    Areas are one city if they share a GeoNames id, or country, region and name where that name
    is not two cities'. The name is what an English reader would use, as far as
    `english_names.csv` knows one; a namesake of another city gets its region behind it.
    """
    wanted = [
        (place, result)
        for place, result in zip(places, matches, strict=True)
        if result.status == "own" and result.city_id is None
    ]
    wanted.sort(key=lambda pair: _precedence(pair[0]))
    groups: dict[tuple[str, ...], list[tuple[Place, Match]]] = {}
    for (place, result), group in zip(wanted, _groups(wanted), strict=True):
        groups.setdefault(group, []).append((place, result))
    proposals = [_new_city(members) for members in groups.values()]
    taken = {city.geonames_id for city in known}
    heads = [members[0][0] for members in groups.values()]
    bearers = Counter((city.country_iso3, key(city.name)) for city in known)
    bearers.update((city.country_iso3, key(city.name)) for city in proposals)
    return [
        dataclasses.replace(
            city,
            name=_with_region(city, head)
            if bearers[city.country_iso3, key(city.name)] > 1
            else city.name,
            geonames_id=None if city.geonames_id in taken else city.geonames_id,
        )
        for city, head in zip(proposals, heads, strict=True)
    ]


def with_codes(
    known: Sequence[City],
    places: Sequence[Place],
    matches: Sequence[Match],
    links: Mapping[str, str],
) -> list[City]:
    """The registry with empty codes filled in from what was matched; no code is ever replaced.

    `links` are the GeoNames ids of `Atlas.links`. Where two codes of one publisher are a city,
    the better fitting one is entered, then the lower one. A UN city gets an office's own code
    where that names a region (`Portland|OR`), which tells namesakes apart without a gazetteer.
    """
    found: dict[str, dict[str, str]] = {}
    ranked = sorted(
        zip(places, matches, strict=True),
        key=lambda pair: (-(pair[1].score or 0), _precedence(pair[0])),
    )
    for place, result in ranked:
        scheme, code = _code(place)
        is_wanted = place.source_id in SCHEMES or (place.region and place.source_id in NAMES_FROM)
        if is_wanted and result.city_id:
            found.setdefault(result.city_id, {}).setdefault(scheme, code)
    for city_id, geonames_id in links.items():
        found.setdefault(city_id, {}).setdefault("geonames_id", geonames_id)
    held = {code for city in known for code in city.codes().items()}
    filled = []
    for city in known:
        empty = {
            column: code
            for column, code in found.get(city.city_id, {}).items()
            if getattr(city, column) is None and (column, code) not in held
        }
        held |= set(empty.items())
        filled.append(dataclasses.replace(city, **empty))
    return filled


def unneeded(
    decisions: Sequence[Decision],
    places: Sequence[Place],
    candidates: Sequence[Candidate],
    gazetteer: Gazetteer | None,
) -> list[str]:
    """What to delete from the reviewed decisions, and why, one sentence each.

    That is a decision whose area is in no file any more, although its source was read, or which
    the matcher now reaches without it.
    """
    by_code = {(place.source_id, place.source_code): place for place in places}
    read = {place.source_id for place in places}
    without = match(places, candidates, gazetteer, (), Atlas(candidates, gazetteer))
    unreviewed = {(one.source_id, one.source_code): one for one in without}
    found = []
    for decision in decisions:
        code = (decision.source_id, decision.source_code)
        label = f"{decision.source_id} {decision.source_code!r}"
        if decision.source_id in read and code not in by_code:
            found.append(f"{label}: the source has no such area any more")
        elif code in by_code and _agrees(unreviewed[code], decision):
            found.append(f"{label}: the matcher says the same without it")
    return found


def _agrees(result: Match, decision: Decision) -> bool:
    if decision.decision == "match":
        return result.city_id == decision.city_id
    if decision.decision == "own":
        return result.status == "own" and result.method != "code"
    return result.city_id is None and result.status != "own"


# ------------------------------------------------------------------ one city from many areas


def _precedence(place: Place) -> tuple[int, str, str]:
    first = NAMES_FROM.index(place.source_id) if place.source_id in NAMES_FROM else len(NAMES_FROM)
    return first, place.source_id, place.source_code


def _groups(wanted: Sequence[tuple[Place, Match]]) -> list[tuple[str, ...]]:
    """For each area the city that it is: by GeoNames id, or by a name that only one city bears."""
    ids: dict[tuple[str, ...], set[str]] = {}
    for place, result in wanted:
        if result.geonames_id:
            ids.setdefault(_name(place), set()).add(result.geonames_id)
    groups: list[tuple[str, ...]] = []
    for place, result in wanted:
        bearers = ids.get(_name(place), set())
        if result.geonames_id:
            groups.append(("geonames", result.geonames_id))
        elif len(bearers) == 1:
            groups.append(("geonames", *bearers))
        else:
            groups.append(("name", *_name(place)))
    return groups


def _name(place: Place) -> tuple[str, ...]:
    return place.country_iso3, place.region or "", key(place.name)


def _new_city(members: Sequence[tuple[Place, Match]]) -> NewCity:
    place = members[0][0]
    scheme, code = _code(place)
    short = place.name.split(" (")[0].split(" [")[0].strip()
    english, country = _english(), place.country_iso3
    name = english.get((country, key(place.name))) or english.get((country, key(short)), short)
    return NewCity(
        name=name,
        local_name=" ".join(place.source_name.split()),
        country_iso3=place.country_iso3,
        kind="un_city_2025" if scheme == "wup2025_code" else "statistical_city",
        scheme=scheme,
        code=code,
        geonames_id=next((one.geonames_id for _, one in members if one.geonames_id), None),
    )


def _code(place: Place) -> tuple[Scheme, str]:
    scheme = SCHEMES.get(place.source_id, "own_code")
    own = f"{place.source_id}:{place.source_code}"
    return scheme, own if scheme == "own_code" else place.source_code


def _with_region(city: NewCity, place: Place) -> str:
    region = region_name(place.country_iso3, place.region)
    return f"{city.name}, {region}" if region else city.name


@cache
def _english(path: Path = ENGLISH_NAMES) -> Mapping[tuple[str, str], str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["country_iso3"], key(row["name"])): row["english_name"]
            for row in csv.DictReader(file)
        }
