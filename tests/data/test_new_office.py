"""Following docs/adding-a-source.md with a made-up office, in a copy of the project.

Only the files that the page names are written; the figures then stand in the published tables.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from publishers import tiny_edition, tiny_expectations
from runs import ROOT, ask

from urban_migration.raw import Fetched, RawStore

PAGE = ROOT / "docs" / "adding-a-source.md"
OFFICE = "statistics_freedonia"
FILE = "birthplaces-2021.csv"
FIGURES = """code,name,residents,born abroad
L,Lisboa,545000,90000
P,Porto,232000,20000
F,Freedonia Nova,110000,11000
X,Rest of the country,9000000,400000
"""

MODULE = '''"""Statistics Freedonia: born abroad, 2021.  Made up; a blank is an error."""

from urban_migration.sources import city_tables
from urban_migration.sources.grid import csv_grid, read_bytes, tidy
from urban_migration.sources.source import Download, Source

ID, FILE, REST = "statistics_freedonia", "birthplaces-2021.csv", "X"
TABLES = {
    "places": city_tables.places(ID),
    "migrants": city_tables.migrants(ID),
    "populations": city_tables.populations(ID),
}


def read(files):
    """One row per municipality; those born abroad, and its residents."""
    use = ["code", "name", "residents", "born abroad"]
    grid = csv_grid(FILE, read_bytes(files[FILE]), use=use, ignore={})
    codes = grid.required_text("code")
    kinds = ["rest of the country" if code == REST else None for code in codes]
    residents, none = grid.integers("residents"), [None] * len(codes)
    same = {"source_code": codes, "year": [2021] * len(codes), "flag": none}
    return {
        "places": tidy(
            TABLES["places"],
            grid,
            {
                "source_code": codes,
                "source_name": grid.required_text("name"),
                "principal_city": none,
                "other_names": none,
                "country_scheme": ["iso3"] * len(codes),
                "country_code": ["PRT"] * len(codes),
                "latitude": none,
                "longitude": none,
                "population": residents,
                "geography": [None if kind else "city" for kind in kinds],
                "not_a_city": kinds,
            },
        ),
        "migrants": tidy(
            TABLES["migrants"],
            grid,
            {
                **same,
                "concept": ["foreign_born"] * len(codes),
                "origin": ["all"] * len(codes),
                "migrants": grid.integers("born abroad"),
                "population": residents,
                "base": residents,
            },
            column="born abroad",
            ignored=kinds,
        ),
        "populations": tidy(
            TABLES["populations"],
            grid,
            {**same, "population": residents},
            column="residents",
        ),
    }


SOURCE = Source(
    id=ID,
    title="Born abroad by municipality, 2021",
    publisher="Statistics Freedonia",
    licence="Made up",
    licence_url="https://statistics.example/licence",
    citation="Statistics Freedonia, Census of 2021.",
    homepage="https://statistics.example/",
    edition="2021",
    downloads=(Download(file=FILE, url=f"https://statistics.example/{FILE}", kind="csv"),),
    tables=TABLES,
    read=read,
)
'''
SUITE = """about: Made up.
rows:
  - rule: enough_rows
    type: expect_table_row_count_to_be_between
    kwargs: {min_value: 3}
    action: block
    reason: there are three cities
derived: []
"""
TEST = f"""from urban_migration.sources import {OFFICE} as source


def test_a_municipality_has_its_figure(tmp_path):
    path = tmp_path / source.FILE
    path.write_text("code,name,residents,born abroad\\nL,Lisboa,10,2\\n")
    assert source.read({{source.FILE: path}})["migrants"]["migrants"].to_pylist() == [2]
"""
REGISTER = "src/urban_migration/sources/__init__.py"
WRITTEN = {
    f"src/urban_migration/sources/{OFFICE}.py": MODULE,
    f"expectations/{OFFICE}.places.yaml": SUITE,
    f"expectations/{OFFICE}.migrants.yaml": SUITE,
    f"expectations/{OFFICE}.populations.yaml": SUITE,
    f"tests/unit/test_{OFFICE}.py": TEST,
}


def named_by_the_page() -> set[str]:
    """The files of its numbered steps, for this office; the last code of the last step's title."""
    steps = re.findall(
        r"^\d\. \*\*.+?\*\*: (.+?)[,:.](?: |$)", PAGE.read_text("utf-8"), re.MULTILINE
    )
    templates = [re.findall(r"`([^`]+)`", step)[-1] for step in steps]
    return {
        template.replace("<source_id>", OFFICE).replace("<table>", table)
        for template in templates
        for table in ("places", "migrants", "populations")
    }


