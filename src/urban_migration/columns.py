"""The few column types that source tables and published tables are made of.

One vocabulary, so that a dictionary entry says the same to Arrow, DuckDB and the Frictionless
descriptor.  Units and descriptions live with the tables, not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


class ColumnType(NamedTuple):
    """How one type of the dictionary is called elsewhere."""

    arrow: str
    duckdb: str
    frictionless: str


TYPES: Final[dict[str, ColumnType]] = {
    "text": ColumnType("string", "VARCHAR", "string"),
    "year": ColumnType("int32", "INTEGER", "integer"),
    "integer": ColumnType("int64", "BIGINT", "integer"),
    "number": ColumnType("float64", "DOUBLE", "number"),
    "boolean": ColumnType("bool", "BOOLEAN", "boolean"),
    "date": ColumnType("date32", "DATE", "date"),
    "files": ColumnType("", "STRUCT(url VARCHAR, sha256 VARCHAR, bytes BIGINT)[]", "array"),
}


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a dictionary type such as ``integer``."""
    import pyarrow as pa

    if name == "files":
        file = {"url": pa.string(), "sha256": pa.string(), "bytes": pa.int64()}
        return pa.list_(pa.struct(list(file.items())))
    return pa.type_for_alias(TYPES[name].arrow)
