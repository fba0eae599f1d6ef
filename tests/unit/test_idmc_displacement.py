"""Internal displacement: small files in the publisher's layout, and facts on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import idmc_displacement as source

CONFLICT = (
    "iso3,country_name,year,new_displacement,new_displacement_rounded,total_displacement,"
    "total_displacement_rounded\n"
    "AFG,Afghanistan,2009,0,,297000,297000\n"
    "AGO,Angola,2009,0,,,\n"
    "AB9,Abyei Area,2024,1234,1200,,\n"
)
EVENTS = (
    "iso3,country_name,year,start_date,start_date_accuracy,end_date,end_date_accuracy,event_name,"
    "hazard_category,hazard_category_name,hazard_sub_category,hazard_sub_category_name,"
    "hazard_type,hazard_type_name,hazard_sub_type,hazard_subtype_name,new_displacement,"
    "new_displacement_rounded,total_displacement,total_displacement_rounded,event_codes\n"
)
EVENT = (
    "PHL,Philippines,{year},2008-01-01,Month,2008-06-23,Day,Storm,2,Weather related,4,"
    "Meteorological,14,Storm,21,,{new},2000,{total},,[]\n"
)
Tables = dict[str, list[dict[str, Any]]]


def read(folder: Path, conflict: str = CONFLICT, disasters: str | None = None) -> Tables:
    events = disasters or EVENTS + 2 * EVENT.format(year=2024, new=2039, total=0)
    files = {source.CONFLICT: conflict, source.DISASTERS: events}
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    tables = source.read({name: folder / name for name in files})
    return {name: table.to_pylist() for name, table in tables.items()}


def figures(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["iso3"], row["year"], row["new_displacement"], row["total_displacement"]


def test_flows_and_stocks_stand_apart_and_blank_is_not_zero(tmp_path: Path) -> None:
    assert [figures(row) for row in read(tmp_path)["conflict"]] == [
        ("AFG", 2009, 0, 297_000),
        ("AGO", 2009, 0, None),
        ("AB9", 2024, 1_234, None),
    ]


def test_equal_rows_are_events_of_their_own(tmp_path: Path) -> None:
    events = read(tmp_path)["disasters"]
    assert [figures(row) for row in events] == [("PHL", 2024, 2_039, 0)] * 2
    assert [row["row_number"] for row in events] == [2, 3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("297000,", "many,", "row 2, column 'total_displacement': the text 'many' stands where"),
        ("297000,", "1.5,", "row 2, column 'total_displacement': the number 1.5 stands where"),
        ("AGO", "", "row 3, column 'iso3': the cell is blank"),
        (",2009,0,,,", ",,0,,,", "row 3, column 'year': the cell is blank"),
        ("new_displacement,", "displaced,", "row 1, column 'new_displacement': the header row has"),
        ("country_name", "country", "row 1, column 'country': unknown column"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, CONFLICT.replace(old, new, 1))
    assert str(error.value).startswith(f"{source.CONFLICT}, {message}")


# ------------------------------------------------------------------ the real files


@pytest.fixture(scope="module")
def real(upstream: Path) -> Tables:
    folder = upstream / "files" / "data.humdata.org" / "dataset" / "idmc-idp-data" / "download"
    tables = source.read({name: folder / name for name in (source.CONFLICT, source.DISASTERS)})
    return {name: table.to_pylist() for name, table in tables.items()}


def total(rows: list[dict[str, Any]], year: int, figure: str) -> int:
    return sum(row[figure] or 0 for row in rows if row["year"] == year)


def test_conflict_in_2024(real: Tables) -> None:
    assert len(real["conflict"]) == 961
    assert total(real["conflict"], 2024, "total_displacement") == 73_505_422
    assert total(real["conflict"], 2024, "new_displacement") == 20_058_987


def test_disasters_in_2024(real: Tables) -> None:
    assert len(real["disasters"]) == 22_119
    assert total(real["disasters"], 2024, "new_displacement") == 45_762_169
    assert total(real["disasters"], 2024, "total_displacement") == 4_263_681


def test_who_is_still_displaced_by_a_disaster_is_known_since_2019(real: Tables) -> None:
    known = {row["year"] for row in real["disasters"] if row["total_displacement"] is not None}
    assert known == set(range(2019, 2025))


def test_kosovo_and_abyei_are_apart(real: Tables) -> None:
    assert {"XKX", "AB9"} <= {row["iso3"] for row in real["disasters"]}
