"""The append-only registry of cities: every `city_id` ever given, and the codes it stands for.

It holds names, kinds and publishers' codes, in `cities.csv` beside this module. It holds no
coordinates, populations or other figures (those come from the sources), and it does not decide
which city a publisher's row is about: it only remembers what was decided.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

BUNDLED = Path(__file__).with_name("cities.csv")

Kind = Literal["un_agglomeration", "un_city_2025", "statistical_city"]
Scheme = Literal["wup2018_code", "wup2025_code", "urban_audit_code", "own_code"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
CODE_COLUMNS = (*SCHEMES, "geonames_id")

CITY_ID = re.compile(r"[a-z]{3}(-[a-z0-9]+)+")
COUNTRY_ISO3 = re.compile(r"[A-Z]{3}")
OWN_CODE = re.compile(r"[a-z0-9_]+:.+")

# Latin letters that Unicode does not decompose into a base letter and a mark.
_LETTERS = str.maketrans(
    {
        "ß": "ss", "ẞ": "ss", "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "ø": "o", "Ø": "o",
        "ł": "l", "Ł": "l", "ı": "i", "đ": "d", "Đ": "d", "ð": "d", "Ð": "d", "þ": "th",
        "Þ": "th", "ħ": "h", "Ħ": "h", "ŋ": "n", "Ŋ": "n", "ŧ": "t", "Ŧ": "t", "ə": "a", "Ə": "a",
    }
)  # fmt: skip
_APOSTROPHES = str.maketrans("", "", "'`´‘’‛ʻʼʽʾʿʹʺ′＇")


class RegistryError(ValueError):
    """The registry, or what was to be added to it, breaks one of its rules."""


@dataclass(frozen=True, slots=True)
class City:
    """One city of the registry; the fields are the columns of `cities.csv`, None where empty.

    `name` is what an English reader calls the city, `local_name` what the publisher that brought
    it in calls it. `own_code` is `source_id:source_code` of a statistical office.
    """

    city_id: str
    name: str
    local_name: str | None
    country_iso3: str
    kind: str
    wup2018_code: str | None = None
    wup2025_code: str | None = None
    urban_audit_code: str | None = None
    geonames_id: str | None = None
    own_code: str | None = None

    def codes(self) -> dict[str, str]:
        """The codes that this city stands for, by column; empty ones left out."""
        codes = ((column, getattr(self, column)) for column in CODE_COLUMNS)
        return {column: code for column, code in codes if code is not None}


@dataclass(frozen=True, slots=True)
class NewCity:
    """A city to be registered under one publisher's code; it has no id yet.

    `geonames_id` is kept beside the code where the gazetteer has the city.
    """

    name: str
    local_name: str | None
    country_iso3: str
    kind: Kind
    scheme: Scheme
    code: str
    geonames_id: str | None = None


COLUMNS = tuple(field.name for field in dataclasses.fields(City))


def slug(name: str) -> str:
    """A name in lower-case ASCII letters and digits with single hyphens between words.

    Accents and apostrophes are dropped (`Xi'an` is `xian`), initials are closed up
    (`Washington, D.C.` is `washington-dc`), anything else between words becomes a hyphen. A name
    without a Latin letter or digit gives an empty string.
    """
    latin = unicodedata.normalize("NFKD", name.translate(_APOSTROPHES)).translate(_LETTERS)
    ascii_only = "".join(c for c in latin if not unicodedata.combining(c)).translate(_APOSTROPHES)
    initials_closed = re.sub(r"\b([A-Za-z])\.", r"\1", ascii_only)
    return re.sub(r"[^a-z0-9]+", "-", initials_closed.lower()).strip("-")


def read_registry(path: Path = BUNDLED) -> list[City]:
    """The registry at `path` (UTF-8 CSV), one City per row, sorted by `city_id`.

    Raises RegistryError with the line and the column of the first rule that is broken.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = next(lines, [])
            if tuple(header) != COLUMNS:
                raise RegistryError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}")
            numbered = [(_line(path, lines.line_num), row) for row in lines]
        except (csv.Error, UnicodeDecodeError) as error:
            raise RegistryError(f"{path}, line {lines.line_num + 1}: {error}") from error
    cities = [(where, _city(where, row)) for where, row in numbered]
    _check(cities)
    return [city for _, city in cities]


