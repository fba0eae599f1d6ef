"""Which city a publisher's area is: explainable, deterministic, and silent where it is not sure.

An area is looked up by country and name among the cities of the registry and the gazetteer
(`atlas`); region, distance and population tell namesakes apart. An area that is the place of a
UN city is that city; one that is a place of its own is a city in its own right, however near it
lies to a larger one; two places that fit alike leave it unmatched, with both named. A reviewed
decision goes before all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from urban_migration.places.areas import (
    Decision,
    Match,
    MatchingError,
    Place,
    Status,
    read_decisions,
)
from urban_migration.places.atlas import Atlas, Candidate, Country, Gazetteer, Spot, distance_km
from urban_migration.places.names import Variant, variants

__all__ = ["Decision", "Match", "MatchingError", "Place", "match", "read_decisions"]

NOT_OFFICES = frozenset({"unhcr_locations", "iom_dtm"})
"""Sources that count people at places, but are no statistical office: a place of theirs is a
city only if somebody else says so."""
UNITS = frozenset({"governorate", "emirate"})
"""Geographies of units that stand for a city only if they bear the name of a UN city."""
LISTED_FROM, UNLISTED = 300_000, 0.35
"""World Urbanization Prospects 2018 lists every agglomeration of this size: what it costs a place
of this size to be another one."""
UNKNOWN_REGION = 0.4
"""What it costs that a place's region is known and the spot's is not."""
FAR_KM, BESIDE_KM, NEAR_KM, SPOT_KM = 60.0, 60.0, 15.0, 4.0
CLEAR = 0.35
"""By how much the best place must fit better than the next one."""
LIKE_SIZE = 0.25
"""How unlike (as `_unlike`) the size may be where a name only sounds alike or lacks a letter."""
TOO_DIFFERENT = 1.6
"""The cost at which a like-named place is not believed to be the same one."""
ALIKE = 1.5
"""Two areas of one source differ in size by less than this factor if they are one city twice."""
UNSURE = 0.9
"""The cost at which a like-named place of the gazetteer is not taken for the same one."""
UNLIKE_FACTOR = 1.6
"""Populations may differ by this factor, by year and delimitation, at no cost."""


@dataclass(frozen=True, slots=True)
class _Hit:
    """A spot that may be the place: what speaks against it, and how it was found."""

    spot: Spot
    cost: float
    how: str
    km: float | None
    size: float
    evidence: float
    """The cost of name, size and distance alone."""


def match(
    places: Sequence[Place],
    candidates: Sequence[Candidate],
    gazetteer: Gazetteer | None = None,
    decisions: Iterable[Decision] = (),
    atlas: Atlas | None = None,
) -> list[Match]:
    """One Match per place, in the order of `places`.

    Areas of one source that share country, name and region and have no points (a city proper and
    its agglomeration) are told apart by their code alone: they are resolved together, and what
    the registry or a review says of one holds for the others.
    Raises MatchingError if a decision points at a city that is not among the candidates.
    """
    atlas = atlas or Atlas(candidates, gazetteer)
    cities = {candidate.city_id: candidate for candidate in candidates}
    codes = {
        code: candidate
        for candidate in sorted(candidates, key=lambda candidate: candidate.city_id)
        for code in _codes(candidate)
    }
    reviewed = {(decision.source_id, decision.source_code): decision for decision in decisions}
    bundles: dict[tuple[object, ...], list[int]] = {}
    found: list[Match | None] = [None] * len(places)
    by_name: dict[tuple[object, ...], Match] = {}
    for index, place in enumerate(places):
        decision = reviewed.get((place.source_id, place.source_code))
        known = found[index] = _without_search(place, decision, cities, codes)
        if known is None:
            bundles.setdefault(_bundle(place, index), []).append(index)
        elif known.status in {"own", "matched"}:
            bundle = _bundle(place, index)
            if bundle not in by_name or by_name[bundle].city_id is None:
                by_name[bundle] = known
    for key, indices in bundles.items():
        together = [places[index] for index in indices]
        if key in by_name:
            verdicts = [_like_its_namesake(place, by_name[key]) for place in together]
        else:
            verdicts = _search(together, atlas)
        for index, verdict in zip(indices, verdicts, strict=True):
            found[index] = verdict
    results = [result for result in found if result is not None]
    for index, result in enumerate(results):
        if result.method == "review" and result.status == "own" and result.city_id is None:
            city_id = by_name[_bundle(places[index], index)].city_id
            results[index] = replace(result, city_id=city_id)
    return _without_displaced(places, results)


def _like_its_namesake(place: Place, known: Match) -> Match:
    """The verdict that the registry or a review has on an area of the same source and name."""
    return replace(
        known,
        source_code=place.source_code,
        source_name=place.source_name,
        method=f"{known.method}_of_namesake",
        why=f"as {known.source_code!r}, of the same name: {known.why}",
    )


def _displaced(places: Sequence[Place], results: Sequence[Match]) -> dict[int, Place]:
    """Places whose city another area of the same source and kind is by a better fitting name.

    Caxias is not Caxias do Sul where the source has that too. Areas of about one size may both
    be the city, under an old name and a new one or with a suburb named.
    """
    rivals: dict[tuple[str, str | None, str], list[int]] = {}
    for index, (place, result) in enumerate(zip(places, results, strict=True)):
        is_searched = not result.method.startswith(("code", "review"))
        city = result.city_id or result.geonames_id
        if city and is_searched and place.source_id not in NOT_OFFICES:
            rivals.setdefault((place.source_id, place.geography, city), []).append(index)
    displaced = {}
    for indices in rivals.values():
        best, *others = sorted(
            indices, key=lambda index: (-(results[index].score or 0), places[index].source_code)
        )
        for index in others:
            if not _may_be_one(places[best], places[index]):
                displaced[index] = places[best]
    better = {_bundle(places[index], index): one for index, one in displaced.items()}
    return {
        index: better[bundle]
        for indices in rivals.values()
        for index in indices
        if (bundle := _bundle(places[index], index)) in better
    }


def _may_be_one(one: Place, other: Place) -> bool:
    """Whether two areas of one kind may be one city counted twice."""
    if one.region != other.region:
        return False
    if one.name == other.name or not one.population or not other.population:
        return True
    return 1 / ALIKE < one.population / other.population < ALIKE


def _without_displaced(places: Sequence[Place], results: Sequence[Match]) -> list[Match]:
    better = _displaced(places, results)
    return [
        _without_city(places[index], result, better[index]) if index in better else result
        for index, result in enumerate(results)
    ]


def _without_city(place: Place, result: Match, better: Place) -> Match:
    why = f"{better.source_code!r} fits {result.city_id or result.geonames_id} better"
    if result.city_id is None:
        return _result(place, "own", "namesakes", f"no UN city has this name; {why}")
    return _result(place, "unmatched", "ambiguous", f"{result.why}, but {why}")


def _codes(city: Candidate) -> list[tuple[str, str]]:
    codes = []
    if city.urban_audit_code:
        codes.append(("eurostat_cities", city.urban_audit_code))
    if city.own_code:
        source_id, _, source_code = city.own_code.partition(":")
        codes.append((source_id, source_code))
    return codes


def _bundle(place: Place, index: int) -> tuple[object, ...]:
    if place.latitude is not None or place.source_id in NOT_OFFICES:
        return (index,)
    return (place.source_id, place.country_iso3, place.name, place.region)


# ------------------------------------------------------------------ what needs no search


def _result(
    place: Place, status: Status, method: str, why: str, city_id: str | None = None
) -> Match:
    return Match(
        place.source_id,
        place.source_code,
        place.source_name,
        place.country_iso3,
        status,
        method,
        why,
        city_id,
    )


def _without_search(
    place: Place,
    decision: Decision | None,
    cities: Mapping[str, Candidate],
    codes: Mapping[tuple[str, str], Candidate],
) -> Match | None:
    """By review, because it is no city, or by a code of the registry; null if by none of them."""
    if decision:
        return _reviewed(place, decision, cities, codes)
    if place.not_a_city:
        return _result(place, "unmatched", "not_a_city", f"not a city: {place.not_a_city}")
    city = codes.get((place.source_id, place.source_code))
    if city and _same_name_or_spot(place, city):
        km = distance_km((place.latitude, place.longitude), (city.latitude, city.longitude))
        why = f"the registry has this code for {city.city_id}"
        status: Status = "matched" if city.is_un_city else "own"
        known = _result(place, status, "code", why, city.city_id)
        return replace(
            known, score=1.0, geonames_id=city.geonames_id, distance_km=km and round(km, 1)
        )
    return None


def _same_name_or_spot(place: Place, city: Candidate) -> bool:
    """A guard against publishers that give an old code to another place."""
    if place.country_iso3 != city.country_iso3:
        return False
    km = distance_km((place.latitude, place.longitude), (city.latitude, city.longitude))
    if km is not None and km < FAR_KM / 2:
        return True
    keys = {
        reading.key
        for name in (city.name, city.local_name)
        for reading in variants(name or "", city.country_iso3)
    }
    names = (place.name, place.source_name, *place.other_names)
    return any(
        reading.key in keys for name in names for reading in variants(name, place.country_iso3)
    )


def _reviewed(
    place: Place,
    decision: Decision,
    cities: Mapping[str, Candidate],
    codes: Mapping[tuple[str, str], Candidate],
) -> Match:
    why = f"reviewed: {decision.reason}"
    if decision.decision in {"reject", "not_a_city"}:
        status: Status = "rejected" if decision.decision == "reject" else "unmatched"
        return _result(place, status, decision.decision, why)
    if decision.decision == "own":
        own = codes.get((place.source_id, place.source_code))
        city_id = own.city_id if own else None
        return replace(_result(place, "own", "review", why, city_id), score=1.0)
    city = cities.get(decision.city_id or "")
    if city is None:
        raise MatchingError(
            f"decision on {place.source_id} {place.source_code!r}: no city {decision.city_id!r}; "
            "correct decisions.csv"
        )
    status = "matched" if city.is_un_city else "own"
    return replace(_result(place, status, "review", why, city.city_id), score=1.0)


# ------------------------------------------------------------------ the search


def _search(places: Sequence[Place], atlas: Atlas) -> list[Match]:
    """What places under one name are."""
    place = places[0]
    country = atlas.country(place.country_iso3)
    strict = place.source_id in NOT_OFFICES or place.geography in UNITS
    people = sorted({other.population for other in places if other.population})
    readings = _place_readings(place, strict=strict)
    hits = _ranked(place, people, country.hits(readings))
    if strict:
        return [_strictly(place, hits)]
    if not hits or hits[0].cost > TOO_DIFFERENT:
        sisters = _ranked(place, people, country.sister_hits(readings))
        hits = _alike(people, sisters) or hits
    outcome = _judged(place, people, hits, country)
    return [
        replace(outcome, source_code=other.source_code, source_name=other.source_name)
        for other in places
    ]


def _alike(people: Sequence[int], sisters: Sequence[_Hit]) -> list[_Hit]:
    """Of the places that only sound like it, those that have its size or stand where it does."""
    return [
        hit
        for hit in sisters
        if (hit.km is not None and hit.km < NEAR_KM) or (people and hit.size <= LIKE_SIZE)
    ]


def _place_readings(place: Place, *, strict: bool) -> list[Variant]:
    """The names that a place is looked up by; where `strict`, only what it is certainly called."""
    best: dict[str, Variant] = {}
    names = [(place.name, 0.0), *((name, 0.05) for name in place.other_names)]
    if place.principal_city and not strict:
        names.append((place.source_name, 0.05))
    for name, extra in names:
        for reading in variants(name, place.country_iso3):
            if strict and not _is_plain(reading):
                continue
            cost = reading.cost + extra
            if reading.key not in best or cost < best[reading.key].cost:
                best[reading.key] = reading._replace(cost=cost)
    return sorted(best.values(), key=lambda reading: (reading.cost, reading.key))


def _is_plain(reading: Variant) -> bool:
    """Whether a reading is the name itself, but for a word for its class or an article."""
    return reading.how == "name" or reading.how.startswith("name, without")


def _ranked(
    place: Place, people: Sequence[int], hits: Iterable[tuple[Spot, float, str]]
) -> list[_Hit]:
    """The spots that are not ruled out by region or distance, the best first, each once."""
    best: dict[int, _Hit] = {}
    region = place.region
    is_listed = bool(people) and people[-1] >= LISTED_FROM
    for spot, cost, how in hits:
        if not spot.may_lie_in(region):
            continue
        km = distance_km((place.latitude, place.longitude), (spot.latitude, spot.longitude))
        if km is not None and km > FAR_KM:
            continue
        size = min((_unlike(count, spot) for count in people), default=0.0)
        total = evidence = cost + 0.5 * size + (km or 0.0) / 60
        if is_listed and spot.city is None:
            total += UNLISTED
        if region and not spot.region:
            total += UNKNOWN_REGION
        before = best.get(id(spot))
        if before is None or total < before.cost:
            best[id(spot)] = _Hit(spot, total, how, km, size, evidence)
    ranked = list(best.values()) if people else _by_prominence(list(best.values()))
    return sorted(ranked, key=lambda hit: (hit.cost, hit.spot.label))


def _unlike(count: int, spot: Spot) -> float:
    """By how much (natural logarithm) a population lies outside of what the spot is known by."""
    if not spot.low or not spot.high:
        return 0.5
    outside = max(math.log(spot.low / count), math.log(count / spot.high), 0.0)
    return max(0.0, outside - math.log(UNLIKE_FACTOR))


def _by_prominence(hits: Sequence[_Hit]) -> list[_Hit]:
    """Where the publisher gives no population, the best known of namesakes is meant."""
    largest = max((hit.spot.high or 0 for hit in hits), default=0)
    return [
        replace(hit, cost=hit.cost + 0.35 * math.log(largest / (hit.spot.high or 1_000)))
        if largest > 1_000
        else hit
        for hit in hits
    ]


def _judged(place: Place, people: Sequence[int], hits: Sequence[_Hit], country: Country) -> Match:
    """The verdict on an office's place."""
    largest = max(people, default=0)
    near = _larger_neighbour(place, hits[0].spot if hits else None, country, largest)
    if not hits:
        return _unknown(place, largest, near, country)
    best, *others = hits
    rivals = [
        hit
        for hit in others
        if hit.cost - best.cost < CLEAR
        and (hit.spot.city is None or hit.spot.city != best.spot.city)
    ]
    if best.spot.city is None and not any(hit.spot.city for hit in rivals):
        return _own(place, best, rivals, near)
    if rivals:
        choices = ", ".join(hit.spot.label for hit in (best, *rivals))
        return _result(place, "unmatched", "ambiguous", f"may be any of {choices}")
    if best.cost > TOO_DIFFERENT:
        why = f"{best.spot.label} has this name, but {_people(best)} against {largest:,}"
        return _result(place, "unmatched", "review", f"{why}: decide in decisions.csv")
    return _matched(place, best)


