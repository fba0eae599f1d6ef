"""Finds defects in the series of city figures of any office, and says why it withholds a figure.

The rules look at figures only: a part larger than its whole, a share that no city has, a jump
that nothing explains, and a year in which too many cities of a country fail at once.  They know
neither countries nor publishers, remove nothing, and say nothing of a figure that stands alone.

How a jump is judged.  A figure is compared with the last *accepted* one of its series, as a
factor per year elapsed.  Beyond the bound it is withheld unless a break is flagged between the
two or the next figure confirms it by lying near it and further from the accepted one.  The last
figure has none to confirm it and waits for one.  The first has none before it; where the later
ones contradict it, a wrong figure and a true step look alike, so it takes twice the bound (as
logarithms) to withhold it.

Why a factor of 1.5.  In Eurostat's files of November 2025, without the two country-years that
stand under wrong codes, 4,969 steps between populations have no break flagged: the largest is
1.64 (a city redefined, confirmed the year after), the second 1.17.  Of 2,749 such steps between
figures of foreign-born three are larger, each confirmed by the next; in none of them is the
figure the last of its series.  Sample surveys swing more: half of the United Kingdom's 396 steps
exceed 14 %, 26 a factor of 1.5.  So the bound grows with what is usual between two years of a
country, up to a factor of 3.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from urban_migration.checks import Withheld

if TYPE_CHECKING:
    import pyarrow as pa

POPULATION_WITHHELD: Final = "population_withheld"
"""Rule of the entries that take population, base and share from a row and leave the row."""
STEP: Final = 1.5
"""A factor per year within which no figure is questioned."""
STEP_AT_MOST: Final = 3.0
"""A factor per year that is questioned however much a country's figures swing."""
USUAL: Final = 8.0
"""How many times the usual change (the median) a change must be; some five standard errors."""
USUAL_ROWS: Final = 5
"""Cities that two years must share to say what is usual between them."""
PERSONS: Final = 500
"""Added to both sides of a comparison: small counts vary by chance, rounding and suppression."""
SHARE_AT_MOST_PCT: Final = 95.0
"""Beyond it nobody counts: Hialeah has 71.8 % born abroad, the emirate of Dubai about 90 %."""
ROUNDING: Final = 10
"""Persons by which an origin may exceed the total: offices round or perturb each cell."""
BLOCK_ROWS: Final = 10
BLOCK_SHARE: Final = 0.2
"""A country-year falls as a whole when more than this share of so many comparable rows fail."""

SETTLED: Final = frozenset({"foreign_born", "foreign_citizen", "immigrant"})
"""Residents, whose number moves slowly; the displaced may double or leave within a year."""
ALL: Final = "all"
UNKNOWN: Final = "an unknown country"
SMALLEST: Final = math.log(STEP)

Where = tuple[str, int]
"""A place and a year, or a country and a year."""
Direction = Literal["forwards", "backwards"]


# ------------------------------------------------------------------ what comes out


