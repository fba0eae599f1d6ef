"""Laws of the rules that withhold city figures, and what they find in the publishers' files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urban_migration.checks import Withheld
from urban_migration.plausibility import Block, Verdict, examine
from urban_migration.sources import city_tables, eurostat_cities

Row = dict[str, Any]
Counts = Mapping[int, int]
YEARS = range(2015, 2025)


def table(shape: Callable[[str], Any], rows: Sequence[Row]) -> pa.Table:
    """A tidy table of one of the shared shapes; what a row does not say is null."""
    schema = shape("office").schema()
    return pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema=schema)


def places(codes: Sequence[str]) -> pa.Table:
    """Places whose country is the first letters of their code."""
    rows = [{"source_code": code, "country_code": code[:2], "geography": "city"} for code in codes]
    return table(city_tables.places, rows)


def population_rows(
    cities: Mapping[str, Counts], flags: Mapping[Any, str] | None = None
) -> list[Row]:
    return [
        {
            "source_code": code,
            "year": year,
            "population": count,
            "flag": (flags or {}).get((code, year)),
        }
        for code, counts in cities.items()
        for year, count in counts.items()
    ]


def migrant_row(code: str, year: int, migrants: int, **more: Any) -> Row:
    row = {"source_code": code, "year": year, "migrants": migrants, "concept": "foreign_born"}
    return {**row, "origin": "all", **more}


def found(populations: Sequence[Row] = (), migrants: Sequence[Row] = ()) -> Verdict:
    codes = sorted({row["source_code"] for row in [*populations, *migrants]})
    return examine(
        table(city_tables.populations, populations),
        table(city_tables.migrants, migrants),
        places(codes),
        source_id="office",
    )


def cells(rows: Sequence[Row], withheld: Sequence[Withheld]) -> set[tuple[str, int]]:
    """Place and year of what is withheld of the rows."""
    return {(rows[one.index]["source_code"], rows[one.index]["year"]) for one in withheld}


def withheld_populations(
    cities: Mapping[str, Counts], flags: Mapping[Any, str] | None = None
) -> set[tuple[str, int]]:
    rows = population_rows(cities, flags)
    return cells(rows, found(rows).withheld)


def steady(start: int, growth: float = 1.01, years: Sequence[int] = YEARS) -> dict[int, int]:
    """A population that grows evenly."""
    return {year: round(start * growth ** (year - years[0])) for year in years}


def country(name: str, sizes: Sequence[int], growth: float = 1.01) -> dict[str, dict[int, int]]:
    return {f"{name}{at:03}": steady(size, growth) for at, size in enumerate(sizes)}


SIZES = [round(40_000 * 1.35**at) for at in range(14)]


# ------------------------------------------------------------------ single figures


@given(st.floats(0.95, 1.1), st.lists(st.integers(1_000, 5_000_000), min_size=1, max_size=15))
@settings(max_examples=25, deadline=None)
def test_nothing_is_withheld_of_smooth_series(growth: float, sizes: list[int]) -> None:
    assert withheld_populations(country("AA", sizes, growth)) == set()


@given(st.sampled_from(YEARS), st.sampled_from([1 / 50, 1 / 17, 1 / 4, 4, 17, 300]))
@settings(max_examples=40, deadline=None)
def test_one_wrong_figure_goes_and_its_neighbours_stay(year: int, factor: float) -> None:
    cities = country("AA", SIZES)
    cities["AA005"][year] = round(cities["AA005"][year] * factor)
    assert withheld_populations(cities) == {("AA005", year)}


@given(st.sampled_from(YEARS[2:-1]), st.floats(1.1, 30), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_step_that_stays_is_kept(year: int, factor: float, down: bool) -> None:
    cities = country("AA", SIZES)
    for later in range(year, YEARS[-1] + 1):
        count = cities["AA005"][later]
        cities["AA005"][later] = round(count / factor if down else count * factor)
    assert withheld_populations(cities) == set()


def test_a_step_after_the_first_year_is_kept_unless_it_is_huge() -> None:
    step = {"AA000": {2015: 100_000, **dict.fromkeys(YEARS[1:], 200_000)}}
    assert withheld_populations(step) == set()
    wrong = {"AA000": {2015: 4_000, **dict.fromkeys(YEARS[1:], 200_000)}}
    assert withheld_populations(wrong) == {("AA000", 2015)}


def test_a_step_in_the_last_year_waits_for_the_next() -> None:
    cities = {"AA000": {**dict.fromkeys(YEARS[:-1], 100_000), 2024: 164_000}}
    assert withheld_populations(cities) == {("AA000", 2024)}
    cities["AA000"][2025] = 165_000
    assert withheld_populations(cities) == set()
    grown = {"AA000": {**dict.fromkeys(YEARS[:-1], 100_000), 2024: 117_000}}
    assert withheld_populations(grown) == set()


@given(st.sampled_from(YEARS[1:]), st.floats(1.6, 30))
@settings(max_examples=25, deadline=None)
def test_a_flagged_break_is_kept(year: int, factor: float) -> None:
    cities = country("AA", SIZES)
    for later in range(year, YEARS[-1] + 1):
        cities["AA005"][later] = round(cities["AA005"][later] * factor)
    assert withheld_populations(cities, {("AA005", year): "b"}) == set()
    assert withheld_populations(cities, {("AA005", year): "be"}) == set()


def test_a_break_that_the_next_year_takes_back_is_none() -> None:
    cities = {"AA000": {**dict.fromkeys(YEARS, 100_000), 2019: 900_000}}
    flags = {("AA000", 2019): "b", ("AA000", 2020): "b"}
    assert withheld_populations(cities, flags) == {("AA000", 2019)}


def test_the_year_after_a_wrong_one_is_compared_with_the_one_before() -> None:
    cities = {"AA000": {2019: 276_700, 2020: 277_600, 2021: 16_000, 2022: 282_000}}
    assert withheld_populations(cities) == {("AA000", 2021)}


def test_a_jump_is_judged_per_year_elapsed() -> None:
    slow = {"AA000": {2010: 100_000, 2015: 500_000}}
    fast = {"AA000": {2014: 100_000, 2015: 500_000}}
    assert withheld_populations(slow) == set()
    assert withheld_populations(fast) == {("AA000", 2015)}


def test_a_rise_after_a_gap_that_stays_is_kept() -> None:
    rows = [
        migrant_row("LT006C", year, count)
        for year, count in {2021: 4_589, 2023: 11_834, 2024: 16_484}.items()
    ]
    assert found(migrants=rows).withheld == []


def test_small_counts_vary_by_chance() -> None:
    rows = [migrant_row("AA000", 2020 + at, count) for at, count in enumerate([3, 0, 40, 12, 90])]
    assert found(migrants=rows).withheld == []


def test_samples_swing_more_than_registers() -> None:
    swing = random.Random(7)
    survey = {
        f"AA{at:03}": {year: round(20_000 * swing.uniform(0.8, 1.25)) for year in YEARS}
        for at in range(40)
    }
    for last, expected in ((42_000, set()), (90_000, {("AA000", 2024)})):
        survey["AA000"] |= {2023: 20_000, 2024: last}
        rows = [migrant_row(c, year, n) for c, years in survey.items() for year, n in years.items()]
        assert cells(rows, found(migrants=rows).withheld) == expected
    register = {f"AA{at:03}": dict.fromkeys(YEARS, 20_000) for at in range(40)}
    register["AA000"][2024] = 42_000
    assert withheld_populations(register) == {("AA000", 2024)}


def test_displaced_people_may_double_within_a_year() -> None:
    counts = {2020: 5_000, 2021: 60_000, 2022: 4_000}
    rows = [migrant_row("AA000", y, n, concept="refugee") for y, n in counts.items()]
    assert found(migrants=rows).withheld == []


def test_a_place_without_people_is_none() -> None:
    (one,) = found(population_rows({"AA000": {2010: 0}})).withheld
    assert (one.rule, one.value) == ("nobody", "0")


# ------------------------------------------------------------------ shares


@pytest.mark.parametrize(
    ("migrants", "population", "rule"),
    [
        (170_404, 237_069, None),  # Hialeah: 71.8 %
        (92, 100, None),  # the emirate of Dubai
        (100, 100, "share_too_high"),
        (60_000, 59_205, "part_exceeds_whole"),
        (279_100, 64_595, "part_exceeds_whole"),
    ],
)
def test_a_bound_on_shares(migrants: int, population: int, rule: str | None) -> None:
    row = migrant_row("US001", 2015, migrants, population=population, base=population)
    verdict = found(migrants=[row])
    assert [one.rule for one in verdict.withheld] == ([rule] if rule else [])


def test_a_part_of_those_who_answered_is_judged_by_them() -> None:
    row = migrant_row("AU001", 2021, 950, population=1_200, base=900)
    assert [one.rule for one in found(migrants=[row]).withheld] == ["part_exceeds_whole"]


def test_a_share_goes_with_its_population_and_the_part_stays() -> None:
    cities = {"AA000": {**dict.fromkeys(YEARS, 100_000), 2019: 3_000}}
    counts = population_rows(cities)
    parts = [
        migrant_row("AA000", year, 20_000, population=n, base=n)
        for year, n in cities["AA000"].items()
    ]
    verdict = found(counts, parts)
    assert [(one.table, one.column, one.rule) for one in verdict.withheld] == [
        ("office.migrants", "population", "population_withheld"),
        ("office.populations", "population", "jump"),
    ]
    assert {parts[one.index]["year"] for one in verdict.withheld[:1]} == {2019}


def test_populations_that_stand_beside_migrants_only_are_judged_too() -> None:
    parts = [
        migrant_row("AA000", year, 20_000, population=3_000_000 if year == 2019 else 100_000)
        for year in YEARS
    ]
    (one,) = found(migrants=parts).withheld
    assert (one.column, one.rule, parts[one.index]["year"]) == (
        "population",
        "population_withheld",
        2019,
    )


def test_origins_go_with_their_total() -> None:
    wrong = {**dict.fromkeys(YEARS, 20_000), 2019: 900_000}
    rows = [migrant_row("AA000", year, count) for year, count in wrong.items()]
    rows += [migrant_row("AA000", year, 5_000, origin="IND") for year in YEARS]
    verdict = found(migrants=rows)
    assert {(rows[one.index]["origin"], one.rule) for one in verdict.withheld} == {
        ("all", "jump"),
        ("IND", "total_withheld"),
    }
    assert {rows[one.index]["year"] for one in verdict.withheld} == {2019}


def test_an_origin_may_surge_but_not_exceed_the_total() -> None:
    rows = [migrant_row("AA000", year, 20_000) for year in (2021, 2022)]
    surge = [
        migrant_row("AA000", 2021, 200, origin="UKR"),
        migrant_row("AA000", 2022, 9_000, origin="UKR"),
    ]
    assert found(migrants=[*rows, *surge]).withheld == []
    rounded = migrant_row("AA000", 2022, 20_010, origin="IND")
    assert found(migrants=[*rows, rounded]).withheld == []
    (one,) = found(migrants=[*rows, migrant_row("AA000", 2022, 21_000, origin="IND")]).withheld
    assert one.rule == "part_exceeds_whole"


# ------------------------------------------------------------------ country-years


def shuffle(cities: dict[str, dict[int, int]], year: int, seed: int) -> None:
    """Put the figures of a year under the codes of other cities."""
    codes = sorted(code for code in cities if year in cities[code])
    others = random.Random(seed).sample(codes, len(codes))
    moved = {code: cities[other][year] for code, other in zip(codes, others, strict=True)}
    for code in codes:
        cities[code][year] = moved[code]


@given(st.sampled_from(YEARS), st.integers(0, 10**6), st.sampled_from(["AA", "BB"]))
@settings(max_examples=40, deadline=None)
def test_a_year_under_wrong_codes_is_withheld_whatever_the_country(
    year: int, seed: int, where: str
) -> None:
    cities = country("AA", SIZES) | country("BB", SIZES, growth=1.04)
    wrong = {code: cities[code] for code in cities if code.startswith(where)}
    shuffle(wrong, year, seed)
    rows = population_rows(cities)
    verdict = found(rows)
    assert cells(rows, verdict.withheld) == {(code, year) for code in wrong}
    (block,) = verdict.blocks
    assert (block.country, block.year, block.rows, block.what) == (where, year, 14, "population")


def test_a_fifth_of_ten_comparable_rows_is_a_year_and_less_is_not() -> None:
    def wrong(cities: int, failing: int) -> list[Block]:
        counts = country("AA", [100_000] * cities)
        for at in range(failing):
            counts[f"AA{at:03}"][2020] = 7_000
        return found(population_rows(counts)).blocks

    assert wrong(cities=10, failing=2) == []
    assert [block.rows for block in wrong(cities=10, failing=3)] == [10]
    assert wrong(cities=9, failing=9) == []


def test_a_year_next_to_a_wrong_one_stays() -> None:
    cities = {f"AA{at:03}": {2005: size, 2010: size} for at, size in enumerate(SIZES)}
    for at, code in enumerate(cities):
        if at < 9:
            cities[code][2005] = 1
        if at >= 5:
            cities[code][2007] = cities[code][2010]
    rows = population_rows(cities)
    verdict = found(rows)
    assert [block.year for block in verdict.blocks] == [2005]
    assert cells(rows, verdict.withheld) == {(code, 2005) for code in cities}


def test_of_two_years_that_contradict_each_other_neither_is_published() -> None:
    cities = {f"AA{at:03}": {2005: size, 2006: size} for at, size in enumerate(SIZES)}
    shuffle(cities, 2006, seed=5)
    assert {block.year for block in found(population_rows(cities)).blocks} == {2005, 2006}


def test_population_and_parts_are_judged_separately() -> None:
    cities = country("AA", SIZES)
    parts = [
        migrant_row(code, year, round(count * 0.2))
        for code, years in cities.items()
        for year, count in years.items()
    ]
    shuffle(cities, 2024, seed=1)
    verdict = found(population_rows(cities), parts)
    assert {(block.what, block.year) for block in verdict.blocks} == {("population", 2024)}
    assert {one.table for one in verdict.withheld} == {"office.populations"}


def test_a_year_of_impossible_shares_falls_where_there_is_no_other_year() -> None:
    parts = [
        migrant_row(f"AA{at:03}", 2015, 30_000, base=20_000 if at < 4 else 90_000)
        for at in range(14)
    ]
    (block,) = found(migrants=parts).blocks
    assert (block.failed, block.comparable, block.rows) == (4, 14, 14)


# ------------------------------------------------------------------ tables


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_does_not_matter(order: random.Random) -> None:
    cities = country("AA", SIZES)
    shuffle(cities, 2021, seed=3)
    cities["AA003"][2018] = 5
    rows = population_rows(cities)
    mixed = order.sample(rows, len(rows))
    one, other = found(rows), found(mixed)
    assert cells(rows, one.withheld) == cells(mixed, other.withheld)
    assert one.blocks == other.blocks
    assert {w.reason for w in one.withheld} == {w.reason for w in other.withheld}


def test_ignored_rows_are_left_out_and_indices_count_the_whole_table() -> None:
    rows = population_rows({"AA000": {**dict.fromkeys(YEARS, 100_000), 2019: 3_000_000}})
    rows.insert(0, {"source_code": "AA000", "year": 2018, "population": 9, "ignored": "another"})
    (one,) = found(rows).withheld
    assert rows[one.index]["year"] == 2019
    assert (one.value, one.column) == ("3000000", "population")


def test_reasons_are_sentences_with_the_figures() -> None:
    (one,) = found(population_rows({"DE004C": {2020: 277_600, 2021: 16_000}})).withheld
    assert one.reason == (
        "277,600 in 2020, then 16,000 in 2021: changes by a factor of 17.4 in one year, "
        "and no later value confirms it"
    )


# ------------------------------------------------------------------ the publishers' own files


@pytest.fixture(scope="module")
def eurostat(upstream: Path) -> dict[str, pa.Table]:
    """Eurostat's tables of the mirror."""
    files = {}
    for download in eurostat_cities.SOURCE.downloads:
        url = urlsplit(download.url)
        files[download.file] = upstream / "files" / url.netloc / url.path.removeprefix("/")
    return eurostat_cities.read(files)


