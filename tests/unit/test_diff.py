"""What changed between two releases, told so that a person sees which figure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from small_release import SPECS, run, tables, write

from urban_migration import diff, release, writing
from urban_migration.errors import ReleaseError
from urban_migration.tables import ColumnSpec, TableSpec

TOKYO = ("jpn-tokyo", 2018)
Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Write a release with some populations, statements or dictionaries of its own."""
    number = iter(range(100))

    def make(
        changed: Mapping[tuple[str, int], int] | None = None,
        *statements: str,
        specs: Mapping[str, TableSpec] = SPECS,
        years: int = 5,
        **options: Any,
    ) -> Path:
        folder = tmp_path / f"release{next(number)}"
        with tables(changed, years=years) as con:
            for statement in statements:
                con.execute(statement)
            given = {"extract": False, "series": "wup2018", "sources": [], **options}
            writing.write_release(con, specs, folder, quality=lambda: ({}, ""), **given)
        return folder

    return make


def table(changes: diff.Changes, name: str) -> diff.TableChange:
    return next(change for change in changes.tables if change.table == name)


def test_equal_releases_differ_in_nothing(made: Made) -> None:
    changes = diff.compare(made(), made())
    assert changes.empty and changes.unchanged == tuple(SPECS)
    assert "No table changed." in diff.to_markdown(changes)


def test_one_changed_figure_is_named_with_its_key_values_and_source(made: Made) -> None:
    changes = diff.compare(made(), made({TOKYO: 37_468_303}))
    (cell,) = table(changes, "city_population").cells
    assert cell.key == {"city_id": "jpn-tokyo", "year": 2018, "series": "wup2018"}
    assert (cell.column, cell.old, cell.new) == ("population", 37_468_302, 37_468_303)
    assert (cell.difference, cell.source_id) == (1, "un_wup_2018")
    assert cell.relative_pct == pytest.approx(1 / 37_468_302 * 100)
    assert cell.label == "Tokyo 2018 wup2018 population 37,468,302 -> 37,468,303"
    page = diff.to_markdown(changes)
    assert f"- **city_population**: 1 row changed: {cell.label}" in page
    assert (
        "| Tokyo 2018 wup2018 | jpn-tokyo | 2018 | wup2018 | population "
        "| 37,468,302 | 37,468,303 | +1 (+2.7e-06 %) | un_wup_2018 |" in page
    )


def test_what_follows_from_a_figure_stands_in_a_block_of_its_own(made: Made) -> None:
    changes = diff.compare(made(), made({TOKYO: 37_468_303}))
    change = table(changes, "city_indicators")
    assert change.rows_changed == 2, "the growth of the year and of the next year"
    assert change.cells_changed == {"population": 1, "population_growth_pct": 2}
    assert [cell.row for cell in change.cells] == ["Tokyo 2018", "Tokyo 2018", "Tokyo 2019"]
    assert all(old != new for cell in change.cells for old, new in [cell.shown]), (
        "as many digits as it takes to tell them apart"
    )
    assert changes.unchanged == ("cities", "sources")


def test_rows_that_came_and_went_are_named(made: Made) -> None:
    gone = "delete from city_population where city_id = 'prt-lisbon' and year = 2018"
    came = "insert into city_population values ('prt-lisbon', 2050, 'wup2018', 5, 'un_wup_2018')"
    change = table(diff.compare(made(None, gone), made(None, came)), "city_population")
    assert (change.rows_added, change.rows_removed, change.rows_changed) == (2, 0, 0)
    assert change.added == ("Lisbon 2018 wup2018", "Lisbon 2050 wup2018")
    change = table(diff.compare(made(None, came), made(None, gone)), "city_population")
    assert change.removed == ("Lisbon 2018 wup2018", "Lisbon 2050 wup2018")


def test_rows_are_paired_by_key_where_as_many_came_as_went(made: Made) -> None:
    moved = "update city_population set year = 2050 where city_id = 'fra-paris' and year = 2018"
    change = table(diff.compare(made(), made({TOKYO: 1}, moved)), "city_population")
    assert (change.rows_before, change.rows_after) == (20, 20)
    assert (change.added, change.removed) == (("Paris 2050 wup2018",), ("Paris 2018 wup2018",))
    assert [cell.row for cell in change.cells] == ["Tokyo 2018 wup2018"]


