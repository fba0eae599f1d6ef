"""What is known of where places are: the cities of the registry and a gazetteer, as one index.

A `Spot` is one place on the ground: a city of the registry, an entry of GeoNames, or, where the
two are the same place, both. Publishers' names are looked up here by country. The gazetteer is
optional; without it spots are the cities alone, under the names of the registry.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from urban_migration.places.names import Variant, key, near, region_of, sound, variants

if TYPE_CHECKING:
    import pyarrow as pa

ALTERNATE, PART_OF_CITY = 0.35, 0.5
"""What a match costs by an alternate name, and with what GeoNames holds for a part of a city."""
SISTER, ONE_LETTER = 0.4, 0.6
"""What a match costs by a name that only sounds alike, and by one that differs in a letter."""
ONE_ROMANISATION = frozenset({"CHN", "JPN", "KOR", "PRK", "TWN"})
"""Countries whose names are written in one way, so that a letter makes another city (Weihai,
Weihui), and where GeoNames' alternates in older systems are other cities' names of today."""
BEYOND_LATIN = "\u1f00"
"""Names that sort from here on are in scripts that `key` does not read."""
NEARBY_KM, SAME_PLACE_KM, ON_THE_SPOT_KM = 80.0, 15.0, 6.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A city of the registry with its centre (WGS 84) and its latest estimated population."""

    city_id: str
    name: str
    local_name: str | None
    country_iso3: str
    latitude: float | None
    longitude: float | None
    population: int | None
    kind: str = "un_agglomeration"
    urban_audit_code: str | None = None
    geonames_id: str | None = None
    own_code: str | None = None

    @property
    def is_un_city(self) -> bool:
        """Whether the United Nations list the city, in either edition."""
        return self.kind != "statistical_city"


class Entry(NamedTuple):
    """One row of GeoNames; alternate names joined by commas, as published."""

    geonames_id: str
    name: str
    alternate_names: str | None
    latitude: float
    longitude: float
    feature_code: str | None
    country_iso3: str
    admin1: str | None
    population: int | None


Gazetteer = Mapping[str, Sequence[Entry]]
"""Entries by country (ISO 3166-1 alpha-3)."""


@dataclass(slots=True)
class Spot:
    """A place on the ground; `low` and `high` bound the populations that it is known by.

    `region` is GeoNames' first-level division; where that is not known, `regions_around` are
    those within 100 km.
    """

    city: Candidate | None
    entry: Entry | None
    latitude: float | None
    longitude: float | None
    low: int | None
    high: int | None
    region: str | None
    regions_around: frozenset[str] = frozenset()

    def may_lie_in(self, region: str | None) -> bool:
        """Whether nothing speaks against the spot's lying in a region."""
        if not region:
            return True
        if self.region:
            return self.region == region
        return not self.regions_around or region in self.regions_around

    @property
    def label(self) -> str:
        """For messages: the city's id, or the gazetteer's name and id."""
        if self.city:
            return self.city.city_id
        assert self.entry is not None
        return f"{self.entry.name} (GeoNames {self.entry.geonames_id})"


