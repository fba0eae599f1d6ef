"""What the checks promise: which data they stop, which they keep back, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pytest

from urban_migration import checks
from urban_migration.checks import SuiteError, load_suite
from urban_migration.sources import all_sources
from urban_migration.tables import load_tables

EXPECTATIONS = Path(__file__).parents[2] / "expectations"
PLACES = Path(checks.__file__).parent / "places"
SOURCE_TABLES = {
    f"{source.id}.{name}": table
    for source in all_sources().values()
    for name, table in source.tables.items()
}
TABLES = [*SOURCE_TABLES, *load_tables()]
FILE = "F22.xls#Data"

Suite = Callable[..., checks.Suite]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Write a suite and load it as that of the table ``t``."""

    def write(text: str, extract: bool = False) -> checks.Suite:
        (tmp_path / "t.yaml").write_text("about: a test\n" + text, encoding="utf-8")
        return load_suite(tmp_path, "t", extract=extract)

    return write


def city_years(populations: list[int | None], ignored: dict[int, str] | None = None) -> pa.Table:
    """A tidy table of one city from 1950 on, as a reader makes it."""
    count = len(populations)
    return pa.table(
        {
            "city_code": ["20001"] * count,
            "year": pa.array(range(1950, 1950 + count), pa.int32()),
            "population": pa.array(populations, pa.int64()),
            "file": [FILE] * count,
            "row_number": pa.array([18] * count, pa.int32()),
            "column": [str(1950 + index) for index in range(count)],
            "ignored": pa.array(
                [(ignored or {}).get(index) for index in range(count)], pa.string()
            ),
        }
    )


NOT_NEGATIVE = """
rows:
  - rule: population_not_negative
    type: expect_column_values_to_be_between
    kwargs: {column: population, min_value: 0}
    action: quarantine
    reason: a city cannot have fewer than no people
"""


def test_a_negative_population_is_withheld_with_its_row_and_column(suite: Suite) -> None:
    table = city_years([100] * 150 + [-5] + [100] * 49)
    findings, withheld = checks.check_rows(suite(NOT_NEGATIVE), table)
    assert [(row.index, row.column, row.value) for row in withheld] == [(150, "population", "-5")]
    assert withheld[0].reason == "a city cannot have fewer than no people"
    (finding,) = findings
    assert (finding.success, finding.action, finding.unexpected) == (False, "quarantine", 1)
    assert finding.observed == "1 of 200 rows"
    assert finding.examples == (
        "F22.xls, sheet 'Data', row 18, column '2100': city_code 20001, year 2100, population -5",
    )
    assert not checks.blocked(findings)


def test_indices_count_the_ignored_rows_too(suite: Suite) -> None:
    table = city_years([100, -1] + [100] * 150 + [-7], ignored={0: "a region", 1: "a region"})
    _, withheld = checks.check_rows(suite(NOT_NEGATIVE), table)
    assert [row.index for row in withheld] == [152]


def test_a_missing_figure_is_not_a_negative_one(suite: Suite) -> None:
    findings, withheld = checks.check_rows(suite(NOT_NEGATIVE), city_years([None, 0, 5]))
    assert findings[0].success and not withheld


def test_many_bad_rows_are_a_broken_file_and_block(suite: Suite) -> None:
    findings, withheld = checks.check_rows(suite(NOT_NEGATIVE), city_years([100] * 97 + [-1] * 3))
    assert withheld == []
    (blocked,) = checks.blocked(findings)
    assert "more than 1 % of the rows: a file is broken, not a row" in blocked.message
    lenient = suite(NOT_NEGATIVE + "    at_most_pct: 5\n")
    findings, withheld = checks.check_rows(lenient, city_years([100] * 97 + [-1] * 3))
    assert len(withheld) == 3 and not checks.blocked(findings)


BANDS = """
rows:
  - rule: enough
    type: expect_table_row_count_to_be_between
    kwargs: {min_value: 10}
    bundled: {min_value: 2}
    action: block
    reason: the edition has ten
  - rule: not_too_many
    type: expect_table_row_count_to_be_between
    kwargs: {max_value: 12}
    bundled: skip
    action: warn
    reason: the edition has ten
"""


@pytest.mark.parametrize(
    ("rows", "extract", "failed"),
    [
        (9, False, [("enough", "block")]),
        (11, False, []),
        (13, False, [("not_too_many", "warn")]),
        (2, True, []),
        (1, True, [("enough", "block")]),
        (99, True, []),
    ],
)
def test_a_minimum_blocks_a_maximum_warns_and_the_extract_has_bands_of_its_own(
    suite: Suite, rows: int, extract: bool, failed: list[tuple[str, str]]
) -> None:
    findings, _ = checks.check_rows(suite(BANDS, extract), city_years([1] * rows))
    assert [(f.rule, f.action) for f in findings if not f.success] == failed
    assert all(f.observed == str(rows) for f in findings)


