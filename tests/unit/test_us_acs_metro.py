"""Metropolitan areas of the ACS: made-up figures in the documented shape of the Census API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError, UsageError
from urban_migration.sources import us_acs_metro as source
from urban_migration.sources.source import with_secret

HEADER = ["NAME", "B05002_001E", "B05002_001M", "B05002_013E", "B05002_013M", source.AREA]
PORTLAND = [
    "Portland-Vancouver-Hillsboro, OR-WA Metro Area",
    "2500000",
    "0",
    "310000",
    "5",
    "38900",
]
BOISE = ["Boise City, ID Metro Area", "820000", "0", "50000", "900", "14260"]
WINSTON = ["Winston-Salem, NC Metro Area", "690000", None, "55000", None, "49180"]
SAN_JUAN = ["San Juan-Bayamón-Caguas, PR Metro Area", "2000000", "0", "60000", "7", "41980"]
BOZEMAN = ["Bozeman, MT Micro Area", "126000", "0", "5000", "7", "14580"]
ROWS = (PORTLAND, BOISE, WINSTON, SAN_JUAN, BOZEMAN)
Tables = dict[str, list[dict[str, Any]]]


def read(folder: Path, *rows: Any, header: list[str] = HEADER, text: str | None = None) -> Tables:
    path = folder / source.FILE
    path.write_text(text or json.dumps([header, *(rows or ROWS)]), "utf-8")
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


def said(folder: Path, *rows: Any, **options: Any) -> str:
    with pytest.raises(ReadError) as error:
        read(folder, *rows, **options)
    return str(error.value)


def test_an_area_has_its_foreign_born_and_its_population(tmp_path: Path) -> None:
    tables = read(tmp_path)
    portland, population = tables["migrants"][0], tables["populations"][0]
    assert (portland["source_code"], portland["year"]) == ("38900", 2023)
    assert (portland["migrants"], portland["population"]) == (310_000, 2_500_000)
    assert (portland["row_number"], portland["column"]) == (2, "B05002_013E")
    assert (population["population"], population["column"]) == (2_500_000, "B05002_001E")


def test_the_principal_city_is_the_first_of_the_title(tmp_path: Path) -> None:
    places = {place["source_code"]: place for place in read(tmp_path)["places"]}
    assert places["38900"]["principal_city"] == "Portland"
    assert places["38900"]["other_names"] == "Portland-Vancouver-Hillsboro, OR"
    assert places["49180"]["principal_city"] == "Winston-Salem"
    assert places["41980"]["country_code"] == "PRI"
    assert places["14260"]["geography"] == "metropolitan"


def test_a_micropolitan_area_is_no_city(tmp_path: Path) -> None:
    bozeman = read(tmp_path)["places"][-1]
    assert bozeman["geography"] is None and bozeman["not_a_city"] == source.MICRO


@pytest.mark.parametrize("blank", [None, "-666666666", "-999999999", -888888888])
def test_null_and_annotations_are_no_estimate_and_not_a_number(tmp_path: Path, blank: Any) -> None:
    row = [*BOISE[:3], blank, *BOISE[4:]]
    boise = read(tmp_path, PORTLAND, row)["migrants"][1]
    assert boise["migrants"] is None and boise["ignored"] == source.NO_FIGURE
    assert boise["population"] == 820_000


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([*BOISE[:3], "-5", *BOISE[4:]], "row 3, column 'B05002_013E': -5 is no estimate"),
        ([*BOISE[:3], "(X)", *BOISE[4:]], "row 3, column 'B05002_013E': the text '(X)'"),
        (["Boise City", *BOISE[1:]], "row 3, column 'NAME': 'Boise City' is not a title"),
        ([*BOISE[:5], "310M1"], f"row 3, column '{source.AREA}': '310M1' is not an area's code"),
        ([*BOISE[:5], "38900"], f"row 3, column '{source.AREA}': area 38900 stands in row 2 too"),
        (BOISE[:5], "row 3: the row has 5 values, the header has 6"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: list[Any], message: str) -> None:
    assert f"{source.FILE}, {message}" in said(tmp_path, PORTLAND, row)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    without = [name for name in HEADER if name != "B05002_013E"]
    assert "row 1, column 'B05002_013E': the header has no such column" in said(
        tmp_path, header=without
    )
    assert "row 1, column 'B05012_003E': unknown column" in said(
        tmp_path, header=[*HEADER, "B05012_003E"]
    )
    assert "not an array of rows" in said(tmp_path, text='{"error": "unknown variable"}')
    assert "not valid JSON" in said(tmp_path, text="<html>Missing Key</html>")
    assert "no rows below the header" in said(tmp_path, text=json.dumps([HEADER]))


# ------------------------------------------------------------------ the user's key


def test_without_a_key_the_source_is_on_and_sends_none() -> None:
    unlocked = with_secret(source.SOURCE, None)
    assert unlocked is not None
    assert [dict(each.query) for each in unlocked.downloads] == [{}]


def test_a_key_is_sent_beside_the_address_and_shown_nowhere() -> None:
    unlocked = with_secret(source.SOURCE, "made-up-key")
    assert unlocked is not None
    (download,) = unlocked.downloads
    assert download.query == {"key": "made-up-key"}
    assert "made-up-key" not in download.url + repr(unlocked)
    with pytest.raises(UsageError) as error:
        with_secret(source.SOURCE, "made up key")
    assert source.SECRET in str(error.value) and "made up key" not in str(error.value)