@pytest.fixture(scope="module")
def verdict(eurostat: dict[str, pa.Table]) -> Verdict:
    return examine(
        eurostat["populations"],
        eurostat["migrants"],
        eurostat["places"],
        source_id="eurostat_cities",
    )


def test_german_foreign_born_of_2021_and_populations_of_2024_are_withheld(
    eurostat: dict[str, pa.Table], verdict: Verdict
) -> None:
    for name, year, rows in (("migrants", 2021, 68), ("populations", 2024, 132)):
        table = eurostat[name].to_pylist()
        german = {
            index
            for index, row in enumerate(table)
            if row["source_code"].startswith("DE")
            and row["ignored"] is None
            and row["year"] == year
        }
        gone = {one.index for one in verdict.withheld if one.table == f"eurostat_cities.{name}"}
        assert len(german) == rows
        assert german <= gone
        assert len(gone - german) == (name == "migrants")
    assert [(b.table, b.country, b.year, b.rows) for b in verdict.blocks] == [
        ("eurostat_cities.migrants", "DE", 2021, 68),
        ("eurostat_cities.populations", "DE", 2024, 132),
    ]


def test_nothing_else_is_withheld_but_one_estimate_from_a_survey(
    eurostat: dict[str, pa.Table], verdict: Verdict
) -> None:
    (single,) = [one for one in verdict.withheld if one.rule != "country_year"]
    row = eurostat["migrants"].slice(single.index, 1).to_pylist()[0]
    assert (row["source_code"], row["year"], row["migrants"]) == ("UK050C", 2018, 3_540)


