"""Places in the United States: a small export in the publisher's layout, and facts on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import us_acs as source

HEADER = (
    "City;State;Median Age;Male Population;Female Population;Total Population;"
    "Number of Veterans;Foreign-born;Average Household Size;State Code;Race;Count"
)
ROWS = (
    "Portland;Oregon;37.0;312237;319950;632187;29940;86041;2.43;OR;Asian;63185",
    "Concord;California;39.6;62310;66358;128668;6287;37428;2.72;CA;White;88409",
    "Portland;Oregon;37.0;312237;319950;632187;29940;86041;2.43;OR;White;542751",
    "Ponce;Puerto Rico;40.5;56968;64615;121583;;;;PR;Hispanic or Latino;120705",
    "Concord;North Carolina;37.0;43284;44373;87657;4613;9400;2.73;NC;White;58951",
    "Lexington-Fayette  county;Kentucky;35.1;1;2;314488;5;29000;2.4;KY;White;3",
    "Allen;Pennsylvania;33.5;60626;59581;120207;5691;19652;2.67;PA;Asian;2958",
)


def read(folder: Path, *rows: str, header: str = HEADER) -> dict[str, list[dict[str, Any]]]:
    path = folder / source.FILE
    path.write_text("\r\n".join([header, *(rows or ROWS)]) + "\r\n", "utf-8")
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


def test_a_place_counts_once_however_many_races_it_is_repeated_for(tmp_path: Path) -> None:
    rows = read(tmp_path)["migrants"]
    (portland,) = [row for row in rows if row["source_code"] == "Portland|OR"]
    assert (portland["migrants"], portland["population"], portland["base"]) == (
        86_041,
        632_187,
        632_187,
    )
    assert (portland["row_number"], portland["column"]) == (2, "Foreign-born")


def test_places_of_one_name_are_told_apart_by_state(tmp_path: Path) -> None:
    places = {place["source_code"]: place for place in read(tmp_path)["places"]}
    assert places["Concord|CA"]["other_names"] == "Concord, California"
    assert places["Concord|NC"]["other_names"] == "Concord, North Carolina"


def test_blank_is_no_figure_and_not_zero(tmp_path: Path) -> None:
    tables = read(tmp_path)
    (ponce,) = [row for row in tables["migrants"] if row["source_code"] == "Ponce|PR"]
    assert ponce["migrants"] is None
    assert ponce["ignored"] == "the publisher gives no figure"
    (place,) = [place for place in tables["places"] if place["source_code"] == "Ponce|PR"]
    assert (place["country_code"], place["population"]) == ("PRI", 121_583)


def test_damaged_and_long_names_have_the_city_beside_them(tmp_path: Path) -> None:
    names = {p["source_code"]: p["principal_city"] for p in read(tmp_path)["places"]}
    assert names["Allen|PA"] == "Allentown"
    assert names["Lexington-Fayette county|KY"] == "Lexington"
    assert names["Portland|OR"] is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ROWS[2].replace("86041", "86042"),
            "row 3, column 'Foreign-born': 86042 for Portland|OR, and 86041 in row 2",
        ),
        (
            ROWS[2].replace("86041", ""),
            "row 3, column 'Foreign-born': blank for Portland|OR, and 86041 in row 2",
        ),
        (ROWS[0], "row 3, column 'Race': Portland|OR has this race in row 2 already"),
        (ROWS[1].replace("37428", "n/a"), "row 3, column 'Foreign-born': the text 'n/a'"),
        (ROWS[1].replace("128668", ""), "row 3, column 'Total Population': the cell is blank"),
        (ROWS[1].replace(";CA;", ";;"), "row 3, column 'State Code': the cell is blank"),
        (ROWS[1] + ";1", "row 3: the row has 13 cells, the header has 12"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, ROWS[0], row)
    assert str(error.value).startswith(source.FILE)
    assert message in str(error.value)


def test_a_new_or_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"row 1, column 'Foreign-born': the header row has no"):
        read(tmp_path, header=HEADER.replace("Foreign-born", "Foreign born"))
    with pytest.raises(ReadError, match=r"row 1, column 'Median Wage': unknown column"):
        read(tmp_path, header=HEADER.replace("Median Age", "Median Wage"))


# ------------------------------------------------------------------ the real file


@pytest.fixture(scope="module")
def real(upstream: Path) -> dict[str, list[dict[str, Any]]]:
    url = source.URL.removeprefix("https://").partition("?")[0]
    path = upstream / "files" / url
    return {name: table.to_pylist() for name, table in source.read({source.FILE: path}).items()}


@pytest.fixture(scope="module")
def figures(real: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {row["source_code"]: row for row in real["migrants"]}


def test_596_places_of_which_puerto_ricos_have_no_figure(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    assert len(real["places"]) == len(real["migrants"]) == 596
    ignored = {row["source_code"] for row in real["migrants"] if row["ignored"]}
    assert len(ignored) == 7
    assert all(code.endswith("|PR") for code in ignored)


def test_new_york_in_2015(figures: dict[str, dict[str, Any]]) -> None:
    new_york = figures["New York|NY"]
    assert (new_york["population"], new_york["migrants"]) == (8_550_405, 3_212_500)


def test_most_people_in_hialeah_were_born_abroad(figures: dict[str, dict[str, Any]]) -> None:
    hialeah = figures["Hialeah|FL"]
    assert 100 * hialeah["migrants"] / hialeah["base"] == pytest.approx(71.8, abs=0.05)


def test_names_that_recur_keep_their_own_figures(figures: dict[str, dict[str, Any]]) -> None:
    for name, states in {
        "Springfield": ("IL", "MA", "MO"),
        "Columbia": ("MD", "MO", "SC"),
        "Concord": ("CA", "NC"),
    }.items():
        own = [figures[f"{name}|{state}"]["migrants"] for state in states]
        assert len(set(own)) == len(states)


def test_every_reviewed_name_is_needed(real: dict[str, list[dict[str, Any]]]) -> None:
    reviewed = {row["source_code"] for row in source.reference_rows(source.__file__)}
    assert reviewed <= {place["source_code"] for place in real["places"]}