def _matched(place: Place, hit: _Hit) -> Match:
    city = hit.spot.city
    assert city is not None
    why = f"{hit.how}: {city.name}"
    if hit.km is not None:
        why += f", {hit.km:.0f} km away"
    if hit.size > 1:
        why += "; the area is much smaller or larger than the agglomeration"
    return replace(
        _result(place, "matched" if city.is_un_city else "own", _method(hit), why, city.city_id),
        geonames_id=hit.spot.entry.geonames_id if hit.spot.entry else None,
        score=_score(hit),
        distance_km=None if hit.km is None else round(hit.km, 1),
    )


def _own(place: Place, best: _Hit, rivals: Sequence[_Hit], near: Spot | None) -> Match:
    """A city in its own right, with its GeoNames id if that is sure."""
    beside = f", near {near.label}" if near else ""
    guessed = best.km is None and (best.evidence > UNSURE or "epithet" in best.how)
    if rivals or guessed:
        choices = ", ".join(hit.spot.label for hit in (best, *rivals))
        why = f"no UN city has this name{beside}; may be {choices}"
        return _result(place, "own", "namesakes", why)
    return replace(
        _result(place, "own", _method(best), f"{best.how}: {best.spot.label}{beside}"),
        geonames_id=best.spot.entry.geonames_id if best.spot.entry else None,
        score=_score(best),
        distance_km=None if best.km is None else round(best.km, 1),
    )