@dataclass(frozen=True)
class Block:
    """A country-year that is withheld as a whole.

    ``what`` is ``population`` or a concept, ``rows`` counts the figures withheld, and ``failed``
    of ``comparable`` rows made it fall.
    """

    table: str
    country: str
    year: int
    what: str
    rows: int
    comparable: int
    failed: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Everything that was found in the figures of one source."""

    withheld: list[Withheld]
    blocks: list[Block]


def judge(
    populations: pa.Table | None,
    migrants: pa.Table | None,
    places: pa.Table,
    *,
    source_id: str,
) -> list[Withheld]:
    """The cells of one source's tidy tables (``sources.city_tables``) that are not to be published.

    ``column`` says what is withheld: ``population`` of table ``populations`` and ``migrants`` of
    table ``migrants`` mean the whole row; ``population`` of table ``migrants`` means that the row
    stands without population, base and share.  Indices count in the tables as given; rows with
    an ``ignored`` reason are left out.  The order of rows does not matter.
    """
    return examine(populations, migrants, places, source_id=source_id).withheld


def blocks(
    populations: pa.Table | None,
    migrants: pa.Table | None,
    places: pa.Table,
    *,
    source_id: str,
) -> list[Block]:
    """The country-years of one source that are withheld as a block, for the report."""
    return examine(populations, migrants, places, source_id=source_id).blocks


def examine(
    populations: pa.Table | None,
    migrants: pa.Table | None,
    places: pa.Table,
    *,
    source_id: str,
) -> Verdict:
    """What :func:`judge` and :func:`blocks` say, found at once."""
    codes, countries = (places[name].to_pylist() for name in ("source_code", "country_code"))
    country = {code: name for code, name in zip(codes, countries, strict=True) if name}
    parts = [_Part(*row) for row in _rows(migrants, _Part._fields)]
    wholes = [_Whole(*row) for row in _rows(populations, _Whole._fields)]
    whole_findings = _judge_populations(source_id, wholes, parts, country)
    part_findings = _judge_parts(source_id, parts, whole_findings.reasons, country)
    withheld = [
        *whole_findings.withheld(wholes),
        *part_findings.withheld(parts),
        *_without_base(source_id, parts, whole_findings.reasons, part_findings.reasons),
    ]
    withheld.sort(key=lambda row: (row.table, row.index, row.column or ""))
    found = [*whole_findings.blocks, *part_findings.blocks]
    found.sort(key=lambda block: (block.table, block.country, block.year, block.what))
    return Verdict(withheld, found)


# ------------------------------------------------------------------ rows


class _Whole(NamedTuple):
    row: int
    source_code: str
    year: int
    population: int
    flag: str | None


class _Part(NamedTuple):
    row: int
    source_code: str
    year: int
    migrants: int
    flag: str | None
    concept: str
    origin: str
    population: int | None
    base: int | None


def _rows(table: pa.Table | None, fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows with a figure (the fourth field) that are not ignored, with their indices."""
    if table is None:
        return
    columns = [table[name].to_pylist() for name in fields[1:]]
    ignored = (
        table["ignored"].is_valid().to_pylist()
        if "ignored" in table.column_names
        else [False] * table.num_rows
    )
    for index, row in enumerate(zip(*columns, strict=True)):
        if not ignored[index] and row[2] is not None:
            yield index, *row


def _is_break(flag: str) -> bool:
    """Whether the letters of a flag say that the series breaks here."""
    return "b" in flag and len(flag) <= 4 and flag.isalpha()


# ------------------------------------------------------------------ series


@dataclass(frozen=True)
class _Fault:
    """Why a figure fails, by which rule."""

    rule: str
    reason: str


class _Observation(NamedTuple):
    """A figure of a series: ``size`` is its logarithm, ``breaks`` counts those flagged so far."""

    year: int
    value: int
    size: float
    breaks: int
    fault: _Fault | None


@dataclass(frozen=True)
class _Series:
    """The figures of one place by year, one per year.

    A series is ``calm`` when nothing in it could ever be questioned: each figure lies within
    the smallest bound of the one before, and so of every other.
    """

    code: str
    observations: Sequence[_Observation]
    calm: bool

    def reversed(self) -> _Series:
        """The same with time running backwards: the last figure is the first."""
        last = self.observations[-1].breaks
        backwards = [
            seen._replace(year=-seen.year, breaks=last - seen.breaks) for seen in self.observations
        ]
        return replace(self, observations=backwards[::-1])

    def without(self, years: Collection[int]) -> _Series:
        """The same without some years."""
        kept = [seen for seen in self.observations if seen.year not in years]
        return replace(self, observations=kept)


def _series(
    figures: Iterable[tuple[str, int, int, str | None]], faults: Mapping[Where, _Fault]
) -> list[_Series]:
    """Series by place from (code, year, value, flag)."""
    by_code: dict[str, dict[int, tuple[int, str]]] = defaultdict(dict)
    for code, year, value, flag in figures:
        years = by_code[code]
        figure = (value, flag or "")
        years[year] = max(years[year], figure) if year in years else figure
    series = []
    for code, years in by_code.items():
        breaks, calm = 0, True
        seen: list[_Observation] = []
        for year in sorted(years):
            value, flag = years[year]
            breaks += _is_break(flag)
            size = math.log(max(value, 0) + PERSONS)
            fault = faults.get((code, year))
            if calm and seen:
                calm = abs(size - seen[-1].size) <= SMALLEST * (year - seen[-1].year)
            calm = calm and fault is None
            seen.append(_Observation(year, value, size, breaks, fault))
        series.append(_Series(code, seen, calm))
    return series


