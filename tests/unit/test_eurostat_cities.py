"""Eurostat's city statistics: small files in the publisher's layout, and facts on its own."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import eurostat_cities as source

HEADER = [
    "STRUCTURE",
    "STRUCTURE_ID",
    "STRUCTURE_NAME",
    "freq",
    "Time frequency",
    "indic_ur",
    "Urban audit indicator",
    "cities",
    "Geopolitical entity (declaring)",
    "TIME_PERIOD",
    "Time",
    "OBS_VALUE",
    "Observation value",
    "OBS_FLAG",
    "Observation status (Flag) V2 structure",
    "CONF_STATUS",
    "Confidentiality status (flag)",
]

Cells = dict[str, str]
Files = dict[str, Path]
Write = Callable[..., Files]


def row(table: str, indicator: str, code: str, label: str, year: int, value: str) -> Cells:
    """One observation as Eurostat's SDMX-CSV has it."""
    return dict.fromkeys(HEADER, "") | {
        "STRUCTURE": "dataflow",
        "STRUCTURE_ID": f"ESTAT:{table}(1.0)",
        "freq": "A",
        "indic_ur": indicator,
        "cities": code,
        "Geopolitical entity (declaring)": label,
        "TIME_PERIOD": str(year),
        "OBS_VALUE": value,
    }


def born(code: str, label: str, year: int, value: str, indicator: str = "DE2009V") -> Cells:
    return row("URB_CPOPCB", indicator, code, label, year, value)


def people(code: str, label: str, year: int, value: str) -> Cells:
    return row("URB_CPOP1", "DE1001V", code, label, year, value)


def point(code: str, name: str, longitude: Any = 2.1, latitude: Any = 41.4) -> dict[str, Any]:
    """One feature as GISCO has it."""
    properties: dict[str, Any] = dict.fromkeys(source.POINT_IGNORED)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
        "properties": {"URAU_CODE": code, "URAU_NAME": name, "NUTS3_2021": None, **properties},
        "id": code,
    }


