"""Missing migrants: small files in the publisher's layout, and facts on its own."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import iom_missing_migrants as source

RECORD = {
    "web_id": "2015.MMP00565",
    "region": "Mediterranean",
    "reported_date": "2015-10-28",
    "number_dead": "56",
    "number_missing": "-13",
    "total_dead_and_missing": "43",
    "number_of_survivors": "274",
    "number_of_female": "",
    "number_of_male": "",
    "number_of_children": "20",
    "cause_death": "Drowning\n",
    "country_of_incident": "Greece",
    "location_description": "North of Lesvos, at &#039;La Poza&#039;, Greece\n",
    "unsd_geographic_grouping": "Uncategorized",
    "location_coodinates": "39.5, 26.31",
    "migration_route": "Eastern Mediterranean",
    "information_source": "Hellenic Coast Guard",
    "url": "",
    "source_quality": "5",
}
Rows = list[dict[str, Any]]


def read(folder: Path, *records: dict[str, str], year: int = 2015) -> Rows:
    """One incident a year, and ``records`` in the file of ``year``; gives that year's rows."""
    for each in source.YEARS:
        own = [RECORD | {"web_id": f"{each}.MMP1", "reported_date": f"{each}-01-01"}]
        content = [RECORD | record for record in records] if each == year else own
        (folder / f"{each}.json").write_text(json.dumps(content), "utf-8")
    files = {f"{each}.json": folder / f"{each}.json" for each in source.YEARS}
    rows: Rows = source.read(files)["incidents"].to_pylist()
    return [row for row in rows if row["year"] == year]


def test_an_incident(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {})
    assert row["incident_id"] == row["web_id"] == "2015.MMP00565"
    assert (row["date"], row["year"]) == (date(2015, 10, 28), 2015)
    assert (row["latitude"], row["longitude"], row["coordinates_rounded"]) == (39.5, 26.31, False)
    assert (row["dead"], row["missing"], row["dead_and_missing"], row["survivors"]) == (
        56,
        -13,
        43,
        274,
    )
    assert row["cause"] == "Drowning"
    assert row["location"] == "North of Lesvos, at 'La Poza', Greece"
    assert (row["route"], row["country"]) == ("Eastern Mediterranean", "Greece")


def test_blank_is_not_known_and_not_zero(tmp_path: Path) -> None:
    blank = ("reported_date", "number_dead", "location_coodinates", "migration_route")
    (row,) = read(tmp_path, dict.fromkeys(blank, ""))
    assert [row[name] for name in ("date", "dead", "latitude", "longitude", "route")] == [None] * 5
    assert row["coordinates_rounded"] is None
    assert row["year"] == 2015


def test_a_year_may_have_no_incidents_yet(tmp_path: Path) -> None:
    """That every year to the last has some is for the suite to say."""
    assert read(tmp_path) == []


def test_thousands_have_a_comma(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"total_dead_and_missing": "1,022"})
    assert row["dead_and_missing"] == 1_022


def test_whole_degrees_are_rounded_and_half_of_them_are_not(tmp_path: Path) -> None:
    rows = read(tmp_path, {"location_coodinates": "4, 101"}, {"location_coodinates": "4, 101.5"})
    assert [row["coordinates_rounded"] for row in rows] == [True, False]


def test_records_of_one_incident_are_told_apart(tmp_path: Path) -> None:
    rows = read(tmp_path, {}, {"web_id": "2015.MMP1"}, {}, {})
    assert [row["incident_id"] for row in rows] == [
        "2015.MMP00565",
        "2015.MMP1",
        "2015.MMP00565#2",
        "2015.MMP00565#3",
    ]


def test_files_from_2025_say_where_people_came_from(tmp_path: Path) -> None:
    assert read(tmp_path, {"region_origin": "Unknown", "country_origin": "Unknown"}, year=2025)


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("number_dead", "many", "column 'number_dead': the text 'many' stands where a whole"),
        ("number_dead", "1,02", "column 'number_dead': the text '1,02' stands where a whole"),
        ("reported_date", "28/10/2015", "column 'reported_date': the text '28/10/2015' stands"),
        ("location_coodinates", "39.5", "column 'location_coodinates': the text '39.5' stands"),
        ("location_coodinates", "95, 0", "column 'location_coodinates': '95, 0' is no place on"),
        ("web_id", "", "column 'web_id': no value stands where a text is expected"),
        ("number_rescued", "1", "column 'number_rescued': unknown member"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, member: str, value: str, message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, {}, {member: value})
    assert str(error.value).startswith(f"2015.json, row 2, {message}")


def test_a_missing_year_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"2014\.json: the file of this year is missing"):
        source.read({"2015.json": tmp_path})


# ------------------------------------------------------------------ the real files


@pytest.fixture(scope="module")
def real(upstream: Path) -> Rows:
    folder = upstream / "files" / "missingmigrants.iom.int" / "global-figures"
    files = {f"{year}.json": folder / str(year) / "json" for year in source.YEARS}
    rows: Rows = source.read(files)["incidents"].to_pylist()
    return rows


def test_incidents_since_2014(real: Rows) -> None:
    assert len(real) == 17_846
    assert len({row["incident_id"] for row in real}) == 17_846
    assert Counter(row["year"] for row in real)[2023] == 2_689


def test_the_dead_and_missing_of_2023(real: Rows) -> None:
    assert sum(row["dead_and_missing"] for row in real if row["year"] == 2023) == 8_606


def test_the_publishers_total_is_the_sum_of_dead_and_missing(real: Rows) -> None:
    for row in real:
        assert (row["dead"] or 0) + (row["missing"] or 0) == row["dead_and_missing"]


def test_1026_places_are_whole_degrees_and_one_is_not_known(real: Rows) -> None:
    assert Counter(row["coordinates_rounded"] for row in real) == {
        False: 16_819,
        True: 1_026,
        None: 1,
    }


def test_the_largest_incident_took_1022_lives(real: Rows) -> None:
    worst = max(real, key=lambda row: row["dead_and_missing"])
    assert (worst["dead_and_missing"], worst["date"]) == (1_022, date(2015, 4, 18))
