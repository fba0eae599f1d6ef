"""Which city of World Urbanization Prospects 2018 a city of the 2025 revision is.

The United Nations publish no crosswalk, the codes are unrelated, and so are the concepts: a city
of 2025 is a contiguous cluster of dense grid cells whatever borders it crosses, one of 2018 the
agglomeration as its country defines it. What is matched here is the place, one to one; where its
two extents differ (Jakarta has 41.9 million people in the one and 10.5 in the other), the match
says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from urban_migration.places.areas import Decision, Match, MatchingError, Place
from urban_migration.places.atlas import Atlas, Candidate, Country, Gazetteer, Spot, distance_km
from urban_migration.places.names import variants

OLDER = "un_agglomeration"
NAMED_KM, NAMELESS_KM, TAKEN_IN_KM = 80.0, 10.0, 35.0
"""How far the centres of one city may lie apart if the name agrees, if it does not, and how near
the centre of another city of 2018 must be to be named as taken in."""
SAME_EXTENT = 1.5
"""Populations of one year differ by less than this factor if both concepts draw one city."""
NAMELESS, WORST, CLEAR = 1.5, 2.5, 0.15
TWIN = 0.4
"""What it costs to be only the second of two names (Fukuoka in Kitakyushu-Fukuoka)."""


@dataclass(frozen=True, slots=True)
class _Fit:
    cost: float
    new: int
    spot: Spot
    how: str
    km: float


def cross_editions(
    new_cities: Sequence[Place],
    candidates: Sequence[Candidate],
    gazetteer: Gazetteer | None = None,
    decisions: Iterable[Decision] = (),
    atlas: Atlas | None = None,
) -> list[Match]:
    """One Match per city of 2025, in their order; no city of 2018 is matched twice.

    An `atlas` of the same candidates and gazetteer, made for another matching, saves its making.

    `population` of a place is that of 2018, the last year estimated in both revisions, or null.
    Status is matched or own; unmatched where two cities of 2018 fit alike. `method` ends in
    `_other_extent` where the populations tell that the concepts draw different cities.
    """
    atlas = atlas or Atlas(candidates, gazetteer)
    cities = {city.city_id: city for city in candidates if city.kind == OLDER}
    reviewed = {
        decision.source_code: decision
        for decision in decisions
        if new_cities and decision.source_id == new_cities[0].source_id
    }
    found: dict[int, Match] = {}
    fits: list[_Fit] = []
    for index, place in enumerate(new_cities):
        if decision := reviewed.get(place.source_code):
            found[index] = _reviewed(place, decision, cities)
        else:
            fits += _fits(index, place, atlas.country(place.country_iso3))
    taken = {match.city_id for match in found.values() if match.city_id}
    chosen = _one_to_one(fits, taken)
    used = taken | {fit.spot.city.city_id for fit in chosen.values() if fit.spot.city}
    by_new: dict[int, list[_Fit]] = {}
    for fit in fits:
        by_new.setdefault(fit.new, []).append(fit)
    return [
        found.get(index) or _verdict(place, chosen.get(index), by_new.get(index, []), used, atlas)
        for index, place in enumerate(new_cities)
    ]


def _fits(index: int, place: Place, country: Country) -> Iterator[_Fit]:
    """The cities of 2018 that a city of 2025 may be."""
    best: dict[str, _Fit] = {}
    for spot, named, how in (*_named(place, country), *_nameless(place, country)):
        km = distance_km((place.latitude, place.longitude), (spot.latitude, spot.longitude))
        if spot.city is None or spot.city.kind != OLDER or km is None or km > NAMED_KM:
            continue
        size = 0.0
        if place.population and spot.city.population:
            size = abs(math.log(place.population / spot.city.population))
        fit = _Fit(named + km / 30 + 0.2 * size, index, spot, how, km)
        before = best.get(spot.city.city_id)
        if fit.cost <= WORST and (before is None or fit.cost < before.cost):
            best[spot.city.city_id] = fit
    yield from best.values()


def _named(place: Place, country: Country) -> Iterator[tuple[Spot, float, str]]:
    readings = variants(place.name, place.country_iso3)
    for spot, cost, how in country.hits(readings):
        if spot.city:
            yield spot, cost, how
    for spot, cost, how in country.sister_hits(readings):
        if spot.city:
            yield spot, cost, how


def _nameless(place: Place, country: Country) -> Iterator[tuple[Spot, float, str]]:
    """Cities near by that bear the name as their second one, or no like name at all."""
    keys = {reading.key for reading in variants(place.name, place.country_iso3)}
    for spot in country.un_cities_around((place.latitude, place.longitude), NAMED_KM):
        assert spot.city is not None
        if any(name in keys for name in _second_names(spot.city)):
            yield spot, TWIN, "second of the older city's names"
    for spot in country.un_cities_around((place.latitude, place.longitude), NAMELESS_KM):
        yield spot, NAMELESS, "no like name, but the same spot"


def _second_names(city: Candidate) -> Iterator[str]:
    for name in (city.name, city.local_name or ""):
        for second in name.replace("/", "-").split("-")[1:]:
            yield from (reading.key for reading in variants(second, city.country_iso3)[:1])


def _one_to_one(fits: Sequence[_Fit], taken: set[str]) -> dict[int, _Fit]:
    """The best fit of each, the closest first, so that no city is given twice."""
    given = set(taken)
    chosen: dict[int, _Fit] = {}
    for fit in sorted(fits, key=lambda fit: (fit.cost, fit.new, fit.spot.label)):
        if fit.new not in chosen and fit.spot.label not in given:
            chosen[fit.new] = fit
            given.add(fit.spot.label)
    return chosen


def _verdict(
    place: Place, fit: _Fit | None, fits: Sequence[_Fit], used: set[str], atlas: Atlas
) -> Match:
    country = atlas.country(place.country_iso3)
    if fit is None or (fit.how.startswith("no like name") and _is_other_place(place, fit)):
        return _own(place, country)
    city = fit.spot.city
    assert city is not None
    rivals = [
        other
        for other in fits
        if other.spot is not fit.spot
        and other.cost - fit.cost < CLEAR
        and other.spot.label not in used
    ]
    if rivals:
        choices = ", ".join(one.spot.label for one in (fit, *rivals))
        return _match(place, "ambiguous", f"may be any of {choices}")
    kind = "position" if fit.how.startswith("no like name") else "name"
    extent, difference = _extent(place, city)
    why = f"{fit.how}: {city.name}, {fit.km:.0f} km away{difference}"
    if extent and (others := _taken_in(place, country, used)):
        why += f"; cities of 2018 near by without a city of 2025: {', '.join(others)}"
    return replace(
        _match(place, f"{kind}_and_distance{extent}", why),
        status="matched",
        city_id=city.city_id,
        geonames_id=fit.spot.entry.geonames_id if fit.spot.entry else None,
        score=round(math.exp(-fit.cost), 3),
        distance_km=round(fit.km, 1),
    )


def _is_other_place(place: Place, fit: _Fit) -> bool:
    """Without a name only a city of like size on the spot is the same one."""
    city = fit.spot.city
    if city is None or not place.population or not city.population:
        return True
    ratio = place.population / city.population
    return not 1 / SAME_EXTENT < ratio < SAME_EXTENT


def _extent(place: Place, city: Candidate) -> tuple[str, str]:
    """Whether the two concepts draw another city: the method's ending, and the figures."""
    if not place.population or not city.population:
        return "", ""
    ratio = place.population / city.population
    if 1 / SAME_EXTENT < ratio < SAME_EXTENT:
        return "", ""
    figures = f"{place.population:,} people as one cluster of dense grid cells"
    return "_other_extent", f"; {figures}, {city.population:,} as the national agglomeration"


