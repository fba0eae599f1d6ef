"""IOM's Displacement Tracking Matrix: made-up figures in the documented shape of its API."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from urban_migration.errors import ReadError, UsageError
from urban_migration.sources import iom_dtm as source
from urban_migration.sources.source import with_secret

Tables = dict[str, list[dict[str, Any]]]
LAKE, EAST = "Lake Chad Basin", "Eastern Chad"


def record(number: int, persons: object, **changes: object) -> dict[str, Any]:
    """A record of admin 2: Mamdi, in the Lac region of Chad."""
    units = {"admin0Name": "Chad", "admin0Pcode": "TCD"}
    units |= {"admin1Name": "Lac", "admin1Pcode": "TD07"}
    units |= {"admin2Name": "Mamdi", "admin2Pcode": "TD0701"}
    return {
        "id": number,
        "operation": LAKE,
        **units,
        "numPresentIdpInd": persons,
        "reportingDate": "2024-03-31T00:00:00",
        "yearReportingDate": 2024,
        "monthReportingDate": 3,
        "roundNumber": 18,
        "displacementReason": "Conflict",
        "numberMales": 40,
        "numberFemales": 60,
        "idpOriginAdmin1Name": "Not available",
        "idpOriginAdmin1Pcode": "Not available",
        "assessmentType": "BA",
        **changes,
    }


def later(number: int, persons: object, **changes: object) -> dict[str, Any]:
    changes = {"reportingDate": "2024-10-31T00:00:00", "roundNumber": 19} | changes
    return record(number, persons, **changes)


def answer(records: list[dict[str, Any]]) -> dict[str, Any]:
    envelope = {"statusCode": 200, "isSuccess": True, "errorMessages": []}
    return {"result": records, **envelope, "totalRecordsCount": len(records)}


def read(
    folder: Path,
    *records: dict[str, Any],
    level: str = "admin2",
    spoil: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Tables:
    """``records`` as Chad's answer at ``level``; every other answer has none."""
    files = {}
    for each in source.LEVELS:
        for country in source.COUNTRIES:
            name = f"{each}-{country}.json"
            own = answer(list(records) if (each, country) == (level, "TCD") else [])
            if records and own["result"]:
                spoil(own)
            files[name] = folder / name
            files[name].write_text(json.dumps(own), "utf-8")
    return {name: table.to_pylist() for name, table in source.read(files).items()}


def test_reasons_origins_and_assessments_are_added_up(tmp_path: Path) -> None:
    rows = [
        record(1, 1_000),
        record(2, 200, displacementReason="Disaster"),
        record(3, 30, idpOriginAdmin1Name="Lac", idpOriginAdmin1Pcode="TD07"),
        record(4, 4, assessmentType="SA"),
    ]
    (whole,) = read(tmp_path, *rows)["rounds"]
    assert (whole["source_code"], whole["level"]) == (f"TD0701|{LAKE}", "admin2")
    assert (whole["round"], whole["date"]) == (18, date(2024, 3, 31))
    assert (whole["persons"], whole["males"], whole["females"]) == (1_234, 160, 240)
    assert (whole["file"], whole["row_number"]) == ("admin2-TCD.json", 1)
    assert whole["column"] == "numPresentIdpInd (sum of 4 records)"


def test_rounds_are_never_added_up_and_the_last_of_a_year_counts(tmp_path: Path) -> None:
    tables = read(tmp_path, later(2, 700), record(1, 1_000))
    assert {row["round"]: (row["persons"], row["ignored"]) for row in tables["rounds"]} == {
        18: (1_000, None),
        19: (700, None),
    }
    (idps,) = tables["migrants"]
    assert (idps["year"], idps["concept"], idps["origin"], idps["migrants"]) == (
        2024,
        "idp",
        "TCD",
        700,
    )


def test_operations_are_never_added_up(tmp_path: Path) -> None:
    tables = read(tmp_path, record(1, 1_000), record(2, 50, operation=EAST))
    assert {row["source_code"]: row["migrants"] for row in tables["migrants"]} == {
        f"TD0701|{LAKE}": 1_000,
        f"TD0701|{EAST}": 50,
    }


