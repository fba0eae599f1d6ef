"""Finding a city by name and writing its profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from urban_migration import profile
from urban_migration.catalogue import Opened
from urban_migration.errors import UsageError

CITIES = [
    ("prt-lisbon", "Lisbon", "Lisboa", "Portugal", "PRT", "PT"),
    ("gbr-london", "London", "London", "United Kingdom of Great Britain", "GBR", "GB"),
    ("can-london", "London", "London", "Canada", "CAN", "CA"),
    ("bra-sao-paulo", "São Paulo", "São Paulo", "Brazil", "BRA", "BR"),
    ("pol-lodz", "Łódź", "Łódź", "Poland", "POL", "PL"),
    ("ukr-kyiv", "Kyiv", "Kyiv (Kiev)", "Ukraine", "UKR", "UA"),
    ("chn-xinyi-20741", "Xinyi", None, "China", "CHN", "CN"),
    ("chn-xinyi-23793", "Xinyi", None, "China", "CHN", "CN"),
]
KEYS = ("city_id", "name", "local_name", "country", "country_iso3", "country_iso2")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A release that knows eight cities."""
    rows = [dict(zip(KEYS, city, strict=True)) for city in CITIES]
    monkeypatch.setattr(profile, "_rows", lambda *_: rows)
    return Opened(Path("release"), {"version": "umi-1"})


@pytest.mark.parametrize(
    ("name", "city_id"),
    [
        ("lisbon", "prt-lisbon"),
        ("LISBOA", "prt-lisbon"),
        ("prt-lisbon", "prt-lisbon"),
        ("Lisbonn", "prt-lisbon"),
        ("lisb", "prt-lisbon"),
        ("sao paulo", "bra-sao-paulo"),
        ("São  Paulo", "bra-sao-paulo"),
        ("lodz", "pol-lodz"),
        ("London, Canada", "can-london"),
        ("london, uk", "gbr-london"),
        ("London, GBR", "gbr-london"),
        ("chn-xinyi-20741", "chn-xinyi-20741"),
    ],
)
def test_a_city_is_found_by_any_of_its_names(opened: Opened, name: str, city_id: str) -> None:
    assert profile.find(opened, name) == city_id


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("London", ("can-london", "gbr-london")),
        ("xinyi", ("chn-xinyi-20741", "chn-xinyi-23793")),
        ("Xinyi, China", ("chn-xinyi-20741", "chn-xinyi-23793")),
    ],
)
def test_an_ambiguous_name_lists_the_choices(
    opened: Opened, name: str, choices: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        profile.find(opened, name)
    assert all(choice in str(caught.value) for choice in choices)
    assert "prt-lisbon" not in str(caught.value)


def test_an_unknown_name_says_so(opened: Opened) -> None:
    with pytest.raises(UsageError, match="no city is called 'Atlantis' in release umi-1"):
        profile.find(opened, "Atlantis")


def year(number: int, population: int, **more: Any) -> dict[str, Any]:
    return {
        "year": number,
        "population": population,
        "population_status": "projection" if number > 2018 else "estimate",
        "population_series": "wup2018",
        "population_growth_pct": 1.0,
        "country_natural_increase_pct": 0.5,
        "implied_net_migration_persons": 1000,
        **more,
    }


def found(**changes: Any) -> dict[str, Any]:
    """A city with as little as a profile can have."""
    city = {
        "city_id": "prt-lisbon",
        "name": "Lisbon",
        "local_name": "Lisboa",
        "country": "Portugal",
        "kind": "un_agglomeration",
        "is_capital": True,
        "latitude": 38.72,
        "longitude": -9.14,
    }
    nothing: dict[str, Any] = {
        "city": city,
        "population": [year(n, 1_000_000 + 10_000 * (n - 1950)) for n in range(1950, 2036)],
        "observed": None,
        "observed_first": None,
        "estimate": None,
        "no_estimate": None,
        "derived": {},
        "origins": [],
        "displaced": [],
        "incidents": None,
        "country": {},
        "groups": [],
        "claims": [],
        "sources": [],
    }
    return {**nothing, **changes}


def test_a_profile_fits_the_width_and_draws_the_population() -> None:
    lines = list(profile.lines(found(), 80))
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Lisbon (Lisboa), Portugal"
    chart = next(line for line in lines if line.startswith("Population"))
    assert sum(sign in profile.BLOCKS for sign in chart) == 18
    assert chart.index("█") < len(chart) and "1950 1.0 million" in chart
    assert any("2020*" in line for line in lines), "a projection is marked"


def test_every_reason_for_no_estimate_has_words() -> None:
    for reason in profile.REASONS:
        text = "\n".join(profile.lines(found(no_estimate=reason)))
        assert ("no estimate" in text and reason not in text) or reason == "observed"


def test_an_estimate_is_never_shown_without_its_interval() -> None:
    estimate = {
        "year": 2024,
        "foreign_born_estimate_pct": 12.0,
        "foreign_born_estimate_low_pct": 8.1,
        "foreign_born_estimate_high_pct": 17.5,
        "foreign_born_estimate_note": "estimated_untested_region",
    }
    text = " ".join(" ".join(profile.lines(found(estimate=estimate))).split())
    assert "estimated 2024: 12.0 % foreign-born, 80 % interval 8.1 to 17.5 %" in text
    assert "untested here" in text


def test_a_city_without_a_population_is_no_error() -> None:
    assert any("no population" in line for line in profile.lines(found(population=[])))
