"""What stands in a release: every table in every format, described alike, as the hashes promise.

The release of the bundled extract, with all the tables and the whole dictionary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Package
from runs import BUNDLED, EXPECTATIONS
from typer.testing import CliRunner

from urban_migration import build
from urban_migration.cli import app
from urban_migration.columns import TYPES
from urban_migration.raw import RawStore
from urban_migration.release import BESIDE_TABLES, DATABASE
from urban_migration.sources import all_sources
from urban_migration.tables import load_tables

TABLES = load_tables()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the release."""
    out = tmp_path_factory.mktemp("processed")
    return build.build(RawStore(BUNDLED), out, EXPECTATIONS).folder


@pytest.fixture(scope="module")
def descriptor(folder: Path) -> dict[str, Any]:
    """``datapackage.json``."""
    found: dict[str, Any] = json.loads((folder / "datapackage.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def resources(descriptor: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tables as the descriptor has them."""
    return {resource["name"]: resource for resource in descriptor["resources"]}


# ------------------------------------------------------------------ files and hashes


def test_the_folder_holds_what_is_promised_and_nothing_else(folder: Path) -> None:
    there = {path.name for path in folder.iterdir()}
    assert there == {*BESIDE_TABLES, "SHA256SUMS", *(f"{name}.parquet" for name in TABLES)}
    assert {"quality.html", "changes.md", "datapackage.json", DATABASE} <= there


def test_every_hash_and_every_size_is_true(
    folder: Path, resources: Mapping[str, Mapping[str, Any]]
) -> None:
    listed = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    del there["SHA256SUMS"]
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in there.items()}
    assert list(listed) == sorted(listed)
    assert resources.keys() == TABLES.keys()
    for name, resource in resources.items():
        data = there[resource["path"]]
        assert resource["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}", name
        assert resource["bytes"] == len(data)
        assert resource["rows"] == pq.read_metadata(folder / resource["path"]).num_rows


def test_the_descriptor_is_valid(descriptor: Mapping[str, Any]) -> None:
    report = Package.validate_descriptor(dict(descriptor))
    assert report.valid, report.flatten(["message"])
    package = Package.from_descriptor(dict(descriptor))
    assert [resource.name for resource in package.resources] == list(TABLES)
    assert all(resource.schema.fields for resource in package.resources)


def test_every_licence_and_citation_is_named(descriptor: Mapping[str, Any]) -> None:
    named = {source["source_id"]: source for source in descriptor["sources"]}
    had = {source_id for source_id in RawStore(BUNDLED).sources() if source_id in all_sources()}
    assert set(named) >= {source_id for source_id in had if _used(source_id)}
    for source_id, source in named.items():
        assert source["citation"] == all_sources()[source_id].citation
        assert source["title"] and source["path"].startswith("https://")
    licences = {licence["title"]: licence for licence in descriptor["licenses"]}
    assert {all_sources()[source_id].licence for source_id in named} == set(licences)
    assert all(licence["path"].startswith("https://") for licence in licences.values())


def _used(source_id: str) -> bool:
    return any(source_id in spec.sources for spec in TABLES.values())


def test_a_foreign_key_points_at_a_key(resources: Mapping[str, Mapping[str, Any]]) -> None:
    found = 0
    for name, resource in resources.items():
        for reference in resource["schema"].get("foreignKeys", ()):
            target = reference["reference"]["resource"] or name
            assert set(reference["reference"]["fields"]) <= set(TABLES[target].key), name
            found += 1
    assert found > 10


# ------------------------------------------------------------------ one dictionary


def test_one_dictionary_feeds_all_that_describes_the_tables(
    folder: Path, resources: Mapping[str, Mapping[str, Any]]
) -> None:
    """YAML, Parquet, DuckDB, the descriptor and ``describe``: every table, every column."""
    with duckdb.connect(str(folder / DATABASE), read_only=True) as con:
        tables = con.execute("select table_name, comment from duckdb_tables()").fetchall()
        rows = con.execute(
            """select table_name, column_name, data_type, comment
            from duckdb_columns() where not internal order by table_name, column_index"""
        ).fetchall()
    comments = dict(tables)
    assert comments.keys() == TABLES.keys()
    columns: dict[str, list[tuple[str, str, str]]] = {}
    for table, *column in rows:
        columns.setdefault(table, []).append(tuple(column))

    for name, spec in TABLES.items():
        resource = resources[name]
        schema = pq.read_schema(folder / f"{name}.parquet")
        described = CliRunner().invoke(app, ["describe", name, "--release", str(folder), "--json"])
        assert described.exit_code == 0, described.output
        assert json.loads(described.stdout)["table"] == resource

        assert (resource["title"], resource["description"]) == (spec.title, spec.description)
        assert comments[name].startswith(f"{spec.title}. {spec.description}")
        assert resource["schema"]["primaryKey"] == list(spec.key)
        fields = resource["schema"]["fields"]
        names = list(spec.columns)
        assert schema.names == names, name
        assert [field["name"] for field in fields] == names
        assert [column for column, *_ in columns[name]] == names
        for column, field, (_, kind, comment) in zip(
            spec.columns.values(), fields, columns[name], strict=True
        ):
            where = f"{name}.{column.name}"
            said = {key.decode(): text.decode() for key, text in _metadata(schema, column.name)}
            unit = {"unit": column.unit} if column.unit else {}
            assert said == {"description": column.description, **unit}, where
            assert {key: field[key] for key in field.keys() & {"description", "unit"}} == said
            ending = f" Unit: {column.unit}." if column.unit else ""
            assert comment == column.description + ending, where
            assert kind == TYPES[column.type].duckdb, where
            assert field["type"] == TYPES[column.type].frictionless, where
            assert field["constraints"] == {"required": not column.nullable}, where
            assert schema.field(column.name).nullable is column.nullable, where
            text = CliRunner().invoke(app, ["describe", name, "--release", str(folder)])
            assert column.name in text.stdout


def _metadata(schema: pa.Schema, column: str) -> Any:
    found = schema.field(column).metadata or {}
    return ((key, text) for key, text in found.items() if not key.startswith(b"PARQUET:"))


def test_every_column_is_explained_and_every_figure_has_a_unit() -> None:
    suffixes = {"_pct": "percent", "_per_1000": "per 1000"}
    for name, spec in TABLES.items():
        assert spec.description and spec.title, name
        for column in spec.columns.values():
            assert column.description.strip(), f"{name}.{column.name}"
            for suffix, unit in suffixes.items():
                if column.name.endswith(suffix):
                    assert unit in str(column.unit).replace(",", ""), f"{name}.{column.name}"
            if column.name in {"population", "refugees", "migrants", "migrant_stock"}:
                assert column.unit == "persons", f"{name}.{column.name}"


# ------------------------------------------------------------------ the readers' own tools


@pytest.mark.parametrize("name", TABLES)
def test_a_table_opens_in_pandas_and_pyarrow_with_units_and_is_sorted_by_its_key(
    folder: Path, name: str
) -> None:
    path, spec = folder / f"{name}.parquet", TABLES[name]
    table, frame = pq.read_table(path), pd.read_parquet(path)
    assert list(frame.columns) == table.column_names == list(spec.columns), "no index column"
    assert len(frame) == table.num_rows
    for column in spec.columns.values():
        if column.unit:
            assert table.schema.field(column.name).metadata[b"unit"].decode() == column.unit
    codecs = {
        pq.read_metadata(path).row_group(group).column(0).compression
        for group in range(pq.read_metadata(path).num_row_groups)
    }
    assert codecs <= {"ZSTD"}
    keys = table.select(list(spec.key))
    order = [(column, "ascending") for column in spec.key]
    assert keys.equals(keys.sort_by(order))
    assert keys.group_by(list(spec.key)).aggregate([]).num_rows == keys.num_rows


def test_both_formats_hold_the_same_rows(folder: Path) -> None:
    with duckdb.connect() as con:
        con.execute(f"attach '{folder / DATABASE}' as release (read_only)")
        for name in TABLES:
            one, two = f"from release.{name}", f"from '{folder / f'{name}.parquet'}'"
            query = f"({one} except all {two}) union all ({two} except all {one})"
            ((count,),) = con.execute(f"select count(*) from ({query})").fetchall()
            assert count == 0, name


def test_lisbon_is_found_with_pandas(folder: Path) -> None:
    frame = pd.read_parquet(
        folder / "city_indicators.parquet",
        columns=["city_name", "year", "population"],
        filters=[("city_id", "==", "prt-lisbon"), ("year", "==", 2018)],
    )
    assert frame.to_dict("records") == [
        {"city_name": "Lisbon", "year": 2018, "population": 2_927_316}
    ]
