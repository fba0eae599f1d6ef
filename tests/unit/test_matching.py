"""Which city an area is: namesakes, neighbours, spellings, codes, reviews, and what is refused."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from urban_migration.places import registry
from urban_migration.places.areas import (
    DECISIONS,
    Decision,
    Match,
    MatchingError,
    Place,
    read_decisions,
)
from urban_migration.places.atlas import Atlas, Candidate, Entry, distance_km
from urban_migration.places.editions import cross_editions
from urban_migration.places.matching import match
from urban_migration.places.names import key, near, region_of, sound, variants
from urban_migration.places.proposals import propose, unneeded, with_codes
from urban_migration.places.registry import City, check_append_only, register

# ------------------------------------------------------------------ a small world

CITIES = [
    Candidate("gbr-leeds-bradford", "Leeds-Bradford", "West Yorkshire", "GBR",
              53.8, -1.55, 1_864_036),
    Candidate("gbr-hull", "Hull", "Kingston upon Hull", "GBR", 53.7446, -0.3352, 315_000),
    Candidate("gbr-london", "London", "London", "GBR", 51.5085, -0.1257, 9_046_485),
    Candidate("can-london", "London", "London", "CAN", 42.9834, -81.233, 420_000),
    Candidate("deu-stuttgart", "Stuttgart", "Stuttgart", "DEU", 48.7823, 9.177, 626_275),
    Candidate("deu-cologne", "Cologne", "Köln", "DEU", 50.9333, 6.95, 1_096_152),
    Candidate("che-bern", "Bern", "Bern", "CHE", 46.9481, 7.4474, 422_153),
    Candidate("che-zurich", "Zurich", "Zürich", "CHE", 47.3667, 8.55, 1_371_000),
    Candidate("usa-new-york", "New York", "New York-Newark", "USA", 40.7128, -74.006, 18_819_361),
    Candidate("usa-miami", "Miami", "Miami", "USA", 25.7743, -80.1937, 6_035_715),
    Candidate("usa-portland", "Portland", "Portland", "USA", 45.5234, -122.6762, 2_104_000),
    Candidate("usa-concord-23426", "Concord", "Concord", "USA", 37.978, -122.0311, 673_694),
    Candidate("usa-concord-23027", "Concord", "Concord", "USA", 35.4088, -80.5795, 359_000),
    Candidate("usa-minneapolis-st-paul", "Minneapolis-St. Paul", "Minneapolis-St. Paul", "USA",
              44.98, -93.2638, 2_888_989),
    Candidate("chn-xinyi-20741", "Xinyi", "Xinyi", "CHN", 34.3668, 118.343, 523_419),
    Candidate("chn-xinyi-23793", "Xinyi", "Xinyi", "CHN", 22.373, 110.9475, 386_000),
    Candidate("chn-weihai", "Weihai", "Weihai", "CHN", 37.5017, 122.1136, 834_000),
    Candidate("fra-paris", "Paris", "Paris", "FRA", 48.8534, 2.3488, 10_900_952),
    Candidate("hti-port-au-prince", "Port-au-Prince", "Port-au-Prince", "HTI",
              18.5392, -72.335, 2_637_000),
    Candidate("bra-caxias-do-sul", "Caxias do Sul", "Caxias Do Sul", "BRA",
              -29.1681, -51.1794, 472_504),
    Candidate("esp-valencia", "Valencia", "Valencia", "ESP", 39.4698, -0.3774, 829_879),
    Candidate("ven-valencia", "Valencia", "Valencia", "VEN", 10.1621, -68.0077, 1_860_000),
    Candidate("uga-kampala", "Kampala", "Kampala", "UGA", 0.3163, 32.5822, 2_986_352),
    Candidate("jor-amman", "Amman", "Amman", "JOR", 31.9552, 35.945, 2_064_582),
    Candidate("irn-khorramabad", "Khorramabad", "Khorramabad", "IRN", 33.4878, 48.3558, 382_898),
    Candidate("idn-jakarta", "Jakarta", "Jakarta", "IDN", -6.2146, 106.8451, 10_516_927),
    Candidate("idn-depok", "Depok", "Depok", "IDN", -6.4, 106.8186, 2_503_000),
    Candidate("jpn-kitakyushu-fukuoka", "Kitakyushu-Fukuoka", "Kitakyushu-Fukuoka", "JPN",
              33.6, 130.4167, 5_550_683),
]  # fmt: skip
ENTRIES = [
    Entry("2644688", "Leeds", None, 53.7965, -1.5478, "PPL", "GBR", "ENG", 455_123),
    Entry("2654993", "Bradford", None, 53.7939, -1.7521, "PPL", "GBR", "ENG", 299_310),
    Entry("2643743", "London", "LON,Londres", 51.5085, -0.1257, "PPLC", "GBR", "ENG", 7_556_900),
    Entry("2825297", "Stuttgart", None, 48.7823, 9.177, "PPLA", "DEU", "01", 589_793),
    Entry("2832521", "Sindelfingen", None, 48.7, 9.0167, "PPL", "DEU", "01", 60_843),
    Entry("2886242", "Köln", "Cologne,Colonia", 50.9333, 6.95, "PPLA2", "DEU", "07", 963_395),
    Entry("2661552", "Bern", "Berne,Berna", 46.9481, 7.4474, "PPLC", "CHE", "BE", 121_631),
    Entry("2657896", "Zürich", "Zurich", 47.3667, 8.55, "PPLA", "CHE", "ZH", 341_730),
    Entry("5128581", "New York City", "NYC,New York", 40.7143, -74.006, "PPL", "USA", "NY",
          8_175_133),
    Entry("5101798", "Newark", "EWR", 40.7357, -74.1724, "PPLA2", "USA", "NJ", 277_140),
    Entry("5376803", "Newark", None, 37.5297, -122.0402, "PPL", "USA", "CA", 42_573),
    Entry("4164138", "Miami", None, 25.7743, -80.1937, "PPLA2", "USA", "FL", 399_457),
    Entry("4158476", "Hialeah", None, 25.8576, -80.2781, "PPL", "USA", "FL", 224_669),
    Entry("5746545", "Portland", "PDX", 45.5234, -122.6762, "PPLA2", "USA", "OR", 583_776),
    Entry("4975802", "Portland", None, 43.6615, -70.2553, "PPLA2", "USA", "ME", 66_194),
    Entry("5339111", "Concord", None, 37.978, -122.0311, "PPL", "USA", "CA", 122_067),
    Entry("4461574", "Concord", None, 35.4088, -80.5795, "PPLA2", "USA", "NC", 79_066),
    Entry("5037649", "Minneapolis", None, 44.98, -93.2638, "PPLA2", "USA", "MN", 382_578),
    Entry("5045360", "Saint Paul", "St. Paul", 44.9444, -93.0933, "PPLA", "USA", "MN", 285_068),
    Entry("1812057", "Xinyi", "Dongzhen", 22.373, 110.9475, "PPL", "CHN", "30", 98_259),
    Entry("1800657", "Muyang", None, 34.3, 118.4, "PPL", "CHN", "04", 60_000),
    Entry("3728474", "Port-au-Prince", "PAP", 18.5392, -72.335, "PPLC", "HTI", "11", 1_234_742),
    Entry("3466537", "Caxias do Sul", "Caxias", -29.1681, -51.1794, "PPL", "BRA", "23", 381_270),
    Entry("2509954", "Valencia", None, 39.4698, -0.3774, "PPLA", "ESP", "60", 814_208),
    Entry("232422", "Kampala", None, 0.3163, 32.5822, "PPLC", "UGA", "C", 1_353_189),
    Entry("229112", "Entebbe", None, 0.0564, 32.4795, "PPL", "UGA", "C", 62_969),
    Entry("2972191", "Toulouse", None, 43.6043, 1.4437, "PPLA", "FRA", "B3", 433_055),
]  # fmt: skip
GAZETTEER: dict[str, list[Entry]] = {}
for _entry in ENTRIES:
    GAZETTEER.setdefault(_entry.country_iso3, []).append(_entry)


def area(code: str, name: str, country: str, people: int | None = None, **more: object) -> Place:
    source_id = str(more.pop("source_id", "unsd_city_population"))
    return Place(source_id, code, name, country, population=people, **more)  # type: ignore[arg-type]


def city(code: str, people: int) -> Place:
    """A place of the United States as the American Community Survey codes it: Portland|OR."""
    return area(code, code.partition("|")[0], "USA", people, source_id="us_acs", geography="city")


def found(places: Sequence[Place], decisions: Sequence[Decision] = ()) -> list[Match]:
    return match(places, CITIES, GAZETTEER, decisions)


def one(place: Place) -> Match:
    return found([place])[0]


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("São Paulo", "saopaulo"),
        ("Đà Nẵng", "danang"),
        ("Gäncä", "ganca"),
        ("Xi’an", "xian"),
        ("St. Gallen", "saintgallen"),
        ("Sankt Augustin", "saintaugustin"),
        ("Straßburg", "strassburg"),
        ("Αθήνα", ""),
    ],
)
def test_a_key_is_the_name_in_plain_letters(name: str, closed: str) -> None:
    assert key(name) == closed


@pytest.mark.parametrize(
    ("one_name", "other"),
    [
        ("Khorramabad", "Khoramabad"),
        ("Kukatpalle", "Kukatpalli"),
        ("Abbottabad", "Abbotabad"),
        ("Sabzevar", "Sabzewar"),
    ],
)
def test_sister_spellings_sound_alike(one_name: str, other: str) -> None:
    assert sound(key(one_name)) == sound(key(other))


def test_near_is_one_letter_more_less_or_other_or_swapped() -> None:
    assert near("sialkot", "sialkote")
    assert near("blumenau", "blumenou")
    assert near("abcd", "abdc")
    assert not near("abcd", "badc")
    assert not near("bhiwani", "diwandi")


def test_a_label_holds_several_names() -> None:
    def keys(name: str, country: str) -> set[str]:
        return {reading.key for reading in variants(name, country) if reading.cost <= 0.4}

    assert {"wien", "vienna"} <= keys("Wien (Vienna)", "AUT")
    assert {"bruxelles", "brussel"} & keys("Bruxelles/Brussel", "BEL") == {"bruxelles"}
    assert "fuzhou" in keys("Fuzhou (Fujian)", "CHN")
    assert "fujian" not in keys("Fuzhou (Fujian)", "CHN")
    assert "ciudaddemexico" in keys("MEXICO, CIUDAD DE", "MEX")
    assert "sydney" in keys("Greater Sydney", "AUS")
    assert "port" not in keys("Port-au-Prince", "HTI")


def test_a_region_stands_beside_the_name() -> None:
    assert region_of("USA", "Portland|OR") == "OR"
    assert region_of("USA", "United States of America|WASHINGTON (DC)|City proper") == "DC"
    assert region_of("CHN", "China|Xinyi (Guangdong)|City proper") == "30"
    assert region_of("FRA", "France|PARIS|City proper") is None


def test_distances_are_great_circles() -> None:
    assert distance_km((48.8566, 2.3522), (51.5074, -0.1278)) == pytest.approx(343.6, abs=1)
    assert distance_km((0, 179.9), (0, -179.9)) == pytest.approx(22.2, abs=0.1)
    assert distance_km((None, None), (0, 0)) is None


# ------------------------------------------------------------------ namesakes and neighbours


def test_a_city_in_a_larger_agglomeration_is_a_city_in_its_own_right() -> None:
    for place, geonames_id in (
        (area("DE065C", "Sindelfingen", "DEU", 64_995, source_id="eurostat_cities",
              latitude=48.7, longitude=9.0, geography="city"), "2832521"),
        (city("Newark|NJ", 281_913), "5101798"),
        (city("Hialeah|FL", 237_069), "4158476"),
        (city("Saint Paul|MN", 300_840), "5045360"),
        (area("B", "Bradford", "GBR", 537_000), "2654993"),
    ):  # fmt: skip
        result = one(place)
        assert (result.status, result.city_id) == ("own", None), place.name
        assert result.geonames_id == geonames_id
    assert "near deu-stuttgart" in one(area("S", "Sindelfingen", "DEU", 64_995)).why


def test_the_first_of_two_names_is_the_agglomeration() -> None:
    assert one(city("Minneapolis|MN", 410_935)).city_id == "usa-minneapolis-st-paul"
    assert one(area("L", "Leeds", "GBR", 774_000)).city_id == "gbr-leeds-bradford"
    assert one(area("W", "West Yorkshire", "GBR", 1_777_934)).city_id == "gbr-leeds-bradford"
    assert one(area("P", "Port", "HTI", 60_000)).city_id is None


def test_namesakes_are_told_apart_by_their_region() -> None:
    results = found(
        [
            city("Portland|OR", 632_187),
            city("Portland|ME", 66_874),
            city("Concord|CA", 128_668),
            city("Concord|NC", 87_693),
            area("China|Xinyi (Jiangsu)|City proper", "Xinyi (Jiangsu)", "CHN", 962_656),
            area("China|Xinyi (Guangdong)|City proper", "Xinyi (Guangdong)", "CHN", 907_978),
        ]
    )
    assert [result.city_id for result in results] == [
        "usa-portland",
        None,
        "usa-concord-23426",
        "usa-concord-23027",
        "chn-xinyi-20741",
        "chn-xinyi-23793",
    ]
    assert (results[1].status, results[1].geonames_id) == ("own", "4975802")


def test_countries_are_never_crossed() -> None:
    assert one(area("V", "Valencia", "VEN", 1_500_000)).city_id == "ven-valencia"
    assert one(area("V", "Valencia", "ESP", 800_000)).city_id == "esp-valencia"
    assert one(area("L", "London", "CAN", 366_000)).city_id == "can-london"
    assert one(area("L", "London", "AUS", 366_000)).city_id is None


def test_distance_rules_out_a_namesake() -> None:
    at = {"latitude": 43.6, "longitude": 1.44, "source_id": "eurostat_cities"}
    assert one(area("FRX", "Paris", "FRA", 20_000, **at)).status == "own"


def test_what_cannot_be_told_apart_is_left_unmatched_with_both_named() -> None:
    result = one(area("China|Xinyi|City proper", "Xinyi", "CHN", 600_000))
    assert (result.status, result.method, result.city_id) == ("unmatched", "ambiguous", None)
    assert "chn-xinyi-20741" in result.why
    assert "chn-xinyi-23793" in result.why


def test_a_city_proper_and_its_agglomeration_are_one_city() -> None:
    proper, whole = found(
        [
            area("France|PARIS|City proper", "PARIS", "FRA", 2_243_833, geography="city"),
            area("France|PARIS|Urban agglomeration", "PARIS", "FRA", 10_460_118,
                 geography="metropolitan"),
        ]
    )  # fmt: skip
    assert proper.city_id == whole.city_id == "fra-paris"


def test_a_better_fitting_area_of_the_same_source_keeps_the_city() -> None:
    caxias, do_sul = found(
        [
            area("B|Caxias|City proper", "Caxias", "BRA", 118_534, geography="city"),
            area("B|Caxias do Sul|City proper", "Caxias do Sul", "BRA", 415_822, geography="city"),
        ]
    )
    assert do_sul.city_id == "bra-caxias-do-sul"
    assert (caxias.status, caxias.city_id) == ("unmatched", None)
    assert "'B|Caxias do Sul|City proper' fits bra-caxias-do-sul better" in caxias.why


def test_sister_spellings_are_matched_where_the_size_agrees_and_never_in_pinyin() -> None:
    assert one(area("K", "Khoramabad", "IRN", 348_216)).method == "similar_name"
    assert one(area("K", "Khoramabad", "IRN", 348_216)).city_id == "irn-khorramabad"
    assert one(area("K", "Khoramabad", "IRN", 20_000)).city_id is None
    assert one(area("W", "Weihui", "CHN", 464_371)).city_id is None  # not Weihai


def test_names_in_every_form() -> None:
    assert one(area("K", "Köln", "DEU", 1_073_096)).city_id == "deu-cologne"
    assert one(area("K", "KOLN (COLOGNE)", "DEU", 1_073_096)).city_id == "deu-cologne"
    assert one(area("H", "Kingston-upon-Hull", "GBR", 260_000)).city_id == "gbr-hull"
    assert one(area("B", "BERNE", "CHE", 126_598)).city_id == "che-bern"


# ------------------------------------------------------------------ codes


def with_code(code: str, city_id: str) -> list[Candidate]:
    return [
        replace(one, urban_audit_code=code) if one.city_id == city_id else one for one in CITIES
    ]


def test_a_code_of_the_registry_needs_no_search() -> None:
    place = area("CH001C", "Bern", "CHE", 229_648, source_id="eurostat_cities")
    result = match([place], with_code("CH001C", "che-bern"))[0]
    assert (result.city_id, result.method, result.score) == ("che-bern", "code", 1.0)


def test_codes_are_never_cut() -> None:
    place = area("CH001C1", "Zürich", "CHE", 340_000, source_id="eurostat_cities")
    assert match([place], with_code("CH001C", "che-bern"), GAZETTEER)[0].city_id == "che-zurich"


def test_a_code_that_was_given_to_another_place_is_not_believed() -> None:
    place = area("CH001C", "Zürich", "CHE", 340_000, source_id="eurostat_cities")
    result = match([place], with_code("CH001C", "che-bern"), GAZETTEER)[0]
    assert (result.city_id, result.method) == ("che-zurich", "name")


# ------------------------------------------------------------------ what is no city


def test_what_the_publisher_says_is_no_city_stays_unmatched() -> None:
    place = area("1RNSW", "London", "GBR", 9_000_000, not_a_city="rest of a state")
    result = one(place)
    assert (result.status, result.method) == ("unmatched", "not_a_city")
    assert result.why == "not a city: rest of a state"


def location(name: str, country: str, geography: str = "city") -> Place:
    return area(f"x|{name}", name, country, source_id="unhcr_locations", geography=geography)


def test_locations_are_cities_only_if_they_plainly_bear_a_known_name() -> None:
    assert one(location("Kampala", "UGA")).city_id == "uga-kampala"
    assert one(location("Kampala Urban", "UGA")).city_id == "uga-kampala"
    assert one(location("Amman", "JOR", "governorate")).city_id == "jor-amman"
    for name in ("Kampala/Entebbe", "Entebbe (Kampala)", "Kampalla", "Nakivale", "Entebbe"):
        result = one(location(name, "UGA"))
        assert (result.status, result.city_id) == ("unmatched", None), name


def test_a_location_never_makes_a_city_but_may_be_an_own_one() -> None:
    entebbe = Candidate(
        "uga-entebbe", "Entebbe", "Entebbe", "UGA", None, None, None,
        kind="statistical_city", geonames_id="229112", own_code="unsd_city_population:E",
    )  # fmt: skip
    town, district = match(
        [location("Entebbe", "UGA"), location("Entebbe", "UGA", "governorate")],
        [*CITIES, entebbe],
        GAZETTEER,
    )
    assert (town.status, town.city_id) == ("own", "uga-entebbe")
    assert (district.status, district.city_id) == ("unmatched", None)


# ------------------------------------------------------------------ reviews


def decision(code: str, verdict: str, city_id: str | None = None) -> Decision:
    return Decision("unsd_city_population", code, verdict, city_id, "seen")  # type: ignore[arg-type]


def test_a_review_goes_before_the_search() -> None:
    paris = area("P", "Paris", "FRA", 2_243_833)
    matched = found([paris], [decision("P", "match", "deu-cologne")])[0]
    assert (matched.city_id, matched.method, matched.why) == (
        "deu-cologne",
        "review",
        "reviewed: seen",
    )
    assert found([paris], [decision("P", "own")])[0].status == "own"
    assert found([paris], [decision("P", "reject")])[0].status == "rejected"
    assert found([paris], [decision("P", "not_a_city")])[0].status == "unmatched"
    with pytest.raises(MatchingError, match="no city 'fra-nowhere'; correct"):
        found([paris], [decision("P", "match", "fra-nowhere")])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,b,guess,,seen", "line 2: 'guess' is none of match, own, reject, not_a_city"),
        ("a,b,match,,seen", "line 2: a match needs a city_id"),
        ("a,b,own,fra-paris,seen", "line 2: a match needs a city_id"),
        ("a,b,own,,", "line 2: a match needs a city_id, all need a reason"),
        ("a,b,own,,seen\na,b,reject,,seen", "line 3: 'b' is decided twice"),
    ],
)
def test_malformed_reviews_are_refused(tmp_path: Path, row: str, problem: str) -> None:
    path = tmp_path / "decisions.csv"
    path.write_text(f"source_id,source_code,decision,city_id,reason\n{row}\n", encoding="utf-8")
    with pytest.raises(MatchingError, match=problem):
        read_decisions(path)


def test_the_reviewed_decisions_are_few_sorted_and_point_at_cities() -> None:
    decisions = read_decisions()
    keys = [(decision.source_id, decision.source_code) for decision in decisions]
    known = {city.city_id for city in registry.read_registry()}
    assert keys == sorted(keys)
    assert len(decisions) < 60
    assert all(one.city_id in known for one in decisions if one.decision == "match")
    with DECISIONS.open(encoding="utf-8", newline="") as file:
        assert all(len(row) == 5 for row in csv.reader(file))


def test_reviews_that_are_no_longer_needed_are_named() -> None:
    places = [area("P", "Paris", "FRA", 2_243_833), area("C", "Caxias", "BRA", 118_534)]
    said = unneeded(
        [
            decision("P", "match", "fra-paris"),
            decision("C", "own"),
            decision("gone", "reject"),
            Decision("source_not_read", "x", "reject", None, "seen"),
        ],
        places,
        CITIES,
        GAZETTEER,
    )
    assert said == [
        "unsd_city_population 'P': the matcher says the same without it",
        "unsd_city_population 'gone': the source has no such area any more",
    ]


# ------------------------------------------------------------------ laws


def test_the_order_of_places_and_cities_does_not_matter() -> None:
    places = [
        *(city(code, 100_000) for code in ("Portland|OR", "Portland|ME", "Concord|CA")),
        *(area(f"{name}|{n}", name, "BRA", 10**n) for name in ("Caxias", "Caxias do Sul")
          for n in (4, 5)),
        location("Kampala", "UGA"),
    ]  # fmt: skip
    expected = {one.source_code: one for one in found(places)}
    for seed in range(5):
        shuffle = random.Random(seed).shuffle
        some, cities = list(places), list(CITIES)
        shuffle(some)
        shuffle(cities)
        entries = {iso3: entries[::-1] for iso3, entries in GAZETTEER.items()}
        assert {one.source_code: one for one in match(some, cities, entries)} == expected


def test_without_a_gazetteer_names_and_points_still_match() -> None:
    places = [
        area("P", "PARIS", "FRA", 2_243_833),
        area("S", "Stuttgart", "DEU", 626_275, latitude=48.78, longitude=9.18),
        area("DE065C", "Sindelfingen", "DEU", 64_995, latitude=48.7, longitude=9.0),
        area("X", "Xinyi", "CHN", 600_000),
    ]
    results = match(places, CITIES)
    assert [one.city_id for one in results] == ["fra-paris", "deu-stuttgart", None, None]
    assert [one.status for one in results] == ["matched", "matched", "own", "unmatched"]


def test_an_office_s_code_on_a_un_city_tells_namesakes_apart_without_a_gazetteer() -> None:
    portland = [
        replace(one, own_code="us_acs:Portland|OR") if one.city_id == "usa-portland" else one
        for one in CITIES
    ]
    oregon, maine, other = match(
        [
            city("Portland|OR", 632_187),
            city("Portland|ME", 66_874),
            area("USA|Portland (ME)|City proper", "Portland (ME)", "USA", 66_000),
        ],
        portland,
    )
    assert oregon.city_id == "usa-portland"
    assert maine.city_id is None
    assert other.city_id is None


# ------------------------------------------------------------------ proposals

NEWARKS = [
    city("Newark|NJ", 281_913),
    area("USA|Newark (NJ)|City proper", "Newark (NJ)", "USA", 277_727, geography="city"),
    area("USA|Newark (NJ)|Urban agglomeration", "Newark (NJ)", "USA", 277_727,
         geography="metropolitan"),
]  # fmt: skip


def test_offices_that_count_one_city_share_it() -> None:
    places = [*NEWARKS, city("Newark|CA", 45_000)]
    proposals = propose(places, found(places))
    assert [(one.name, one.geonames_id, one.code) for one in proposals] == [
        ("Newark, California", "5376803", "us_acs:Newark|CA"),
        ("Newark, New Jersey", "5101798", "us_acs:Newark|NJ"),
    ]


def test_once_registered_a_city_is_found_again_and_nothing_is_left_to_propose() -> None:
    places = [*NEWARKS, city("Hialeah|FL", 237_069), area("V", "Vladimirovka", "RUS", 20_000)]
    cities = register([], propose(places, found(places)))
    assert [one.city_id for one in cities] == [
        "rus-vladimirovka",
        "usa-hialeah",
        "usa-newark",
    ]
    own = [
        Candidate(one.city_id, one.name, one.local_name, one.country_iso3, None, None, None,
                  one.kind, one.urban_audit_code, one.geonames_id, one.own_code)
        for one in cities
    ]  # fmt: skip
    for gazetteer in (GAZETTEER, None):
        results = match(places, [*CITIES, *own], gazetteer)
        assert [one.status for one in results] == ["own"] * 5
        assert results[0].city_id == "usa-newark"
        assert results[3].city_id == "usa-hialeah"
        assert results[4].city_id == "rus-vladimirovka"
        if gazetteer:
            assert {one.city_id for one in results[:3]} == {"usa-newark"}
            assert propose(places, results, cities) == []


def test_english_names_are_taken_where_they_are_known() -> None:
    place = area("CY001C", "Lefkosia", "CYP", 241_400, source_id="eurostat_cities")
    proposal = propose([place], found([place]))[0]
    assert (proposal.name, proposal.local_name) == ("Nicosia", "Lefkosia")
    assert (proposal.scheme, proposal.code) == ("urban_audit_code", "CY001C")


def test_codes_are_filled_in_and_never_replaced() -> None:
    known = [
        City("deu-stuttgart", "Stuttgart", "Stuttgart", "DEU", "un_agglomeration", "204400"),
        City("fra-paris", "Paris", "Paris", "FRA", "un_agglomeration", "20985",
             urban_audit_code="FR001C"),
        City("usa-portland", "Portland", "Portland", "USA", "un_agglomeration", "23102"),
    ]  # fmt: skip
    places = [
        area("DE007C", "Stuttgart", "DEU", 626_275, source_id="eurostat_cities"),
        area("FR999C", "Paris", "FRA", 2_243_833, source_id="eurostat_cities"),
        city("Portland|OR", 632_187),
    ]
    filled = with_codes(known, places, found(places), Atlas(CITIES, GAZETTEER).links())
    check_append_only(known, filled)
    stuttgart, paris, portland = filled
    assert (stuttgart.urban_audit_code, stuttgart.geonames_id) == ("DE007C", "2825297")
    assert paris.urban_audit_code == "FR001C"
    assert (portland.own_code, portland.geonames_id) == ("us_acs:Portland|OR", "5746545")


# ------------------------------------------------------------------ editions of the UN


def of_2025(code: str, name: str, country: str, at: tuple[float, float], people: int) -> Place:
    return area(
        code, name, country, people, source_id="un_wup_2025", latitude=at[0], longitude=at[1]
    )


def test_the_editions_are_joined_one_to_one_and_other_extents_are_named() -> None:
    jakarta, depok, fukuoka, paris, luxor = cross_editions(
        [
            of_2025("5590", "Jakarta", "IDN", (-6.33, 106.82), 37_881_000),
            of_2025("1", "Jakarta Selatan", "IDN", (-6.25, 106.84), 60_000),
            of_2025("884", "Fukuoka", "JPN", (33.59, 130.43), 2_000_000),
            of_2025("2994", "Paris", "FRA", (48.85, 2.36), 9_382_000),
            of_2025("7397", "Luxor", "EGY", (25.69, 32.64), 1_200_000),
        ],
        CITIES,
        GAZETTEER,
    )
    assert (jakarta.city_id, jakarta.method) == ("idn-jakarta", "name_and_distance_other_extent")
    assert "37,881,000 people as one cluster of dense grid cells" in jakarta.why
    assert "10,516,927 as the national agglomeration" in jakarta.why
    assert "idn-depok" in jakarta.why
    assert (depok.status, depok.city_id) == ("own", None)
    assert fukuoka.city_id == "jpn-kitakyushu-fukuoka"
    assert (paris.city_id, paris.method) == ("fra-paris", "name_and_distance")
    assert (luxor.status, luxor.method) == ("own", "none")


def test_a_review_decides_between_editions_too() -> None:
    luxor = of_2025("7397", "Luxor", "EGY", (25.69, 32.64), 1_200_000)
    for verdict, city_id, status in (
        ("match", "fra-paris", "matched"),
        ("reject", None, "rejected"),
        ("own", None, "own"),
    ):
        review = Decision("un_wup_2025", "7397", verdict, city_id, "seen")  # type: ignore[arg-type]
        result = cross_editions([luxor], CITIES, GAZETTEER, [review])[0]
        assert (result.status, result.city_id) == (status, city_id)
    with pytest.raises(MatchingError, match="no city 'egy-luxor' of 2018"):
        cross_editions(
            [luxor], CITIES, None, [Decision("un_wup_2025", "7397", "match", "egy-luxor", "seen")]
        )
