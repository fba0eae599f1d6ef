"""The UN's cities of 2025: small files in the publisher's layout, and facts on its own."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import un_wup_2025 as source

HEADER = (
    "LocID,Location,Notes,ISO3_Code,ISO2_Code,City_Code,City_Name,Capital,Year,TimeMid,Pop,"
    "Pop_1Jan,PWCent_Longitude,PWCent_Latitude,AREA_km2,BU_km2,Pop_plausibility"
)
ROWS = (
    '840,"United States, of America",,USA,US,7,"Portland, Maine",0,2024,2024.5,61.2345,60.9,'
    "-70.26,43.66,55.0,20.0,High",
    "360,Indonesia,,IDN,ID,5590,Jakarta,1,2024,2024.5,41500.000,,106.80,-6.30,4800.0,1100.0,High",
    "360,Indonesia,,IDN,ID,5590,Jakarta,1,2025,2025.5,41914.000,,106.82,-6.33,4883.0,1162.0,Low",
    '840,"United States, of America",,USA,US,7,"Portland, Maine",0,2025,2025.5,,,,,,,',
)
Tables = dict[str, list[dict[str, Any]]]


def read(folder: Path, *rows: str, header: str = HEADER, end: str = "\r\n") -> Tables:
    path = folder / source.FILE
    text = "\ufeff" + end.join([header, *(rows or ROWS)]) + end
    path.write_bytes(gzip.compress(text.encode()))
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


def test_population_is_in_persons_with_the_area_beside_it(tmp_path: Path) -> None:
    jakarta = read(tmp_path)["city_populations"][2]
    assert (jakarta["city_code"], jakarta["year"], jakarta["population"]) == (
        "5590",
        2025,
        41_914_000,
    )
    assert (jakarta["area_km2"], jakarta["built_up_km2"], jakarta["plausibility"]) == (
        4883,
        1162,
        "Low",
    )
    assert (jakarta["row_number"], jakarta["column"]) == (4, "Pop")


def test_thousands_with_decimals_are_rounded_to_persons(tmp_path: Path) -> None:
    assert read(tmp_path)["city_populations"][0]["population"] == 61_234


def test_blank_is_below_the_threshold_and_not_zero(tmp_path: Path) -> None:
    portland = read(tmp_path)["city_populations"][3]
    assert portland["population"] is None and portland["plausibility"] is None
    assert portland["ignored"] == source.BELOW_THRESHOLD


def test_a_city_is_where_it_was_in_its_last_year_with_a_population(tmp_path: Path) -> None:
    portland, jakarta = read(tmp_path)["cities"]
    assert portland["name"] == "Portland, Maine" and not portland["capital"]
    assert (portland["latitude"], portland["coordinates_year"]) == (43.66, 2024)
    assert jakarta["capital"] and jakarta["location_code"] == "360"
    assert (jakarta["latitude"], jakarta["longitude"]) == (-6.33, 106.82)
    assert (jakarta["coordinates_year"], jakarta["row_number"]) == (2025, 4)


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    rows = [",".join(reversed(row.split(","))) for row in (HEADER, *ROWS[1:3])]
    assert read(tmp_path, *rows[1:], header=rows[0])["cities"][0]["name"] == "Jakarta"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ROWS[1].replace("41500.000", "n/a"),
            "row 3, column 'Pop': the text 'n/a' stands where a number is expected (cell K3)",
        ),
        (ROWS[1].replace("41500.000", "nan"), "row 3, column 'Pop': the text 'nan' stands where"),
        (ROWS[1].replace(",2024,", ",,"), "row 3, column 'Year': the cell is blank"),
        (ROWS[1].replace(",2024,", ",2024.25,"), "row 3, column 'Year': the number 2024.25"),
        (ROWS[1].replace("5590", ""), "row 3, column 'City_Code': the cell is blank"),
        (ROWS[1].replace("High", "Fair"), "row 3, column 'Pop_plausibility': unknown plausibility"),
        (ROWS[1].replace("Jakarta,1", "Jakarta,x"), "row 3, column 'Capital': 'x' stands where"),
        (ROWS[1].replace("360,", "702,", 1), "row 3, column 'LocID': city 5590 is in another"),
        (ROWS[1] + ",1", "row 3: the row has 18 cells, the header has 17"),
        (ROWS[1].replace("Jakarta", '"Jakarta'), "row 3: not a readable CSV file"),
        ("", "row 3: the row is blank and others follow it"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, ROWS[0], row, ROWS[2])
    assert str(error.value).startswith(f"{source.FILE}, {message}")


def test_a_new_or_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"row 1, column 'Pop': the header row has no such column"):
        read(tmp_path, header=HEADER.replace(",Pop,", ",Population,"))
    with pytest.raises(ReadError, match=r"row 1, column 'TimeMiddle': unknown column"):
        read(tmp_path, header=HEADER.replace("TimeMid", "TimeMiddle"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    read(tmp_path)
    path = tmp_path / source.FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ReadError, match="cannot be unpacked"):
        source.read({source.FILE: path})


# ------------------------------------------------------------------ the real file


@pytest.fixture(scope="module")
def real(upstream: Path) -> Tables:
    folder = upstream / "files" / "population.un.org" / "wup" / "assets" / "Download" / "Cities"
    tables = source.read({source.FILE: folder / source.FILE})
    return {name: table.to_pylist() for name, table in tables.items()}


def test_the_157_largest_cities(real: Tables) -> None:
    assert len(real["cities"]) == 157
    assert len(real["city_populations"]) == 7_364


def test_jakarta_is_the_largest_city_of_2025(real: Tables) -> None:
    of_2025 = {
        p["city_code"]: p["population"] for p in real["city_populations"] if p["year"] == 2025
    }
    names = {city["city_code"]: city["name"] for city in real["cities"]}
    largest = max(of_2025, key=lambda code: of_2025[code])
    assert (names[largest], of_2025[largest]) == ("Jakarta", 41_914_000)
    assert of_2025["6030"] == 33_413_000  # Tokyo


def test_built_up_area_is_within_the_area(real: Tables) -> None:
    assert all(row["built_up_km2"] <= row["area_km2"] for row in real["city_populations"])
