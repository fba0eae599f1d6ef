"""Times the matching of all sources together, on the mirror of the publishers' files.

Measured with a cold cache (nothing of an earlier run is used, each run is a process of its own):
loading the gazetteer, matching every place of every source, the two UN editions included. Reading
the publishers' files is not part of it. Twice the places must take about twice as long.

    .venv/bin/python benchmarks/matching.py --mirror ../shared/upstream --check
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from urban_migration.places.areas import Place
    from urban_migration.places.atlas import Candidate

OFFICES = (
    "abs_census_2021",
    "eurostat_cities",
    "statcan_census_2016",
    "unsd_city_population",
    "us_acs",
)
BAR_SECONDS, BAR_GROWTH = 3.0, 2.5
LAST_COMMON_YEAR = 2018


def read_source(source_id: str, mirror: Path) -> dict[str, pa.Table]:
    """The tidy tables of a source, read from the mirror's files."""
    source = importlib.import_module(f"urban_migration.sources.{source_id}").SOURCE
    if source_id == "unhcr_locations":
        with tempfile.TemporaryDirectory() as folder:
            return source.read(_unhcr_page(mirror, Path(folder)))
    files = {}
    for download in source.downloads:
        url = urllib.parse.urlsplit(download.url)
        files[download.file] = mirror / "files" / url.netloc / urllib.parse.unquote(url.path[1:])
    return source.read(files)


def _unhcr_page(mirror: Path, folder: Path) -> dict[str, Path]:
    """The API's answer as one page, with the rows of a location, setting and year added up."""
    import pyarrow.csv as pa_csv

    labels = ["year", "coa_iso", "coa_name", "location", "loc_type"]
    table = pa_csv.read_csv(mirror / "tables" / "unhcr" / "demographics.csv.gz")
    sums = table.group_by(labels).aggregate([("total", "sum")])
    same = {
        "coo_id": 1, "coo_name": "Unknown", "coo": "UNK", "coo_iso": "UNK", "coa_id": 1,
        "coa": "-", "pop_type": "REF", "acc_type": "U",
    }  # fmt: skip
    ages = ("0_4", "5_11", "12_17", "18_59", "60", "other", "total")
    same |= {f"{sex}_{age}": 0 for sex in "fm" for age in ages}
    items = [
        {**same, **{label: row[label] for label in labels}, "total": row["total_sum"]}
        for row in sums.to_pylist()
    ]
    page = folder / "demographics-1.json"
    envelope = {"page": 1, "short-url": "", "maxPages": 1, "total": []}
    page.write_text(json.dumps({**envelope, "items": items}), encoding="utf-8")
    return {page.name: page}


