"""The reviewed claims: complete, read-only, and judged by their rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import duckdb
import pytest

from urban_migration.indicators import claims
from urban_migration.indicators.claims import Claim, read_claims
from urban_migration.tables import MADE, load_tables

IOM_2014 = {
    "dubai": 83, "brussels": 62, "toronto": 46, "auckland": 39, "sydney": 39, "los_angeles": 39,
    "singapore": 38, "london": 37, "new_york": 37, "melbourne": 35, "amsterdam": 28,
    "frankfurt": 27, "paris": 25, "stockholm": 23,
}  # fmt: skip
CLAIM = Claim("c", "Document", "Statement", 50, "percent", "select 1", "revised", "Why.")


def test_the_documents_claims_are_there() -> None:
    found = {claim.claim_id: claim for claim in read_claims()}
    assert len(found) >= 20
    assert {name: found[f"iom_{name}"].published for name in IOM_2014} == IOM_2014
    assert found["unaoc_urban_1950"].published == 30
    assert found["unaoc_urban_2014"].published == 54
    assert found["unaoc_urban_2050"].published == 66
    assert found["citiscope_displaced"].published == 65_000_000
    assert len({claim.document for claim in found.values()}) == 6


def test_a_claim_reads_published_tables_only_and_they_are_declared() -> None:
    reads = set(MADE["claims_computed"].reads)
    for claim in read_claims():
        named = dataclasses.replace(load_tables()["claims"], sql=claim.sql).relations()
        assert named & load_tables().keys() <= reads, claim.claim_id
        assert "getvariable" not in claim.sql and "{" not in claim.sql, claim.claim_id


@pytest.mark.parametrize(
    ("rule", "computed", "verdict"),
    [
        ({"tolerance": 0.5}, 50.5, "reproduced"),
        ({"tolerance": 0.5}, 50.51, "revised"),
        ({"at_least": 3}, 3, "reproduced"),
        ({"at_least": 3}, 2, "revised"),
        ({"tolerance": 0.5}, None, "not_reproducible"),
        ({}, 50, "revised"),
    ],
)
def test_a_verdict_follows_from_the_recomputed_figure(
    rule: dict[str, float], computed: float | None, verdict: str
) -> None:
    assert dataclasses.replace(CLAIM, **rule).verdict(computed) == verdict  # type: ignore[arg-type]


def test_the_first_row_is_the_figure_and_the_rest_context() -> None:
    sql = """select computed_low, computed_high, year
        from (values (16, 77.4, 2024), (27, 80.0, 2023)) as t(computed_low, computed_high, year)"""
    row = claims._row(duckdb.connect(), dataclasses.replace(CLAIM, sql=sql), extract=False)
    assert (row["computed_low"], row["computed_high"]) == (16, 77.4)
    assert row["computed_value"] is None and row["difference"] is None
    assert row["context"] == "2024: 16 to 77.4; 2023: 27 to 80"
    assert row["verdict"] == "not_reproducible"


def test_a_claim_that_needs_all_cities_is_not_computed_from_the_extract() -> None:
    con = duckdb.connect()
    claim = dataclasses.replace(
        CLAIM, sql="select 50 as computed_value", tolerance=1, needs="the migrants of all cities"
    )
    assert claims._row(con, claim, extract=False)["verdict"] == "reproduced"
    row = claims._row(con, claim, extract=True)
    assert row["computed_value"] is None and row["verdict"] == "not_reproducible"
    assert "lacks the migrants of all cities" in row["explanation"]


def test_a_source_that_is_not_there_leaves_no_figure_and_says_so() -> None:
    claim = dataclasses.replace(CLAIM, sql="select 1 as computed_value where false", tolerance=1)
    row = claims._row(duckdb.connect(), claim, extract=False)
    assert row["computed_value"] is None
    assert row["explanation"].startswith("No figure in this release.")


def test_an_unknown_field_or_verdict_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    entry = """
documents: {d: Document}
templates: {}
claims:
  one: {document: d, statement: S, published: 1, unit: u, sql: select 1, otherwise: %s, why: W%s}
"""
    path.write_text(entry % ("revised", ""))
    assert [claim.claim_id for claim in read_claims(path)] == ["one"]
    path.write_text(entry % ("perhaps", ""))
    with pytest.raises(ValueError, match="one: otherwise is 'perhaps'"):
        read_claims(path)
    path.write_text(entry % ("revised", ", mood: fine"))
    with pytest.raises(TypeError, match="mood"):
        read_claims(path)