def test_a_rule_about_the_whole_table_points_at_no_row(suite: Suite) -> None:
    for rows in (9, 11):
        findings, _ = checks.check_rows(suite(BANDS), city_years([100] * rows))
        assert [(finding.unexpected, finding.examples) for finding in findings] == [(0, ())] * 2


def test_examples_are_the_same_however_the_rows_lie(suite: Suite) -> None:
    law = suite(
        """
derived:
  - rule: none_is_odd
    sql: select n from numbers where n % 2 = 1
    rows:
      - type: expect_table_row_count_to_equal
        kwargs: {value: 0}
        action: warn
        reason: even numbers are nicer
"""
    )
    for order in ("n", "n desc", "hash(n)"):
        with duckdb.connect() as con:
            con.execute(f"create table numbers as select n from range(100) r(n) order by {order}")
            (finding,) = checks.check_derived(law, con)
        assert finding.unexpected == 50 and finding.examples == ("n 1", "n 3", "n 5", "n 7", "n 9")


def test_a_metric_that_raises_is_an_error_of_ours(suite: Suite) -> None:
    missing = NOT_NEGATIVE.replace("column: population", "column: inhabitants")
    with pytest.raises(SuiteError, match=r"t\.yaml, population_not_negative: .*inhabitants"):
        checks.check_rows(suite(missing), city_years([1]))
    text = NOT_NEGATIVE.replace("column: population", "column: city_code")
    with pytest.raises(SuiteError, match="could not be evaluated"):
        checks.check_rows(suite(text), city_years([1]))


@pytest.mark.parametrize("wrong", ["expect_columns_to_be_nice", "expect_column_pair_values_to_be"])
def test_an_unknown_expectation_is_an_error(suite: Suite, wrong: str) -> None:
    text = NOT_NEGATIVE.replace("expect_column_values_to_be_between", wrong)
    with pytest.raises(SuiteError, match=wrong):
        checks.check_rows(suite(text), city_years([1]))


def test_a_misspelt_kwarg_is_an_error(suite: Suite) -> None:
    with pytest.raises(SuiteError, match=r"population_not_negative: .*minimum"):
        checks.check_rows(suite(NOT_NEGATIVE.replace("min_value", "minimum")), city_years([1]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("reason:", "because:"), "t.yaml, rows, entry 1: unknown key 'because'"),
        (("    reason: a city cannot have fewer than no people\n", ""), "'reason' is missing"),
        (("action: quarantine", "action: ignore"), "'ignore' is no action"),
        (("rows:", "rules:"), "t.yaml: unknown key 'rules'"),
    ],
)
def test_a_suite_that_is_not_as_agreed_is_an_error_with_its_place(
    suite: Suite, change: tuple[str, str], problem: str
) -> None:
    with pytest.raises(SuiteError, match=problem):
        suite(NOT_NEGATIVE.replace(*change))


def test_a_table_without_a_suite_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"nothing\.yaml"):
        load_suite(tmp_path, "nothing", extract=False)


LAST_YEAR = """
derived:
  - rule: last_year
    sql: select max(year) as last_year, sum(population) as persons from cities
    rows:
      - type: expect_column_values_to_be_between
        kwargs: {column: persons, max_value: 10}
        action: warn
        reason: it is a small city
"""


def test_each_row_of_a_query_is_held_to_its_expectations(suite: Suite) -> None:
    con = duckdb.connect()
    con.register("cities", city_years([5, 6, 7]))
    (finding,) = checks.check_derived(suite(LAST_YEAR), con)
    assert (finding.success, finding.action) == (False, "warn")
    assert finding.statement == "persons is at most 10: it is a small city"
    assert finding.examples == ("last_year 1952, persons 18",)
    with pytest.raises(SuiteError, match="last_year: the SQL failed"):
        checks.check_derived(suite(LAST_YEAR), duckdb.connect())


def test_findings_survive_being_kept(suite: Suite) -> None:
    both = checks.check_rows(suite(NOT_NEGATIVE), city_years([100] * 199 + [-5]))
    assert checks.findings_from_json(checks.findings_to_json(*both)) == both


# ------------------------------------------------------------------ the project's suites


def relations() -> duckdb.DuckDBPyConnection:
    """Every relation that a suite's SQL may read, empty."""
    con = duckdb.connect()
    con.execute("create table country_codes (scheme text, code text, country_iso3 text)")
    for name, table in SOURCE_TABLES.items():
        con.execute(f"create schema if not exists {name.split('.')[0]}")
        con.register("empty", table.schema().empty_table())
        con.execute(f"create table {name}_as_read as from empty")
        con.execute(f"create view {name} as from {name}_as_read where ignored is null")
    for name, spec in load_tables().items():
        con.register("empty", spec.arrow_schema().empty_table())
        con.execute(f"create table {name} as from empty")
    return con