def write_registry(cities: Iterable[City], path: Path = BUNDLED) -> None:
    """Write the registry to `path`, sorted, in one atomic step.

    Raises RegistryError, and leaves the file as it was, if a rule is broken or if the result
    would lose or re-point anything that the file at `path` promises.
    """
    ordered = sorted(cities, key=lambda city: city.city_id)
    _check((f"{path}, city {city.city_id!r}", city) for city in ordered)
    if path.exists():
        check_append_only(read_registry(path), ordered)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(dataclasses.astuple(city) for city in ordered)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def register(known: Sequence[City], new: Iterable[NewCity]) -> list[City]:
    """`known` with every city of `new` whose code it does not have yet, sorted by `city_id`.

    Rows of `known` come back unchanged, and the order of `new` does not matter. A new city gets
    `<iso3>-<slug of its name>`. If its country has a city of that name already, it adds its code
    and the older city keeps its id; new cities that share a name all add theirs.

    Raises RegistryError if a new city is malformed, if its code stands for a city of another
    country, or if one code comes with two different cities.
    """
    by_code = {(scheme, code): city for city in known for scheme, code in city.codes().items()}
    arrivals: dict[tuple[str, str], NewCity] = {}
    for city in new:
        key = (city.scheme, city.code)
        if arrivals.setdefault(key, city) != city:
            raise RegistryError(f"{_label(city)}: the same code also comes with another city")
        if key in by_code and by_code[key].country_iso3 != city.country_iso3:
            raise RegistryError(f"{_label(city)}: the code stands for {by_code[key].city_id}")
    additions = [arrivals[key] for key in sorted(arrivals.keys() - by_code.keys())]

    shared = Counter(_base_id(city.country_iso3, city.name) for city in additions)
    taken = {base for base, bearers in shared.items() if bearers > 1}
    taken |= {_base_id(city.country_iso3, city.name) for city in known}
    taken |= {city.city_id for city in known}

    registered = list(known)
    for city in additions:
        _check_new(city)
        city_id = _new_id(city, taken)
        taken.add(city_id)
        codes: dict[str, str | None] = {city.scheme: city.code, "geonames_id": city.geonames_id}
        registered.append(
            City(city_id, city.name, city.local_name, city.country_iso3, city.kind, **codes)
        )
    registered.sort(key=lambda city: city.city_id)
    _check((f"city {city.city_id!r}", city) for city in registered)
    return registered


def check_append_only(before: Iterable[City], after: Iterable[City]) -> None:
    """Raise RegistryError if `after` breaks a promise of `before`.

    An id may not vanish, and once it stands for a code it stands for that code for good: the code
    may neither be dropped, nor replaced, nor moved to another id. Names may be corrected and
    empty codes filled in.
    """
    later = {city.city_id: city for city in after}
    holder = {code: city.city_id for city in later.values() for code in city.codes().items()}
    for city in before:
        if city.city_id not in later:
            raise RegistryError(f"{city.city_id} has vanished")
        for column, code in city.codes().items():
            now = holder.get((column, code))
            if now is None:
                raise RegistryError(f"{city.city_id} no longer stands for {column} {code}")
            if now != city.city_id:
                raise RegistryError(f"{column} {code} has moved from {city.city_id} to {now}")


def _line(path: Path, number: int) -> str:
    return f"{path}, line {number}"


def _label(city: NewCity) -> str:
    return f"{city.name!r} ({city.country_iso3}, {city.scheme} {city.code})"


def _base_id(country_iso3: str, name: str) -> str:
    return f"{country_iso3.lower()}-{slug(name)}"


