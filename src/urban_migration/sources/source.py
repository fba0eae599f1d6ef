"""What a source is: one publisher's dataset, where its files are and what they hold.

A source module declares one :class:`Source` and its ``read`` function.  It opens no connection
and knows no folder: ``download`` fetches what ``downloads`` names, and ``read`` is handed the
paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from urban_migration.errors import UsageError

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
    is checked by content; ``max_bytes`` bounds what is accepted.  A header may hold the name of
    the source's ``secret`` in braces, in place of the user's key; so may ``query``, parameters
    that are sent with the address and stand in no lock, log or message.
    """

    file: str
    url: str
    kind: Kind
    max_bytes: int = 64 * 2**20
    pages: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


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

    def columns_sql(self) -> str:
        """The same columns as ``create table`` of DuckDB names them."""
        from urban_migration.columns import TYPES

        types = {name: TYPES[kind].duckdb for name, kind in self.columns.items()}
        types |= dict.fromkeys(PROVENANCE, "VARCHAR") | {"row_number": "INTEGER"}
        return ", ".join(f'"{name}" {kind}' for name, kind in types.items())


Files = Mapping[str, Path]
"""The files of one source by their name in the raw store."""

Tables = dict[str, "pa.Table"]
"""Tidy source tables by name."""


@dataclass(frozen=True)
class Source:
    """A publisher's dataset: who, under which licence, which files, which tidy tables.

    ``secret`` names the environment variable of a key that each user gets from the publisher
    (``secret_help`` says where); without it the source is off, unless the ``secret_optional``, and
    :func:`with_secret` puts it in.  Figures that are not ``redistributable`` stay out of releases
    unless the user asks for a private one.  The layout of an ``experimental`` source is known
    from documentation alone: where its files cannot be read or its checks block, the release is
    made without it.
    """

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
    secret: str | None = None
    secret_help: str = ""
    secret_optional: bool = False
    redistributable: bool = True
    experimental: bool = False


def with_secret(source: Source, key: str | None) -> Source | None:
    """The source with the user's key in its requests, or None where it needs one and has none.

    Raises :class:`UsageError` for a key that no header can hold; the key is never in a message.
    """
    if source.secret is None:
        return source
    blank = "{" + source.secret + "}"
    if not key:
        return _without_secret(source, blank) if source.secret_optional else None
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            f"{source.id}: {source.secret} is set, and is no key (it has blanks, line breaks or "
            f"letters that no key has). {source.secret_help}"
        )
    downloads = [
        replace(
            each,
            headers={name: text.replace(blank, key) for name, text in each.headers.items()},
            query={name: text.replace(blank, key) for name, text in each.query.items()},
        )
        for each in source.downloads
    ]
    return replace(source, downloads=tuple(downloads))


def _without_secret(source: Source, blank: str) -> Source:
    """The source without the headers and parameters that would hold the key."""
    downloads = [
        replace(
            each,
            headers={name: text for name, text in each.headers.items() if blank not in text},
            query={name: text for name, text in each.query.items() if blank not in text},
        )
        for each in source.downloads
    ]
    return replace(source, downloads=tuple(downloads))