@dataclass(slots=True)
class Country:
    """The spots of one country, by the keys of their names."""

    iso3: str
    spots: list[Spot] = field(default_factory=list)
    city_names: list[tuple[str, Spot]] | None = None
    un_cities: list[tuple[float, Spot]] | None = None
    names: dict[str, list[tuple[Spot, float]]] = field(default_factory=dict)
    sounds: dict[str, list[tuple[Spot, float]]] | None = None

    def add(self, spot: Spot, closed: str, cost: float) -> None:
        """Remember one name of a spot; one that is there already keeps its lower cost."""
        if closed:
            bearers = self.names.setdefault(closed, [])
            if all(other is not spot or before > cost for other, before in bearers):
                bearers.append((spot, cost))

    def un_cities_around(
        self, at: tuple[float | None, float | None], within_km: float
    ) -> list[Spot]:
        """The UN cities whose centre is within a distance of a point (latitude, longitude)."""
        latitude, longitude = at
        if latitude is None or longitude is None:
            return []
        if self.un_cities is None:
            un_cities = [
                (spot.latitude, spot)
                for spot in self.spots
                if spot.city and spot.city.is_un_city and spot.latitude is not None
            ]
            self.un_cities = sorted(un_cities, key=lambda pair: (pair[0], pair[1].label))
        height = within_km / 111
        first = bisect_left(self.un_cities, latitude - height, key=lambda pair: pair[0])
        last = bisect_right(self.un_cities, latitude + height, key=lambda pair: pair[0])
        return [
            spot
            for _, spot in self.un_cities[first:last]
            if (km := distance_km(at, (spot.latitude, spot.longitude))) is not None
            and km <= within_km
        ]

    def hits(self, readings: Iterable[Variant]) -> Iterator[tuple[Spot, float, str]]:
        """The spots that bear one of the names, with what the name costs and how it was read."""
        for reading in readings:
            for spot, cost in self.names.get(reading.key, ()):
                if cost >= ALTERNATE and len(reading.key) < 4:
                    continue  # too short to tell: Ojo is no other name of Oyo
                how = f"{reading.how} is an alternate name" if cost >= ALTERNATE else reading.how
                yield spot, reading.cost + cost, how

    def sister_hits(self, readings: Sequence[Variant]) -> Iterator[tuple[Spot, float, str]]:
        """The spots whose names sound like one of these, the cities that differ by one letter."""
        if self.iso3 in ONE_ROMANISATION:
            return
        for reading in readings:
            if len(reading.key) > 4 and reading.cost <= 0.3:
                yield from self._alike(reading)
                if len(reading.key) > 5:
                    yield from self._but_for_one_letter(reading)

    def _alike(self, reading: Variant) -> Iterator[tuple[Spot, float, str]]:
        if self.sounds is None:
            self.sounds = {}
            for closed, bearers in self.names.items():
                self.sounds.setdefault(sound(closed), []).extend(bearers)
        for spot, cost in self.sounds.get(sound(reading.key), ()):
            yield spot, reading.cost + cost + SISTER, f"sister spelling of the {reading.how}"

    def _but_for_one_letter(self, reading: Variant) -> Iterator[tuple[Spot, float, str]]:
        if self.city_names is None:
            self.city_names = [
                (closed, spot)
                for closed, bearers in self.names.items()
                for spot, _ in bearers
                if spot.city
            ]
        length = len(reading.key)
        for closed, spot in self.city_names:
            if -2 < len(closed) - length < 2 and near(closed, reading.key):
                yield spot, reading.cost + ONE_LETTER, f"{reading.how}, but for one letter"


class Atlas:
    """Spots by country, made when a country is first asked for."""

    def __init__(self, candidates: Iterable[Candidate], gazetteer: Gazetteer | None) -> None:
        self._candidates: dict[str, list[Candidate]] = {}
        for candidate in sorted(candidates, key=lambda candidate: candidate.city_id):
            self._candidates.setdefault(candidate.country_iso3, []).append(candidate)
        self._gazetteer = gazetteer or {}
        self._countries: dict[str, Country] = {}

    def country(self, iso3: str) -> Country:
        """The spots of one country."""
        if iso3 not in self._countries:
            candidates = self._candidates.get(iso3, [])
            self._countries[iso3] = _country(iso3, candidates, self._gazetteer.get(iso3, ()))
        return self._countries[iso3]

    def links(self) -> dict[str, str]:
        """The GeoNames id of every city that has one, by `city_id`."""
        return {
            spot.city.city_id: spot.entry.geonames_id
            for iso3 in sorted(self._candidates)
            for spot in self.country(iso3).spots
            if spot.city and spot.entry
        }


def read_gazetteer(cities: pa.Table, iso3_of: Mapping[str, str]) -> dict[str, list[Entry]]:
    """The tidy table `geonames.cities` by country; `iso3_of` maps ISO 3166-1 alpha-2 codes."""
    columns = [
        cities.column(name).to_pylist()
        for name in (
            *("geonames_id", "name", "alternate_names", "latitude", "longitude"),
            *("feature_code", "country_iso2", "admin1", "population"),
        )
    ]
    entries: dict[str, list[Entry]] = {}
    for gid, name, others, latitude, longitude, feature, iso2, admin1, people in zip(
        *columns, strict=True
    ):
        iso3 = iso3_of.get(iso2)
        if iso3:
            entry = Entry(gid, name, others, latitude, longitude, feature, iso3, admin1, people)
            entries.setdefault(iso3, []).append(entry)
    return entries