def fill(con: duckdb.DuckDBPyConnection, table: str, *rows: dict[str, object]) -> None:
    """Add rows, null where a column is not named."""
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        con.execute(f"insert into {table} ({names}) values ({marks})", list(row.values()))


def found(con: duckdb.DuckDBPyConnection, table: str, rule: str) -> list[checks.Finding]:
    """What one rule of a suite of the project finds."""
    whole = load_suite(EXPECTATIONS, table, extract=False)
    one = tuple(query for query in whole.derived if query.rule == rule)
    assert one, f"no rule {rule} in {whole.file}"
    suite = checks.Suite(whole.table, whole.file, whole.about, (), one)
    return [finding for finding in checks.check_derived(suite, con) if not finding.success]


def test_every_table_has_a_suite_and_every_suite_a_table() -> None:
    assert sorted(path.stem for path in EXPECTATIONS.glob("*.yaml")) == sorted(TABLES)


@pytest.mark.parametrize("extract", [False, True])
def test_every_suite_names_columns_relations_and_expectations_that_exist(extract: bool) -> None:
    from great_expectations.expectations.registry import get_expectation_impl

    con = relations()
    for table in TABLES:
        suite = load_suite(EXPECTATIONS, table, extract=extract)
        for rule in suite.rows:
            assert set(rule.columns()) <= set(con.sql(f"from {table}").columns), suite.file
            assert rule.action != "quarantine" or table in SOURCE_TABLES, suite.file
            get_expectation_impl(rule.type)(**rule.kwargs)
        for query in suite.derived:
            columns = set(con.sql(query.sql).columns)
            for rule in query.rows:
                assert set(rule.columns()) <= columns, (suite.file, query.rule)
                get_expectation_impl(rule.type)(**rule.kwargs)


def test_every_key_and_every_count_is_checked() -> None:
    for table in TABLES:
        suite = load_suite(EXPECTATIONS, table, extract=False)
        rules = {rule.rule for rule in suite.rows} | {query.rule for query in suite.derived}
        if table.endswith("_5_yearly") or table == "quarantine":
            continue
        assert any(rule.endswith(("never_repeats", "unique")) for rule in rules), suite.file
        counted = [r for r in suite.rows if r.type == "expect_table_row_count_to_be_between"]
        counted += [query for query in suite.derived if query.rule == "enough_rows"]
        assert counted or table == "sources", suite.file


def test_a_duplicate_key_blocks_with_its_places() -> None:
    con, table = relations(), "un_wup_2018.city_populations"
    row = {"city_code": "20001", "year": 1950, "file": FILE, "row_number": 18, "column": "1950"}
    fill(con, f"{table}_as_read", row, {**row, "row_number": 19}, {**row, "year": 1951})
    (finding,) = checks.blocked(found(con, table, "key_never_repeats"))
    assert finding.unexpected == 2
    assert "F22.xls, sheet 'Data', row 18, column '1950': city_code 20001" in finding.message
    assert "row 19" in finding.message


def test_a_missing_year_in_the_middle_blocks_naming_city_and_year() -> None:
    con, table = relations(), "un_wup_2018.city_populations"
    for year in (1950, 1951, 1953):
        fill(con, f"{table}_as_read", {"city_code": "20001", "year": year, "file": FILE})
    (finding,) = checks.blocked(found(con, table, "no_missing_year"))
    assert "city_code 20001, missing_year 1952" in finding.message


def test_a_year_that_was_withheld_is_not_missing() -> None:
    con = relations()
    fill(con, "cities", {"city_id": "afg-herat", "wup2018_code": "20001"})
    for year in (1950, 1952):
        row = {"city_id": "afg-herat", "year": year, "series": "wup2018"}
        fill(con, "city_population", row)
    (finding,) = checks.blocked(found(con, "city_population", "no_missing_year"))
    assert "city_id afg-herat, series wup2018, missing_year 1951" in finding.message
    fill(con, "quarantine", {"source_id": "un_wup_2018", "source_code": "20001", "year": 1951})
    assert not found(con, "city_population", "no_missing_year")


