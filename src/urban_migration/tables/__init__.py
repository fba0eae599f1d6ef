"""The published tables: one ``<table>.sql`` and one ``<table>.yaml`` each, read from here.

The YAML is the only dictionary: Parquet metadata, DuckDB comments, ``datapackage.json`` and
``describe`` all come from it.  The SQL is one ``select``; what it reads decides the order in
which the tables are built.  This module reads both; it runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urban_migration.columns import TYPES, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Made:
    """A relation that Python makes between two tables: ``make(con)`` of a module.

    ``reads`` names what it reads, published tables and ``<source>.<table>``, as a table's SQL does;
    ``function`` is the one of the module that makes it.
    """

    module: str
    reads: tuple[str, ...]
    function: str = "make"


COUNTED = (
    "cities",
    "countries",
    "city_migrants",
    "city_population",
    "country_migration",
    "indicator_borders",
)


CLAIMED = (
    "cities",
    "city_groups",
    "city_indicators",
    "city_migrants",
    "city_population",
    "countries",
    "country_migration",
    "country_urbanization",
    "displacement_origins",
    "displacement_settings",
    "displacement_totals",
)

MADE: Mapping[str, Made] = {
    "city_distances": Made(
        "urban_migration.places.distances", ("cities", "iom_missing_migrants.incidents")
    ),
    "city_estimates": Made("urban_migration.indicators.estimates", COUNTED),
    "estimate_errors": Made("urban_migration.indicators.estimates", COUNTED, "evaluate"),
    "claims_computed": Made("urban_migration.indicators.claims", CLAIMED),
}
"""What SQL cannot say well, by the name under which a table's SQL reads it."""


@dataclass(frozen=True)
class ColumnSpec:
    """One column of a published table; ``type`` is a key of ``columns.TYPES``."""

    name: str
    type: str
    description: str
    unit: str | None = None
    references: str | None = None
    nullable: bool = True


@dataclass(frozen=True)
class TableSpec:
    """One published table: what a row is, its key, columns, sources and the SQL that makes it."""

    name: str
    title: str
    description: str
    key: tuple[str, ...]
    columns: Mapping[str, ColumnSpec]
    sources: tuple[str, ...]
    sql: str | None

    def arrow_schema(self) -> pa.Schema:
        """Columns with description and unit as field metadata, title and text on the table."""
        import pyarrow as pa

        fields = [
            pa.field(
                column.name,
                arrow_type(column.type),
                nullable=column.nullable,
                metadata={
                    "description": column.description,
                    **({"unit": column.unit} if column.unit else {}),
                },
            )
            for column in self.columns.values()
        ]
        about = {"title": self.title, "description": self.description, "key": ",".join(self.key)}
        return pa.schema(fields, metadata=about)

    def relations(self) -> set[str]:
        """What the SQL reads."""
        return relations(self.sql or "")


def relations(sql: str) -> set[str]:
    """Names that stand after FROM and JOIN, ``schema.table`` where qualified."""
    text = re.sub(r"--[^\n]*", "", sql)
    return set(re.findall(r"\b(?:from|join)\s+([a-z_][\w.]*)", text, flags=re.IGNORECASE))


def _column(table: str, name: str, entry: Mapping[str, Any], key: Iterable[str]) -> ColumnSpec:
    unknown = set(entry) - {"type", "unit", "description", "references", "nullable"}
    if unknown or entry.get("type") not in TYPES or not entry.get("description"):
        raise ValueError(f"tables/{table}.yaml, column {name!r}: {unknown or dict(entry)}")
    return ColumnSpec(
        name=name,
        type=entry["type"],
        description=" ".join(entry["description"].split()),
        unit=entry.get("unit"),
        references=entry.get("references"),
        nullable=entry.get("nullable", name not in key),
    )


def _sources(table: str, named: Iterable[str]) -> tuple[str, ...]:
    """The ids of a dictionary's sources, once each.

    ``"*.migrants"`` stands for every source that has a tidy table of this name, so that a new
    office is named by itself; ``"!id"`` takes one out again.
    """
    from urban_migration.sources import all_sources

    found: dict[str, None] = {}
    for name in named:
        if name.startswith("*."):
            role = name.removeprefix("*.")
            found |= dict.fromkeys(
                i for i, source in all_sources().items() if role in source.tables
            )
        elif name.startswith("!"):
            found.pop(name.removeprefix("!"), None)
        else:
            found[name] = None
    if unknown := found.keys() - all_sources().keys():
        raise ValueError(f"tables/{table}.yaml, sources: {sorted(unknown)}")
    return tuple(found)


def read_table(path: Path) -> TableSpec:
    """Read ``<table>.yaml`` and, where there is one, the ``<table>.sql`` beside it."""
    import yaml

    entry = yaml.load(path.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    sql = path.with_suffix(".sql")
    return TableSpec(
        name=path.stem,
        title=entry["title"],
        description=" ".join(entry["description"].split()),
        key=tuple(entry["key"]),
        columns={
            name: _column(path.stem, name, column, entry["key"])
            for name, column in entry["columns"].items()
        },
        sources=_sources(path.stem, entry["sources"]),
        sql=sql.read_text("utf-8") if sql.exists() else None,
    )


def _reads(spec: TableSpec) -> set[str]:
    """What the SQL reads, and what the relations read that are made for it."""
    named = spec.relations()
    return named.union(*(MADE[name].reads for name in named & MADE.keys()))


@cache
def load_tables() -> dict[str, TableSpec]:
    """Every published table, each after the tables that its SQL reads."""
    specs = {path.stem: read_table(path) for path in sorted(FOLDER.glob("*.yaml"))}
    order = TopologicalSorter(
        {name: sorted(_reads(spec) & specs.keys() - {name}) for name, spec in specs.items()}
    )
    return {name: specs[name] for name in order.static_order()}
