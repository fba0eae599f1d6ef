"""Runs the floor, the naive script and the product in turn on the same raw files.

Each run is a whole process with an empty output folder, in the order A B C A B C, after one
warm-up round in which memory is measured.  Prints times, ratios and peaks; ``--check`` holds
them against the bars of the project and exits 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

SOURCES = ("un_m49", "un_wup_2018", "un_migrant_stock_2024", "un_wpp_2024", "unhcr_population")
"""What floor and naive script read; the product is given no more."""
HERE = Path(__file__).resolve().parent
MIB = 2**20

# DuckDB is imported only after all runs: a child's peak memory as the kernel reports it starts
# at the size of the process that started it.

AGREED = (
    # name, table, aggregate, condition, published figure, tolerance (rounding to persons)
    ("city-years", "city_population", "count(*)", "true", 159_960, 0),
    ("indicator rows", "city_indicators", "count(*)", "true", 159_960, 0),
    ("values", "indicator_values", "count(*)", "true", 931_860, 0),
    ("country growth rows", "country_urban_growth", "count(*)", "true", 22_368, 0),
    ("people", "city_population", "sum(population)", "year = 2018", 2_469_358_215, 1_000),
    ("migrants", "country_migration", "sum(migrant_stock)", "year = 2024", 304_021_813, 0),
    (
        "migrants by origin",
        "migrant_stock_origins",
        "sum(migrants)",
        "year = 2024 and sex = 'both'",
        304_021_813,
        0,
    ),
    ("refugees", "displacement_origins", "sum(refugees)", "year = 2024", 30_958_200, 0),
)


@dataclass
class Program:
    """A command with the output folder left open, and what its runs took."""

    name: str
    command: Callable[[Path], list[str]]
    again: bool = False
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    again_seconds: list[float] = field(default_factory=list)
    largest_process_mib: float = 0.0
    process_tree_mib: float = 0.0
    out: Path | None = None

    @property
    def median(self) -> float:
        """Median wall time of a fresh run, in seconds."""
        return statistics.median(self.seconds)


def tree(pid: int) -> list[int]:
    """A process and its living descendants."""
    found = [pid]
    for at in found:
        try:
            for task in Path(f"/proc/{at}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def proportional_kib(pid: int) -> int:
    """Memory of a process with shared pages divided among their sharers; 0 if it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(s.split()[1]) for s in rollup.splitlines() if s.startswith("Pss:")), 0)


class TreeMemory(threading.Thread):
    """Samples the memory of a process tree; Linux only, elsewhere the peak stays 0."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mib, self.over = pid, 0.0, threading.Event()

    def run(self) -> None:
        """Sample until told that the tree is over."""
        while not self.over.wait(0.02):
            now = sum(map(proportional_kib, tree(self.pid))) / 1024
            self.peak_mib = max(self.peak_mib, now)


def run(command: list[str], *, sample: bool = False) -> tuple[float, float, float, float]:
    """Wall seconds, CPU seconds, MiB of the largest process and of the tree (when sampled)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_API")}
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        memory = TreeMemory(process.pid)
        if sample:
            memory.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if sample:
            memory.over.set()
            memory.join()
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")[-4000:]
            raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB on Linux
    largest = usage.ru_maxrss * unit / MIB
    return seconds, usage.ru_utime + usage.ru_stime, largest, memory.peak_mib


def product(*arguments: str) -> list[str]:
    """The command line of the product in this environment."""
    script = Path(sys.executable).with_name("urban-migration")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "urban_migration.cli"]
    return [*start, *arguments]


def programs(raw: Path, names: list[str]) -> list[Program]:
    """The programs to compare, by name."""
    folder = str(raw)

    def script(name: str) -> Callable[[Path], list[str]]:
        return lambda out: [sys.executable, str(HERE / f"{name}.py"), folder, str(out)]

    every = {
        "floor": Program("floor", script("floor")),
        "naive": Program("naive", script("naive")),
        "product": Program(
            "product", lambda out: product("build", "--raw", folder, "--out", str(out)), True
        ),
        "refresh": Program(
            "refresh",
            lambda out: product("refresh", "--offline", "--raw", folder, "--out", str(out)),
        ),
    }
    return [every[name] for name in names]