def _taken_in(place: Place, country: Country, used: set[str]) -> list[str]:
    around = country.un_cities_around((place.latitude, place.longitude), TAKEN_IN_KM)
    older = [spot.label for spot in around if spot.city and spot.city.kind == OLDER]
    return sorted(label for label in older if label not in used)[:5]


def _own(place: Place, country: Country) -> Match:
    """A city of 2025 that is none of 2018, with its place in the gazetteer if it has one."""
    near = [
        (km, spot)
        for spot, cost, _ in country.hits(variants(place.name, place.country_iso3))
        if spot.city is None
        and cost < TWIN
        and (km := distance_km((place.latitude, place.longitude), (spot.latitude, spot.longitude)))
        is not None
        and km < TAKEN_IN_KM
    ]
    nearest = min(near, key=lambda pair: pair[0], default=(None, None))[1]
    why = "no city of 2018 has this name near by"
    if others := _taken_in(place, country, set()):
        why += f"; around it: {', '.join(others)}"
    return replace(
        _match(place, "none", why),
        status="own",
        geonames_id=nearest.entry.geonames_id if nearest and nearest.entry else None,
    )


def _match(place: Place, method: str, why: str) -> Match:
    return Match(
        source_id=place.source_id,
        source_code=place.source_code,
        source_name=place.source_name,
        country_iso3=place.country_iso3,
        status="unmatched",
        method=method,
        why=why,
    )


def _reviewed(place: Place, decision: Decision, cities: Mapping[str, Candidate]) -> Match:
    result = _match(place, "review", f"reviewed: {decision.reason}")
    if decision.decision != "match":
        return replace(result, status="rejected" if decision.decision == "reject" else "own")
    if decision.city_id not in cities:
        raise MatchingError(
            f"decision on {place.source_id} {place.source_code!r}: no city {decision.city_id!r} "
            "of 2018; correct decisions.csv"
        )
    return replace(result, status="matched", city_id=decision.city_id, score=1.0)