def distance_km(
    one: tuple[float | None, float | None], other: tuple[float | None, float | None]
) -> float | None:
    """Great-circle distance of two points (latitude, longitude), null where one is not known."""
    (a, b), (c, d) = one, other
    if a is None or b is None or c is None or d is None:
        return None
    north, south = math.radians(a), math.radians(c)
    half = (
        math.sin((south - north) / 2) ** 2
        + math.cos(north) * math.cos(south) * math.sin(math.radians(d - b) / 2) ** 2
    )
    return 12742.0176 * math.asin(min(1.0, math.sqrt(half)))


# ------------------------------------------------------------------ one country


def _country(iso3: str, candidates: Sequence[Candidate], entries: Sequence[Entry]) -> Country:
    country = Country(iso3)
    bearers = _bearers(entries)
    linked = _link(candidates, bearers)
    if iso3 in ONE_ROMANISATION:
        cities = {entry.geonames_id for entry in linked.values()}
        bearers = {
            closed: others
            for closed, named in bearers.items()
            if (
                others := [
                    (entry, cost) for entry, cost in named if entry.geonames_id not in cities
                ]
            )
        }
    spots: dict[str, Spot] = {}
    for candidate in candidates:
        entry = linked.get(candidate.city_id)
        spot = _city_spot(candidate, entry, entries)
        country.spots.append(spot)
        for closed in _city_names(candidate, entry):
            country.add(spot, closed, 0.0)
        if entry:
            spots[entry.geonames_id] = spot
    for entry in sorted(entries, key=lambda entry: -(entry.population or 0)):
        if entry.geonames_id not in spots:
            closed = key(entry.name)
            spot = _twin(entry, country.names.get(closed, ())) or _entry_spot(country, entry)
            spots[entry.geonames_id] = spot
            country.add(spot, closed, PART_OF_CITY if entry.feature_code == "PPLX" else 0.0)
    for closed, named in bearers.items():
        if len(named) == 1 and closed not in country.names:  # nearly all
            entry, cost = named[0]
            country.names[closed] = [(spots[entry.geonames_id], cost)]
            continue
        for entry, cost in named:
            country.add(spots[entry.geonames_id], closed, cost)
    return country


def _bearers(entries: Sequence[Entry]) -> dict[str, list[tuple[Entry, float]]]:
    """The entries that bear a name, by its key, with what a match by that name costs."""
    bearers: dict[str, list[tuple[Entry, float]]] = {}
    for entry in entries:
        for closed, cost in _entry_names(entry).items():
            bearers.setdefault(closed, []).append((entry, cost))
    return bearers


def _entry_spot(country: Country, entry: Entry) -> Spot:
    at = (entry.latitude, entry.longitude)
    spot = Spot(None, entry, *at, entry.population, entry.population, entry.admin1)
    country.spots.append(spot)
    return spot


def _twin(entry: Entry, namesakes: Iterable[tuple[Spot, float]]) -> Spot | None:
    """A spot of the same name on the same place: GeoNames has some cities twice."""
    at = (entry.latitude, entry.longitude)
    for spot, _ in namesakes:
        km = distance_km(at, (spot.latitude, spot.longitude))
        if km is not None and km <= SAME_PLACE_KM:
            return spot
    return None


def _city_spot(city: Candidate, entry: Entry | None, entries: Sequence[Entry]) -> Spot:
    known = [size for size in (city.population, entry and entry.population) if size]
    at = (city.latitude, city.longitude)
    texts = (city.name, city.local_name, city.own_code)
    region = entry.admin1 if entry else region_of(city.country_iso3, *texts)
    around: frozenset[str] = frozenset()
    if entry and at[0] is None:
        at = (entry.latitude, entry.longitude)
    if not region:
        neighbours = _around(entries, at, 100)
        around = frozenset(other.admin1 for _, other in neighbours if other.admin1)
    low, high = min(known, default=None), max(known, default=None)
    return Spot(city, entry, *at, low, high, region, around)


