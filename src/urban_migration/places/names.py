"""Names of places made comparable: one spelling in lower-case ASCII, and the names inside a name.

Nothing here knows a place. `key` closes a name up so that diacritics, case and punctuation no
longer matter, `sound` goes on until sister spellings of transcribed names agree, and `variants`
takes a publisher's label apart (brackets, regions, twin names, words such as Greater or City).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from urban_migration.places.registry import slug

REGIONS = Path(__file__).with_name("regions.csv")

_LATIN = (*range(0x250), *range(0x2B0, 0x370), *range(0x1E00, 0x1F00))
_PUNCTUATION = (*range(0x2000, 0x2070), 0xFF07)
_CLOSED = {at: slug(chr(at)) for at in (*_LATIN, *_PUNCTUATION)}
_SAINT = re.compile(r"\b(?:St|Sankt)\b\.? *(?=[A-Z])")

_SOUNDS = tuple(
    pair.split(":")
    for pair in (
        "tsch:c sch:s tch:c dzh:j zh:j kh:h gh:g ph:f th:t dh:d bh:b sh:s ch:c ck:k ts:c tz:c "
        "ou:u oo:u ee:i ie:i iy:i yy:i ai:e ay:e ei:e ey:e ij:i w:v y:i j:i q:k x:ks z:s c:k o:u"
    ).split()
)
_DOUBLED = re.compile(r"(.)\1+")
_ARTICLE = re.compile(
    r"^(?:(?:al|el|ad|adh|an|ar|as|ash|at|ath|az|ech|en|es)[- ]|a[lnrstz]h?['’]|l[ae]s? |los "
    r"|the )",
    re.I,
)
_CLASS_BEFORE = re.compile(
    r"^(?:greater|grand|town of|city of|ciudad de|municipality of|kota|urban|villa de|m[bp]) ", re.I
)
_CLASS_AFTER = re.compile(
    r",? (?:city|town|municipality|municipal|metropolitan(?: area)?|metro|d\.? ?c\.?|urban|shi|si"
    r"|city council|stadt|district)$",
    re.I,
)
_TAIL = re.compile(
    r"^(.{4,}?)[ -]+(?:am|an der|a\.? ?d\.?|im|in|ob der|upon|on|sur|nad|na|de los|de las|de la"
    r"|de|del|do|da|dos|di|ad|aan|bei|i|y)[ -.].+$",
    re.I,
)
_BRACKETED = re.compile(r"^(?P<outside>[^(\[]+)[(\[](?P<inside>[^)\]]*)[)\]]\s*$")
_TWINS = re.compile(r"\s*/\s*|\s+(?:[-–&]|and|with)\s+")
_HYPHEN = re.compile(r"(?<=[\w. ]{4})[-–](?=[^\W\d_][\w .]{2,})")


class Variant(NamedTuple):
    """One reading of a publisher's label.

    `cost` says how far it is from the label as it stands: 0 the label or a name that it gives
    for the same place, up to 1 for its first part only. `part` marks the further names of a
    label that names several places.
    """

    key: str
    cost: float
    how: str
    part: bool = False


def key(name: str) -> str:
    """A name without case, diacritics, blanks and punctuation; "" if it has no Latin letter."""
    if "St" in name or "Sankt" in name:
        name = _SAINT.sub("Saint ", name)
    closed = name.translate(_CLOSED)
    return closed if closed.isascii() else ""


@cache
def sound(closed: str) -> str:
    """A key in which the usual differences between transcriptions are gone."""
    for written, spoken in _SOUNDS:
        if written in closed:
            closed = closed.replace(written, spoken)
    closed = _DOUBLED.sub(r"\1", closed)
    return closed[0] + closed[1:].replace("h", "").replace("e", "i") if closed else closed


def near(one: str, other: str) -> bool:
    """Whether two keys differ by one letter: missing, added, another, or swapped neighbours."""
    if one == other:
        return True
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1 or (one[0] != other[0] and one[-1] != other[-1]):
        return False
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    return one[at + 1 :] == other[at + 1 :] or (
        one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]
    )


@cache
def regions(path: Path = REGIONS) -> Mapping[str, Mapping[str, str]]:
    """GeoNames' first-level division by country and by the key of a region's name or letters."""
    found: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["country_iso3"], {})[key(row["region"])] = row["geonames_admin1"]
    return found


def region_of(country_iso3: str, *texts: str | None) -> str | None:
    """The region that a label or code names beside the place: `Portland|OR`, `Fuzhou (Fujian)`."""
    known = regions().get(country_iso3)
    if not known:
        return None
    for text in texts:
        for beside in reversed(re.split(r"[|,(\[]", text or "")[1:]):
            if region := known.get(key(beside)):
                return region
    return None


def region_name(country_iso3: str, admin1: str | None) -> str | None:
    """The name of a region by GeoNames' first-level division, its longest if it has several."""
    with REGIONS.open(encoding="utf-8", newline="") as file:
        names = [
            row["region"]
            for row in csv.DictReader(file)
            if (row["country_iso3"], row["geonames_admin1"]) == (country_iso3, admin1)
        ]
    return max(names, key=len, default=None)


@cache
def variants(name: str, country_iso3: str) -> tuple[Variant, ...]:
    """The readings of a label, each key once, the nearest to the label first."""
    found: dict[str, Variant] = {}
    for variant in _readings(name, regions().get(country_iso3, {})):
        if variant.key and (variant.key not in found or variant.cost < found[variant.key].cost):
            found[variant.key] = variant
    return tuple(sorted(found.values(), key=lambda variant: (variant.cost, variant.key)))


def _readings(name: str, known: Mapping[str, str]) -> Iterator[Variant]:
    yield Variant(key(name), 0.0, "name")
    if bracketed := _BRACKETED.match(name):
        outside, inside = bracketed["outside"].strip(), bracketed["inside"].strip()
        yield from _plain(outside, 0.05, "name before the bracket")
        if key(inside) not in known:
            yield from _plain(inside, 0.4, "name in brackets")
            yield Variant(key(f"{outside} {inside}"), 0.1, "name")
        return
    if "," in name:
        before, after = (part.strip() for part in name.split(",", 1))
        yield Variant(key(f"{after} {before}"), 0.1, "name turned round")
        yield from _plain(before, 0.0 if key(after) in known else 0.3, "name before the comma")
        return
    yield from _plain(name, 0.0, "name")


def _plain(name: str, cost: float, how: str) -> Iterator[Variant]:
    """A label without brackets: as it is, without a word for its class, its first name, parts."""
    yield Variant(key(name), cost, how)
    bare = _CLASS_AFTER.sub("", _CLASS_BEFORE.sub("", name))
    if bare != name:
        yield Variant(key(bare), cost + 0.1, f"{how}, without its class")
    if (shorter := _ARTICLE.sub("", bare)) != bare:
        yield Variant(key(shorter), cost + 0.2, f"{how}, without its article")
    first, *others = _TWINS.split(name)
    if others:
        yield Variant(key(first), cost + 0.2, "first of several names")
        for other in others:
            yield Variant(key(other), cost + 0.5, "one of several names", part=True)
    elif (hyphen := _HYPHEN.split(bare, maxsplit=1))[1:]:
        yield Variant(key(hyphen[0]), cost + 0.6, "first of two names")
    if tail := _TAIL.match(bare):
        yield Variant(key(tail[1]), cost + 0.6, "name without its epithet")
