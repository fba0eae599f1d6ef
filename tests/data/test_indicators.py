"""Indicators, estimates and claims on the publishers' files: facts, sums and promises.

Every source of the mirror is downloaded from the simulator and built once for all tests here; the
laws that need no city counts hold of the bundled extract too.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from runs import BUNDLED, EXPECTATIONS, ask, cli

from urban_migration import build, query, release
from urban_migration.download import Downloader, refresh_all
from urban_migration.indicators import documentation
from urban_migration.raw import RawStore
from urban_migration.sources import all_sources

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methodology.md"


@pytest.fixture(scope="module")
def out(serve: ModuleType, upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release made of every source that the mirror has."""
    store = RawStore(tmp_path_factory.mktemp("mirror") / "raw")
    sources = [s for s in all_sources().values() if s.redistributable and not s.experimental]
    with (
        serve.Simulator(upstream).running() as server,
        Downloader(mirror=server.base_url) as downloader,
    ):
        refresh_all(sources, store, downloader)
    folder = tmp_path_factory.mktemp("release")
    assert build.build(store, folder, EXPECTATIONS).published
    return folder


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled extract, built."""
    folder = tmp_path_factory.mktemp("extract")
    build.build(RawStore(BUNDLED), folder, EXPECTATIONS)
    return folder


def value(out: Path, query: str) -> Any:
    ((found,),) = ask(out, f"select {query}")
    return found


# ------------------------------------------------------------------ growth


def test_every_city_has_grown_or_shrunk_by_2015_and_2020(out: Path) -> None:
    query = """select year, count(population_growth_pct), count(implied_net_migration_persons)
        from city_indicators where population_series = 'wup2018' and year in (2015, 2020)
        group by year order by year"""
    assert ask(out, query) == [(2015, 1860, 1860), (2020, 1860, 1860)]


def test_lisbons_implied_net_migration(out: Path) -> None:
    ((now, before, natural, persons),) = ask(
        out,
        """select population, lag(population, 5) over (order by year),
            country_natural_increase_pct, implied_net_migration_persons
        from city_indicators where city_id = 'prt-lisbon' qualify year = 2020""",
    )
    survivors = before * 2.718281828459045 ** (5 * natural / 100)
    assert persons == pytest.approx(now - survivors, abs=1)
    assert persons == pytest.approx(110_000, abs=5_000)


def test_rate_and_number_of_net_migration_have_one_sign(out: Path) -> None:
    query = """count(*) from city_indicators
        where abs(implied_net_migration_persons) > 1
            and sign(implied_net_migration_persons) <> sign(implied_net_migration_pct)"""
    assert value(out, query) == 0


def test_parts_of_urban_growth_sum_for_every_country(out: Path) -> None:
    ((rows, split, wrong),) = ask(
        out,
        """select count(*), count(natural_increase), count(*) filter (
            urban_increase <> natural_increase + migration_and_reclassification
            or abs(urban_growth_pct - natural_increase_pct
                - migration_and_reclassification_pct) > 1e-9)
        from country_urban_growth where year between 1955 and 2020""",
    )
    assert wrong == 0
    assert 0.97 * rows < split < rows, "Serbia and the Channel Islands have no parts"


# ------------------------------------------------------------------ concentration and diversity


def test_a_share_of_the_countrys_migrants_is_a_share(out: Path) -> None:
    values = "from indicator_values where indicator_id = 'share_of_country_migrants_pct'"
    assert value(out, f"max(value) {values}") < 100
    assert value(out, f"count(distinct city_id) {values}") > 1000
    lisbon = f"value {values} and city_id = 'prt-lisbon' and year = 2021"
    assert value(out, lisbon) == pytest.approx(31.5, abs=0.5)


def test_immigrants_and_citizens_have_no_quotient(out: Path) -> None:
    query = """count(*) from indicator_values join city_indicators using (city_id, year)
        where indicator_id = 'location_quotient' and foreign_born_concept <> 'foreign_born'"""
    assert value(out, query) == 0


def test_brussels_share_grew_by_half_a_point_a_year(out: Path) -> None:
    query = """value from indicator_values where city_id = 'bel-brussels' and year = 2024
        and indicator_id = 'foreign_born_pct_change_per_year'"""
    assert value(out, query) == pytest.approx((49.11 - 44.96) / 9, abs=0.01)


def test_torontos_largest_origin_is_india(out: Path) -> None:
    query = """select rank, origin from city_top_origins
        where city_id = 'can-toronto' and concept = 'immigrant' order by rank"""
    assert ask(out, query) == [(1, "IND"), (2, "CHN"), (3, "PHL"), (4, "PAK"), (5, "ITA")]


def test_indices_of_diversity_lie_between_nought_and_one(out: Path) -> None:
    query = """count(*) from indicator_values
        where indicator_id in ('origin_evenness', 'origin_herfindahl')
            and not value between 0 and 1"""
    assert value(out, query) == 0


# ------------------------------------------------------------------ estimates


def test_the_model_beats_both_baselines_and_its_interval_holds(out: Path) -> None:
    rows = ask(out, "select * exclude (part) from estimate_evaluation where grouping = 'all'")
    ((_, cities, countries, model, share, quotient, pooled, by_country, _),) = rows
    assert cities > 1200 and countries > 20
    assert model < min(share, quotient)
    assert 75 <= pooled <= 85 and 75 <= by_country <= 85


def test_the_evaluation_stands_in_the_quality_report(out: Path) -> None:
    folder = release.resolve(out)
    report = json.loads((folder / "quality.json").read_text("utf-8"))
    rows = value(out, "count(*) from estimate_evaluation")
    assert len(report["evaluations"]["estimate_evaluation"]) == rows > 10
    assert "How good the estimates are" in (folder / "quality.html").read_text("utf-8")


def test_an_estimate_has_an_interval_and_where_there_is_none_a_reason(out: Path) -> None:
    query = """select count(*) from city_indicators
        where (foreign_born_estimate_pct is null)
                = starts_with(foreign_born_estimate_note, 'estimated')
            or foreign_born_estimate_note is null
            or not coalesce(foreign_born_estimate_pct between foreign_born_estimate_low_pct
                and foreign_born_estimate_high_pct, true)"""
    assert ask(out, query) == [(0,)]


def test_dubai_has_no_estimate_because_its_country_counts_citizens(out: Path) -> None:
    query = """select distinct foreign_born_estimate_note from city_indicators
        where city_id = 'are-dubai' and year between 2015 and 2024"""
    assert ask(out, query) == [("country_counts_citizens",)]


def test_no_counted_city_is_estimated(out: Path) -> None:
    query = """count(*) from city_indicators
        where foreign_born_estimate_pct is not null
            and city_id in (select city_id from city_indicators where foreign_born is not null)"""
    assert value(out, query) == 0


def test_the_methodology_gives_the_evaluation_of_these_files(out: Path) -> None:
    folder = release.resolve(out)
    result = query.run(folder, "from estimate_evaluation")
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows()]
    text = PAGE.read_text("utf-8")
    assert documentation.filled(text, {"evaluation": documentation.evaluation(rows)}) == text, (
        "run: urban-migration maintain document"
    )


# ------------------------------------------------------------------ long form and dictionary


def test_the_long_form_equals_the_wide_table(out: Path) -> None:
    columns = "column_name from duckdb_columns() where table_name = 'city_indicators'"
    both = f"select indicator_id from indicators where indicator_id in (select {columns})"
    wide = [name for (name,) in ask(out, both)]
    assert len(wide) >= 11
    for name in wide:
        query = f"""select count(*) from city_indicators
            full join (from indicator_values where indicator_id = '{name}') using (city_id, year)
            where {name}::double is distinct from value"""
        assert ask(out, query) == [(0,)], name


def test_every_indicator_has_values_and_says_where_it_has_none(out: Path) -> None:
    query = """select indicator_id from indicators
        where indicator_id not in (select indicator_id from indicator_values)
            or absent_where is null or document is null"""
    assert ask(out, query) == []


# ------------------------------------------------------------------ claims


def test_each_claims_sql_runs_on_the_release_and_gives_its_figure(out: Path) -> None:
    folder = release.resolve(out)
    rows = ask(out, "select claim_id, computed_value, computed_low, sql from claims")
    assert len(rows) >= 20
    for claim_id, computed, low, sql in rows:
        result = query.run(folder, sql)
        first = dict(zip(result.columns, next(result.rows()), strict=True))
        figure = first.get("computed_value")
        assert (None if figure is None else float(figure)) == computed, claim_id
        assert first.get("computed_low") == low, claim_id


@pytest.mark.parametrize(
    ("claim_id", "computed", "verdict"),
    [
        ("unaoc_urban_1950", 29.61, "reproduced"),
        ("unaoc_urban_2014", 53.48, "revised"),
        ("unaoc_urban_2050", 68.36, "revised"),
        ("citiscope_displaced", 65_026_893, "reproduced"),
        ("iom_new_york", 37.6, "reproduced"),
        ("iom_brussels", 45.0, "not_reproducible"),
        ("iom_dubai", None, "not_reproducible"),
    ],
)
def test_what_holds(out: Path, claim_id: str, computed: float | None, verdict: str) -> None:
    query = f"select computed_value, verdict from claims where claim_id = '{claim_id}'"
    assert ask(out, query) == [(computed, verdict)]


def test_of_idps_there_are_only_bounds(out: Path) -> None:
    ((low, high, context),) = ask(
        out,
        "select computed_low, computed_high, context from claims "
        "where claim_id = 'side_event_idps_urban'",
    )
    assert (low, high) == (16.0, 77.4)
    assert "2023: 27.5 to 80" in context and "2014: 60.6 to 80.1" in context


def test_the_extract_computes_no_claim_that_needs_all_cities(extract: Path) -> None:
    query = """select claim_id, computed_value, computed_low, verdict, explanation from claims
        where claim_id in ('unaoc_migrants_20_largest', 'side_event_migrants_20_cities',
            'side_event_idps_urban', 'citiscope_displaced')"""
    rows = ask(extract, query)
    assert len(rows) == 4
    for claim_id, computed, low, verdict, explanation in rows:
        assert computed is None and low is None and verdict == "not_reproducible", claim_id
        assert "bundled extract" in explanation, claim_id
    world = "computed_value from claims where claim_id = 'unaoc_urban_1950'"
    assert value(extract, world) == 29.61


def test_the_extract_estimates_nothing(extract: Path) -> None:
    assert value(extract, "count(foreign_born_estimate_pct) from city_indicators") == 0
    assert value(extract, "count(*) from estimate_evaluation") == 0


# ------------------------------------------------------------------ commands


def test_claims_are_printed_with_their_verdicts(out: Path) -> None:
    ended = cli("claims", "--out", out)
    assert ended.code == 0, ended.err
    assert "IOM, World Migration Report 2015" in ended.out
    assert "reproduced: published 30, recomputed 29.61, difference -0.39 (percent)" in ended.out
    assert json.loads(cli("claims", "--json", "--out", out).out)["claims"][0]["sql"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lisbon", ("325,001 foreign-born", "17.3 %", "Portugal", "[eurostat_cities]")),
        ("dubai", ("no estimate", "foreign citizens", "are-dubai")),
        ("tangier", ("Morocco", "Mediterranean City-to-City Migration")),
        ("new york", ("3,212,500 foreign-born", "37.6 %", "[us_acs]")),
    ],
)
def test_a_city_on_one_screen(out: Path, name: str, wanted: tuple[str, ...]) -> None:
    ended = cli("city", name, "--out", out)
    assert ended.code == 0, ended.err
    text = " ".join(ended.out.split())
    missing = [each for each in wanted if each not in text]
    assert not missing
    assert len(ended.out.splitlines()) <= 45


def test_an_ambiguous_city_lists_the_choices(out: Path) -> None:
    ended = cli("city", "London", "--out", out)
    assert ended.code == 2
    assert "can-london" in ended.err and "gbr-london" in ended.err
