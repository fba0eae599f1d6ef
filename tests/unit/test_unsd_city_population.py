"""The Demographic Yearbook's cities: small exports in its layout, and facts on the real one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import unsd_city_population as source

MEMBER = "UNdata_Export_20150604_240.csv"
HEADER = (
    '"Country or Area","Year","Area","Sex","City","City type","Record Type","Reliability",'
    '"Source Year","Value","Value Footnotes"'
)
NOTES = ',,,,,,,,,,\n"footnoteSeqID","Footnote",,,,,,,,,\n1,"A note\n in two lines.",,,,,,,,,\n'
NOTES += "".join(f'{number},"Another.",,,,,,,,,\n' for number in range(2, 131))
CENSUS, ESTIMATE = "Census - de jure - complete tabulation", "Estimate - de jure"


def row(
    value: str = "1000",
    *,
    city: str = "PARIS",
    kind: str = "City proper",
    year: int = 2010,
    record: str = CENSUS,
    reliability: str = "Final figure, complete",
    source_year: int = 2012,
    notes: str = "",
    country: str = "France",
    sex: str = "Both Sexes",
) -> str:
    texts = (country, str(year), "Total", sex, city, kind, record, reliability)
    quoted = ",".join(text if text.isdigit() else f'"{text}"' for text in texts)
    return f"{quoted},{source_year},{value},{notes}"


def read(
    folder: Path, *rows: str, notes: str = NOTES, member: str = MEMBER
) -> dict[str, list[dict[str, Any]]]:
    path = folder / source.ARCHIVE
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "\n".join([HEADER, *rows]) + "\n" + notes)
    return {name: table.to_pylist() for name, table in source.read({source.ARCHIVE: path}).items()}


def test_city_proper_and_agglomeration_are_two_places(tmp_path: Path) -> None:
    tables = read(tmp_path, row("2200"), row("10400", kind="Urban agglomeration"))
    places = {place["source_code"]: place for place in tables["places"]}
    assert places["France|PARIS|City proper"]["geography"] == "city"
    assert places["France|PARIS|Urban agglomeration"]["geography"] == "metropolitan"
    assert {p["principal_city"] for p in tables["places"]} == {"Paris"}
    assert [r["population"] for r in tables["populations"]] == [2200, 10400]


def test_of_several_record_types_one_is_taken(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        row("1", record=ESTIMATE, source_year=2014),
        row("2", record=CENSUS, source_year=2012),
        row("3", record=CENSUS, source_year=2013),
        row("4", record="Census - de facto - complete tabulation", source_year=2014),
        row("5", record=CENSUS, reliability="Provisional figure", source_year=2014),
    )["populations"]
    assert [r["population"] for r in rows if r["ignored"] is None] == [3]
    assert {r["ignored"] for r in rows} == {None, "superseded by row 4"}


def test_a_final_estimate_goes_before_a_provisional_census(tmp_path: Path) -> None:
    rows = read(tmp_path, row("1", reliability="Provisional figure"), row("2", record=ESTIMATE))[
        "populations"
    ]
    assert [r["population"] for r in rows if r["ignored"] is None] == [2]


def test_flags_say_what_is_estimated_and_what_provisional(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        row(year=2010),
        row(year=2011, record=ESTIMATE),
        row(year=2012, reliability="Provisional figure"),
        row(year=2013, record=ESTIMATE, reliability="Provisional figure"),
    )["populations"]
    assert [r["flag"] for r in rows] == [None, "e", "p", "ep"]


def test_values_that_are_not_whole_are_rounded_halves_up(tmp_path: Path) -> None:
    rows = read(tmp_path, row("11304.5"), row("2243833.00000027", year=2011))["populations"]
    assert [r["population"] for r in rows] == [11305, 2243833]


def test_the_place_has_the_population_of_its_latest_year(tmp_path: Path) -> None:
    (place,) = read(tmp_path, row("8", year=2005), row("9", year=2011), row("7", year=1999))[
        "places"
    ]
    assert (place["population"], place["row_number"]) == (9, 3)


def test_a_place_whose_latest_figure_is_a_placeholder_has_no_population(tmp_path: Path) -> None:
    tables = read(tmp_path, row("0", city="VADUZ"))
    assert tables["places"][0]["population"] is None
    assert tables["populations"][0]["population"] == 0  # as read; the suite withholds it


@pytest.mark.parametrize(
    ("published", "usual"),
    [
        ("ANDORRA LA VELLA", "Andorra la Vella"),
        ("FORT-DE-FRANCE", "Fort-de-France"),
        ("LA PAZ", "La Paz"),
        ("SANA'A", "Sana'a"),
        ("BEIJING (PEKING)", "Beijing (Peking)"),
        ("MALÉ", "Malé"),
        ("CUIDAD DE GUATEMALA", "Ciudad de Guatemala"),
        ("Philippines: Ligao", "Ligao"),
        ("Lyon", None),
    ],
)
def test_capitals_are_named_in_ordinary_letters(
    tmp_path: Path, published: str, usual: str | None
) -> None:
    (place,) = read(tmp_path, row(city=published))["places"]
    assert (place["source_name"], place["principal_city"]) == (published, usual)


def test_a_country_bears_its_present_name_and_the_code_its_old_one(tmp_path: Path) -> None:
    (place,) = read(tmp_path, row(country="Turkey", city="ANKARA"))["places"]
    assert place["source_code"] == "Turkey|ANKARA|City proper"
    assert (place["country_scheme"], place["country_code"]) == ("name", "Türkiye")


def test_footnotes_are_no_data(tmp_path: Path) -> None:
    # 129,130 was saved as the number 129130 when the export was opened in a spreadsheet
    notes = ['"1,3"', "129130", "2"]
    rows = [row(year=2000 + at, notes=note) for at, note in enumerate(notes)]
    assert len(read(tmp_path, *rows)["populations"]) == 3


def test_the_publishers_own_layout_of_the_footnotes_is_read_too(tmp_path: Path) -> None:
    notes = '\n"footnoteSeqID","Footnote"\n"1","A note."\n'
    assert len(read(tmp_path, row(notes="1"), notes=notes)["populations"]) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(""), "row 3, column 'Value': the cell is blank"),
        (row("many"), "row 3, column 'Value': the text 'many'"),
        (row(kind="Town"), "row 3, column 'City type': unknown city type 'Town'"),
        (row(record="Guess"), "row 3, column 'Record Type': unknown record type 'Guess'"),
        (row(reliability="Rumour"), "row 3, column 'Reliability': unknown reliability 'Rumour'"),
        (row(sex="Female"), "row 3, column 'Sex': unknown sex 'Female'"),
        (row(notes="131"), "row 3, column 'Value Footnotes': there is no footnote '131'"),
        (row("2", city="Lyon"), "row 3, column 'Value': France|Lyon|City proper of 2010 is in row"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, bad: str, message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, row(city="Lyon"), bad)
    assert message in str(error.value)
    assert str(error.value).startswith(MEMBER)


def test_an_export_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="it was cut short"):
        read(tmp_path, row(), notes="")


def test_a_footnote_that_repeats_is_named_with_its_row(tmp_path: Path) -> None:
    notes = '\nfootnoteSeqID,Footnote\n1,"A note."\n1,"The same."\n'
    with pytest.raises(ReadError, match=r"row 6, column 'footnoteSeqID': '1' is not"):
        read(tmp_path, row(), notes=notes)


def test_another_member_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"it has \['readme\.txt'\]"):
        read(tmp_path, row(), member="readme.txt")


# ------------------------------------------------------------------ the real file


@pytest.fixture(scope="module")
def real(upstream: Path) -> dict[str, list[dict[str, Any]]]:
    path = upstream / "files" / source.URL.removeprefix("https://").partition("?")[0]
    return {name: table.to_pylist() for name, table in source.read({source.ARCHIVE: path}).items()}


def test_every_row_is_read_and_565_are_superseded(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    assert len(real["populations"]) == 17_059
    assert sum(r["ignored"] is not None for r in real["populations"]) == 565
    taken = [(r["source_code"], r["year"]) for r in real["populations"] if r["ignored"] is None]
    assert len(taken) == len(set(taken)) == 16_494


def test_paris_proper_and_its_agglomeration(real: dict[str, list[dict[str, Any]]]) -> None:
    taken = {
        (r["source_code"], r["year"]): r["population"]
        for r in real["populations"]
        if r["ignored"] is None
    }
    assert taken["France|PARIS|City proper", 2010] == 2_243_833
    assert taken["France|PARIS|Urban agglomeration", 2010] == 10_460_118
    assert taken["Japan|TOKYO|City proper", 2010] == 8_945_695


def test_the_two_xinyis_are_apart(real: dict[str, list[dict[str, Any]]]) -> None:
    codes = {place["source_code"] for place in real["places"]}
    assert "China|Xinyi (Guangdong)|City proper" in codes
    assert "China|Xinyi (Jiangsu)|City proper" in codes


def test_every_reviewed_name_is_needed(real: dict[str, list[dict[str, Any]]]) -> None:
    names = {part for place in real["places"] for part in place["source_code"].split("|")}
    assert {row["published"] for row in source.reference_rows(source.__file__)} <= names
