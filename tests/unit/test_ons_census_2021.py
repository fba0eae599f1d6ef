"""Country of birth by local authority: made-up figures in the documented shape of Nomis' zip."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import ons_census_2021 as source

HEADER = [
    *("date", "geography", "geography code", source.TOTAL),
    source.BIRTHPLACE.format("Europe"),
    source.NATIVE_BORN,
    source.BIRTHPLACE.format("Europe: EU countries: European Union EU14"),
    source.BIRTHPLACE.format("Antarctica and Oceania (including Australasia) and Other"),
    source.BIRTHPLACE.format("British Overseas"),
]
LEEDS = ["2021", "Leeds", "E08000035", "800000", "740000", "680000", "9000", "3000", "10"]
BRISTOL = ["2021", "Bristol, City of", "E06000023", "470000", "400000", "390000", "1", "1", "1"]
CARDIFF = ["2021", "Cardiff", "W06000015", "360000", "320000", "300000", "1", "1", "1"]
CAMDEN = ["2021", "Camden", "E09000007", "210000", "150000", "120000", "1", "1", "1"]
ROWS = (LEEDS, BRISTOL, CARDIFF, CAMDEN)
OTHERS = {
    "census2021-ts004-oa.csv": "not looked at",
    "census2021-ts004-utla.csv": "not looked at",
    "metadata/ts004-2021-1.txt": "notes",
}
Tables = dict[str, list[dict[str, Any]]]


def read(
    folder: Path,
    *rows: list[str],
    header: list[str] = HEADER,
    others: Mapping[str, str] = OTHERS,
    member: str = source.MEMBER,
) -> Tables:
    text = io.StringIO()
    csv.writer(text).writerows([header, *(rows or ROWS)])
    path = folder / source.ARCHIVE
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in {**others, member: text.getvalue()}.items():
            packed.writestr(name, content)
    return {name: table.to_pylist() for name, table in source.read({source.ARCHIVE: path}).items()}


def said(folder: Path, *rows: list[str], **options: Any) -> str:
    with pytest.raises(ReadError) as error:
        read(folder, *rows, **options)
    return str(error.value)


def test_foreign_born_are_all_but_those_born_in_the_united_kingdom(tmp_path: Path) -> None:
    tables = read(tmp_path)
    leeds = tables["migrants"][0]
    assert (leeds["source_code"], leeds["year"], leeds["concept"]) == (
        "E08000035",
        2021,
        "foreign_born",
    )
    assert (leeds["migrants"], leeds["population"]) == (120_000, 800_000)
    assert leeds["column"] == f"{source.TOTAL} - {source.NATIVE_BORN}"
    assert (leeds["file"], leeds["row_number"]) == (source.MEMBER, 2)
    assert tables["populations"][0]["population"] == 800_000


def test_a_borough_is_a_part_of_london(tmp_path: Path) -> None:
    places = {place["source_name"]: place for place in read(tmp_path)["places"]}
    assert places["Camden"]["geography"] is None and places["Camden"]["not_a_city"]
    assert places["Bristol, City of"]["geography"] == "city"
    assert {place["country_code"] for place in places.values()} == {"GBR"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            [*LEEDS[:5], "800001", *LEEDS[6:]],
            f"row 3, column '{source.NATIVE_BORN}': 800001 people of 800000",
        ),
        ([*LEEDS[:3], "", *LEEDS[4:]], f"row 3, column '{source.TOTAL}': the cell is blank"),
        ([*LEEDS[:3], "*", *LEEDS[4:]], f"row 3, column '{source.TOTAL}': the text '*'"),
        (["2011", *LEEDS[1:]], "row 3, column 'date': 2011 where 2021 is expected"),
        ([*LEEDS[:2], "E12000003", *LEEDS[3:]], "row 3, column 'geography code': 'E12000003' is"),
        (
            [*LEEDS[:2], BRISTOL[2], *LEEDS[3:]],
            "row 3, column 'geography code': E06000023 stands in row 2 too",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: list[str], message: str) -> None:
    assert f"{source.MEMBER}, {message}" in said(tmp_path, BRISTOL, row)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    other = ["United Kingdom" if name == source.NATIVE_BORN else name for name in HEADER]
    assert f"row 1, column '{source.NATIVE_BORN}': the header row has no such column" in said(
        tmp_path, header=other
    )
    wider = [*HEADER, "Passports held"]
    assert "row 1, column 'Passports held': unknown column" in said(
        tmp_path, [*LEEDS, "1"], header=wider
    )
    assert "unknown member 'census2021-ts005-ltla.csv'" in said(
        tmp_path, others={"census2021-ts005-ltla.csv": ""}
    )
    assert f"has no member '{source.MEMBER}'" in said(
        tmp_path, member="census2021-ts004-ctry.csv", others={}
    )