def test_a_key_without_a_value_is_a_key_too(made: Made) -> None:
    columns = dict(SPECS["sources"].columns)
    columns["year"] = ColumnSpec("year", "year", "Year.", "calendar year")
    columns["title"] = ColumnSpec("title", "text", "Title.")
    spec = dataclasses.replace(SPECS["sources"], key=("source_id", "year"), columns=columns)
    add = "alter table sources add column year int"
    new = "update sources set title = 'M 49' where source_id = 'un_m49'"
    changes = diff.compare(
        made(None, add, specs={"sources": spec}), made(None, add, new, specs={"sources": spec})
    )
    change = table(changes, "sources")
    assert (change.rows_added, change.rows_removed, change.rows_changed) == (0, 0, 1)
    assert change.cells[0].label == "un_m49 title M49 -> M 49"
    twice = "insert into sources from sources where source_id = 'un_m49'"
    with pytest.raises(ReleaseError, match=r"two rows share the key.*'year': None"):
        made(None, add, twice, specs={"sources": spec})


def test_no_figure_and_a_figure_are_told_apart_from_zero(made: Made) -> None:
    zero = "update city_population set population = 0 where city_id = 'fra-paris' and year = 2018"
    none = zero.replace("population = 0", "population = null")
    (cell,) = table(diff.compare(made(None, none), made(None, zero)), "city_population").cells
    assert cell.shown == ("no figure", "0")
    assert (cell.difference, cell.relative_pct) == (None, None)


def test_thousands_of_changes_are_counted_and_the_largest_movers_listed(made: Made) -> None:
    more = "update city_population set population = population + 1 + hash(city_id || year) % 50"
    most = more.replace("population + 1", "population * 3") + " where city_id = 'uga-kampala'"
    most += " and year = 2000"
    changes = diff.compare(made(years=1_000), made(None, more, most, years=1_000))
    change = table(changes, "city_population")
    assert change.cells_changed == {"population": 4_000}
    assert len(change.cells) == diff.LISTED and change.cells_not_listed == 4_000 - diff.LISTED
    assert change.cells[0].row == "Kampala 2000 wup2018", "the largest mover leads"
    assert "and 3,980 more cells" in diff.to_markdown(changes)
    assert len(diff.to_markdown(changes)) < 5_000


def test_schema_changes_are_named(made: Made) -> None:
    population = SPECS["city_population"]
    columns = dict(population.columns)
    del columns["source_id"]
    columns["population"] = dataclasses.replace(
        columns["population"], type="number", unit="thousands"
    )
    columns["status"] = ColumnSpec("status", "text", "Status.")
    specs = dict(SPECS)
    del specs["sources"]
    specs["city_population"] = dataclasses.replace(population, columns=columns)
    specs["claims"] = dataclasses.replace(SPECS["cities"], name="claims")
    statements = (
        "alter table city_population drop source_id",
        "alter table city_population add column status text",
        "create table claims as from cities",
    )
    changes = diff.compare(made(), made(None, *statements, specs=specs))
    assert (changes.tables_added, changes.tables_removed) == ({"claims": 4}, {"sources": 3})
    change = table(changes, "city_population")
    assert change.columns_added == {"status": "string"}
    assert change.columns_removed == {"source_id": "string"}
    assert change.types_changed == {"population": ("integer (persons)", "number (thousands)")}
    page = diff.to_markdown(changes)
    assert "- column population: integer (persons), now number (thousands)" in page
    assert "1 column added, 1 column removed, 1 column of another type or unit" in page


def test_another_key_is_said_and_rows_are_not_compared(made: Made) -> None:
    specs = dict(SPECS)
    specs["city_population"] = dataclasses.replace(
        SPECS["city_population"], key=("city_id", "year")
    )
    change = table(diff.compare(made(), made(specs=specs)), "city_population")
    assert not change.rows_compared
    assert "its key is another now" in diff.to_markdown(diff.compare(made(), made(specs=specs)))