def _bound(group: Sequence[_Series]) -> float:
    """The largest change per year (as a logarithm) that is not questioned in a country.

    The usual change is the median between two years, next to each other or with one between, of
    the quieter such pairs (their lower quartile): a year of wrong figures spoils at most the
    others, and does not make wrong figures usual.
    """
    changes: dict[tuple[int, int], list[float]] = defaultdict(list)
    for series in group:
        seen = [one for one in series.observations if one.fault is None]
        for gap in (1, 2):
            for one, other in zip(seen, seen[gap:], strict=False):
                if one.breaks == other.breaks:
                    changes[one.year, other.year].append(abs(other.size - one.size))
    usual = [median(pair) for pair in changes.values() if len(pair) >= USUAL_ROWS]
    if len(usual) < 2:
        return SMALLEST
    quiet = sorted(usual)[(len(usual) - 1) // 4]
    return min(max(USUAL * quiet, SMALLEST), math.log(STEP_AT_MOST))


# ------------------------------------------------------------------ jumps


@dataclass
class _Tally:
    """Rows of a country-year that could fail, and those that did."""

    comparable: int = 0
    faults: dict[str, _Fault] = field(default_factory=dict)

    @property
    def falls(self) -> bool:
        """Whether so many fail that none of them is to be believed."""
        return self.comparable >= BLOCK_ROWS and self.share > BLOCK_SHARE

    @property
    def share(self) -> float:
        """The share of the rows that fail."""
        return len(self.faults) / self.comparable


class _State(NamedTuple):
    """Where a series stands: its last accepted figure, the only one since a break or not."""

    before: _Observation
    alone: bool


@dataclass
class _Sweep:
    """What one passage through a country's years found; years are negative when backwards."""

    tallies: dict[int, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    first: dict[Where, _Fault] = field(default_factory=dict)


def _sweep(group: Sequence[_Series], bound: float, direction: Direction) -> _Sweep:
    """Go through a country's years and compare each figure with the last accepted one."""
    sweep, states = _Sweep(), dict[str, _State]()
    by_year: dict[int, list[tuple[_Series, int]]] = defaultdict(list)
    for series in group:
        if series.calm:
            for at, seen in enumerate(series.observations[1:], 1):
                same = seen.breaks == series.observations[at - 1].breaks
                sweep.tallies[seen.year].comparable += same or at + 1 < len(series.observations)
            continue
        for at, seen in enumerate(series.observations):
            by_year[seen.year].append((series, at))
    for year in sorted(by_year):
        accepted, first = _year(by_year[year], states, sweep.tallies[year], bound, direction)
        if not sweep.tallies[year].falls:
            states |= accepted
            sweep.first |= first
    return sweep


def _year(
    figures: Iterable[tuple[_Series, int]],
    states: Mapping[str, _State],
    tally: _Tally,
    bound: float,
    direction: Direction,
) -> tuple[dict[str, _State], dict[Where, _Fault]]:
    """Fill the tally of a year; give the figures accepted and the first ones they contradict."""
    accepted: dict[str, _State] = {}
    contradicted: dict[Where, _Fault] = {}
    for series, at in figures:
        seen, state = series.observations[at], states.get(series.code)
        if state is None:
            if seen.fault is None:
                accepted[series.code] = _State(seen, alone=True)
            continue
        following = next((one for one in series.observations[at + 1 :] if one.fault is None), None)
        judged = _compare(state, seen, following, bound, direction)
        tally.comparable += judged.comparable
        fault = seen.fault or judged.fault
        if fault is None:
            accepted[series.code] = _State(seen, alone=seen.breaks != state.before.breaks)
        elif judged.comparable:
            tally.faults[series.code] = fault
        if seen.fault is None and judged.first is not None:
            contradicted[series.code, state.before.year] = judged.first
    return accepted, contradicted


class _Judged(NamedTuple):
    """Whether a figure can be compared, its fault, or that of the first one before it."""

    comparable: bool
    fault: _Fault | None = None
    first: _Fault | None = None


def _compare(
    state: _State,
    seen: _Observation,
    following: _Observation | None,
    bound: float,
    direction: Direction,
) -> _Judged:
    """Compare a figure with the last accepted one and with the one that follows."""
    before, broken = state.before, seen.breaks != state.before.breaks
    years = seen.year - before.year
    change = abs(seen.size - before.size) / years
    if following is None:
        if broken or change <= bound:
            return _Judged(not broken)
        none = "later" if direction == "forwards" else "earlier"
        says = f"{_jump(before, seen)}, and no {none} value confirms it"
        return _Judged(True, _Fault("jump", says))
    gap = following.year - seen.year
    apart, back = abs(following.size - seen.size), abs(following.size - before.size)
    if broken:
        # two breaks that cancel out are none: the figures before and after agree without it
        if back > bound * (years + gap):
            return _Judged(False)
        confirmed = apart <= bound * gap
    else:
        confirmed = apart <= bound * gap and apart < back
    if change <= bound:
        return _Judged(True)
    says, which = _jump(before, seen), "next" if direction == "forwards" else "previous"
    shown = f"the {which} value ({following.value:,} in {abs(following.year)})"
    if not confirmed:
        return _Judged(True, _Fault("jump", f"{says}, and {shown} does not confirm it"))
    if state.alone and not broken and change > 2 * bound:
        says = f"{says}, and {shown} does not confirm {before.value:,}"
        return _Judged(True, first=_Fault("jump", says))
    return _Judged(True)


def _jump(before: _Observation, seen: _Observation) -> str:
    earlier, later = sorted((before, seen), key=lambda one: abs(one.year))
    low, high = sorted((earlier.value, later.value))
    factor = f"a factor of {high / low:,.3g}" if low > 0 else f"{high - low:,} persons"
    years = abs(later.year) - abs(earlier.year)
    elapsed = "one year" if years == 1 else f"{years} years"
    return (
        f"{earlier.value:,} in {abs(earlier.year)}, then {later.value:,} in {abs(later.year)}: "
        f"changes by {factor} in {elapsed}"
    )


# ------------------------------------------------------------------ one kind of figure


class _Fallen(NamedTuple):
    """A country-year that falls: how many rows were compared, and those that failed."""

    comparable: int
    faults: Mapping[str, _Fault]


class _Found(NamedTuple):
    """What is wrong with the figures of one kind, by place and by country."""

    faults: dict[Where, _Fault]
    fallen: dict[Where, _Fallen]


def _judge_series(
    series: Iterable[_Series], country: Mapping[str, str], fallen: Mapping[Where, _Fallen]
) -> _Found:
    """Judge jumps, country by country; ``fallen`` country-years are known to be wrong."""
    groups: dict[str, list[_Series]] = defaultdict(list)
    for one in series:
        groups[country.get(one.code, UNKNOWN)].append(one)
    found = _Found({}, dict(fallen))
    for name, group in groups.items():
        if not all(one.calm for one in group):
            gone = {year: fell for (where, year), fell in fallen.items() if where == name}
            faults = _judge_country(group, gone)
            found.faults.update(faults)
            found.fallen.update({(name, year): fell for year, fell in gone.items()})
    return found


def _judge_country(group: Sequence[_Series], gone: dict[int, _Fallen]) -> dict[Where, _Fault]:
    """The jumps of a country's series; the years that fall are added to ``gone``.

    The years are gone through in both directions, because a wrong first year looks like a step
    that stays.  Where years fall, only the worst one goes, and the others are judged again
    without it: next to a wrong year a right one looks wrong.  Of two years that contradict each
    other and nothing else, both go.
    """
    while True:
        left = [one for one in (series.without(gone) for series in group) if one.observations]
        bound = _bound(left)
        sweep = _sweep(left, bound, "forwards")
        back = _sweep([one.reversed() for one in left], bound, "backwards")
        tallies = [*back.tallies.items(), *sweep.tallies.items()]
        fell = {abs(year): tally for year, tally in tallies if tally.falls}
        if not fell:
            break
        worst = max(tally.share for tally in fell.values())
        gone |= {
            year: _Fallen(tally.comparable, tally.faults)
            for year, tally in fell.items()
            if tally.share == worst
        }
    faults = {
        (code, year): fault
        for year, tally in sweep.tallies.items()
        for code, fault in tally.faults.items()
    }
    return faults | sweep.first


def _fallen_shares(
    shares: Iterable[Where], faults: Mapping[Where, _Fault], country: Mapping[str, str]
) -> dict[Where, _Fallen]:
    """Country-years in which too many shares are impossible."""
    tallies: dict[Where, _Tally] = defaultdict(_Tally)
    for code, year in shares:
        tally = tallies[country.get(code, UNKNOWN), year]
        tally.comparable += 1
        if (code, year) in faults:
            tally.faults[code] = faults[code, year]
    return {
        where: _Fallen(tally.comparable, tally.faults)
        for where, tally in tallies.items()
        if tally.falls
    }


# ------------------------------------------------------------------ populations and parts


@dataclass
class _Findings:
    """Faults by row key, and the blocks that they are part of."""

    table: str
    column: str
    reasons: dict[tuple[Any, ...], _Fault] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def withheld(self, rows: Iterable[_Whole] | Iterable[_Part]) -> Iterator[Withheld]:
        """The rows that are withheld."""
        for row in rows:
            if fault := self.reasons.get(_key(row)):
                value = str(row[3])
                yield Withheld(self.table, row.row, fault.rule, self.column, value, fault.reason)

    def fall(
        self, what: str, fallen: Mapping[Where, _Fallen], members: Mapping[Where, set[Any]]
    ) -> None:
        """Withhold whole country-years; ``members`` are the keys of their rows."""
        for (country, year), (comparable, faults) in sorted(fallen.items()):
            keys = members.get((country, year), set())
            reason = (
                f"{len(faults)} of {comparable} comparable figures of this country and year "
                f"({what}, {country}, {year}) fail, so all of them are withheld"
            )
            example = min((f"{code}: {fault.reason}" for code, fault in faults.items()))
            for key in keys:
                own = self.reasons.get(key)
                if ALL in key or len(key) == 2:  # an origin has not jumped, its total has
                    own = faults.get(key[0], own)
                says = f"{own.reason}; {reason}" if own else f"{reason} (such as {example})"
                self.reasons[key] = _Fault("country_year", says)
            self.blocks.append(
                Block(self.table, country, year, what, len(keys), comparable, len(faults), reason)
            )


def _key(row: _Whole | _Part) -> tuple[Any, ...]:
    if isinstance(row, _Part):
        return row.source_code, row.year, row.concept, row.origin
    return row.source_code, row.year


def _judge_populations(
    source_id: str,
    wholes: Sequence[_Whole],
    parts: Sequence[_Part],
    country: Mapping[str, str],
) -> _Findings:
    """Judge populations, those that only stand beside migrants included."""
    figures: dict[Where, tuple[int, str | None]] = {
        (part.source_code, part.year): (part.population, None)
        for part in parts
        if part.population is not None
    }
    figures |= {(whole.source_code, whole.year): whole[3:5] for whole in wholes}
    empty = {
        where: _Fault("nobody", f"a population of {value:,} is none")
        for where, (value, _) in figures.items()
        if value <= 0
    }
    series = _series(((*where, *figure) for where, figure in figures.items()), empty)
    found = _judge_series(series, country, {})
    findings = _Findings(f"{source_id}.populations", "population")
    findings.reasons.update(found.faults)
    findings.reasons.update(empty)
    members: dict[Where, set[Any]] = defaultdict(set)
    for code, year in figures:
        members[country.get(code, UNKNOWN), year].add((code, year))
    findings.fall("population", found.fallen, members)
    return findings


def _judge_parts(
    source_id: str,
    parts: Sequence[_Part],
    wrong: Mapping[tuple[Any, ...], _Fault],
    country: Mapping[str, str],
) -> _Findings:
    """Judge each concept by itself; ``wrong`` are the populations that are withheld."""
    findings = _Findings(f"{source_id}.migrants", "migrants")
    by_concept: dict[str, list[_Part]] = defaultdict(list)
    for part in parts:
        by_concept[part.concept].append(part)
    for concept, rows in sorted(by_concept.items()):
        totals = [row for row in rows if row.origin == ALL]
        shared = [row for row in totals if _whole_of(row, wrong) is not None]
        impossible = {
            (row.source_code, row.year): fault
            for row in shared
            if (fault := _share_fault(row, wrong)) is not None
        }
        found = _Found({}, _fallen_shares([row[1:3] for row in shared], impossible, country))
        if concept in SETTLED:
            figures = (row[1:5] for row in totals)
            found = _judge_series(_series(figures, impossible), country, found.fallen)
        for where, fault in (found.faults | impossible).items():
            findings.reasons[*where, concept, ALL] = fault
        members: dict[Where, set[Any]] = defaultdict(set)
        for row in rows:
            members[country.get(row.source_code, UNKNOWN), row.year].add(_key(row))
        findings.fall(concept, found.fallen, members)
        findings.reasons.update(_origin_faults(rows, totals, wrong, findings.reasons))
    return findings


def _whole_of(row: _Part, wrong: Mapping[tuple[Any, ...], _Fault]) -> int | None:
    """What the row is a part of, unless it is not to be believed."""
    known = [count for count in (row.base, row.population) if count is not None]
    if not known or (row.source_code, row.year) in wrong:
        return None
    return min(known)


def _share_fault(row: _Part, wrong: Mapping[tuple[Any, ...], _Fault]) -> _Fault | None:
    whole = _whole_of(row, wrong)
    if whole is None:
        return None
    if row.migrants > whole:
        return _Fault(
            "part_exceeds_whole",
            f"{row.migrants:,} of {whole:,} persons in {row.year}: a part exceeds its whole",
        )
    if row.concept in SETTLED and whole and 100 * row.migrants / whole > SHARE_AT_MOST_PCT:
        return _Fault(
            "share_too_high",
            f"{row.migrants:,} of {whole:,} persons in {row.year} are "
            f"{100 * row.migrants / whole:.1f} %: no city has more than {SHARE_AT_MOST_PCT:g} %",
        )
    return None


def _origin_faults(
    rows: Sequence[_Part],
    totals: Sequence[_Part],
    wrong: Mapping[tuple[Any, ...], _Fault],
    reasons: Mapping[tuple[Any, ...], _Fault],
) -> Iterator[tuple[tuple[Any, ...], _Fault]]:
    """Origins go with their total, and none exceeds it."""
    total = {(row.source_code, row.year): row for row in totals}
    for row in rows:
        key, of = _key(row), total.get((row.source_code, row.year))
        if row.origin == ALL or key in reasons:
            continue
        if of is not None and (fault := reasons.get(_key(of))):
            yield key, _Fault("total_withheld", f"its total is withheld: {fault.reason}")
        elif of is not None and row.migrants > of.migrants + ROUNDING:
            yield (
                key,
                _Fault(
                    "part_exceeds_whole",
                    f"{row.migrants:,} from {row.origin} of {of.migrants:,} persons from "
                    f"everywhere in {row.year}: a part exceeds its whole",
                ),
            )
        elif of is None and (fault := _share_fault(row, wrong)):
            yield key, fault


def _without_base(
    source_id: str,
    parts: Iterable[_Part],
    wrong: Mapping[tuple[Any, ...], _Fault],
    gone: Mapping[tuple[Any, ...], _Fault],
) -> Iterator[Withheld]:
    """Rows that stay but lose their share, because the population below it is withheld."""
    for part in parts:
        fault = wrong.get((part.source_code, part.year))
        if fault and part.population is not None and _key(part) not in gone:
            yield Withheld(
                f"{source_id}.migrants",
                part.row,
                POPULATION_WITHHELD,
                "population",
                str(part.population),
                f"no share can be taken of a population that is withheld: {fault.reason}",
            )
