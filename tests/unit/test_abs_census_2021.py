"""Australia's census of 2021: small archives in the publisher's layout, and facts on its own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import abs_census_2021 as source
from urban_migration.sources.grid import reference_rows

COUNTRIES = [row["code"] for row in reference_rows(source.__file__) if row["kind"] == "birthplace"]
FIRST, SECOND = COUNTRIES[:20], COUNTRIES[20:40]

Cells = dict[str, str]
Edit = Callable[[str, list[str], list[list[str]]], None]


def archive(folder: Path, edit: Edit | None = None, extra: tuple[str, ...] = ()) -> dict[str, Path]:
    """An archive of Sydney and a pseudo-area; ``edit`` may spoil the cells of a member."""
    g01 = [f"{topic}_{sex}" for topic in source.TOPICS for sex in "MFP"]
    members: dict[str, tuple[list[str], Cells]] = {
        source.TOTALS: (
            g01,
            {"Tot_P_P": "1000", "Birthplace_Australia_P": "600", "Birthplace_Elsewhere_P": "300"},
        )
    }
    for name, countries in zip(source.BIRTHPLACES, (FIRST, SECOND, COUNTRIES[40:]), strict=True):
        header = [f"P_{country}_{age}" for country in countries for age in source.AGES]
        members[name] = (header, {f"P_{country}_Tot": "5" for country in countries})
    path = folder / source.ARCHIVE
    with zipfile.ZipFile(path, "w") as out:
        for name, (header, values) in members.items():
            columns = [source.CODE, *header]
            rows = [
                [code, *(values.get(column, "0") for column in header)]
                for code in ("1GSYD", "19499")
            ]
            if edit is not None:
                edit(name, columns, rows)
            text = "\r\n".join(",".join(row) for row in [columns, *rows])
            out.writestr(f"2021 Census GCP/{name}", text + "\r\n")
        for name in ("2021Census_G09A_AUST_GCCSA.csv", "2021Census_G14_AUST_GCCSA.csv", *extra):
            out.writestr(f"2021 Census GCP/{name}", "not read")
    return {source.ARCHIVE: path}


def spoil(member: str, column: str, value: str) -> Edit:
    """Put ``value`` into the first row of a column."""

    def edit(name: str, columns: list[str], rows: list[list[str]]) -> None:
        if name == member:
            rows[0][columns.index(column)] = value

    return edit


def rename(member: str, column: str, other: str) -> Edit:
    def edit(name: str, columns: list[str], rows: list[list[str]]) -> None:
        if name == member:
            columns[columns.index(column)] = other

    return edit


def test_shares_are_of_those_who_stated_a_birthplace(tmp_path: Path) -> None:
    row = source.read(archive(tmp_path))["migrants"].to_pylist()[0]
    assert (row["source_code"], row["origin"]) == ("1GSYD", "all")
    assert (row["migrants"], row["population"], row["base"]) == (300, 1000, 900)


def test_a_pseudo_area_is_no_city_and_its_figures_are_declared_as_ignored(tmp_path: Path) -> None:
    tables = source.read(archive(tmp_path))
    place = tables["places"].to_pylist()[1]
    assert (place["geography"], place["not_a_city"]) == (None, "people without a usual address")
    figures = [row for row in tables["migrants"].to_pylist() if row["source_code"] == "19499"]
    assert {row["ignored"] for row in figures} == {"not a city: people without a usual address"}


def test_parts_of_the_united_kingdom_are_added_up_and_traceable(tmp_path: Path) -> None:
    rows = source.read(archive(tmp_path))["migrants"].to_pylist()
    (row,) = [r for r in rows if r["origin"] == "GBR" and r["source_code"] == "1GSYD"]
    assert row["migrants"] == 15
    assert row["column"] == "P_England_Tot + P_Scotland_Tot + P_Wales_Tot"
    assert row["file"].split(" + ") == [source.BIRTHPLACES[0], *source.BIRTHPLACES[1:]]


def test_neither_australia_nor_not_stated_is_an_origin(tmp_path: Path) -> None:
    rows = source.read(archive(tmp_path))["migrants"].to_pylist()
    origins = {row["origin"] for row in rows}
    assert len(origins) == 1 + len(COUNTRIES) - 3 - 2  # all; no home, not stated, total; one GBR
    assert "AUS" not in origins
    assert "XXX" in origins  # born elsewhere


G01, G09F, _, G09H = source.TOTALS, *source.BIRTHPLACES


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (spoil(G01, source.CODE, "1XXXX"), f"{G01}, row 2, column 'GCCSA_CODE_2021': unknown area"),
        (spoil(G01, "Tot_P_P", "many"), f"{G01}, row 2, column 'Tot_P_P': the text 'many'"),
        (spoil(G01, "Tot_P_P", ""), f"{G01}, row 2, column 'Tot_P_P': the cell is blank"),
        (spoil(G09F, source.CODE, "19499"), f"{G09F}: its areas are not those of"),
        (spoil(G09F, "P_Brazil_Tot", "x"), f"{G09F}, row 2, column 'P_Brazil_Tot': the text 'x'"),
        (rename(G01, "Tot_P_P", "Total"), f"{G01}, row 1, column 'Tot_P_P'"),
        (rename(G01, "Age_85ov_P", "Age_90ov_P"), f"{G01}, row 1, column 'Age_90ov_P': unknown"),
        (rename(G09F, "P_Brazil_Tot", "P_Atlantis_Tot"), "column 'P_Brazil_Tot'"),
        (rename(G09H, "P_Tot_85ov", "P_Atlantis_Tot"), "column 'P_Atlantis_Tot': unknown column"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(ReadError) as error:
        source.read(archive(tmp_path, edit))
    assert message in str(error.value)


def test_an_unknown_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"notes\.docx"):
        source.read(archive(tmp_path, extra=("notes.docx",)))


def test_the_publishers_own_papers_are_no_error(tmp_path: Path) -> None:
    papers = (
        "Metadata_2021_GCP_DataPack_R1_R2.xlsx",
        "2021Census_geog_desc_1st_2nd_3rd_release.xlsx",
        "CreativeCommons_Licensing_readme.txt",
    )
    assert source.read(archive(tmp_path, extra=papers))["places"].num_rows == 2


# ------------------------------------------------------------------ the real file


@pytest.fixture(scope="module")
def real(upstream: Path) -> dict[str, list[dict[str, Any]]]:
    path = upstream / "files" / source.SOURCE.downloads[0].url.removeprefix("https://")
    return {name: t.to_pylist() for name, t in source.read({source.ARCHIVE: path}).items()}


def test_sydney_in_2021(real: dict[str, list[dict[str, Any]]]) -> None:
    (row,) = [r for r in real["migrants"] if r["source_code"] == "1GSYD" and r["origin"] == "all"]
    assert row["population"] == 5_231_147
    assert row["base"] - row["migrants"] == 2_970_785
    assert row["migrants"] == 2_021_079
    assert row["ignored"] is None


def test_capitals_are_greater_cities_and_nothing_else_is(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    capitals = {p["principal_city"] for p in real["places"] if p["geography"] == "greater_city"}
    assert capitals == {
        *("Sydney", "Melbourne", "Brisbane", "Adelaide", "Perth", "Hobart", "Darwin", "Canberra")
    }
    assert len(real["places"]) == 34
    assert all(p["not_a_city"] for p in real["places"] if p["geography"] is None)


def test_countries_of_birth_add_up_to_all_born_elsewhere(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    rows = [row for row in real["migrants"] if row["ignored"] is None]
    for code in {row["source_code"] for row in rows}:
        own = {row["origin"]: row["migrants"] for row in rows if row["source_code"] == code}
        assert abs(2 * own["all"] - sum(own.values())) <= 12


def test_melbourne_has_more_people_born_in_india_than_in_china(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    own = {r["origin"]: r["migrants"] for r in real["migrants"] if r["source_code"] == "2GMEL"}
    assert own["IND"] > own["CHN"] > own["GBR"]
