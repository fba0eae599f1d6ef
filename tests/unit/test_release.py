"""Releases: deterministic, described, verified, and never half-done."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from frictionless import Package
from small_release import CITIES, SPECS, run, tables, write

from urban_migration import release
from urban_migration.errors import ReleaseError


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "processed"


@pytest.fixture
def folder(out: Path) -> Path:
    run(out)
    found = release.latest(out)
    assert found is not None
    return found


def parquet_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


# ---- what is in it


def test_a_release_holds_its_tables_and_what_describes_them(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.parquet" for name in SPECS),
        *release.BESIDE_TABLES,
        "SHA256SUMS",
    }
    assert folder.name.startswith("umi-") and release.RELEASE_ID.fullmatch(folder.name)
    assert json.loads((folder / "quality.json").read_text()) == {
        "checks": [{"table": "cities", "passed": True}]
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shuffle", [1, 2, 3])
def test_order_of_insertion_and_threads_do_not_show_in_the_bytes(
    tmp_path: Path, threads: int, shuffle: int
) -> None:
    many = {"years": 9_000}  # 36,000 rows: more than one row group would hold of wide tables
    first = write(tables(**many), tmp_path / "a")
    other = write(tables(**many, shuffle=shuffle, threads=threads), tmp_path / "b")
    assert first == other
    assert parquet_bytes(tmp_path / "a") == parquet_bytes(tmp_path / "b")


def test_the_id_comes_from_the_data_tables_alone(tmp_path: Path) -> None:
    lines = ""
    release_id = write(tables(), tmp_path / "a")
    for name in sorted(SPECS.keys() - {"sources"}):
        data = (tmp_path / "a" / f"{name}.parquet").read_bytes()
        lines += f"{name} {sha256(data).hexdigest()}\n"
    assert release_id == f"umi-{sha256(lines.encode()).hexdigest()[:12]}"
    con = tables()
    con.execute("update sources set first_seen = '2027-01-01T00:00:00Z'")
    assert write(con, tmp_path / "b") == release_id


def test_a_release_from_the_bundled_extract_says_so(tmp_path: Path) -> None:
    release_id = write(tables(), tmp_path, extract=True)
    assert release_id.startswith("umi-bundled-")
    package = json.loads((tmp_path / "datapackage.json").read_text())
    assert package["extract"] is True
    assert "bundled extract" in package["title"] and "bundled extract" in package["description"]
    assert pq.read_schema(tmp_path / "cities.parquet").metadata[b"extract"] == b"true"
    with duckdb.connect(str(tmp_path / release.DATABASE), read_only=True) as con:
        comments = con.execute("select comment from duckdb_tables()").fetchall()
    assert all("bundled extract" in comment for (comment,) in comments)


def test_parquet_opens_in_pandas_and_pyarrow_with_units(folder: Path) -> None:
    frame = pd.read_parquet(folder / "city_population.parquet")
    tokyo = frame[(frame.city_id == "jpn-tokyo") & (frame.year == 2018)]
    assert tokyo.population.item() == 37_468_302
    assert list(frame.columns) == list(SPECS["city_population"].columns)
    assert frame.equals(frame.sort_values(["city_id", "year", "series"], ignore_index=True))
    schema = pq.read_schema(folder / "city_population.parquet")
    assert schema.field("population").metadata == {
        b"description": b"What population says.",
        b"unit": b"persons",
    }
    assert schema.metadata[b"title"] == b"City population"
    assert b"pandas" not in schema.metadata
    columns = pq.ParquetFile(folder / "city_population.parquet").metadata.row_group(0)
    assert columns.column(0).compression == "ZSTD" and columns.column(3).statistics.max


def test_the_database_holds_the_same_tables_with_comments(folder: Path) -> None:
    with duckdb.connect(str(folder / release.DATABASE), read_only=True) as con:
        for name in SPECS:
            path = folder / f"{name}.parquet"
            assert (
                con.execute(f'from "{name}"').fetchall()
                == con.execute("from read_parquet(?)", [str(path)]).fetchall()
            )
        comment = con.execute(
            "select comment from duckdb_columns() where table_name = 'city_population' "
            "and column_name = 'population'"
        ).fetchall()
        version = con.execute("select tags from duckdb_databases()").fetchall()
    assert comment == [("What population says. Unit: persons.",)]
    assert "v1.4" in str(version)


def test_the_descriptor_is_a_valid_data_package(folder: Path) -> None:
    assert Package.validate_descriptor(str(folder / "datapackage.json")).valid
    package = Package(str(folder / "datapackage.json"))
    assert package.resource_names == list(SPECS)
    schema = package.get_resource("city_population").schema
    assert schema.primary_key == ["city_id", "year", "series"]
    assert [key["reference"]["resource"] for key in schema.foreign_keys] == ["cities", "sources"]


def test_the_descriptor_is_true(folder: Path) -> None:
    package = json.loads((folder / "datapackage.json").read_text())
    assert package["version"] == folder.name
    assert package["created"] == "2026-11-02T06:00:00Z", "the newest source file, not the clock"
    assert (package["extract"], package["series"]) == (False, "wup2018")
    assert [one["source_id"] for one in package["sources"]] == ["un_wup_2018", "un_wpp_2024"]
    for resource in package["resources"]:
        data = (folder / resource["path"]).read_bytes()
        assert resource["bytes"] == len(data)
        assert resource["hash"] == f"sha256:{sha256(data).hexdigest()}"
        assert resource["rows"] == pq.read_metadata(folder / resource["path"]).num_rows
        spec = SPECS[resource["name"]]
        assert [field["name"] for field in resource["schema"]["fields"]] == list(spec.columns)
        assert [one["source_id"] for one in resource.get("sources", [])] == list(spec.sources)
        if spec.sources:
            assert [licence["title"] for licence in resource["licenses"]] == ["CC BY 3.0 IGO"]


def test_changes_name_the_cell_and_the_first_release_says_that_it_is(out: Path) -> None:
    run(out)
    first = release.resolve(out)
    assert "First release" in (first / "changes.md").read_text()
    run(out, {("jpn-tokyo", 2018): 37_468_303})
    page = (release.resolve(out) / "changes.md").read_text()
    assert "Tokyo 2018 wup2018 population 37,468,302 -> 37,468,303" in page
    assert json.loads((release.resolve(out) / "changes.json").read_text())["before"] == first.name


# ---- what is refused


def broken(statement: str) -> duckdb.DuckDBPyConnection:
    con = tables()
    con.execute(statement)
    return con


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("alter table cities drop name", r"cities.*missing \['name'\]"),
        ("alter table cities add column mayor text", r"cities.*not in the dictionary \['mayor'\]"),
        ("insert into cities from cities limit 1", "cities: two rows share the key.*city_id"),
        ("update city_population set series = null", "city_population, column series: 20 rows"),
        ("update city_indicators set population_growth_pct = 'nan'", "NaN"),
        ("alter table city_population alter population type text using 'x'", "city_population"),
        ("drop table cities", "cities"),
        ("insert into city_population from city_population limit 1", "two rows share the key"),
    ],
)
def test_tables_that_break_the_dictionary_are_refused(
    tmp_path: Path, statement: str, words: str
) -> None:
    with pytest.raises(ReleaseError, match=words):
        write(broken(statement), tmp_path / "staging")
    assert not (tmp_path / "staging").exists()


def test_a_folder_that_holds_something_is_neither_written_to_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ReleaseError, match="is not empty"):
        write(tables(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_writing_and_comparing_need_neither_pandas_nor_prefect(tmp_path: Path) -> None:
    """Each costs a third of a second or more, every time."""
    script = (
        "import sys; from pathlib import Path; from small_release import run; "
        f"out = Path({str(tmp_path)!r}); run(out); "
        "run(out, {('jpn-tokyo', 2018): 1}, link=True); "
        "sys.exit(str({'pandas', 'prefect', 'great_expectations'} & sys.modules.keys() or ''))"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=here, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


# ---- publishing


def test_nothing_new_publishes_nothing(out: Path, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    outcome = run(out)
    assert outcome == release.PublishOutcome(False, folder.name)
    after = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    assert {path.name for path in before} == {path.name for path in after}
    assert before[folder / "cities.parquet"] == after[folder / "cities.parquet"]


def test_latest_is_a_relative_link_that_moves_and_moves_back(out: Path, folder: Path) -> None:
    assert (out / "latest").readlink() == Path(f"releases/{folder.name}")
    second = run(out, {("jpn-tokyo", 2018): 1})
    assert second.published and release.latest(out) == out / "releases" / second.release_id
    back = run(out)
    assert back == release.PublishOutcome(True, folder.name)
    assert release.latest(out) == folder


def test_an_equal_table_is_linked_and_a_damaged_one_is_written_again(
    out: Path, folder: Path
) -> None:
    second = out / "releases" / run(out, {("jpn-tokyo", 2018): 1}, link=True).release_id
    assert (folder / "cities.parquet").samefile(second / "cities.parquet")
    with tables({("jpn-tokyo", 2018): 2}) as con:
        written = write(con, out / "unlinked")
    third = run(out, {("jpn-tokyo", 2018): 2}, link=True)
    assert third.release_id == written, "linked or written, the release is the same"
    path = release.resolve(out) / "cities.parquet"
    whole = path.read_bytes()
    damaged = whole[:40] + b"x" + whole[41:]
    path.unlink()
    path.write_bytes(damaged)
    run(out, {("jpn-tokyo", 2018): 3}, link=True)
    assert (release.resolve(out) / "cities.parquet").read_bytes() == whole


def test_a_table_is_not_linked_when_its_dictionary_changed(out: Path, folder: Path) -> None:
    with tables() as con:
        write(con, out / "extract", extract=True, reuse={"cities": folder / "cities.parquet"})
    schema = pq.read_schema(out / "extract" / "cities.parquet")
    assert schema.metadata[b"extract"] == b"true"


def test_a_damaged_release_is_named_and_mended_by_the_next_run(out: Path, folder: Path) -> None:
    path = folder / "city_population.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    with pytest.raises(ReleaseError, match=r"city_population\.parquet differs from SHA256SUMS"):
        release.verify(folder)
    run(out)
    release.verify(folder)
    assert path.read_bytes() == data


def test_a_damaged_previous_release_does_not_stop_the_next(out: Path, folder: Path) -> None:
    path = folder / "city_population.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    run(out, {("jpn-tokyo", 2018): 1})
    release.verify(release.resolve(out))
    page = (release.resolve(out) / "changes.md").read_text()
    assert "city_population.parquet differs" in page


def test_verify_names_what_is_missing_and_a_list_that_is_cut_short(folder: Path) -> None:
    (folder / "quality.html").unlink()
    with pytest.raises(ReleaseError, match=r"quality\.html is missing"):
        release.verify(folder)
    (folder / "quality.html").write_text("<title>Quality</title>")
    release.verify(folder)
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(sums[:-1]))
    with pytest.raises(ReleaseError, match=r"does not list urban_migration\.duckdb"):
        release.verify(folder)
    (folder / "SHA256SUMS").write_text("".join(sums)[:-50])
    with pytest.raises(ReleaseError, match="SHA256SUMS, line"):
        release.verify(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ReleaseError, match="missing or empty"):
        release.verify(folder)


def test_sums_are_what_sha256sum_reads(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    names = [line[66:] for line in lines]
    assert names == sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    assert lines[0] == f"{sha256((folder / names[0]).read_bytes()).hexdigest()}  {names[0]}"


def test_retention_keeps_the_newest_and_always_the_latest(out: Path) -> None:
    ids = [run(out, {("jpn-tokyo", 2018): n}).release_id for n in range(1, 5)]
    (out / "releases" / "notes").mkdir()
    run(out, {("jpn-tokyo", 2018): 1})  # the oldest is the latest again
    assert release.prune(out, 2) == [ids[2], ids[1]]
    assert {path.name for path in (out / "releases").iterdir()} == {ids[0], ids[3], "notes"}
    run(out, {("jpn-tokyo", 2018): 9}, keep=1, link=True)
    assert {path.name for path in (out / "releases").iterdir()} == {
        release.resolve(out).name,
        "notes",
    }
    release.verify(release.resolve(out))
    with pytest.raises(ReleaseError, match="keep >= 1"):
        release.prune(out, 0)


def test_a_release_is_found_by_latest_id_or_folder(out: Path, folder: Path) -> None:
    assert release.resolve(out) == release.resolve(out, folder.name) == folder
    assert release.resolve(Path("elsewhere"), str(folder)) == folder
    assert release.resolve(out, str(out / "latest")) == out / "latest"
    with pytest.raises(ReleaseError, match=rf"umi-000000000000.*{folder.name}"):
        release.resolve(out, "umi-000000000000")
    with pytest.raises(ReleaseError, match="no release yet"):
        release.resolve(out / "empty")
    assert release.latest(out / "empty") is None


def test_a_folder_in_the_place_of_latest_is_left_alone(out: Path, folder: Path) -> None:
    (out / "latest").unlink()
    shutil.copytree(folder, out / "latest")
    with pytest.raises(ReleaseError, match="is a folder, not the link"):
        run(out, {("jpn-tokyo", 2018): 1})
    release.verify(out / "latest")


def test_a_second_run_waits_no_longer_than_told(out: Path) -> None:
    with (
        release.publishing(out),
        pytest.raises(Exception, match="in use by"),
        release.publishing(out, wait_seconds=0),
    ):
        pass


STEPS = ("replace", "rename", "symlink", "link", "fsync", "mkdir")


def test_a_full_disk_leaves_nothing_half_done(
    out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever step the disk fills up, the old release stands and the next run succeeds."""
    untouched, link = parquet_bytes(folder), (out / "latest").readlink()
    for step in range(1, 100):
        new = {("jpn-tokyo", 2018): step}
        with monkeypatch.context() as patch:
            left = fill_disk_at(patch, step)
            try:
                run(out, new, link=True)
            except ReleaseError as error:
                assert "no space left on the disk" in str(error)
                assert "previous release stands" in str(error)
                assert (out / "latest").readlink() == link
        assert not (out / ".incoming").exists()
        if left[0] > 0:
            break
        release.verify(release.resolve(out))
        if step % 5 == 0 and (out / "latest").readlink() == link:
            assert run(out, new).published
            release.verify(release.resolve(out))
        link = (out / "latest").readlink()
    assert 15 < step < 99, "every step was tried and the last run went through"
    assert parquet_bytes(folder) == untouched


def fill_disk_at(patch: pytest.MonkeyPatch, step: int) -> list[int]:
    left = [step]
    for name in STEPS:
        real = getattr(os, name)

        def full(*args: Any, _real: Any = real, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return _real(*args, **options)

        patch.setattr(os, name, full)
    return left


# ---- status.json


def test_status_is_remembered_and_equal_bytes_are_left_alone(tmp_path: Path) -> None:
    status = release.read_status(tmp_path)
    assert status == {"version": 1, "release": None, "inputs": None, "sources": {}}
    status["sources"]["un_m49"] = release.SourceStatus(
        last_checked="2026-11-21T20:00:00Z", last_changed=None, last_failed=None, error=None
    )
    release.write_status(tmp_path, status)
    assert release.read_status(tmp_path) == status
    inode = (tmp_path / "status.json").stat().st_ino
    release.write_status(tmp_path, status)
    assert (tmp_path / "status.json").stat().st_ino == inode
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(ReleaseError, match=r"status\.json is not JSON"):
        release.read_status(tmp_path)


def test_the_cities_of_these_tests_are_those_of_the_release(folder: Path) -> None:
    assert set(pq.read_table(folder / "cities.parquet")["city_id"].to_pylist()) == set(CITIES)
