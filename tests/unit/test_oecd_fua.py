"""Cities and functional urban areas of the OECD: made-up figures in the documented shape."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import oecd_fua as source

Tables = dict[str, list[dict[str, Any]]]
VIENNA: Mapping[str, str] = {
    "STRUCTURE": "DATAFLOW",
    "STRUCTURE_ID": "OECD.CFE.EDS:DSD_FUA_DEMO@DF_ORIGIN(1.2)",
    "STRUCTURE_NAME": "Foreign-born population - Cities and FUAs",
    "ACTION": "I",
    "REF_AREA": "AT001C",
    "Reference area": "Vienna",
    "FREQ": "A",
    "Frequency of observation": "Annual",
    "MEASURE": "POP",
    "Measure": "Population",
    "UNIT_MEASURE": "PS",
    "Unit of measure": "Persons",
    "AGE": "_T",
    "Age": "Total",
    "SEX": "_T",
    "Sex": "Total",
    "ORIGIN": "FB",
    "Origin": "Foreign-born",
    "TERRITORIAL_LEVEL": "CITY",
    "Territorial level": "City",
    "CITIZENSHIP": "_T",
    "Citizenship": "Total",
    "TIME_PERIOD": "2022",
    "Time period": "",
    "OBS_VALUE": "730",
    "Observation value": "",
    "OBS_STATUS": "A",
    "Observation status": "Normal value",
    "UNIT_MULT": "3",
    "Unit multiplier": "Thousands",
    "DECIMALS": "0",
    "Decimals": "Zero",
}
TOTAL = {"ORIGIN": "_T", "Origin": "Total"}
NATIVE = {"ORIGIN": "NB", "Origin": "Native-born"}
SYDNEY = {
    "REF_AREA": "AUS01C",
    "Reference area": "Sydney",
    "UNIT_MULT": "0",
    "OBS_VALUE": "2100000",
}


def read(folder: Path, *changes: Mapping[str, str], drop: str = "", add: str = "") -> Tables:
    rows = [{**VIENNA, **change} for change in changes or ({},)]
    header = [name for name in VIENNA if name != drop] + ([add] if add else [])
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="1", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / source.FILE
    path.write_text(text.getvalue(), "utf-8")
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


def said(folder: Path, *changes: Mapping[str, str], **options: Any) -> str:
    with pytest.raises(ReadError) as error:
        read(folder, *changes, **options)
    return str(error.value)


def test_figures_are_in_units_of_powers_of_ten(tmp_path: Path) -> None:
    vienna, sydney = read(tmp_path, {"OBS_VALUE": "730.25"}, SYDNEY)["migrants"]
    assert vienna["migrants"] == 730_250 and sydney["migrants"] == 2_100_000
    assert (vienna["concept"], vienna["origin"], vienna["year"]) == ("foreign_born", "all", 2022)
    assert (vienna["row_number"], vienna["column"]) == (2, "OBS_VALUE")


def test_the_total_of_area_and_year_is_the_population(tmp_path: Path) -> None:
    tables = read(tmp_path, {}, {**TOTAL, "OBS_VALUE": "1930"}, {**TOTAL, "TIME_PERIOD": "2021"})
    (vienna,) = tables["migrants"]
    assert vienna["population"] == vienna["base"] == 1_930_000
    assert [(row["year"], row["population"]) for row in tables["populations"]] == [
        (2022, 1_930_000),
        (2021, 730_000),
    ]


def test_levels_are_geographies_and_letters_are_countries(tmp_path: Path) -> None:
    fua = {"REF_AREA": "EL001F", "Reference area": "Athens", "TERRITORIAL_LEVEL": "FUA"}
    places = read(tmp_path, {}, SYDNEY, fua)["places"]
    assert [(p["geography"], p["country_scheme"], p["country_code"]) for p in places] == [
        ("city", "iso2", "AT"),
        ("city", "iso3", "AUS"),
        ("functional_urban_area", "iso2", "GR"),
    ]


def test_a_normal_value_has_no_flag_and_a_break_has_one(tmp_path: Path) -> None:
    rows = read(tmp_path, {}, {"TIME_PERIOD": "2023", "OBS_STATUS": "B"})["migrants"]
    assert [row["flag"] for row in rows] == [None, "b"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"AGE": "Y_LT15"}, source.PART),
        ({"SEX": "F"}, source.PART),
        ({"CITIZENSHIP": "FOR"}, source.PART),
        ({"UNIT_MEASURE": "PT_POP", "UNIT_MULT": ""}, source.SHARE),
        ({"OBS_VALUE": "", "OBS_STATUS": "M"}, source.NO_FIGURE),
        (NATIVE, source.NATIVE),
    ],
)
def test_parts_shares_and_blanks_are_ignored(
    tmp_path: Path, change: Mapping[str, str], reason: str
) -> None:
    other = read(tmp_path, {}, change)["migrants"][1]
    assert other["ignored"] == reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ORIGIN": "FB_EU", "Origin": "Born in the EU"},
            "column 'Origin': 'born in the eu' is an",
        ),
        ({"TERRITORIAL_LEVEL": "COUNTRY"}, "column 'TERRITORIAL_LEVEL': 'COUNTRY' is an unknown"),
        ({"MEASURE": "DEPEND_RATIO"}, "column 'MEASURE': 'DEPEND_RATIO' is not a population"),
        ({"UNIT_MEASURE": "IX"}, "column 'UNIT_MEASURE': 'IX' is neither persons"),
        ({"FREQ": "Q"}, "column 'FREQ': 'Q' is not annual"),
        ({"STRUCTURE_ID": "OECD:OTHER(1.0)"}, "column 'STRUCTURE_ID': 'OECD:OTHER' is not"),
        ({"REF_AREA": "Vienna"}, "column 'REF_AREA': 'Vienna' is not the code"),
        ({"OBS_VALUE": ":"}, "column 'OBS_VALUE': the text ':'"),
        ({"OBS_VALUE": "-5"}, "column 'OBS_VALUE': -5 is no number of persons"),
        ({"OBS_STATUS": "?"}, "column 'OBS_STATUS': '?' is an unknown status"),
        ({"UNIT_MULT": "-2"}, "column 'UNIT_MULT': units of 10^-2 persons"),
        ({"UNIT_MULT": ""}, "column 'UNIT_MULT': no unit multiplier"),
        ({"Reference area": "Wien"}, "column 'REF_AREA': 'Wien' for AT001C, and 'Vienna' before"),
        ({"TIME_PERIOD": "2022-Q1"}, "column 'TIME_PERIOD': the text '2022-Q1'"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: Mapping[str, str], message: str) -> None:
    assert f"{source.FILE}, row 3, {message}" in said(tmp_path, {}, change)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    assert "row 1, column 'UNIT_MULT': the header row has no such column" in said(
        tmp_path, drop="UNIT_MULT"
    )
    assert "row 1, column 'BIRTH_PLACE': unknown column" in said(tmp_path, add="BIRTH_PLACE")
    assert "no such column" in said(tmp_path, drop="Origin")