PARTS = [
    born("ES", "Spain", 2022, "7000000.0"),
    born("ES002C", "Barcelona (greater city)", 2022, "900000.0"),
    born("ES002C", "Barcelona (greater city)", 2023, "965924.0"),
]
WHOLES = [
    people("ES", "Spain", 2023, "48000000"),
    people("ES002C", "Barcelona (greater city)", 2023, "3200000"),
    people("UK001C", "London", 2018, "8800000"),
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the four files; what is not given is Barcelona and London."""

    def write(
        parts: list[Cells] | None = None,
        wholes: list[Cells] | None = None,
        points: list[dict[str, Any]] | None = None,
        header: list[str] = HEADER,
    ) -> Files:
        for name, rows in (
            (source.MIGRANTS, parts or PARTS),
            (source.POPULATIONS, wholes or WHOLES),
        ):
            text = io.StringIO()
            out = csv.DictWriter(text, header, extrasaction="ignore", lineterminator="\r\n")
            out.writeheader()
            out.writerows(rows)
            (tmp_path / name).write_text(text.getvalue(), "utf-8")
        cities = [point("ES002C", "Barcelona ")] if points is None else points
        areas = [point("ES002F", "Barcelona")]
        for name, features in zip(source.POINTS, (cities, areas), strict=True):
            collection = {"type": "FeatureCollection", "features": features}
            (tmp_path / name).write_text(json.dumps(collection), "utf-8")
        return {
            name: tmp_path / name for name in (source.MIGRANTS, source.POPULATIONS, *source.POINTS)
        }

    return write


def rows_of(files: Files, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = source.read(files)[table].to_pylist()
    return rows


def test_a_part_stands_beside_the_population_of_its_year(write: Write) -> None:
    spain, before, after = rows_of(write(), "migrants")
    assert spain["ignored"] == "a country, not a city"
    assert (after["concept"], after["origin"]) == ("foreign_born", "all")
    assert (after["migrants"], after["population"], after["base"]) == (965924, 3200000, 3200000)
    assert (before["migrants"], before["population"], before["base"]) == (900000, None, None)
    assert (after["file"], after["row_number"], after["column"]) == (
        source.MIGRANTS,
        4,
        "OBS_VALUE",
    )


def test_countries_are_no_places(write: Write) -> None:
    files = write()
    spain, barcelona, london = rows_of(files, "populations")
    assert spain["ignored"] == "a country, not a city"
    assert (barcelona["population"], barcelona["ignored"], london["ignored"]) == (
        3200000,
        None,
        None,
    )
    city, capital = rows_of(files, "places")
    assert (city["source_name"], city["geography"]) == ("Barcelona", "greater_city")
    assert (city["longitude"], city["latitude"]) == (2.1, 41.4)
    assert (city["country_scheme"], city["country_code"], city["population"]) == (
        "iso2",
        "ES",
        3200000,
    )
    assert (capital["source_name"], capital["geography"]) == ("London", "city")
    assert (capital["country_code"], capital["longitude"]) == ("GB", None)


def test_a_code_is_never_cut(write: Write) -> None:
    wholes = [people("CH001C1", "Zurich", 2010, "370000"), people("CH001C", "Bern", 2020, "134000")]
    zurich, bern = rows_of(write(wholes=wholes, points=[point("CH001C", "Bern")]), "places")[:2]
    assert (zurich["source_name"], zurich["longitude"]) == ("Zurich", None)
    assert (bern["source_name"], bern["longitude"]) == ("Bern", 2.1)


def test_only_concepts_with_a_total_are_published(write: Write) -> None:
    parts = [born("ES002C", "Barcelona", 2023, "7", code) for code in source.CONCEPTS]
    published = {
        row["concept"]: row["migrants"]
        for row in rows_of(write(parts, [people("ES002C", "Barcelona", 2023, "9")]), "migrants")
        if row["ignored"] is None
    }
    assert published == {"foreign_born": 7, "foreign_citizen": 7}


def test_a_blank_is_no_figure_and_zero_is_one(write: Write) -> None:
    parts = [
        born("ES002C", "Barcelona (greater city)", 2021, "") | {"CONF_STATUS": "C"},
        born("ES002C", "Barcelona (greater city)", 2022, ":"),
        born("ES002C", "Barcelona (greater city)", 2023, "0.0"),
    ]
    secret, absent, zero = rows_of(write(parts), "migrants")
    assert [row["migrants"] for row in (secret, absent, zero)] == [None, None, 0]
    assert secret["ignored"] == absent["ignored"] == source.NO_FIGURE
    assert zero["ignored"] is None
    assert [row["flag"] for row in (secret, absent, zero)] == ["C", None, None]


def test_every_flag_is_kept(write: Write) -> None:
    parts = [born("ES002C", "Barcelona", 2023, "1") | {"OBS_FLAG": "be", "CONF_STATUS": "C"}]
    wholes = [people("ES002C", "Barcelona", 2023, "2") | {"OBS_FLAG": "d"}]
    files = write(parts, wholes)
    assert rows_of(files, "migrants")[0]["flag"] == "beC"
    assert rows_of(files, "populations")[0]["flag"] == "d"


@pytest.mark.parametrize(
    ("code", "label", "gisco", "name", "others", "principal"),
    [
        ("NL032C", "Middelburg \xa0\xa0\xa0", None, "Middelburg", None, None),
        ("IT020C", "Caserta  (greater city)", None, "Caserta", None, None),
        ("PL035C", "Inowroc?aw", "Inowrocław", "Inowrocław", None, None),
        ("PL035C", "Inowroc?aw", "Inowrocław Zachodni", "Inowroc?aw", "Inowrocław Zachodni", None),
        ("PL035C", "Inowroc?aw", None, "Inowroc?aw", None, None),
        ("HU007C", "Gyõr", None, "Győr", None, None),
        ("PT001C", "São Paulo", None, "São Paulo", None, None),
        ("RO010C", "Târgu Mureş", "Târgu Mureş", "Târgu Mureș", None, None),
        ("PL023C", "Zory", "Żory", "Zory", "Żory", None),
        ("BE001C", "Bruxelles/Brussel", None, "Bruxelles/Brussel", "Bruxelles|Brussel", None),
        ("ES051C", "Línea, La", None, "Línea, La", "La Línea", None),
        ("UK055C", "North (Airdrie/Bellshill)", None, "North (Airdrie/Bellshill)", None, None),
        ("MT001C", "Greater Valletta", None, "Greater Valletta", None, "Valletta"),
        (
            "FR076C",
            "Annemasse-Geneva (French part)",
            None,
            "Annemasse-Geneva (French part)",
            None,
            "Annemasse",
        ),
        (
            "FR077C",
            "Saint-Louis-Bâle, (French part)",
            None,
            "Saint-Louis-Bâle, (French part)",
            None,
            "Saint-Louis",
        ),
    ],
)
def test_labels_are_cleaned_of_what_is_certain(
    write: Write,
    code: str,
    label: str,
    gisco: str | None,
    name: str,
    others: str | None,
    principal: str | None,
) -> None:
    points = [point(code, gisco) if gisco else point("AA001C", "Elsewhere")]
    files = write([born(code, label, 2023, "1")], [people(code, label, 2023, "2")], points)
    (place,) = rows_of(files, "places")
    assert (place["source_name"], place["other_names"]) == (name, others)
    assert place["principal_city"] == principal


def test_one_wrong_year_does_not_change_the_size_of_a_place(write: Write) -> None:
    years = [(2021, "1083498"), (2022, "1073096"), (2023, "1084831"), (2024, "197967")]
    wholes = [people("DE004C", "Köln", year, count) for year, count in years]
    (place, *_) = rows_of(write(wholes=wholes), "places")
    assert place["population"] == 1073096


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"indic_ur": "DE2013V"}, "'DE2013V' is an unknown indicator"),
        ({"OBS_FLAG": "bx"}, "'bx' is an unknown flag"),
        ({"CONF_STATUS": "S"}, "'S' is an unknown flag"),
        ({"cities": "ES02C"}, "'ES02C' is neither a city's code nor a country's"),
        ({"cities": "ES002X"}, "'ES002X' is neither a city's code nor a country's"),
        ({"freq": "M"}, "'M' is not annual"),
        ({"STRUCTURE_ID": "ESTAT:URB_CPOP1(1.0)"}, "'ESTAT:URB_CPOP1' is not the table expected"),
        ({"OBS_VALUE": "12.5"}, "where a whole number is expected"),
        ({"OBS_VALUE": "n/a"}, "'n/a'"),
        ({"TIME_PERIOD": "2023-Q1"}, "'2023-Q1'"),
        ({"Geopolitical entity (declaring)": "Girona"}, "'Girona' is another name for ES002C"),
    ],
)
def test_the_unknown_is_an_error_that_says_where(write: Write, spoilt: Cells, message: str) -> None:
    files = write([*PARTS, born("ES002C", "Barcelona (greater city)", 2021, "1") | spoilt])
    with pytest.raises(ReadError, match=r"urb_cpopcb\.csv, row 5, column") as caught:
        source.read(files)
    assert message in str(caught.value)


def test_an_unknown_and_a_missing_column_are_errors(write: Write) -> None:
    with pytest.raises(ReadError, match=r"column 'unit'.*unknown column"):
        source.read(write([{**PARTS[1], "unit": "NR"}], header=[*HEADER, "unit"]))
    with pytest.raises(ReadError, match=r"column 'OBS_FLAG'.*no such column"):
        source.read(write(header=[name for name in HEADER if name != "OBS_FLAG"]))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([point("ES002C", "Barcelona", 41.4, 200)], "row 1, column 'geometry'.*not a point"),
        ([point("ES002C", "Barcelona", "2.1")], "row 1, column 'geometry'.*not a point"),
        ([point("ES002C", "Barcelona"), point("ES002C", "Barna")], "row 2.*'ES002C' occurs twice"),
        ([{"type": "Feature"}], "row 1.*not an object"),
        ([], "not a GeoJSON collection"),
    ],
)
def test_a_bad_point_is_an_error_that_says_where(
    write: Write, features: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ReadError, match=rf"CITIES\.geojson.*{message}"):
        source.read(write(points=features))


# ------------------------------------------------------------------ the publisher's own files


@pytest.fixture(scope="module")
def real(upstream: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables of the mirror."""
    files = {}
    for download in source.SOURCE.downloads:
        url = urlsplit(download.url)
        files[download.file] = upstream / "files" / url.netloc / url.path.removeprefix("/")
    return {name: table.to_pylist() for name, table in source.read(files).items()}


def test_known_figures(real: dict[str, list[dict[str, Any]]]) -> None:
    born = {(row["source_code"], row["year"]): row for row in real["migrants"]}
    assert born["ES002C", 2023]["migrants"] == 965_924
    assert born["PT001C", 2021]["migrants"] == 325_001
    assert born["BE001C", 2024]["migrants"] == 620_939
    assert born["FR001C", 2022]["migrants"] == 2_694_007
    assert born["BE001C", 2024]["base"] == 1_264_371


def test_every_row_of_the_files_is_there(real: dict[str, list[dict[str, Any]]]) -> None:
    ignored = {name: Counter(row["ignored"] for row in rows) for name, rows in real.items()}
    assert ignored["migrants"] == {None: 4145, source.COUNTRY: 100}
    assert ignored["populations"] == {None: 6237, source.COUNTRY: 133}
    assert ignored["places"] == {None: 858}
    cities = [row for row in real["migrants"] if row["ignored"] is None]
    assert sum(row["population"] is None for row in cities) == 61
    assert {row["flag"] for row in real["populations"]} == {None, "b", "d", "e"}


def test_known_places(real: dict[str, list[dict[str, Any]]]) -> None:
    places = {row["source_code"]: row for row in real["places"]}
    assert sum(row["latitude"] is not None for row in places.values()) == 691
    assert (places["CH001C"]["source_name"], places["CH001C"]["geography"]) == (
        "Bern",
        "greater_city",
    )
    assert places["CH002C"]["source_name"] == "Zurich"
    assert places["PL035C"]["source_name"] == "Inowrocław"
    assert places["NL032C"]["source_name"] == "Middelburg"
    assert places["FR076C"]["principal_city"] == "Annemasse"
    assert not [row for row in places.values() if "?" in row["source_name"]]
    assert not [row for row in places.values() if "greater city" in row["source_name"].lower()]
    assert places["DE001C"]["population"] > 3_500_000


def test_french_cities_overseas_lie_in_their_own_territory(
    real: dict[str, list[dict[str, Any]]],
) -> None:
    """Saint-Louis of Reunion is not the one beside Basel."""
    places = {row["source_code"]: row for row in real["places"]}
    territories = {code: places[code]["country_code"] for code in ("FR030C", "FR046C", "FR074C")}
    assert territories == {"FR030C": "RE", "FR046C": "MQ", "FR074C": "RE"}
    assert places["FR077C"]["country_code"] == "FR"
