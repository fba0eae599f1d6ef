"""How good the matcher is on all publishers' real files, measured on pairs judged by hand.

`tests/matching_pairs.csv` holds, place by place, what a person who knows the place says: a
`city_id`, `own` (a city in its own right) or `unmatched`. The pairs are no input of the matcher.
They are asked of the UN cities without any code, so that every one has to be searched for.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from urban_migration.places.areas import Decision, Match, read_decisions
from urban_migration.places.atlas import Atlas, Candidate, Entry, read_gazetteer
from urban_migration.places.editions import cross_editions
from urban_migration.places.matching import match
from urban_migration.places.proposals import propose, unneeded, with_codes
from urban_migration.places.registry import City, check_append_only, read_registry, register

ROOT = Path(__file__).resolve().parents[2]
PAIRS = ROOT / "tests" / "matching_pairs.csv"

Found = Mapping[tuple[str, str], Match]


@pytest.fixture(scope="module")
def inputs(upstream: Path) -> Any:
    spec = importlib.util.spec_from_file_location(
        "benchmark_matching", ROOT / "benchmarks" / "matching.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.load(upstream)


@pytest.fixture(scope="module")
def gazetteer(inputs: Any) -> dict[str, list[Entry]]:
    return read_gazetteer(inputs.gazetteer, inputs.iso3_of)


def search(inputs: Any, gazetteer: Any, decisions: Sequence[Decision]) -> Found:
    atlas = Atlas(inputs.candidates, gazetteer)
    results = [
        *match(inputs.places, inputs.candidates, gazetteer, decisions, atlas),
        *cross_editions(inputs.new_cities, inputs.candidates, gazetteer, decisions, atlas),
    ]
    return {(one.source_id, one.source_code): one for one in results}


@pytest.fixture(scope="module")
def found(inputs: Any, gazetteer: Any) -> Found:
    return search(inputs, gazetteer, read_decisions())


def pairs() -> list[dict[str, str]]:
    with PAIRS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def verdict(result: Match) -> str:
    return result.city_id or ("own" if result.status == "own" else "unmatched")


def quality(found: Found) -> tuple[float, float, list[str]]:
    """Precision, recall and the disagreements."""
    said = right = wanted = 0
    wrong = []
    for pair in pairs():
        result = found[pair["source_id"], pair["source_code"]]
        agrees = verdict(result) == pair["expected"]
        said += verdict(result) != "unmatched"
        wanted += pair["expected"] != "unmatched"
        right += agrees and pair["expected"] != "unmatched"
        if not agrees:
            wrong.append(f"{pair}: {verdict(result)}, {result.why}")
    return right / said, right / wanted, wrong


def test_the_pairs_are_many_and_of_all_sources() -> None:
    rows = pairs()
    keys = [(row["source_id"], row["source_code"]) for row in rows]
    known = {city.city_id for city in read_registry()} | {"own", "unmatched"}
    counts = Counter(row["source_id"] for row in rows)
    assert len(set(keys)) == len(rows) >= 400
    assert keys == sorted(keys)
    assert {row["expected"] for row in rows} <= known
    assert min(counts.values()) >= 10 and len(counts) == 7
    assert sum(row["expected"] in {"own", "unmatched"} for row in rows) > len(rows) / 3


def test_precision_and_recall(found: Found) -> None:
    precision, recall, wrong = quality(found)
    assert precision >= 0.995, "\n".join(wrong)
    assert recall >= 0.95, "\n".join(wrong)


def test_the_search_alone_is_nearly_as_good(inputs: Any, gazetteer: Any) -> None:
    """The reviewed decisions polish; they do not carry the result."""
    precision, recall, wrong = quality(search(inputs, gazetteer, ()))
    assert precision >= 0.98, "\n".join(wrong)
    assert recall >= 0.95, "\n".join(wrong)


def test_without_a_gazetteer_fewer_are_found_and_hardly_any_wrong(inputs: Any) -> None:
    found = search(inputs, None, read_decisions())
    wrong = [
        pair
        for pair in pairs()
        if (city_id := found[pair["source_id"], pair["source_code"]].city_id)
        and city_id != pair["expected"]
    ]
    assert len(wrong) <= 3, wrong


def test_every_place_has_one_match_that_says_why(inputs: Any, found: Found) -> None:
    assert len(found) == len(inputs.places) + len(inputs.new_cities)
    for result in found.values():
        assert result.why and result.method
        assert (result.status == "matched") <= (result.city_id is not None)
        assert result.score is None or 0 < result.score <= 1


def test_coverage(inputs: Any, found: Found) -> None:
    """Bands, by rows and by people; a slip in a source or in the matcher leaves them."""
    status: dict[str, Counter[str]] = {}
    people: dict[str, Counter[str]] = {}
    for place in (*inputs.places, *inputs.new_cities):
        result = found[place.source_id, place.source_code]
        status.setdefault(place.source_id, Counter())[result.status] += 1
        people.setdefault(place.source_id, Counter())[result.status] += place.population or 0
    assert 150 <= status["eurostat_cities"]["matched"] <= 175
    assert status["eurostat_cities"]["unmatched"] == 0
    assert 125 <= status["us_acs"]["matched"] <= 145
    assert 2_200 <= status["unsd_city_population"]["matched"] <= 2_500
    assert status["unsd_city_population"]["unmatched"] <= 20
    shares = people["unsd_city_population"]
    assert 0.65 < shares["matched"] / shares.total() < 0.85
    assert status["statcan_census_2016"] == {"matched": 17, "own": 18, "unmatched": 29}
    assert status["abs_census_2021"] == {"matched": 6, "own": 2, "unmatched": 26}
    assert status["un_wup_2025"]["matched"] == 154
    assert 700 <= status["unhcr_locations"]["matched"] <= 900


@pytest.fixture(scope="module")
def registered(inputs: Any, found: Found, gazetteer: Any) -> tuple[list[City], list[Candidate]]:
    """The registry after the maintainer has accepted everything, and its candidates."""
    places = [*inputs.places, *inputs.new_cities]
    results = [found[place.source_id, place.source_code] for place in places]
    known = [city for city in read_registry() if city.wup2018_code]
    bare = [
        City(city.city_id, city.name, city.local_name, city.country_iso3, city.kind,
             city.wup2018_code)
        for city in known
    ]  # fmt: skip
    cities = register(bare, propose(places, results, bare))
    links = Atlas(inputs.candidates, gazetteer).links()
    cities = with_codes(cities, places, results, links)
    check_append_only(bare, cities)
    centres = {city.city_id: city for city in inputs.candidates}
    candidates = []
    for city in cities:
        un_city = centres.get(city.city_id)
        candidates.append(
            Candidate(
                city_id=city.city_id,
                name=city.name,
                local_name=city.local_name,
                country_iso3=city.country_iso3,
                latitude=un_city and un_city.latitude,
                longitude=un_city and un_city.longitude,
                population=un_city and un_city.population,
                kind=city.kind,
                urban_audit_code=city.urban_audit_code,
                geonames_id=city.geonames_id,
                own_code=city.own_code,
            )
        )
    return cities, candidates


def test_the_registry_can_hold_what_is_proposed(
    registered: tuple[list[City], list[Candidate]],
) -> None:
    cities, _ = registered
    ids = {city.city_id for city in cities}
    assert {"usa-hialeah", "deu-sindelfingen", "esp-girona", "bel-bruges", "cyp-nicosia"} <= ids
    newark = [one for one in cities if one.geonames_id == "5101798"]
    assert [one.own_code for one in newark] == ["us_acs:Newark|NJ"]


def test_after_registration_offices_areas_keep_their_verdict(
    inputs: Any,
    found: Found,
    gazetteer: Any,
    registered: tuple[list[City], list[Candidate]],
) -> None:
    """Nothing moves and nothing is left to propose, so that ids do not drift from run to run."""
    cities, candidates = registered
    of_2025 = {city.city_id for city in cities if city.kind == "un_city_2025"}  # UN cities now
    decisions = read_decisions()
    again = match(inputs.places, candidates, gazetteer, decisions)
    for result in again:
        before = found[result.source_id, result.source_code]
        if result.source_id == "unhcr_locations":
            assert before.city_id in {None, result.city_id}
        else:
            expected = "matched" if result.city_id in of_2025 else before.status
            assert result.status == expected, (before, result)
            assert before.city_id in {None, result.city_id}
            assert result.status != "own" or result.city_id
    assert propose(inputs.places, again) == []
    assert unneeded(decisions, inputs.places, candidates, gazetteer) == []