def test_a_sum_with_an_unknown_part_is_unknown(tmp_path: Path) -> None:
    (row,) = read(tmp_path, record(1, 9, numberMales=None), record(2, 1))["rounds"]
    assert (row["persons"], row["males"], row["females"]) == (10, None, 120)
    tables = read(tmp_path, record(1, "Not available"), record(2, 1))
    assert tables["rounds"][0]["persons"] is None
    assert tables["rounds"][0]["ignored"] == source.NO_FIGURE
    assert tables["migrants"] == []


def test_second_level_units_may_bear_a_citys_name(tmp_path: Path) -> None:
    (mamdi,) = read(tmp_path, record(1, 9))["places"]
    assert (mamdi["source_name"], mamdi["country_code"]) == ("Mamdi", "TCD")
    assert mamdi["geography"] == "governorate"


def test_first_level_units_are_provinces_and_a_country_is_no_place(tmp_path: Path) -> None:
    below = ("admin2Name", "admin2Pcode")
    region = {name: value for name, value in record(1, 9).items() if name not in below}
    (lac,) = read(tmp_path, region, level="admin1")["places"]
    assert lac["geography"] is None and lac["not_a_city"] == "province, state or region"
    nation = {name: value for name, value in region.items() if not name.startswith("admin1")}
    tables = read(tmp_path, nation, level="admin0")
    assert tables["places"] == tables["migrants"] == []
    (chad,) = tables["rounds"]
    assert (chad["level"], chad["name"], chad["ignored"]) == ("admin0", "Chad", None)


def test_a_country_without_figures_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path) == {"rounds": [], "migrants": [], "places": []}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numPresentIdpInd": "many"}, "column 'numPresentIdpInd': the text 'many' stands"),
        ({"reportingDate": "31/03/2024"}, "column 'reportingDate': the text '31/03/2024' stands"),
        ({"yearReportingDate": 2023}, "column 'yearReportingDate': the year 2023 beside the date"),
        ({"admin0Pcode": "SDN"}, "column 'admin0Pcode': 'SDN' stands where TCD was asked for"),
        ({"admin2Pcode": None}, "column 'admin2Pcode': no value stands where a text is expected"),
        ({"id": 1}, "column 'id': record 1 stands in row 1 too"),
        ({"numPresentIdpHh": 5}, "column 'numPresentIdpHh': unknown member"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, record(1, 9), record(2, 9, **changes))
    assert str(error.value).startswith(f"admin2-TCD.json, row 2, {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"isSuccess": False, "result": None, "errorMessages": ["No such operation"]},
            "the API answered that it failed: No such operation",
        ),
        ({"totalRecordsCount": 3}, "says that there are 3 records, and 1 are here"),
        ({"nextPage": 2}, "the answer is not as the API describes it"),
        ({"result": {}}, "the answer's result is not a list of records"),
    ],
)
def test_answers_that_failed_say_why(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, record(1, 9), spoil=lambda own: own.update(changes))
    assert str(error.value).startswith(f"admin2-TCD.json: {message}")


# ------------------------------------------------------------------ the user's key


def test_without_a_key_the_source_is_off() -> None:
    assert with_secret(source.SOURCE, None) is None
    assert with_secret(source.SOURCE, "") is None
    assert source.SECRET in source.SOURCE.secret_help


def test_the_key_is_in_the_header_and_in_no_address_or_print() -> None:
    with_key = with_secret(source.SOURCE, "0123abc")
    assert with_key is not None
    for download in with_key.downloads:
        assert download.headers == {"Ocp-Apim-Subscription-Key": "0123abc"}
        assert "0123abc" not in download.url + download.file
    assert "0123abc" not in repr(with_key)
    assert source.SOURCE.downloads[0].headers != with_key.downloads[0].headers


@pytest.mark.parametrize("key", ["0123\r\nHost: x", "01 23", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(UsageError) as error:
        with_secret(source.SOURCE, key)
    assert source.SECRET in str(error.value) and key not in str(error.value)


def test_its_licence_forbids_redistribution() -> None:
    assert not source.SOURCE.redistributable and not source.SOURCE.required