def _unknown(place: Place, largest: int, near: Spot | None, country: Country) -> Match:
    """No name of the place is known."""
    if twin := _on_the_spot(place, largest, country):
        why = f"no such name, but it stands where {twin.label} does: decide in decisions.csv"
        return _result(place, "unmatched", "review", why)
    why = "no UN city and no place of the gazetteer has this name"
    return _result(place, "own", "name", f"{why}, near {near.label}" if near else why)


def _on_the_spot(place: Place, largest: int, country: Country) -> Spot | None:
    """A UN city of like size on the place's very spot: the same city under another name?"""
    around = country.un_cities_around((place.latitude, place.longitude), SPOT_KM)
    return next((spot for spot in around if largest and _unlike(largest, spot) < LIKE_SIZE), None)


def _larger_neighbour(
    place: Place, spot: Spot | None, country: Country, largest: int
) -> Spot | None:
    """The largest UN city around the place that is larger than it."""
    at = (place.latitude, place.longitude)
    if at[0] is None and spot:
        at = (spot.latitude, spot.longitude)
    around = [
        other for other in country.un_cities_around(at, BESIDE_KM) if (other.high or 0) > largest
    ]
    return max(around, key=lambda other: other.high or 0, default=None)


def _strictly(place: Place, hits: Sequence[_Hit]) -> Match:
    """The verdict on a place that is a city only if it plainly bears a known city's name."""
    if not hits:
        return _result(place, "unmatched", "none", "no known city has this name")
    best, *others = hits
    rivals = [hit for hit in others if hit.cost - best.cost < CLEAR]
    if rivals:
        choices = ", ".join(hit.spot.label for hit in (best, *rivals))
        return _result(place, "unmatched", "ambiguous", f"may be any of {choices}")
    city = best.spot.city
    if city is None:
        return _result(place, "unmatched", "none", f"{best.spot.label} is no city of the registry")
    if place.geography in UNITS and not city.is_un_city:
        why = f"a unit named like {city.city_id}, which is no UN city"
        return _result(place, "unmatched", "none", why)
    return _matched(place, best)


def _method(hit: _Hit) -> str:
    """The kind of evidence, for the crosswalk."""
    if "sister" in hit.how or "letter" in hit.how:
        kind = "similar_name"
    elif "alternate" in hit.how:
        kind = "alternate_name"
    elif "first of" in hit.how or "one of" in hit.how or "epithet" in hit.how:
        kind = "part_of_name"
    else:
        kind = "name"
    return f"{kind}_and_distance" if hit.km is not None else kind


def _people(hit: _Hit) -> str:
    return f"{hit.spot.high:,} people" if hit.spot.high else "an unknown population"


def _score(hit: _Hit) -> float:
    return round(math.exp(-hit.cost), 3)
