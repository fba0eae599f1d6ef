"""The registry of cities: who is in it, how an id is made, and what may never change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from urban_migration.places.registry import (
    BUNDLED,
    CITY_ID,
    COLUMNS,
    City,
    NewCity,
    RegistryError,
    check_append_only,
    read_registry,
    register,
    slug,
    write_registry,
)

REGISTRY = read_registry()
BY_ID = {city.city_id: city for city in REGISTRY}
BY_WUP2018 = {city.wup2018_code: city.city_id for city in REGISTRY if city.wup2018_code}

LISBON = City("prt-lisbon", "Lisbon", "Lisboa", "PRT", "un_agglomeration", "22167")
PORTO = City("prt-porto", "Porto", "Porto", "PRT", "un_agglomeration", "22168")


def office_city(name: str, country_iso3: str, code: str) -> NewCity:
    return NewCity(name, None, country_iso3, "statistical_city", "own_code", code)


def un_city_2025(name: str, country_iso3: str, code: str) -> NewCity:
    return NewCity(name, None, country_iso3, "un_city_2025", "wup2025_code", code)


# The bundled registry -----------------------------------------------------------------------------


def test_wup_2018_has_1860_agglomerations() -> None:
    agglomerations = [city for city in REGISTRY if city.kind == "un_agglomeration"]
    assert len(agglomerations) == 1860
    assert len({city.wup2018_code for city in agglomerations}) == 1860


@pytest.mark.parametrize(
    ("wup2018_code", "city_id"),
    [
        ("22167", "prt-lisbon"),
        ("21671", "jpn-tokyo"),
        ("21206", "ind-mumbai"),
        ("22744", "uga-kampala"),
        ("22860", "gbr-london"),
        ("20382", "can-london"),
        ("20985", "fra-paris"),
        ("22635", "are-dubai"),
        ("21903", "mar-tangier"),
        ("21891", "mar-casablanca"),
        ("22646", "tun-tunis"),
        ("21597", "ita-turin"),
        ("20107", "aut-vienna"),
        ("21700", "jor-amman"),
        ("21773", "lbn-beirut"),
        ("20402", "can-toronto"),
        ("21957", "nzl-auckland"),
        ("206167", "aus-sydney"),
        ("21930", "nld-amsterdam"),
        ("205146", "nld-the-hague"),
        ("204332", "deu-frankfurt"),
        ("22597", "swe-stockholm"),
        ("22590", "swe-gothenburg"),
        ("20144", "bel-brussels"),
        ("22606", "che-zurich"),
        ("22447", "sgp-singapore"),
        ("22812", "egy-cairo"),
        ("21782", "lby-tripoli"),
        ("21853", "mex-mexico-city"),
        ("21454", "idn-jakarta"),
        ("20464", "chn-beijing"),
        ("20721", "chn-xian"),
        ("20287", "bra-sao-paulo"),
        ("22765", "ukr-kyiv"),
        ("22835", "gbr-birmingham"),
        ("23083", "usa-new-york"),
        ("23052", "usa-los-angeles"),
        ("23174", "usa-washington-dc"),
        ("23152", "usa-st-louis"),
    ],
)
def test_a_city_is_called_what_an_english_reader_calls_it(wup2018_code: str, city_id: str) -> None:
    assert BY_WUP2018[wup2018_code] == city_id


def test_diacritics_stay_where_english_keeps_them() -> None:
    assert BY_ID["bra-sao-paulo"].name == "São Paulo"
    assert BY_ID["pol-lodz"].name == "Łódź"
    assert BY_ID["deu-munster"].name == "Münster"
    assert BY_ID["chn-urumqi"].name == "Ürümqi"
    assert BY_ID["che-zurich"].name == "Zurich"
    assert BY_ID["can-montreal"].name == "Montreal"


def test_the_local_name_is_the_publishers_own_without_its_bracket() -> None:
    local_names = {city_id: BY_ID[city_id].local_name for city_id in BY_ID}
    assert local_names["prt-lisbon"] == "Lisboa"
    assert local_names["aut-vienna"] == "Wien"
    assert local_names["egy-cairo"] == "Al-Qahirah"
    assert local_names["syr-damascus"] == "Dimashq"


def test_two_agglomerations_of_one_name_both_carry_their_code() -> None:
    assert BY_WUP2018["20741"] == "chn-xinyi-20741"
    assert BY_WUP2018["23793"] == "chn-xinyi-23793"
    assert BY_WUP2018["23426"] == "usa-concord-23426"
    assert BY_WUP2018["23027"] == "usa-concord-23027"
    assert not {"chn-xinyi", "usa-concord"} & BY_ID.keys()

    bearers = Counter((city.country_iso3, slug(city.name)) for city in REGISTRY)
    shared = {name for name, count in bearers.items() if count > 1}
    assert shared == {("CHN", "xinyi"), ("USA", "concord")}


def test_the_publishers_provinces_tell_namesakes_apart() -> None:
    assert BY_WUP2018["20678"] == "chn-suzhou-jiangsu"
    assert BY_WUP2018["20679"] == "chn-suzhou-anhui"
    assert BY_WUP2018["23150"] == "usa-springfield-massachusetts"
    assert BY_WUP2018["23151"] == "usa-springfield-missouri"


def test_an_id_is_ascii_and_says_country_and_name() -> None:
    for city in REGISTRY:
        assert city.city_id.isascii()
        assert CITY_ID.fullmatch(city.city_id)
        name_part = f"{city.country_iso3.lower()}-{slug(city.name)}"
        assert city.city_id in {name_part, f"{name_part}-{city.wup2018_code}"}


def test_no_name_carries_a_publishers_artefact() -> None:
    for city in REGISTRY:
        for name in (city.name, city.local_name or city.name):
            assert name == " ".join(name.split())
        assert "/" not in city.name
        assert not re.search(r"[(]|M\.M\.A", city.name) or city.city_id == "deu-frankfurt-oder"


def test_the_file_is_in_the_form_that_the_writer_gives_it(tmp_path: Path) -> None:
    copy = tmp_path / "cities.csv"
    write_registry(reversed(REGISTRY), copy)
    assert copy.read_bytes() == BUNDLED.read_bytes()
    assert b"\r" not in BUNDLED.read_bytes()


# Slugs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("São Paulo", "sao-paulo"),
        ("Xi'an", "xian"),
        ("Xi’an", "xian"),
        ("Sana'a", "sanaa"),
        ("Łódź", "lodz"),
        ("Diyarbakır", "diyarbakir"),
        ("İzmir", "izmir"),
        ("Tromsø", "tromso"),
        ("Gießen", "giessen"),
        ("Chișinău", "chisinau"),
        ("Washington, D.C.", "washington-dc"),
        ("St. Louis", "st-louis"),
        ("Minneapolis–St. Paul", "minneapolis-st-paul"),
        ("Bournemouth/Poole", "bournemouth-poole"),
        ("  Ribeirão  Preto ", "ribeirao-preto"),
        ("東京", ""),
    ],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text())
def test_a_slug_is_lower_case_ascii_words_with_single_hyphens(name: str) -> None:
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", slug(name))


@given(st.text())
@example("A.B.")
@example("ŉ")
def test_the_slug_of_a_slug_is_itself(name: str) -> None:
    assert slug(slug(name)) == slug(name)


LATIN_WORDS = st.lists(
    st.text(st.characters(min_codepoint=0x61, max_codepoint=0x7A), min_size=1), min_size=1
)


@given(LATIN_WORDS)
def test_plain_words_keep_their_letters(words: list[str]) -> None:
    assert slug(" ".join(words)) == "-".join(words)
    assert slug("  ".join(words).upper()) == "-".join(words)


@given(LATIN_WORDS, st.sampled_from(["'", "’", "\u0301", "\u0308", "ʻ"]))
def test_accents_and_apostrophes_do_not_show(words: list[str], mark: str) -> None:
    assert slug(" ".join(f"{word}{mark}" for word in words)) == "-".join(words)


# Reading ------------------------------------------------------------------------------------------

LISBON_ROW = "prt-lisbon,Lisbon,Lisboa,PRT,un_agglomeration,22167,,,,"
PORTO_ROW = "prt-porto,Porto,Porto,PRT,un_agglomeration,22168,,,,"


def written(tmp_path: Path, *rows: str, header: str = ",".join(COLUMNS)) -> Path:
    path = tmp_path / "cities.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_empty_cells_are_none(tmp_path: Path) -> None:
    assert read_registry(written(tmp_path, LISBON_ROW, PORTO_ROW)) == [LISBON, PORTO]
    assert LISBON.codes() == {"wup2018_code": "22167"}


@pytest.mark.parametrize(
    ("second_row", "complaint"),
    [
        (LISBON_ROW, "column city_id: duplicate id prt-lisbon"),
        (PORTO_ROW.replace("prt-porto", "prt-faro"), "column city_id: unsorted"),
        (PORTO_ROW.replace("prt-porto", "prt-Porto"), "column city_id: malformed id"),
        (PORTO_ROW.replace("prt-porto", "prt--porto"), "column city_id: malformed id"),
        (PORTO_ROW.replace("prt-porto", "prt-pôrto"), "column city_id: malformed id"),
        (PORTO_ROW.replace("prt-porto", ""), "column city_id: empty"),
        (PORTO_ROW.replace("Porto,Porto", ",Porto"), "column name: empty"),
        (PORTO_ROW.replace("Porto,Porto", "Porto ,Porto"), "column name: stray white space"),
        (PORTO_ROW.replace("PRT", "PT"), "column country_iso3: malformed country"),
        (PORTO_ROW.replace("un_agglomeration", "town"), "column kind: unknown kind 'town'"),
        (PORTO_ROW.replace("un_agglomeration", "un_city_2025"), "column kind: un_city_2025 does"),
        (PORTO_ROW.replace("22168", ""), "column kind: a city needs the code of a publisher"),
        (PORTO_ROW.replace("22168", "22167"), "column wup2018_code: 22167 already stands for prt"),
        (f"{PORTO_ROW}1312", "column own_code: malformed '1312'"),
        (f"{PORTO_ROW},", "11 cells, expected 10"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_column(
    tmp_path: Path, second_row: str, complaint: str
) -> None:
    path = written(tmp_path, LISBON_ROW, second_row)
    with pytest.raises(RegistryError, match=re.escape(complaint)) as refusal:
        read_registry(path)
    assert f"{path}, line 3" in str(refusal.value)


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="line 1: the columns must be city_id,name"):
        read_registry(written(tmp_path, header="city_id,name"))


def test_a_file_that_is_no_utf8_csv_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, LISBON_ROW)
    path.write_bytes(path.read_bytes() + b"bra-sao-paulo,S\xe3o Paulo\n")
    with pytest.raises(RegistryError, match=re.escape(str(path))):
        read_registry(path)


# Registering --------------------------------------------------------------------------------------


def test_a_new_city_gets_its_country_and_name() -> None:
    soria = office_city("Soria", "ESP", "es_census:42173")
    registered = register(REGISTRY, [soria])
    (added,) = set(registered) - set(REGISTRY)
    assert added == City(
        "esp-soria", "Soria", None, "ESP", "statistical_city", own_code="es_census:42173"
    )
    assert set(REGISTRY) < set(registered)
    check_append_only(REGISTRY, registered)


def test_a_later_homonym_carries_its_code_and_the_older_keeps_its_id() -> None:
    registered = {city.city_id: city for city in register(REGISTRY, [
        un_city_2025("Portland", "USA", "9001"),
        office_city("Portland", "USA", "us_acs:2360545"),
    ])}  # fmt: skip
    assert registered["usa-portland"].wup2018_code == "23102"
    assert registered["usa-portland-9001"].wup2025_code == "9001"
    assert registered["usa-portland-2360545"].own_code == "us_acs:2360545"


def test_a_third_xinyi_carries_its_code_too() -> None:
    registered = register(REGISTRY, [un_city_2025("Xinyi", "CHN", "9002")])
    assert {city.city_id for city in registered} - BY_ID.keys() == {"chn-xinyi-9002"}


def test_a_name_in_another_country_is_no_homonym() -> None:
    registered = register(REGISTRY, [un_city_2025("Lisbon", "USA", "9003")])
    assert {city.city_id for city in registered} - BY_ID.keys() == {"usa-lisbon"}


def test_new_cities_that_share_a_name_all_carry_their_codes_in_any_order() -> None:
    new = [
        office_city("Newtown", "USA", "us_acs:1"),
        office_city("Newtown", "USA", "us_census:1"),
        un_city_2025("New-Town", "USA", "9004"),
        un_city_2025("Newtown", "USA", "9005"),
    ]
    results = [register(REGISTRY, order) for order in permutations(new)]
    assert all(result == results[0] for result in results)
    assert {city.city_id for city in results[0]} - BY_ID.keys() == {
        "usa-newtown-1",
        "usa-newtown-us-census-1",
        "usa-new-town",
        "usa-newtown-9005",
    }


def test_a_code_that_is_another_citys_name_gets_its_issuer_too() -> None:
    once = register([LISBON, PORTO], [un_city_2025("Porto 1", "PRT", "9007")])
    twice = register(once, [un_city_2025("Porto", "PRT", "1")])
    assert {city.city_id for city in once} - {"prt-lisbon", "prt-porto"} == {"prt-porto-1"}
    assert {city.city_id for city in twice} - {c.city_id for c in once} == {"prt-porto-wup2025-1"}


def test_registering_twice_changes_nothing() -> None:
    new = [office_city("Girona", "ESP", "es_census:17079"), un_city_2025("Olot", "ESP", "9006")]
    once = register(REGISTRY, [*new, *new])
    assert register(once, new) == once
    assert register(REGISTRY, []) == REGISTRY


def test_a_renamed_city_is_known_by_its_code() -> None:
    renamed = NewCity("Lisboa", None, "PRT", "un_agglomeration", "wup2018_code", "22167")
    assert register([LISBON, PORTO], [renamed]) == [LISBON, PORTO]


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        ([un_city_2025("東京", "JPN", "1")], "an id needs a name in Latin letters"),
        ([un_city_2025("Faro", "PT", "1")], "malformed country 'PT'"),
        ([un_city_2025("Faro", "PRT", "")], "column wup2025_code: empty"),
        ([un_city_2025("Faro ", "PRT", "1")], "stray white space"),
        ([office_city("Faro", "PRT", "0805")], "own_code must be source_id:source_code"),
        (
            [NewCity("Faro", None, "PRT", "un_city_2025", "own_code", "pt_ine:0805")],
            "un_city_2025 does not go with the codes, which make it statistical_city",
        ),
        (
            [NewCity("Lisbon", None, "ESP", "un_agglomeration", "wup2018_code", "22167")],
            "the code stands for prt-lisbon",
        ),
        (
            [un_city_2025("Faro", "PRT", "1"), un_city_2025("Braga", "PRT", "1")],
            "the same code also comes with another city",
        ),
    ],
)
def test_what_cannot_be_registered_is_refused(new: list[NewCity], complaint: str) -> None:
    with pytest.raises(RegistryError, match=re.escape(complaint)):
        register([LISBON, PORTO], new)


NEW_CITIES = st.lists(
    st.builds(
        un_city_2025,
        st.sampled_from(["Lisbon", "Porto", "Porto 1", "Pôrto", "Faro", "Braga"]),
        st.sampled_from(["PRT", "BRA"]),
        st.integers(1, 99).map(str),
    ),
    unique_by=lambda city: city.code,
)


@given(NEW_CITIES, NEW_CITIES)
def test_the_registry_only_ever_grows(first: list[NewCity], second: list[NewCity]) -> None:
    before = register([LISBON, PORTO], first)
    countries = {city.wup2025_code: city.country_iso3 for city in before}
    second = [c for c in second if countries.get(c.code, c.country_iso3) == c.country_iso3]
    after = register(before, second)
    assert set(before) <= set(after)
    assert {c.code for c in (*first, *second)} == {c.wup2025_code for c in after} - {None}
    assert len({city.city_id for city in after}) == len(after)
    check_append_only(before, after)


# Append-only --------------------------------------------------------------------------------------


def lisbon_vanishes(cities: list[City]) -> list[City]:
    return [city for city in cities if city.city_id != "prt-lisbon"]


def lisbon_and_porto_swap_codes(cities: list[City]) -> list[City]:
    del cities
    return [replace(LISBON, wup2018_code="22168"), replace(PORTO, wup2018_code="22167")]


def lisbons_code_is_replaced(cities: list[City]) -> list[City]:
    return [replace(LISBON, wup2018_code="99999"), *lisbon_vanishes(cities)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lisbon_vanishes, "prt-lisbon has vanished"),
        (lisbon_and_porto_swap_codes, "22167 has moved from prt-lisbon to prt-porto"),
        (lisbons_code_is_replaced, "prt-lisbon no longer stands for wup2018_code 22167"),
    ],
)
def test_a_broken_promise_is_refused(
    tmp_path: Path, change: Callable[[list[City]], list[City]], complaint: str
) -> None:
    before = [LISBON, PORTO]
    with pytest.raises(RegistryError, match=complaint):
        check_append_only(before, change(before))

    path = written(tmp_path, LISBON_ROW, PORTO_ROW)
    untouched = path.read_bytes()
    with pytest.raises(RegistryError, match=complaint):
        write_registry(change(before), path)
    assert path.read_bytes() == untouched
    assert list(tmp_path.iterdir()) == [path]


def test_names_may_be_corrected_and_codes_filled_in(tmp_path: Path) -> None:
    path = written(tmp_path, LISBON_ROW, PORTO_ROW)
    corrected = [replace(LISBON, urban_audit_code="PT001C"), replace(PORTO, name="Oporto")]
    write_registry(corrected, path)
    assert read_registry(path) == corrected


def test_an_invalid_registry_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    with pytest.raises(RegistryError, match="22167 already stands for prt-lisbon"):
        write_registry([LISBON, replace(PORTO, wup2018_code="22167")], path)
    assert not path.exists()


def test_names_with_commas_and_quotes_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    city = City(
        "uga-kampala", 'Kampala, the "City"', None, "UGA", "statistical_city",
        own_code="un_hcr:Uganda|Kampala : City",
    )  # fmt: skip
    write_registry([city], path)
    assert read_registry(path) == [city]
