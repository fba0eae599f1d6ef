"""What a source is: one publisher's dataset, where its files are and what they hold.

A source module declares one :class:`Source` and its ``read`` function.  It opens no connection
and knows no folder: ``download`` fetches what ``downloads`` names, and ``read`` is handed the
paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["zip", "xlsx", "csv", "csv.gz", "json"]

PROVENANCE = ("file", "row_number", "column", "ignored")
"""Columns that every tidy source table ends with: the publisher's file (and sheet), its row
counted from 1, its column header (null where the fact is a whole row), and, for a row of a kind
that is declared as ignored, the reason."""


@dataclass(frozen=True)
class Download:
    """One file of a source, or one file per page of a paged JSON API.

    ``file`` is its name in the raw store.  A paged download has ``{page}`` in ``file`` and
    ``url``, and ``pages`` names the JSON member that says how many pages there are.  ``kind``
    is checked by content; ``max_bytes`` bounds what is accepted.
    """

    file: str
    url: str
    kind: Kind
    max_bytes: int = 64 * 2**20
    pages: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceTable:
    """A tidy table that a source is read into: one row per fact.

    ``columns`` maps names to the types of ``columns.TYPES`` (provenance columns are added).
    ``code`` names the columns that make up the publisher's own code of the row's place.
    ``lands`` is an SQL condition on a row ``fact`` that holds when the fact is in a published
    table, ``unmatched`` one that holds when its place is known to be none of the cities; with
    them every row that was read is accounted for.
    """

    columns: Mapping[str, str]
    key: tuple[str, ...]
    code: tuple[str, ...]
    lands: str
    unmatched: str = "false"

    def schema(self) -> pa.Schema:
        """The Arrow schema, provenance included."""
        import pyarrow as pa

        from urban_migration.columns import arrow_type

        repeated = pa.dictionary(pa.int32(), pa.string())
        fields = [(name, arrow_type(kind)) for name, kind in self.columns.items()]
        provenance = [(name, repeated) for name in PROVENANCE]
        provenance[1] = ("row_number", pa.int32())
        return pa.schema([*fields, *provenance])


Files = Mapping[str, Path]
"""The files of one source by their name in the raw store."""

Tables = dict[str, "pa.Table"]
"""Tidy source tables by name."""


@dataclass(frozen=True)
class Source:
    """A publisher's dataset: who, under which licence, which files, which tidy tables."""

    id: str
    title: str
    publisher: str
    licence: str
    licence_url: str
    citation: str
    homepage: str
    edition: str
    downloads: tuple[Download, ...]
    tables: Mapping[str, SourceTable]
    read: Callable[[Files], Tables]
    required: bool = False
