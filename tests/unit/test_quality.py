"""What the quality report says, and that it says it the same way each time and safely."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

from urban_migration.checks import Finding
from urban_migration.quality import quality_html, quality_json, verdict

HELD = Finding(
    "cities", "enough_rows", "block", True, "there are at least 100 rows: so many", "150"
)
WARNED = Finding(
    "city_population",
    "no_jumps",
    "warn",
    False,
    "a city does not shrink fivefold",
    "7 exceptions",
    7,
    ("city_id khm-phnom-penh, year 1974",),
)
BLOCKED = Finding("cities", "id_never_repeats", "block", False, "city_id never repeats: the key")


def source(**changes: Any) -> dict[str, Any]:
    base = {
        "source_id": "un_wup_2018",
        "title": "World Urbanization Prospects",
        "publisher": "United Nations",
        "edition": "2018 Revision",
        "licence": "CC BY 3.0 IGO",
        "licence_url": "https://creativecommons.org/licenses/by/3.0/igo/",
        "required": True,
        "first_seen": "2026-11-02T06:00:00Z",
        "files": [{"url": "u", "sha256": "s", "bytes": 1}],
        "rows_read": 1000,
        "rows_published": 900,
        "rows_ignored": 99,
        "rows_unmatched": 0,
        "rows_quarantined": 1,
    }
    return {**base, **changes}


WITHHELD = {
    "source_id": "un_wup_2018",
    "file": "F22.xls#Data",
    "row_number": 18,
    "column": "1987",
    "year": 1987,
    "rule": "population_not_negative",
    "source_code": "20001",
    "value": "-5",
    "reason": "a city cannot have fewer than no people",
}


def report(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "extract": False,
        "series": "wup2018",
        "tables": {"cities": 150, "city_population": 12900},
        "findings": [HELD, WARNED],
        "sources": [source()],
        "quarantine": [WITHHELD],
        "stale": {},
    }
    return quality_json(**{**arguments, **changes})


class Page(HTMLParser):
    """The text of a page and the addresses that a browser would fetch for it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag and what it would fetch."""
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.words.append(data)


def test_the_verdict_is_one_that_a_reader_understands() -> None:
    assert verdict(report()) == (
        "No check forbids this release: of 2, 1 check asks for a second look. "
        "1 of the 1,000 figures read was withheld."
    )
    fine = report(findings=[HELD, HELD], sources=[source(rows_quarantined=0)])
    assert verdict(fine) == "All 2 checks held. None of the 1,000 figures read were withheld."
    assert "1 check of 1 failed" in verdict(report(findings=[BLOCKED]))


def test_the_page_needs_nothing_but_itself() -> None:
    page = Page(quality_html(report()))
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "url(" not in quality_html(report()) and "@import" not in quality_html(report())


def test_the_page_shows_accounts_warnings_what_was_withheld_and_every_check() -> None:
    text = Page(quality_html(report())).text
    assert "World Urbanization Prospects" in text and "900" in text
    assert "city_id khm-phnom-penh, year 1974" in text and "and 6 more" in text
    assert "F22.xls, sheet Data, row 18, column '1987': 20001, 1987, value -5" in text
    assert "a city cannot have fewer than no people" in text
    assert "There are at least 100 rows: so many" in text and "found 150" in text


def test_publishers_strings_are_data() -> None:
    wicked = "<script>alert('&')</script>"
    finding = Finding(wicked, wicked, "warn", False, wicked, wicked, 9, (wicked,))
    row = {**WITHHELD, "file": wicked, "column": wicked, "value": wicked, "source_code": wicked}
    page = quality_html(
        report(
            tables={wicked: 1},
            findings=[finding],
            sources=[source(title=wicked, edition=wicked)],
            quarantine=[{**row, "reason": wicked, "rule": wicked}],
            stale={"un_wup_2018": wicked},
        )
    )
    assert "<script" not in page
    assert "script" not in Page(page).tags


@pytest.mark.parametrize("extract", [True, False])
def test_a_bundled_extract_says_so(extract: bool) -> None:
    page = quality_html(report(extract=extract))
    assert ("Bundled extract." in page) is extract
    assert ("bundled extract · Urban" in page) is extract


def test_stale_and_missing_sources_are_told() -> None:
    stale = report(stale={"un_wup_2018": "503 three times"})
    assert stale["sources"][0]["state"] == "stale"
    assert "is stale: it could not be fetched" in Page(quality_html(stale)).text
    empty = dict.fromkeys(("rows_read", "rows_published", "rows_ignored", "rows_quarantined"), 0)
    missing = report(sources=[source(files=None, first_seen=None, **empty)], quarantine=[])
    assert missing["sources"][0]["state"] == "missing"
    assert "it was never had" in Page(quality_html(missing)).text


def test_equal_data_gives_equal_bytes() -> None:
    one, other = report(), report()
    assert json.dumps(one) == json.dumps(other)
    assert quality_html(one) == quality_html(json.loads(json.dumps(other)))