def the_five(raw: Path, to: Path) -> Path:
    """A raw store that has the sources of the compared tables and no others."""
    to.mkdir()
    lock = json.loads((raw / "raw.lock.json").read_text("utf-8"))
    lock["sources"] = {name: lock["sources"][name] for name in SOURCES}
    (to / "raw.lock.json").write_text(json.dumps(lock), "utf-8")
    for name in SOURCES:
        (to / name).symlink_to(raw / name)
    return to


def one_round(compared: list[Program], work: Path, number: int) -> None:
    """Every program once, each into an empty folder; round 0 is the warm-up."""
    for program in compared:
        program.out = work / f"{program.name}-{number}"
        command = program.command(program.out)
        seconds, cpu, largest, whole = run(command, sample=number == 0)
        program.largest_process_mib = max(program.largest_process_mib, largest)
        program.process_tree_mib = max(program.process_tree_mib, whole)
        if number:
            program.seconds.append(seconds)
            program.cpu_seconds.append(cpu)
        if program.again:
            again = run(command)[0]
            program.again_seconds += [again] if number else []


def tables_of(program: Program) -> Path:
    """The folder in which a program left its Parquet files."""
    assert program.out is not None
    latest = program.out / "latest"
    return latest if latest.exists() else program.out


def disagreements(compared: list[Program]) -> list[str]:
    """Where a program's tables do not hold the published figures; the comparison is then void."""
    import duckdb

    found = []
    for program in compared:
        for name, table, aggregate, condition, published, tolerance in AGREED:
            path = tables_of(program) / f"{table}.parquet"
            query = f"select {aggregate} from read_parquet('{path}') where {condition}"
            [(value,)] = duckdb.execute(query).fetchall()
            if value is None or abs(value - published) > tolerance:
                found.append(f"{program.name}: {name} where {condition}: {value}, not {published}")
    return found