@pytest.mark.parametrize(
    ("table", "rule", "row", "code"),
    [
        ("un_wpp_2024.indicators", "codes_are_known", {"location_code": "999"}, "999"),
        ("un_migrant_stock_2024.origins", "codes_are_known", {"origin_code": "998"}, "998"),
        ("unhcr_population.population", "codes_are_known", {"asylum_code": "QQQ"}, "QQQ"),
    ],
)
def test_an_unknown_code_blocks_with_its_name(
    table: str, rule: str, row: dict[str, object], code: str
) -> None:
    con = relations()
    known = {"location_code": "4", "origin_code": "8", "asylum_code": "AFG"}
    for scheme, text in (("m49", "4"), ("m49", "8"), ("iso3", "AFG"), ("iso3", "ALB")):
        fill(con, "country_codes", {"scheme": scheme, "code": text, "country_iso3": "AFG"})
    columns = con.sql(f"from {table}").columns
    base = {name: text for name, text in known.items() if name in columns}
    base |= {"origin_code": "ALB"} if "asylum_code" in columns else {}
    fill(con, f"{table}_as_read", base)
    assert not found(con, table, rule)
    fill(con, f"{table}_as_read", {**base, **row})
    (finding,) = checks.blocked(found(con, table, rule))
    assert code in finding.message


def test_a_city_of_the_publisher_without_an_id_blocks_with_its_name() -> None:
    con = relations()
    fill(con, "un_wup_2018.cities_as_read", {"city_code": "299999", "name": "Atlantis"})
    (finding,) = checks.blocked(found(con, "cities", "wup_codes_are_registered"))
    assert "city_code 299999, name Atlantis" in finding.message


def test_origins_that_do_not_add_up_block() -> None:
    con, source = relations(), "un_migrant_stock_2024"
    both = {"location_code": "4", "year": 1990}
    total = {"migrants": 10, "migrants_male": 6, "migrants_female": 4}
    part = {"migrants": 5, "migrants_male": 3, "migrants_female": 2}
    fill(con, f"{source}.stocks_as_read", both | total)
    fill(con, f"{source}.origins_as_read", both | part | {"origin_code": "8"})
    (finding,) = checks.blocked(found(con, f"{source}.origins", "origins_sum_to_destination"))
    assert "location_code 4, year 1990, origins 5, destination 10" in finding.message
    fill(con, f"{source}.origins_as_read", both | part | {"origin_code": "12"})
    assert not found(con, f"{source}.origins", "origins_sum_to_destination")


@pytest.mark.parametrize(
    ("cities", "actions"), [(1000, []), (1005, ["warn"]), (1020, ["block", "warn"])]
)
def test_cities_exceed_their_countrys_urban_population_by_one_per_cent_at_most(
    cities: int, actions: list[str]
) -> None:
    con = relations()
    year = {"year": 2018, "series": "wup2018"}
    fill(con, "cities", {"city_id": "lbr-monrovia", "country_iso3": "LBR"})
    fill(con, "city_population", year | {"city_id": "lbr-monrovia", "population": cities})
    country = {"country_iso3": "LBR", "population": 3000, "urban_population": 1000}
    fill(con, "country_urbanization", year | country)
    findings = found(con, "city_population", "cities_are_part_of_their_country")
    assert [finding.action for finding in findings] == actions


def test_a_figure_that_two_files_give_differently_blocks() -> None:
    con, source = relations(), "un_wup_2018"
    row = {"city_code": "21671", "year": 2015, "file": "F12.xls#Data", "column": "2015"}
    fill(con, f"{source}.city_populations_as_read", row | {"population": 37_256_109})
    points = f"{source}.city_populations_5_yearly"
    fill(con, f"{points}_as_read", row | {"population": 37_256_110})
    (finding,) = checks.blocked(found(con, points, "annual_file_agrees"))
    assert "population_f12 37,256,110, population_f22 37,256,109" in finding.message


# ------------------------------------------------------------------ the publishers' files


def test_the_publishers_files_pass(upstream: Path) -> None:
    """The required sources; the others are checked where their readers are."""
    con, findings = relations(), []
    for path in PLACES.glob("*.csv"):
        con.execute(
            f"create table place_{path.stem} as "
            f"from read_csv('{path}', all_varchar=true, header=true)"
        )
    read = {}
    for source in all_sources().values():
        if source.required:
            paths = {
                item.file: upstream / "files" / unquote(item.url.removeprefix("https://"))
                for item in source.downloads
            }
            read |= {f"{source.id}.{name}": t for name, t in source.read(paths).items()}
    for name, table in read.items():
        con.register("rows", table)
        con.execute(f"insert into {name}_as_read by name from rows")
    con.execute(f"insert into country_codes {(PLACES / 'country_codes.sql').read_text()}")
    for name, table in read.items():
        suite = load_suite(EXPECTATIONS, name, extract=False)
        found, withheld = checks.check_rows(suite, table)
        assert withheld == []
        findings += found + checks.check_derived(suite, con)
    assert not checks.blocked(findings)
    failed = [f for f in findings if not f.success]
    # The Caribbean Netherlands of 2010, 2020 and 2024: 100.005 % of the people.
    assert [(f.rule, f.action, f.unexpected) for f in failed] == [
        ("migrants_pct_at_most_all", "warn", 3)
    ]
