"""UNHCR's locations: what their texts mean, small pages in the API's layout, and facts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import unhcr_locations as source

Tables = dict[str, list[dict[str, Any]]]
Spoil = Callable[[dict[str, Any]], None]


def item(
    location: str,
    total: object,
    kind: str = "REF",
    origin: str = "SSD",
    setting: str = "U",
    *,
    accommodation: str = "I",
    asylum: tuple[str, str] = ("UGA", "Uganda"),
    year: int = 2016,
) -> dict[str, Any]:
    labels = {"year": year, "coo_id": 1, "coo_name": "x", "coo": "x", "coo_iso": origin}
    labels |= {"coa_id": 2, "coa_name": asylum[1], "coa": "x", "coa_iso": asylum[0]}
    labels |= {"pop_type": kind, "location": location, "loc_type": setting}
    ages = {f"{sex}_{age}": "0" for sex in "fm" for age in source.AGES}
    return labels | {"acc_type": accommodation} | ages | {"total": total}


ITEMS = (
    item("Kampala : City", 100),
    item("Kampala  : City", 20, accommodation="U"),
    item("Kampala : City", 7, "ASY", "TIB"),
    item("Kampala : City", 40, "HST", "UGA"),
    item("Rhino Camp", 900, setting="R", accommodation="P"),
    item("Dispersed in the country / territory", 5, "STA", "XXA", "V", accommodation="U"),
)


def read(folder: Path, *items: dict[str, Any], spoil: Spoil = lambda _: None) -> Tables:
    """Two pages, the first with two items fewer."""
    every = [dict(each) for each in items or ITEMS]
    batches = [every[:-2], every[-2:]]
    pages: dict[str, Any] = {
        f"demographics-{number}.json": {
            "page": number,
            "short-url": "1",
            "maxPages": 2,
            "total": [],
            "items": batch,
        }
        for number, batch in enumerate(batches, 1)
    }
    spoil(pages)
    for name, page in pages.items():
        (folder / name).write_text(json.dumps(page, separators=(",", ":")), "utf-8")
    tables = source.read({name: folder / name for name in pages})
    return {name: table.to_pylist() for name, table in tables.items()}


# ------------------------------------------------------------------ rows


def test_every_row_stays_with_its_setting_and_accommodation(tmp_path: Path) -> None:
    rows = read(tmp_path)["persons"]
    assert len(rows) == len(ITEMS)
    camp = rows[4]
    assert camp["source_code"] == "Uganda|Rhino Camp"
    assert (camp["population_type"], camp["setting"], camp["accommodation"]) == (
        "refugee",
        "rural",
        "planned_camp",
    )
    assert (camp["persons"], camp["file"], camp["row_number"]) == (900, "demographics-2.json", 1)


def test_rows_of_one_place_and_origin_are_added_up(tmp_path: Path) -> None:
    refugees, *_ = read(tmp_path)["migrants"]
    assert (refugees["source_code"], refugees["concept"], refugees["origin"]) == (
        "Uganda|Kampala : City",
        "refugee",
        "SSD",
    )
    assert refugees["migrants"] == 120
    assert (refugees["row_number"], refugees["column"]) == (1, "total (sum of 2 rows)")


def test_host_communities_are_not_counted_among_the_displaced_of_a_city(tmp_path: Path) -> None:
    concepts = {row["concept"] for row in read(tmp_path)["migrants"]}
    assert concepts == {"refugee", "asylum_seeker", "stateless"}


def test_origins_have_the_codes_that_are_published(tmp_path: Path) -> None:
    origins = {row["concept"]: row["origin"] for row in read(tmp_path)["migrants"]}
    assert origins == {"refugee": "SSD", "asylum_seeker": "XTB", "stateless": "XXA"}


def test_not_collected_is_no_figure(tmp_path: Path) -> None:
    tables = read(tmp_path, *ITEMS, item("Gulu", "-"), item("Gulu", "0", "ASY"))
    unknown, zero = tables["persons"][-2:]
    assert unknown["persons"] is None and unknown["ignored"] == "not collected"
    assert zero["persons"] == 0 and zero["ignored"] is None
    counted = [row for row in tables["migrants"] if row["source_code"] == "Uganda|Gulu"]
    assert [(row["concept"], row["migrants"]) for row in counted] == [("asylum_seeker", 0)]


def test_numbers_written_as_text_give_the_same_tables(tmp_path: Path) -> None:
    as_text = [each | {"total": str(each["total"])} for each in ITEMS]
    assert read(tmp_path, *as_text) == read(tmp_path)


def test_a_place_stands_once_with_its_country(tmp_path: Path) -> None:
    kampala, camp, dispersed = read(tmp_path)["places"]
    assert (kampala["source_name"], kampala["geography"]) == ("Kampala", "city")
    assert (kampala["country_scheme"], kampala["country_code"]) == ("iso3", "UGA")
    assert camp["not_a_city"] == "camp, settlement or site"
    assert dispersed["not_a_city"] == "several places or none in particular"


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("pop_type", "XYZ", "unknown population type 'XYZ'"),
        ("loc_type", "X", "unknown type of setting 'X'"),
        ("acc_type", "-", "unknown accommodation '-'"),
        ("location", "-", "the location was summed over"),
        ("location", "", "no value stands where a text is expected"),
        ("coa_iso", None, "no value stands where a text is expected"),
        ("total", "*", "the text '*' stands where a number is expected"),
        ("total", 1.5, "the number 1.5 stands where a whole number is expected"),
        ("year", "-", "no value stands where a number is expected"),
        ("idmc", 1, "unknown member"),
    ],
)
def test_bad_items_are_named(tmp_path: Path, member: str, value: object, message: str) -> None:
    def spoil(pages: dict[str, Any]) -> None:
        pages["demographics-1.json"]["items"][2][member] = value

    with pytest.raises(ReadError) as error:
        read(tmp_path, spoil=spoil)
    assert str(error.value).startswith(f"demographics-1.json, row 3, column '{member}': ")
    assert message in str(error.value)


def test_a_member_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"row 2, column 'pop_type': the item has no such member"):
        read(tmp_path, spoil=lambda p: p["demographics-1.json"]["items"][1].pop("pop_type"))


def test_a_renamed_member_is_named(tmp_path: Path) -> None:
    def spoil(pages: dict[str, Any]) -> None:
        for each in pages["demographics-2.json"]["items"]:
            each["f_65"] = each.pop("f_60")

    with pytest.raises(ReadError, match=r"demographics-2\.json, row 1, column 'f_65': unknown"):
        read(tmp_path, spoil=spoil)


def test_pages_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"says that there are 3 pages, and 2 are here"):
        read(tmp_path, spoil=lambda p: p["demographics-2.json"].update(maxPages=3))


# ------------------------------------------------------------------ what a location is


@pytest.mark.parametrize(
    ("country", "location", "name", "geography", "principal_city"),
    [
        ("UGA", "Kampala : City", "Kampala", "city", None),
        ("UGA", "Kampala [Admin 2]", "Kampala", "governorate", None),
        ("UGA", "Kampala", "Kampala", "city", None),
        ("JOR", "Amman : Governorate", "Amman", "governorate", None),
        ("YEM", "Taizz: Muhafazah - Governorate", "Taizz", "governorate", None),
        ("IRQ", "Erbil [Admin 1]", "Erbil", "governorate", None),
        ("IRQ", "Erbil Governorate", "Erbil Governorate", "governorate", "Erbil"),
        (
            "IRQ",
            "Kirkuk District : Kirkuk Governorate",
            "Kirkuk District",
            "governorate",
            "Kirkuk",
        ),
        ("ARE", "Dubai [Admin 1]", "Dubai", "emirate", None),
        ("ETH", "Addis Ababa [Admin 1]", "Addis Ababa", "city", None),
        ("COL", "Bogota D.C. [Admin 1]", "Bogota D.C.", "city", "Bogotá"),
        ("MOZ", "Maputo City [Admin 1]", "Maputo City", "city", "Maputo"),
        ("TUR", "Istanbul : Province", "Istanbul", "governorate", None),
        ("GHA", "Kumasi [Admin 3: PRP]", "Kumasi", "city", None),
        (
            "GHA",
            "Kumasi (within Admin 1: Ashanti ) [Admin 3: PRP]",
            "Kumasi",
            "city",
            None,
        ),
        ("CMR", "Douala [Admin 3: POC]", "Douala", "city", None),
        ("GHA", "Accra : Point", "Accra", "city", None),
        ("KWT", "Kuwait City", "Kuwait City", "city", None),
        ("MNE", "NikÅ¡iÄ‡ : OpÅ¡tina - Municipality", "Nikšić", "city", None),
        (
            "MYS",
            "Kuala Lumpur : Wilayah Persekutuan - Federal territory",
            "Kuala Lumpur",
            "city",
            None,
        ),
    ],
)
def test_cities_and_units_named_by_theirs(
    country: str, location: str, name: str, geography: str, principal_city: str | None
) -> None:
    kind = source.kind_of(country, location, is_urban=True)
    assert (kind.name, kind.geography) == (name, geography)
    assert kind.principal_city == principal_city
    assert kind.not_a_city is None


@pytest.mark.parametrize(
    ("country", "location", "what"),
    [
        ("UGA", "Rhino Camp", "camp, settlement or site"),
        ("JOR", "Mafraq : Zataari Camp", "camp, settlement or site"),
        ("CAF", "Obo REF Formal Settlement [Admin 3: POC]", "camp, settlement or site"),
        ("SWE", "Dispersed in the country / territory", "several places"),
        ("SSD", "Country Wide (South Sudan)", "several places"),
        ("BIH", "Various (Republika Srpska)", "several places"),
        ("CAN", "Quebec [Admin 1]", "province"),
        ("AFG", "Kabul : Wilayat - Province", "province"),
        ("BLR", "Minsk [Admin 1]", "province"),
        ("MOZ", "Maputo [Admin 1]", "province"),
        ("ARG", "Buenos Aires [Admin 1]", "province"),
        ("TGO", "Loko: Tandjouare", "site in a district"),
    ],
)
def test_what_is_no_city_says_what_it_is(country: str, location: str, what: str) -> None:
    kind = source.kind_of(country, location, is_urban=True)
    assert kind.geography is None
    assert kind.not_a_city is not None and kind.not_a_city.startswith(what)


@pytest.mark.parametrize(
    "location", ["Yumbe", "Nyarugusu : Point", "Yumbe [Admin 2]", "Diba 1 [Admin 3: POC]"]
)
def test_a_place_whose_people_are_not_urban_stands_for_no_city(location: str) -> None:
    assert source.kind_of("UGA", location, is_urban=False).geography is None
    assert source.kind_of("UGA", location, is_urban=True).geography is not None


def test_a_new_bare_name_that_is_a_unit_from_the_next_year_on_is_a_province(
    tmp_path: Path,
) -> None:
    canada = ("CAN", "Canada")
    items = [
        item("Québec", 900, "ASY", asylum=canada, year=2022),
        item("Quebec [Admin 1]", 900, "ASY", asylum=canada, year=2024),
        item("Dakar", 50, asylum=("SEN", "Senegal"), year=2001),
        item("Dakar [Admin 1]", 50, asylum=("SEN", "Senegal"), year=2024),
    ]
    kinds = {place["source_code"]: place for place in read(tmp_path, *items)["places"]}
    assert kinds["Canada|Québec"]["not_a_city"] == "province, state or region"
    assert kinds["Senegal|Dakar"]["geography"] == "city"


# ------------------------------------------------------------------ the real tables


@pytest.fixture(scope="module")
def real(
    serve: ModuleType, upstream: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pa.Table]:
    """What the API answers about 2016 and 2024."""
    shown = ("ptype_show", "locationDescription_show", "locationUR_show", "locationAccType_show")
    query = {member: ["1"] for member in shown}
    query |= {"coo_all": ["true"], "coa_all": ["true"], "cf_type": ["ISO"], "limit": ["50000"]}
    answer = serve.Unhcr(upstream / "tables" / "unhcr").reply(
        "demographics", query | {"year[]": ["2016", "2024"]}
    )
    path = tmp_path_factory.mktemp("unhcr") / "demographics-1.json"
    path.write_bytes(answer.body)
    return source.read({path.name: path})


def where(table: pa.Table, **values: object) -> pa.Table:
    for column, value in values.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def test_kampala_in_2016(real: dict[str, pa.Table]) -> None:
    kampala = where(real["migrants"], source_code="Uganda|Kampala : City", year=2016)
    totals: Counter[str] = Counter()
    for row in kampala.to_pylist():
        totals[row["concept"]] += row["migrants"]
    assert totals == {"refugee": 59_679, "asylum_seeker": 28_290}


def test_157_million_people_in_2024(real: dict[str, pa.Table]) -> None:
    of_2024 = where(real["persons"], year=2024)
    assert of_2024.num_rows == 19_829
    assert pc.sum(of_2024["persons"]).as_py() == 157_167_792


def test_a_sixth_of_the_internally_displaced_are_said_to_be_urban(
    real: dict[str, pa.Table],
) -> None:
    idps = where(real["persons"], year=2024, population_type="idp")
    by_setting = Counter[str]()
    for row in idps.select(["setting", "persons"]).to_pylist():
        by_setting[row["setting"]] += row["persons"]
    assert sum(by_setting.values()) == 68_131_711
    assert round(by_setting["urban"] / 68_131_711, 4) == 0.1603


def test_nobody_is_lost_when_rows_are_added_up(real: dict[str, pa.Table]) -> None:
    concepts = pa.array(source.CONCEPTS.values())
    counted = real["persons"].filter(pc.is_in(real["persons"]["population_type"], concepts))
    assert pc.sum(real["migrants"]["migrants"]) == pc.sum(counted["persons"])


def test_every_reviewed_unit_is_of_a_geography_of_ours() -> None:
    for row in source.reference_rows(source.__file__):
        assert row["geography"] in {"city", "governorate"} and row["reason"]