class Countries:
    """Publishers' country codes as ISO 3166-1 alpha-3, as `places/country_codes.sql` has them."""

    def __init__(self, mirror: Path) -> None:
        from urban_migration.places import registry

        self.codes: dict[tuple[str, str], str] = {}
        for row in read_source("un_m49", mirror)["countries"].to_pylist():
            self._add(row["iso3"], row["m49"], row["iso2"], row["name"])
        places = Path(registry.__file__).parent
        with (places / "countries.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["name"]:
                    numbers = row["country_m49"], row["country_iso2"]
                    self._add(row["country_iso3"], *numbers, row["name"])
        with (places / "country_codes.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                self.codes[row["scheme"], row["code"]] = row["country_iso3"]

    def _add(self, iso3: str, m49: str, iso2: str, name: str) -> None:
        self.codes["iso3", iso3] = self.codes["name", name] = iso3
        self.codes["m49", m49.lstrip("0")] = self.codes["iso2", iso2] = iso3

    def __call__(self, scheme: str, code: str) -> str:
        """The country, or an empty text."""
        return self.codes.get((scheme, code), "")


def office_places(source_id: str, mirror: Path, countries: Countries) -> Iterator[Place]:
    """The places of a source with a table of that name."""
    from urban_migration.places.areas import Place

    names = {field.name for field in dataclasses.fields(Place)}
    for row in read_source(source_id, mirror)["places"].to_pylist():
        known = {name: value for name, value in row.items() if name in names}
        known["other_names"] = tuple(filter(None, (row["other_names"] or "").split("|")))
        country = countries(row["country_scheme"], row["country_code"])
        yield Place(**known, source_id=source_id, country_iso3=country)


def cities_of_2025(mirror: Path, countries: Countries) -> list[Place]:
    """The cities of WUP 2025 with their population in the last year that WUP 2018 estimated."""
    from urban_migration.places.areas import Place

    tables = read_source("un_wup_2025", mirror)
    people = {
        row["city_code"]: row["population"]
        for row in tables["city_populations"].to_pylist()
        if row["year"] == LAST_COMMON_YEAR
    }
    return [
        Place(
            source_id="un_wup_2025",
            source_code=row["city_code"],
            source_name=row["name"],
            country_iso3=countries("m49", row["location_code"]),
            latitude=row["latitude"],
            longitude=row["longitude"],
            population=people.get(row["city_code"]),
        )
        for row in tables["cities"].to_pylist()
    ]


def un_candidates(mirror: Path) -> list[Candidate]:
    """The UN cities of the registry, without the codes that make a search unnecessary."""
    from urban_migration.places import registry
    from urban_migration.places.atlas import Candidate

    tables = read_source("un_wup_2018", mirror)
    centres = {row["city_code"]: row for row in tables["cities"].to_pylist()}
    people = {
        row["city_code"]: row["population"]
        for row in tables["city_populations"].to_pylist()
        if row["year"] == LAST_COMMON_YEAR
    }
    with Path(registry.__file__).with_name("coordinates.csv").open(encoding="utf-8") as file:
        corrected = {row["wup2018_code"]: row for row in csv.DictReader(file)}
    found = []
    for city in registry.read_registry():
        if city.wup2018_code is None:
            continue
        at = corrected.get(city.wup2018_code) or centres[city.wup2018_code]
        found.append(
            Candidate(
                city_id=city.city_id,
                name=city.name,
                local_name=city.local_name,
                country_iso3=city.country_iso3,
                latitude=float(at["latitude"]),
                longitude=float(at["longitude"]),
                population=people[city.wup2018_code],
            )
        )
    return found


def gazetteer_table(mirror: Path) -> pa.Table:
    """GeoNames as the source module reads it."""
    return read_source("geonames", mirror)["cities"]


@dataclasses.dataclass
class Inputs:
    """What the matcher is handed."""

    places: list[Place]
    new_cities: list[Place]
    candidates: list[Candidate]
    gazetteer: pa.Table
    iso3_of: dict[str, str]


def load(mirror: Path) -> Inputs:
    """Every place of every source of the mirror, the UN cities and the gazetteer."""
    countries = Countries(mirror)
    places = [
        place
        for source_id in (*OFFICES, "unhcr_locations")
        for place in office_places(source_id, mirror, countries)
    ]
    iso3_of = {code: iso3 for (scheme, code), iso3 in countries.codes.items() if scheme == "iso2"}
    return Inputs(
        places,
        cities_of_2025(mirror, countries),
        un_candidates(mirror),
        gazetteer_table(mirror),
        iso3_of,
    )


# ------------------------------------------------------------------ timing


def measure(mirror: Path) -> dict[str, Any]:
    """Seconds of one run: gazetteer, all places, the editions, and half of the places."""
    from urban_migration.places.atlas import Atlas, read_gazetteer
    from urban_migration.places.editions import cross_editions
    from urban_migration.places.matching import match, read_decisions

    inputs = load(mirror)
    cpu = time.process_time()
    marks = [time.perf_counter()]
    gazetteer = read_gazetteer(inputs.gazetteer, inputs.iso3_of)
    decisions = read_decisions()
    marks.append(time.perf_counter())
    atlas = Atlas(inputs.candidates, gazetteer)
    match(inputs.places, inputs.candidates, gazetteer, decisions, atlas)
    marks.append(time.perf_counter())
    cross_editions(inputs.new_cities, inputs.candidates, gazetteer, decisions, atlas)
    marks.append(time.perf_counter())
    cpu = time.process_time() - cpu
    twice = [*inputs.places, *_renamed(inputs.places)]
    match(twice, inputs.candidates, gazetteer, decisions)
    marks.append(time.perf_counter())
    gazetteer_s, places_s, editions_s, twice_s = (
        after - before for before, after in itertools.pairwise(marks)
    )
    return {
        "places": len(inputs.places) + len(inputs.new_cities),
        "gazetteer_s": gazetteer_s,
        "places_s": places_s,
        "editions_s": editions_s,
        "all_s": gazetteer_s + places_s + editions_s,
        "all_cpu_s": cpu,
        "growth": twice_s / places_s,
    }


def _renamed(places: Iterable[Place]) -> Iterator[Place]:
    """The same places again, as other publishers count them, or under other codes."""
    for place in places:
        if place.source_id in OFFICES:
            yield dataclasses.replace(place, source_id=f"{place.source_id}_again")
        else:
            yield dataclasses.replace(place, source_code=f"{place.source_code} again")


def main() -> None:
    """Run ``--rounds`` processes and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=Path, default=Path("../shared/upstream"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is missed")
    parser.add_argument("--one-run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_run:
        print(json.dumps(measure(options.mirror)))
        return
    command = [sys.executable, __file__, "--mirror", str(options.mirror), "--one-run"]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(options.rounds)
    ]
    result = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    load = os.getloadavg()[0]
    print(f"{result['places']:,} places, median of {options.rounds} cold runs, load {load:.1f}")
    for name, what in (
        ("gazetteer_s", "gazetteer"),
        ("places_s", "places of all sources"),
        ("editions_s", "WUP 2025 to WUP 2018"),
        ("all_s", "together"),
        ("all_cpu_s", "together, CPU time"),
    ):
        print(f"  {what:24}{result[name]:6.2f} s")
    print(f"  {'twice the places':24}{result['growth']:6.2f} times as long")
    missed = result["all_s"] > BAR_SECONDS or result["growth"] > BAR_GROWTH
    if options.check and missed:
        raise SystemExit(f"missed: {BAR_SECONDS} s together, {BAR_GROWTH} times for twice as many")


if __name__ == "__main__":
    main()
