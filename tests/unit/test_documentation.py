"""docs/methodology.md is generated in part: it says what the dictionary says."""

from __future__ import annotations

from pathlib import Path

import pytest

from urban_migration.indicators import documentation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methodology.md"


def test_the_page_has_every_indicator_as_the_dictionary_explains_it() -> None:
    text = PAGE.read_text("utf-8")
    assert documentation.filled(text, {"indicators": documentation.indicators()}) == text, (
        "run: urban-migration maintain document"
    )


def test_only_what_stands_between_the_marks_changes() -> None:
    page = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter"
    assert documentation.filled(page, {"a": "new"}) == page.replace("old", "new")
    with pytest.raises(ValueError, match="no <!-- b -->"):
        documentation.filled(page, {"b": "new"})


def test_sizes_stand_in_their_order_and_bounds_as_bounds() -> None:
    row = {
        "cities": 1268,
        "countries": 21,
        "mae_model": 5.09,
        "mae_country_share": 5.5,
        "mae_median_quotient": 5.4,
        "coverage_pooled_pct": 76.2,
        "coverage_by_country_pct": 83.8,
        "interval_width": 17.4,
    }
    parts = [("size", "1 million and more"), ("size", "under 100,000"), ("all", "all cities")]
    table = documentation.evaluation([{"grouping": g, "part": p, **row} for g, p in parts])
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| all cities",
        "| under 100,000",
        "| 1 million and more",
    ]
    claim = {
        "claim_id": "c",
        "statement": "S",
        "document": "D",
        "published_value": 50.0,
        "computed_value": None,
        "computed_low": 16.0,
        "computed_high": 77.4,
        "verdict": "not_reproducible",
    }
    assert "| S | D | 50 | 16 to 77.4 | not reproducible |" in documentation.claims([claim])
