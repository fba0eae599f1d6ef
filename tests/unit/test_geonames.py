"""The gazetteer: small files in its layout, and facts on the real one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import geonames as source

NAMIBIA = (
    "3352136\tWindhoek\tWindhoek\tVindhuk,WDH,Windhuk\t-22.55941\t17.08323\tP\tPPLC\tNA\t\t"
    "21\t\t\t\t268132\t\t1656\tAfrica/Windhoek\t2012-01-17"
)
QUOTED = '1\tName "with a quote\tName\t\t1.5\t-2.25\tP\tPPLX\tXK\t\t\t\t\t\t0\t\t1\tUTC\t2013-01-01'


def read(folder: Path, *rows: str) -> list[dict[str, Any]]:
    path = folder / source.ARCHIVE
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(source.MEMBER, "".join(row + "\n" for row in rows))
    return source.read({source.ARCHIVE: path})["cities"].to_pylist()


def test_namibias_code_is_a_text(tmp_path: Path) -> None:
    (row,) = read(tmp_path, NAMIBIA)
    assert row["country_iso2"] == "NA"
    assert (row["name"], row["feature_code"], row["admin1"]) == ("Windhoek", "PPLC", "21")
    assert (row["latitude"], row["longitude"], row["population"]) == (-22.55941, 17.08323, 268132)
    assert row["alternate_names"] == "Vindhuk,WDH,Windhuk"


def test_a_quotation_mark_is_part_of_a_name(tmp_path: Path) -> None:
    rows = read(tmp_path, QUOTED, NAMIBIA)
    assert [row["name"] for row in rows] == ['Name "with a quote', "Windhoek"]
    assert rows[1]["row_number"] == 2


def test_blank_is_none_and_a_population_of_zero_is_not_known(tmp_path: Path) -> None:
    (row,) = read(tmp_path, QUOTED)
    assert (row["alternate_names"], row["admin1"], row["population"]) == (None, None, None)


def test_every_row_is_consulted_and_not_published(tmp_path: Path) -> None:
    assert {row["ignored"] for row in read(tmp_path, QUOTED, NAMIBIA)} == {source.GAZETTEER}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (NAMIBIA + "\tmore", "row 2: the row has 20 cells between tabs, 19 were expected"),
        ("", "row 2, column 'geonameid': the cell is blank"),
        (NAMIBIA.replace("-22.55941", "south"), "row 2, column 'latitude': the text 'south'"),
        (NAMIBIA.replace("17.08323", "nan"), "row 2, column 'longitude'"),
        (NAMIBIA.replace("268132", ""), "row 2, column 'population'"),
        (NAMIBIA.replace("268132", "268132.5"), "row 2, column 'population'"),
        (NAMIBIA.replace("3352136", ""), "row 2, column 'geonameid': the cell is blank"),
        (NAMIBIA.replace("\tNA\t", "\t\t"), "row 2, column 'country code': the cell is blank"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, bad: str, message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, QUOTED, bad, NAMIBIA)
    assert message in str(error.value)
    assert str(error.value).startswith(source.MEMBER)


def test_text_in_another_encoding_and_an_empty_file_are_errors(tmp_path: Path) -> None:
    path = tmp_path / source.ARCHIVE
    for content in (NAMIBIA.replace("Windhoek", "Wíndhoek").encode("latin-1"), b""):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(source.MEMBER, content)
        with pytest.raises(ReadError, match=r"cities15000\.txt"):
            source.read({source.ARCHIVE: path})


# ------------------------------------------------------------------ the real file


@pytest.fixture(scope="module")
def real(upstream: Path) -> list[dict[str, Any]]:
    path = upstream / "files" / source.SOURCE.downloads[0].url.removeprefix("https://")
    return source.read({source.ARCHIVE: path})["cities"].to_pylist()


def test_the_gazetteer_of_2013(real: list[dict[str, Any]]) -> None:
    assert len(real) == len({row["geonames_id"] for row in real}) == 23_178
    assert all(row["ignored"] == source.GAZETTEER for row in real)


def test_windhoek_is_the_capital_of_namibia(real: list[dict[str, Any]]) -> None:
    capitals = [row for row in real if row["feature_code"] == "PPLC"]
    (namibia,) = [row for row in capitals if row["country_iso2"] == "NA"]
    assert namibia["name"] == "Windhoek"
    assert len(capitals) > 180


def test_lisbon_is_known_by_its_english_name(real: list[dict[str, Any]]) -> None:
    (lisbon,) = [r for r in real if r["country_iso2"] == "PT" and r["feature_code"] == "PPLC"]
    assert "Lisboa" in [lisbon["name"], *lisbon["alternate_names"].split(",")]
    assert "Lisbon" in [lisbon["name"], *lisbon["alternate_names"].split(",")]
