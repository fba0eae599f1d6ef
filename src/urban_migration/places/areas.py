"""What the matcher works on and what it answers: areas of publishers, reviewed verdicts, matches.

Plain records, without a word on how an area is matched (`matching`).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from urban_migration.places.names import region_of

DECISIONS = Path(__file__).with_name("decisions.csv")

Status = Literal["matched", "own", "unmatched", "rejected"]
Verdict = Literal["match", "own", "reject", "not_a_city"]


class MatchingError(ValueError):
    """A reviewed decision is malformed or points at no city."""


@dataclass(frozen=True, slots=True)
class Place:
    """An area of a publisher, as in the tidy table `places`; `country_iso3` is resolved."""

    source_id: str
    source_code: str
    source_name: str
    country_iso3: str
    principal_city: str | None = None
    other_names: tuple[str, ...] = ()
    latitude: float | None = None
    longitude: float | None = None
    population: int | None = None
    geography: str | None = None
    not_a_city: str | None = None

    @property
    def name(self) -> str:
        """The city's name where it is not the area's."""
        return self.principal_city or self.source_name

    @property
    def region(self) -> str | None:
        """The region that code or labels name, as GeoNames' first-level division."""
        return region_of(self.country_iso3, self.source_code, self.source_name, *self.other_names)


@dataclass(frozen=True, slots=True)
class Decision:
    """A reviewed verdict on one area; `city_id` where the verdict is match."""

    source_id: str
    source_code: str
    decision: Verdict
    city_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Match:
    """What an area is, how that was found and why.

    `own` with a null `city_id` is a city in its own right that the registry lacks: `propose`
    lists it, and until it is registered the crosswalk has it as unmatched. `score` goes from 0
    to 1 (a code or a review: 1), null where nothing was found; `distance_km` is null where the
    publisher gives no point.
    """

    source_id: str
    source_code: str
    source_name: str
    country_iso3: str
    status: Status
    method: str
    why: str
    city_id: str | None = None
    geonames_id: str | None = None
    score: float | None = None
    distance_km: float | None = None


def read_decisions(path: Path = DECISIONS) -> list[Decision]:
    """The reviewed decisions; raises MatchingError with the line that is malformed."""
    decisions: dict[tuple[str, str], Decision] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            where = f"{path}, line {number}"
            if row["decision"] not in get_args(Verdict):
                expected = ", ".join(get_args(Verdict))
                raise MatchingError(f"{where}: {row['decision']!r} is none of {expected}")
            if (row["decision"] == "match") != bool(row["city_id"]) or not row["reason"]:
                raise MatchingError(f"{where}: a match needs a city_id, all need a reason")
            decision = Decision(**{**row, "city_id": row["city_id"] or None})  # type: ignore[arg-type]
            if decisions.setdefault((decision.source_id, decision.source_code), decision) != (
                decision
            ):
                raise MatchingError(f"{where}: {decision.source_code!r} is decided twice")
    return list(decisions.values())