def test_a_year_under_wrong_codes_is_found_in_every_country_of_eurostat(
    eurostat: dict[str, pa.Table], verdict: Verdict
) -> None:
    gone = {one.index for one in verdict.withheld if one.table == "eurostat_cities.migrants"}
    cities: dict[str, dict[int, int]] = {}
    for index, row in enumerate(eurostat["migrants"].to_pylist()):
        if row["ignored"] is None and index not in gone and row["flag"] != "b":
            cities.setdefault(row["source_code"], {})[row["year"]] = row["migrants"]
    by_country: dict[str, dict[str, dict[int, int]]] = {}
    for code, counts in cities.items():
        by_country.setdefault(code[:2], {})[code] = counts
    tried = 0
    for members in by_country.values():
        for year in (2015, 2017, 2018, 2021, 2022):
            if sum(year in counts and len(counts) > 1 for counts in members.values()) < 15:
                continue
            wrong = {code: dict(counts) for code, counts in members.items()}
            shuffle(wrong, year, seed=year)
            rows = [migrant_row(c, y, n) for c, counts in wrong.items() for y, n in counts.items()]
            assert [block.year for block in found(migrants=rows).blocks] == [year]
            tried += 1
    assert tried >= 20


def test_ten_thousand_rows_are_judged_in_a_moment(eurostat: dict[str, pa.Table]) -> None:
    took = []
    for _ in range(3):
        start = time.process_time()
        examine(eurostat["populations"], eurostat["migrants"], eurostat["places"], source_id="e")
        took.append(time.process_time() - start)
    assert min(took) < 0.5
