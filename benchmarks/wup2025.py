"""World Urbanization Prospects 2025 at full size: 16,828 cities and 76 years, made up.

Writes such a file in the publisher's layout and a registry that has its cities, adds it to a raw
store (the bundled extract unless ``--raw`` names another), and measures whole processes: the
source alone (read, check, its rows as a release), a build without and with it, and the search
for cities near incidents.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CITIES, YEARS, INCIDENTS = 16_828, range(1975, 2051), 17_846
SECONDS, MIB, SEARCH_SECONDS = 6.0, 1024.0, 1.0
HEADER = """LocID Location Notes ISO3_Code ISO2_Code City_Code City_Name Capital Year TimeMid Pop
    Pop_1Jan PWCent_Longitude PWCent_Latitude AREA_km2 BU_km2 Pop_plausibility""".split()
COUNTRIES = {"PRT": 620, "JOR": 400, "MEX": 484, "JPN": 392, "IND": 356, "NGA": 566}


def write_source(path: Path) -> None:
    """The file: every city in every year, with coordinates that move as the publisher's do."""
    some = np.random.default_rng(2025)
    latitudes, longitudes = some.uniform(-50, 65, CITIES), some.uniform(-180, 180, CITIES)
    sizes = 50 * (1 + some.pareto(1.2, CITIES)).clip(max=300)
    countries = list(COUNTRIES.items())
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for city in range(CITIES):
        iso3, m49 = countries[city % len(countries)]
        name = f"Made-up city {city}"
        for age, year in enumerate(YEARS):
            grown = sizes[city] * (1 + age / 40)
            here = (round(longitudes[city] + age / 1e4, 4), round(latitudes[city], 4))
            areas = (round(grown / 3, 2), round(grown / 5, 2))
            row = [m49, iso3, "", iso3, iso3[:2], city + 1, name, 0, year, year + 0.5]
            writer.writerow([*row, f"{grown:.3f}", "", *here, *areas, "High"])
    path.write_bytes(gzip.compress(text.getvalue().encode("utf-8-sig"), 6, mtime=0))


def write_raw(raw: Path, full: Path) -> None:
    """A copy of a raw store with the file in it."""
    from urban_migration.sources import un_wup_2025

    shutil.copytree(raw, full)
    path = full / "un_wup_2025" / un_wup_2025.FILE
    path.parent.mkdir(exist_ok=True)
    write_source(path)
    lock = json.loads((full / "raw.lock.json").read_text("utf-8"))
    lock["sources"]["un_wup_2025"] = {
        "files": {
            path.name: {
                "url": un_wup_2025.SOURCE.downloads[0].url,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
                "etag": None,
                "last_modified": None,
                "first_seen": "2026-01-01T00:00:00Z",
            }
        }
    }
    (full / "raw.lock.json").write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")


def write_registry(folder: Path) -> None:
    """The reviewed files, with the made-up cities in the registry."""
    from urban_migration import assembly

    shutil.copytree(assembly.PLACES, folder)
    path = folder / "cities.csv"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    code = header.index("wup2025_code")
    kept = [[*row[:code], "", *row[code + 1 :]] for row in rows if "un_city_2025" not in row]
    for city in range(CITIES):
        iso3 = list(COUNTRIES)[city % len(COUNTRIES)]
        name = f"Made-up city {city}"
        new = [f"{iso3.lower()}-made-up-city-{city}", name, name, iso3, "un_city_2025", ""]
        kept.append(new + [str(city + 1)] + [""] * (len(header) - code - 1))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *sorted(kept)])


# ------------------------------------------------------------------ in a process of its own


def build(raw: Path, out: Path, places: Path, series: str) -> None:
    """A whole build with that registry."""
    from urban_migration import assembly
    from urban_migration import build as steps
    from urban_migration.raw import RawStore

    assembly.REVIEWED["place"] = places
    steps.build(RawStore(raw), out, ROOT / "expectations", series=series)