def hashes(project: Path) -> dict[str, str]:
    return {
        str(path.relative_to(project)): sha256(path.read_bytes()).hexdigest()
        for path in project.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, to which nothing has been added; suites without bands."""
    folder = tmp_path_factory.mktemp("office") / "project"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        ROOT / "src" / "urban_migration", folder / "src" / "urban_migration", ignore=without
    )
    tiny_expectations(ROOT / "expectations", folder / "expectations")
    (folder / "tests" / "unit").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def changed(project: Path) -> set[str]:
    """Follows the page; the files that are new or another now."""
    before = hashes(project)
    for name, text in WRITTEN.items():
        (project / name).write_text(text, "utf-8")
    register = project / REGISTER
    text = register.read_text("utf-8")
    register.write_text(re.sub(r"(MODULES = \([^)]*)\)", rf'\1    "{OFFICE}",\n)', text), "utf-8")
    after = hashes(project)
    return {name for name in after if before.get(name) != after[name]}


@pytest.fixture(scope="module")
def out(project: Path, changed: set[str]) -> Path:
    """A tiny edition with the office's figures, built by the copy of the project."""
    raw = project.parent / "raw"
    tiny_edition(raw)
    store = RawStore(raw)
    with store.incoming(OFFICE) as incoming:
        path = incoming / FILE
        path.write_text(FIGURES, "utf-8")
        digest, size = sha256(path.read_bytes()).hexdigest(), path.stat().st_size
        fetched = Fetched(
            FILE, f"https://statistics.example/{FILE}", path, digest, size, None, None
        )
        store.commit(OFFICE, {FILE: fetched})
    run(project, "urban_migration.cli", "build", "--raw", raw, "--out", project.parent / "out")
    return project.parent / "out"


def run(project: Path, module: str, *arguments: object) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_only_the_files_that_the_page_names_are_touched(changed: set[str]) -> None:
    assert changed == named_by_the_page()


def test_the_offices_own_test_passes(project: Path, changed: set[str]) -> None:
    test = f"tests/unit/test_{OFFICE}.py"
    assert test in changed
    run(project, "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", test)


def test_its_figures_are_in_the_published_tables(out: Path) -> None:
    counted = f"""select city_id, year, migrants, population, round(migrants_pct, 2)
        from city_migrants where source_id = '{OFFICE}' order by city_id"""
    assert ask(out, counted) == [
        ("prt-lisbon", 2021, 90_000, 545_000, 16.51),
        ("prt-porto", 2021, 20_000, 232_000, 8.62),
    ]
    observed = f"""select city_id, foreign_born from city_indicators
        where year = 2021 and foreign_born_source_id = '{OFFICE}' order by city_id"""
    assert ask(out, observed) == [("prt-lisbon", 90_000), ("prt-porto", 20_000)]


def test_a_place_that_is_no_known_city_is_in_the_crosswalk(out: Path) -> None:
    places = f"""select source_code, city_id from city_crosswalk where source_id = '{OFFICE}'
        order by source_code"""
    assert ask(out, places) == [
        ("F", None),
        ("L", "prt-lisbon"),
        ("P", "prt-porto"),
        ("X", None),
    ]


def test_every_row_is_accounted_for_and_coverage_is_told(out: Path) -> None:
    def of_office(columns: str) -> tuple[Any, ...]:
        (row,) = ask(out, f"select {columns} from sources where source_id = '{OFFICE}'")
        return row

    read, *parts = of_office(
        "rows_read, rows_published, rows_quarantined, rows_unmatched, rows_ignored"
    )
    assert (read, sum(parts)) == (12, 12)
    assert of_office("places, places_matched") == (4, 2)
    assert of_office("people, people_matched") == (121_000, 110_000)


def test_the_tables_name_the_office_among_their_sources(out: Path) -> None:
    text = (out / "latest" / "datapackage.json").read_text("utf-8")
    assert text.count("Statistics Freedonia") > 3