def city_milliseconds(program: Program) -> float:
    """Median time of all columns of one city's rows, on a warm connection, over 50 cities."""
    import duckdb

    connection = duckdb.connect()
    source = f"read_parquet('{tables_of(program) / 'city_indicators.parquet'}')"
    cities = connection.execute(f"select distinct city_id from {source} order by 1").fetchall()
    asked = [row[0] for row in cities[:: max(1, len(cities) // 50)]]
    query = f"select * from {source} where city_id = ? order by year"
    taken = []
    for city in asked[:5] + asked:
        start = time.perf_counter()
        connection.execute(query, [city]).fetchall()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken[5:])


def figures(compared: list[Program]) -> dict[str, float]:
    """The figures that have a bar, as far as they were measured."""
    by_name = {program.name: program for program in compared}
    found = {}
    measured = by_name.get("product")
    if measured:
        for other in ("floor", "naive"):
            if other in by_name:
                found[f"product / {other}"] = measured.median / by_name[other].median
        found["nothing new, s"] = statistics.median(measured.again_seconds)
        found["peak memory, MiB"] = max(measured.largest_process_mib, measured.process_tree_mib)
        if "refresh" in by_name:
            found["Prefect adds, s"] = by_name["refresh"].median - measured.median
    with_rows = measured or compared[0]
    found[f"one city's rows ({with_rows.name}), ms"] = city_milliseconds(with_rows)
    return found


BARS = {
    "product / floor": 3.5,
    "product / naive": 1.0,
    "nothing new, s": 1.0,
    "peak memory, MiB": 1024,
    "one city's rows (product), ms": 10,
    "Prefect adds, s": 6,
}


def missed(name: str, value: float) -> bool:
    """Whether a figure misses its bar; the product must be faster than naive, not as fast."""
    bar = BARS.get(name)
    return bar is not None and (value > bar or (name == "product / naive" and value == bar))


def machine() -> dict[str, str | int | float]:
    """Where this was measured; a load above 0 before the start means shared cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores or 1,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def describe(result: dict) -> str:
    """The result as lines that people read."""
    where = result["machine"]
    lines = [
        f"{where['cores']} cores, Python {where['python']}, {where['system']}, "
        f"load before the start {where['load_before']}; {result['rounds']} rounds in turn",
        "",
        f"{'':10}{'wall, s':>9}{'min-max':>14}{'CPU, s':>9}{'largest':>10}{'tree':>10}",
        f"{'':10}{'median':>9}{'':>14}{'median':>9}{'process':>10}{'of all':>10}  MiB",
    ]
    for row in result["programs"]:
        seconds, cpu = row["seconds"], statistics.median(row["cpu_seconds"])
        span = f"{min(seconds):.2f}-{max(seconds):.2f}"
        lines.append(
            f"{row['name']:10}{statistics.median(seconds):9.2f}{span:>14}{cpu:9.2f}"
            f"{row['largest_process_mib']:10.0f}{row['process_tree_mib']:10.0f}"
        )
    lines += [
        "largest process: highest resident set of any one process (wait4, all rounds);",
        "tree of all: highest sum of proportional set sizes, sampled every 20 ms in the warm-up",
        "",
    ]
    for name, value in result["figures"].items():
        bar = BARS.get(name)
        verdict = (
            "" if bar is None else f"  (bar {bar:g}: {'MISSED' if missed(name, value) else 'ok'})"
        )
        lines.append(f"{name:32}{value:9.2f}{verdict}")
    lines += [f"{name:32}not measured" for name in BARS if name not in result["figures"]]
    wrong = result["disagreements"]
    lines += ["", *(wrong or [f"all agree on the {len(AGREED)} published figures"])]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="the raw store")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up")
    parser.add_argument(
        "--only", default="floor,naive,product", help="programs, separated by commas"
    )
    parser.add_argument(
        "--refresh",
        metavar="MIRROR_URL",
        help="fill a new raw store from there (instead of --raw) and measure what Prefect adds",
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parsed = parser.parse_args()
    unknown = set(parsed.only.split(",")) - {"floor", "naive", "product"}
    if unknown:
        parser.error(f"--only knows floor, naive and product, not {', '.join(sorted(unknown))}")
    if parsed.rounds < 1:
        parser.error("--rounds must be at least 1")
    return parsed


def measure(options: argparse.Namespace, work: Path) -> dict:
    """All rounds, then what can be read off the outputs."""
    result: dict = {"machine": machine(), "rounds": options.rounds}
    raw, names = options.raw, options.only.split(",")
    if options.refresh:
        raw, names = work / "raw", [*names, "refresh"]
        filling = ["--mirror", options.refresh, "--raw", str(raw), "--out", str(work / "filled")]
        filling += [word for source in SOURCES for word in ("--source", source)]
        result["refresh_with_download_seconds"] = run(product("refresh", *filling))[0]
    if not (raw / "un_wup_2018").is_dir():
        raise SystemExit(f"{raw}: no raw store here; run `urban-migration refresh` or name --raw")
    compared = programs(the_five(raw.resolve(), work / "five"), names)
    for number in range(options.rounds + 1):
        print(f"round {number} of {options.rounds}", file=sys.stderr)
        one_round(compared, work, number)
    result["programs"] = [
        {k: v for k, v in asdict(p).items() if k not in ("command", "again", "out")}
        for p in compared
    ]
    result["figures"] = figures(compared)
    result["disagreements"] = disagreements(compared)
    result["missed"] = [name for name, value in result["figures"].items() if missed(name, value)]
    return result


def main() -> int:
    """Measure and print; 1 when asked to check and a bar is missed or the tables disagree."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="umi-benchmark-") as work:
        result = measure(options, Path(work))
    print(json.dumps(result, indent=1) if options.json else describe(result))
    return int(options.check and bool(result["missed"] or result["disagreements"]))


if __name__ == "__main__":
    sys.exit(main())