def _new_id(city: NewCity, taken: set[str]) -> str:
    """The first free one of: the name; the name and code; the name, the code's issuer and code."""
    base = _base_id(city.country_iso3, city.name)
    issuer, code = city.scheme.removesuffix("_code"), city.code
    if city.scheme == "own_code":
        issuer, code = city.code.split(":", 1)
    for candidate in (base, f"{base}-{slug(code)}", f"{base}-{slug(issuer)}-{slug(code)}"):
        if CITY_ID.fullmatch(candidate) and candidate not in taken:
            return candidate
    raise RegistryError(f"{_label(city)}: no free id, even {candidate} is taken or malformed")


def _check_new(city: NewCity) -> None:
    """Raise RegistryError for what would make a bad id; `_check` sees to the rest."""
    if city.scheme not in SCHEMES:
        raise RegistryError(f"{_label(city)}: unknown scheme {city.scheme!r}")
    if not COUNTRY_ISO3.fullmatch(city.country_iso3):
        raise RegistryError(f"{_label(city)}: malformed country {city.country_iso3!r}")
    if not slug(city.name):
        raise RegistryError(f"{_label(city)}: an id needs a name in Latin letters")
    if city.scheme == "own_code" and not OWN_CODE.fullmatch(city.code):
        raise RegistryError(f"{_label(city)}: own_code must be source_id:source_code")


def _city(where: str, row: list[str]) -> City:
    if len(row) != len(COLUMNS):
        raise RegistryError(f"{where}: {len(row)} cells, expected {len(COLUMNS)}")
    city_id, name, local_name, country_iso3, kind, *codes = row
    optional_codes = (code or None for code in codes)
    return City(city_id, name, local_name or None, country_iso3, kind, *optional_codes)


def _check(cities: Iterable[tuple[str, City]]) -> None:
    """Raise RegistryError, with the place given beside the city, at the first broken rule."""
    previous = ""
    holder: dict[tuple[str, str], str] = {}
    for where, city in cities:
        for column, complaint in _complaints(city):
            raise RegistryError(f"{where}, column {column}: {complaint}")
        if city.city_id == previous:
            raise RegistryError(f"{where}, column city_id: duplicate id {city.city_id}")
        if city.city_id < previous:
            raise RegistryError(
                f"{where}, column city_id: unsorted, {city.city_id} comes after {previous}"
            )
        previous = city.city_id
        for column, code in city.codes().items():
            other = holder.setdefault((column, code), city.city_id)
            if other != city.city_id:
                raise RegistryError(f"{where}, column {column}: {code} already stands for {other}")


def _complaints(city: City) -> Iterator[tuple[str, str]]:
    """What is wrong with one city on its own: (column, complaint)."""
    for column in COLUMNS:
        value: str | None = getattr(city, column)
        if value == "":
            yield column, "empty"
        elif value is not None and value != _tidy(value, is_code=column in CODE_COLUMNS):
            yield column, f"stray white space or a decomposed letter in {value!r}"
    if not CITY_ID.fullmatch(city.city_id):
        yield "city_id", f"malformed id {city.city_id!r}, expected like prt-lisbon"
    if not COUNTRY_ISO3.fullmatch(city.country_iso3):
        yield "country_iso3", f"malformed country {city.country_iso3!r}, expected like PRT"
    if city.own_code is not None and not OWN_CODE.fullmatch(city.own_code):
        yield "own_code", f"malformed {city.own_code!r}, expected source_id:source_code"
    if city.kind not in KINDS:
        yield "kind", f"unknown kind {city.kind!r}, expected one of {', '.join(KINDS)}"
    elif not city.codes().keys() & set(SCHEMES):
        yield "kind", "a city needs the code of a publisher"
    elif city.kind != _kind(city):
        yield "kind", f"{city.kind} does not go with the codes, which make it {_kind(city)}"


def _tidy(value: str, *, is_code: bool) -> str:
    """A name in composed letters with single blanks; of a code, which is the publisher's, less."""
    return value.strip() if is_code else unicodedata.normalize("NFC", " ".join(value.split()))


def _kind(city: City) -> Kind:
    if city.wup2018_code is not None:
        return "un_agglomeration"
    return "statistical_city" if city.wup2025_code is None else "un_city_2025"