def source_alone(raw: Path, out: Path, places: Path, _: str) -> None:
    """Read, check and publish what this source brings, and nothing else."""
    from urban_migration import assembly, checks, preparing, writing
    from urban_migration import build as steps
    from urban_migration.raw import RawStore
    from urban_migration.tables import load_tables

    assembly.REVIEWED["place"] = places
    whole = steps.plan(RawStore(raw), out, ROOT / "expectations")
    needed = ("un_m49", "un_wup_2025")
    plan = preparing.Plan(
        **{
            **{name: getattr(whole, name) for name in whole.__dataclass_fields__},
            "files": {source_id: whole.files[source_id] for source_id in needed},
        }
    )
    with preparing.readers(out) as pool:
        done = preparing.prepare(plan, pool)
    plan, prepared = steps.sort_out(plan, done)
    assembled = assembly.assemble(plan, prepared)
    names = ("countries", "cities", "city_crosswalk", "city_population")
    for name in names:
        suite = checks.load_suite(plan.expectations, name, extract=plan.extract)
        wanted = {column for rule in suite.rows for column in rule.columns()}
        rows = assembled.con.sql(f"select {', '.join(sorted(wanted))} from {name}")
        checks.check_rows(suite, rows.to_arrow_table())
        checks.check_derived(suite, assembled.con)
    writing.write_release(
        assembled.writer,
        {name: spec for name, spec in load_tables().items() if name in names},
        out / "staging",
        extract=plan.extract,
        series=plan.series,
        quality=lambda: ({}, ""),
        sources=[],
    )


def search() -> float:
    """Seconds to find the cities near every incident, all made-up ones and more."""
    from urban_migration.places.distances import neighbours

    some = np.random.default_rng(1)

    def points(count: int) -> np.ndarray:
        return np.column_stack([some.uniform(-60, 75, count), some.uniform(-180, 180, count)])

    incidents, cities = points(INCIDENTS), points(CITIES + 2_000)
    begun = time.perf_counter()
    neighbours(incidents, cities, 100.0)
    return time.perf_counter() - begun


WORK: dict[str, Callable[[Path, Path, Path, str], None]] = {"build": build, "alone": source_alone}


def main() -> int:
    """Measure; exit 1 where ``--check`` is asked for and a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=ROOT / "data" / "raw" / "bundled")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, raw, out, places, series = options.child
        WORK[what](Path(raw), Path(out), Path(places), series)
        return 0
    sys.path.insert(0, str(HERE))
    from run import run

    from urban_migration import assembly

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_registry(work / "places")
        write_raw(options.raw, work / "full")

        def measure(what: str, raw: Path, series: str = "wup2018") -> tuple[float, float]:
            out = work / f"out-{what}-{raw.name}-{series}"
            places = work / "places" if raw == work / "full" else assembly.PLACES
            child = ["--child", what, str(raw), str(out), str(places), series]
            command = [sys.executable, str(Path(__file__).resolve()), *child]
            seconds, _, _, mib = run(command, sample=True)
            shutil.rmtree(out, ignore_errors=True)
            return seconds, mib

        alone = measure("alone", work / "full")
        without = measure("build", options.raw.resolve())
        within = measure("build", work / "full")
        series = measure("build", work / "full", "wup2025")
    near = search()
    rows = CITIES * len(YEARS)
    print(f"{rows:,} rows of {CITIES:,} cities")
    measured = {
        "read, check and publish this source alone": alone,
        "build of the raw store as it is": without,
        "the same with it": within,
        "the same on --series wup2025": series,
    }
    for what, (seconds, mib) in measured.items():
        print(f"{what:42} {seconds:6.2f} s  {mib:6.0f} MiB")
    what = f"cities near {INCIDENTS:,} incidents"
    print(f"{what:42} {near:6.2f} s")
    missed = alone[0] > SECONDS or max(alone[1], within[1]) > MIB or near > SEARCH_SECONDS
    print(
        f"bars: {SECONDS:g} s and {MIB:g} MiB alone, {SEARCH_SECONDS:g} s for the search:", end=" "
    )
    print("missed" if missed else "met")
    return int(options.check and missed)


if __name__ == "__main__":
    raise SystemExit(main())
