"""Canada's census of 2016: small files in the publisher's layout, and facts on its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import statcan_census_2016 as source
from urban_migration.sources.grid import reference_rows

REFERENCE = reference_rows(source.__file__)
BIRTHS = [row["code"] for row in REFERENCE if row["kind"] == "birthplace"]
AREAS = [row["code"] for row in REFERENCE if row["kind"] == "area" and row["code"] != "505"]

Content = dict[str, Any]


def content() -> Content:
    """A file in which every figure is 5, but for some of Toronto and Ottawa - Gatineau."""
    count = len(BIRTHS) * len(AREAS)
    width = len(AREAS)
    total = [5] * count
    total[BIRTHS.index("TOTAL") * width + AREAS.index("535")] = 1000
    total[BIRTHS.index("KP") * width + AREAS.index("535")] = 40
    total[BIRTHS.index("TOTAL") * width + AREAS.index("24505")] = 300
    total[BIRTHS.index("TOTAL") * width + AREAS.index("35505")] = 700
    names = [source.FIGURE, *source.IGNORED_FIGURES]
    return {
        "meta": {"license": {}},
        "indexes": [{"type": "pob", "data": BIRTHS}, {"type": "sgc", "data": AREAS}],
        "values": {name: list(total) if name == "total" else [0] * count for name in names},
        "matrix": [list(range(at, at + width)) for at in range(0, count, width)],
    }


def read(folder: Path, holds: Content | str) -> dict[str, list[dict[str, Any]]]:
    path = folder / source.FILE
    path.write_text(holds if isinstance(holds, str) else json.dumps(holds), "utf-8")
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


def figure(rows: list[dict[str, Any]], code: str, origin: str) -> dict[str, Any]:
    (row,) = [r for r in rows if r["source_code"] == code and r["origin"] == origin]
    return row


def test_parts_of_ottawa_gatineau_are_added_up_and_traceable(tmp_path: Path) -> None:
    rows = read(tmp_path, content())["migrants"]
    row = figure(rows, "505", "all")
    assert (row["migrants"], row["column"], row["ignored"]) == (1000, "24505 + 35505", None)
    part = figure(rows, "24505", "all")
    assert part["migrants"] == 300
    assert part["ignored"] == "not a city: part of a metropolitan area; with 35505 it is 505"


def test_the_publishers_swap_of_the_koreas_is_undone(tmp_path: Path) -> None:
    rows = read(tmp_path, content())["migrants"]
    assert figure(rows, "535", "KOR")["migrants"] == 40
    assert figure(rows, "535", "PRK")["migrants"] == 5


def test_regions_and_provinces_are_declared_as_ignored(tmp_path: Path) -> None:
    rows = read(tmp_path, content())["migrants"]
    assert figure(rows, "535", "CONT_EU")["ignored"].startswith("not an origin")
    assert figure(rows, "35", "all")["ignored"] == "not a city: province or territory"


def test_there_is_no_population_to_take_a_share_of(tmp_path: Path) -> None:
    rows = read(tmp_path, content())["migrants"]
    assert {(row["population"], row["base"]) for row in rows} == {(None, None)}


def test_a_position_leads_to_its_figure_in_whatever_order(tmp_path: Path) -> None:
    turned = content()
    last = len(turned["values"]["total"]) - 1
    turned["values"]["total"].reverse()
    turned["matrix"] = [[last - position for position in row] for row in turned["matrix"]]
    assert figure(read(tmp_path, turned)["migrants"], "535", "all")["migrants"] == 1000


def change(path: list[Any], value: object) -> Callable[[Content], None]:
    """Put ``value`` at a place of the file."""

    def edit(holds: Any) -> None:
        *way, last = path
        for step in way:
            holds = holds[step]
        holds[last] = value

    return edit


TEXT = json.dumps(content())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(["indexes", 1, "data", 3], "999"), "row 4, column 'sgc': unknown code '999'"),
        (change(["indexes", 0, "data", 5], "ZZ"), "row 6, column 'pob': unknown code 'ZZ'"),
        (change(["indexes", 1, "data", 3], AREAS[4]), f"the code {AREAS[4]!r} stands there twice"),
        (change(["indexes", 1, "data"], AREAS[:-1]), f"the code {AREAS[-1]!r} is missing"),
        (change(["indexes", 0, "type"], "sgc"), "column 'pob'"),
        (change(["indexes"], []), "column 'pob': the list of codes is not where"),
        (change(["values", "skilled"], []), "column 'skilled': unknown list of values"),
        (change(["matrix", 2], [1, 2]), "row 3, column 'matrix': the row does not have 63 cells"),
        (change(["matrix", 2, 0], 0), "column 'matrix': its cells are not the"),
        (change(["matrix"], None), "column 'matrix': a list was expected here"),
        (change(["values", "total", 63], "5"), "row 2, column 'total': '5' where a whole number"),
        (change(["values", "total", 0], None), "row 1, column 'total': None where a whole number"),
        (change(["footnotes"], []), "column 'footnotes': unknown member"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, edit: Callable[[Content], None], message: str) -> None:
    holds = json.loads(TEXT)
    edit(holds)
    with pytest.raises(ReadError) as error:
        read(tmp_path, holds)
    assert message in str(error.value)
    assert str(error.value).startswith(source.FILE)


def test_text_that_is_not_json_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"census_birthplace_1\.json, row 2: the text is not valid"):
        read(tmp_path, '{"meta": 1,\n oops}')


# ------------------------------------------------------------------ the real file


@pytest.fixture(scope="module")
def real(upstream: Path) -> dict[str, list[dict[str, Any]]]:
    path = upstream / "files" / source.SOURCE.downloads[0].url.removeprefix("https://")
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


@pytest.fixture(scope="module")
def totals(real: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    return {r["source_code"]: r["migrants"] for r in real["migrants"] if r["origin"] == "all"}


def test_immigrants_of_2016(totals: dict[str, int]) -> None:
    assert totals["01"] == 7_540_830
    assert totals["535"] == 2_705_545  # Toronto
    assert totals["462"] == 936_305  # Montréal
    assert totals["505"] == 255_800  # Ottawa - Gatineau
    assert totals["001"] == 8_135  # St. John's, and not Canada


def test_there_are_35_metropolitan_areas(real: dict[str, list[dict[str, Any]]]) -> None:
    metropolitan = [p for p in real["places"] if p["geography"] == "metropolitan"]
    assert len(metropolitan) == 35
    assert len(real["places"]) == 64
    names = {p["source_code"]: p["source_name"] for p in metropolitan}
    assert (names["535"], names["462"], names["933"]) == ("Toronto", "Montréal", "Vancouver")


def test_metropolitan_areas_and_the_rest_make_up_each_province(totals: dict[str, int]) -> None:
    """The first digit of a metropolitan area is its province's: names and codes fit."""
    provinces = {"10": "0", "11": "1", "12": "2", "13": "3", "24": "4", "35": "5", "46": "6"}
    provinces |= {"47": "7", "48": "8", "59": "9", "60": "-", "61": "-", "62": "-"}
    for province, digit in provinces.items():
        parts = [
            persons
            for code, persons in totals.items()
            if code in (f"{province}-x-nie", f"{province}505")
            or (len(code) == 3 and code[0] == digit and code != "505")
        ]
        assert abs(totals[province] - sum(parts)) <= 60, province


def test_places_of_birth_add_up_to_all_immigrants(
    real: dict[str, list[dict[str, Any]]], totals: dict[str, int]
) -> None:
    rows = [r for r in real["migrants"] if r["ignored"] is None and r["origin"] != "all"]
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["source_code"]] = sums.get(row["source_code"], 0) + row["migrants"]
    assert len(sums) == 35
    assert abs(sums["535"] - 2_705_545) <= 200
    for code, persons in sums.items():
        assert abs(persons - totals[code]) <= 200, code


def test_canada_has_far_more_immigrants_from_south_than_from_north_korea(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    assert figure(real["migrants"], "01", "KOR")["migrants"] == 123_305
    assert figure(real["migrants"], "01", "PRK")["migrants"] == 780


def test_zero_is_zero_and_no_figure_is_missing(real: dict[str, list[dict[str, Any]]]) -> None:
    assert figure(real["migrants"], "408", "TUV")["migrants"] == 0  # Tuvaluans in Saguenay
    assert all(row["migrants"] is not None for row in real["migrants"])