def _around(
    entries: Sequence[Entry], at: tuple[float | None, float | None], within_km: float
) -> list[tuple[float, Entry]]:
    """The entries around a point with their distance in km, the nearest first."""
    latitude, longitude = at
    if latitude is None or longitude is None:
        return []
    height = within_km / 111
    width = height / max(math.cos(math.radians(latitude)), 0.1)
    around = (
        (km, entry)
        for entry in entries
        if abs(entry.latitude - latitude) < height
        and abs(entry.longitude - longitude) < width
        and (km := distance_km(at, (entry.latitude, entry.longitude))) is not None
    )
    return sorted(around, key=lambda pair: (pair[0], pair[1].geonames_id))


def _city_names(city: Candidate, entry: Entry | None) -> set[str]:
    """The keys of a city's own names; the first of two only if the gazetteer has that there.

    So Leeds is Leeds-Bradford, and Port is not Port-au-Prince.
    """
    borne = set(_entry_names(entry)) if entry else set()
    return {
        reading.key
        for name in (city.name, city.local_name)
        for reading in variants(name or "", city.country_iso3)
        if not reading.part
        and (reading.cost <= 0.2 or (reading.how == "first of two names" and reading.key in borne))
    }


def _entry_names(entry: Entry) -> dict[str, float]:
    """The keys of an entry's names with what a match by that name costs."""
    extra = PART_OF_CITY if entry.feature_code == "PPLX" else 0.0
    names = {}
    if entry.alternate_names:
        names = {
            key(name): extra + ALTERNATE
            for name in entry.alternate_names.split(",")
            if name < BEYOND_LATIN and not (len(name) < 5 and name.isupper())  # an airport's code
        }
    names[key(entry.name)] = extra
    names.pop("", None)
    return names


# ------------------------------------------------------------------ cities and gazetteer


def _link(
    candidates: Sequence[Candidate], bearers: Mapping[str, Sequence[tuple[Entry, float]]]
) -> dict[str, Entry]:
    """The entry of the gazetteer that is each city's: by reviewed id, or like-named near by.

    One-to-one, the closest fits first. A city that the gazetteer has under another name
    (Dnipro) gets the entry on its spot that has its size.
    """
    by_id = {entry.geonames_id: entry for named in bearers.values() for entry, _ in named}
    linked = {
        city.city_id: by_id[city.geonames_id]
        for city in candidates
        if city.geonames_id and city.geonames_id in by_id
    }
    taken = {entry.geonames_id for entry in linked.values()}
    fits = [
        (cost, city.city_id, geonames_id)
        for city in candidates
        if city.city_id not in linked
        for cost, geonames_id in _fits(city, bearers)
    ]
    for _, city_id, geonames_id in sorted(fits):
        if city_id not in linked and geonames_id not in taken:
            linked[city_id] = by_id[geonames_id]
            taken.add(geonames_id)
    free = [entry for entry in by_id.values() if entry.geonames_id not in taken]
    for city in candidates:
        if city.city_id not in linked and city.population:
            around = _around(free, (city.latitude, city.longitude), ON_THE_SPOT_KM)
            sizes = {entry.geonames_id: entry.population or 0 for _, entry in around}
            largest = max(sizes, key=lambda geonames_id: sizes[geonames_id], default=None)
            if largest and sizes[largest] > 0.45 * city.population:
                linked[city.city_id] = by_id[largest]
    return linked


def _fits(
    city: Candidate, bearers: Mapping[str, Sequence[tuple[Entry, float]]]
) -> Iterator[tuple[float, str]]:
    """The entries that may be a city, each with how ill it fits."""
    readings = [
        *variants(city.name, city.country_iso3),
        *(one for one in variants(city.local_name or "", city.country_iso3) if one.cost < 0.3),
    ]
    for reading in readings:
        if reading.part:
            continue
        for entry, cost in bearers.get(reading.key, ()):
            km = distance_km((city.latitude, city.longitude), (entry.latitude, entry.longitude))
            if km is None or km > NEARBY_KM:
                continue
            size = 0.0
            if city.population:
                size = 0.3 * max(0.0, math.log(city.population / (entry.population or 15_000)))
            yield reading.cost + cost + km / 15 + size, entry.geonames_id