def test_words_of_a_dictionary_are_no_change_of_figures(made: Made) -> None:
    specs = dict(SPECS)
    specs["cities"] = dataclasses.replace(SPECS["cities"], description="Cities.")
    page = diff.to_markdown(diff.compare(made(), made(specs=specs)))
    assert "- **cities**: same rows; only descriptions or the encoding changed" in page


def test_an_extract_and_the_full_files_are_told_apart(made: Made) -> None:
    changes = diff.compare(made(extract=True), made(series="wup2025"))
    assert len(changes.notes) == 2
    assert "bundled extract" in changes.notes[0] and "wup2018 to wup2025" in changes.notes[1]


def test_json_holds_the_same_in_plain_values(made: Made) -> None:
    changes = diff.compare(made(), made({TOKYO: 37_468_303}))
    told = json.loads(json.dumps(diff.to_json(changes)))
    population = next(one for one in told["tables"] if one["table"] == "city_population")
    assert population["cells"][0]["label"].startswith("Tokyo 2018")
    assert population["cells"][0]["new"] == 37_468_303
    assert population["cells_not_listed"] == 0


def test_text_cannot_break_the_page(made: Made) -> None:
    bad = "update cities set name = 'To|kyo' || chr(10) || '# x' where city_id = 'jpn-tokyo'"
    page = diff.to_markdown(diff.compare(made(), made({TOKYO: 1}, bad)))
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert any("To\\|kyo # x" in row for row in rows)
    assert not any(line.startswith("# x") for line in page.splitlines())


def test_what_is_no_release_or_a_damaged_one_is_named(made: Made, tmp_path: Path) -> None:
    good = made()
    with pytest.raises(ReleaseError, match="is not a release folder"):
        diff.compare(tmp_path / "nowhere", good)
    bad = made({TOKYO: 1})
    path = bad / "city_population.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ReleaseError, match=r"city_population\.parquet cannot be compared"):
        diff.compare(bad, good)


def test_unchanged_tables_are_not_opened(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = made(), made()
    monkeypatch.setattr(duckdb, "connect", None)
    assert diff.compare(old, new).empty


# ---- ids of cities


def cities(*rows: tuple[str, str | None]) -> pa.Table:
    ids, codes = zip(*rows, strict=True)
    return pa.table({"city_id": ids, "wup2018_code": pa.array(codes, pa.string())})


def test_a_city_id_never_comes_to_mean_another_city(made: Made) -> None:
    old = made()
    same = [("jpn-tokyo", "21671"), ("prt-lisbon", "22167"), ("uga-kampala", "22744")]
    assert diff.repointed(old, cities(*same, ("fra-paris", "20985"))) == []
    assert diff.repointed(old, cities(*same)) == [], "a city that is absent keeps its id"
    assert diff.repointed(old, cities(*same, ("usa-new-york", "23083"))) == []
    (problem,) = diff.repointed(old, cities(*same, ("fra-paris", "99999")))
    assert "city_id fra-paris is wup2018_code 20985" in problem and "99999" in problem
    (problem,) = diff.repointed(old, cities(*same, ("fra-paris-2", "20985")))
    assert "wup2018_code 20985 is city_id fra-paris" in problem and "fra-paris-2" in problem


def test_a_code_that_is_gained_or_lost_is_no_change_of_meaning(made: Made) -> None:
    old = made(None, "update cities set wup2018_code = null where city_id = 'fra-paris'")
    assert diff.repointed(old, cities(("fra-paris", "20985"), ("jpn-tokyo", None))) == []


def test_a_release_without_cities_points_nowhere(made: Made) -> None:
    specs = {name: SPECS[name] for name in ("sources",)}
    assert diff.repointed(made(specs=specs), cities(("fra-paris", "20985"))) == []


def test_publishing_compares_with_the_release_before(tmp_path: Path) -> None:
    run(tmp_path)
    first = release.resolve(tmp_path)
    run(tmp_path, {TOKYO: 37_468_303})
    changes = diff.compare(first, release.resolve(tmp_path))
    told = json.loads((release.resolve(tmp_path) / "changes.json").read_text())
    assert told == diff.to_json(changes)
    assert write(tables(), tmp_path / "again") == first.name
