"""What changed between two releases: tables and columns, rows by key, and the figures that moved.

Reads two release folders and writes nothing.  Tables of equal hash are not opened, so comparing
a release with its equal is instant; of the others, the largest movers are listed and the rest
counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from urban_migration.errors import ReleaseError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

LISTED: Final = 20
"""Changed cells listed per table; with more, the largest movers stand for them."""
ROWS_NAMED: Final = 5
"""Added and removed rows named per table."""
MOVERS_FROM: Final = 12
"""Columns, of those that changed most, in which the largest movers are looked for."""
CODES: Final = ("wup2018_code", "wup2025_code", "urban_audit_code")

Key = dict[str, Any]
Names = Mapping[str, Mapping[str, str]]
"""Names that people know, by table and id: ``names["cities"]["jpn-tokyo"]`` is Tokyo."""


@dataclass(frozen=True)
class CellChange:
    """One figure that is another now; ``difference`` and ``relative_pct`` where both are numbers.

    In words: ``row`` is Tokyo 2018 wup2018, ``shown`` are the old and the new value as people
    write them, ``label`` is the whole change.
    """

    key: Key
    column: str
    old: Any
    new: Any
    difference: float | None
    relative_pct: float | None
    source_id: str | None
    row: str
    shown: tuple[str, str]

    @property
    def label(self) -> str:
        """``Tokyo 2018 wup2018 population 37,468,302 -> 37,468,303``."""
        return f"{self.row} {self.column} {' -> '.join(self.shown)}"


@dataclass(frozen=True)
class TableChange:
    """What changed in one table; ``cells`` lists some of the ``cells_changed`` per column.

    ``rows_compared`` is false where the key itself is another, so that rows do not correspond.
    """

    table: str
    rows_before: int
    rows_after: int
    rows_compared: bool = True
    columns_added: dict[str, str] = field(default_factory=dict)
    columns_removed: dict[str, str] = field(default_factory=dict)
    types_changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    rows_added: int = 0
    rows_removed: int = 0
    rows_changed: int = 0
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    cells_changed: dict[str, int] = field(default_factory=dict)
    cells: tuple[CellChange, ...] = ()

    @property
    def cells_not_listed(self) -> int:
        """How many cells changed beside those in ``cells``."""
        return sum(self.cells_changed.values()) - len(self.cells)


@dataclass(frozen=True)
class Changes:
    """From release ``before`` (None: there was none) to ``after``, tables in the new order."""

    before: str | None
    after: str
    notes: tuple[str, ...] = ()
    tables_added: dict[str, int] = field(default_factory=dict)
    tables_removed: dict[str, int] = field(default_factory=dict)
    tables: tuple[TableChange, ...] = ()
    unchanged: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the two releases hold the same tables."""
        return not (self.tables or self.tables_added or self.tables_removed)


# ---- comparing -----------------------------------------------------------------------------


def compare(old: Path, new: Path) -> Changes:
    """Compare two release folders; raises ReleaseError where one of them cannot be read."""
    import duckdb

    before, after = _package(old), _package(new)
    here, there = _by_name(before), _by_name(after)
    common = [name for name in there if name in here]
    differ = [name for name in common if here[name]["hash"] != there[name]["hash"]]
    tables = []
    if differ:
        with duckdb.connect() as con:
            names = _names(con, (old, here), (new, there))
            for name in differ:
                try:
                    tables.append(
                        _table(
                            con,
                            here[name],
                            there[name],
                            (_scan(old, name), _scan(new, name)),
                            names,
                        )
                    )
                except duckdb.Error as error:
                    raise ReleaseError(
                        f"{name}.parquet cannot be compared between {old} and {new}: {error}"
                    ) from error
    return Changes(
        before=before["version"],
        after=after["version"],
        notes=tuple(_notes(before, after)),
        tables_added={name: there[name]["rows"] for name in there if name not in here},
        tables_removed={name: here[name]["rows"] for name in here if name not in there},
        tables=tuple(tables),
        unchanged=tuple(name for name in common if name not in differ),
    )


def first(new: Path, why: str | None = None) -> Changes:
    """The changes of a release that has none before it; ``why`` says so where there was one."""
    after = _package(new)
    return Changes(
        before=None,
        after=after["version"],
        notes=(why or "First release: there is none before it to compare with.",),
        tables_added={one["name"]: one["rows"] for one in after["resources"]},
    )


def repointed(old: Path, new_cities: pa.Table) -> list[str]:
    """Every city id that would come to mean another place than in the release ``old``.

    ``new_cities`` is the table ``cities`` to be published.  An id must keep a code that it has,
    and a code its id; an id that is absent, or gains a code, is no change of meaning.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = old / "cities.parquet"
    try:
        if "cities" not in resources(old):
            return []
        old_cities = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise ReleaseError(f"{path} cannot be read: {error}") from error
    found = []
    for code in CODES:
        if code in old_cities.column_names and code in new_cities.column_names:
            was, now = _pairs(old_cities, code), _pairs(new_cities, code)
            found += [
                f"city_id {city} is {code} {was[city]} in {old.name} and would become {now[city]}"
                for city in sorted(was.keys() & now.keys())
                if was[city] != now[city]
            ]
            holder = {value: city for city, value in now.items()}
            found += [
                f"{code} {value} is city_id {city} in {old.name} and would become {holder[value]}"
                for city, value in sorted(was.items())
                if holder.get(value, city) != city
            ]
    return found


def _pairs(cities: pa.Table, code: str) -> dict[str, str]:
    rows = zip(cities["city_id"].to_pylist(), cities[code].to_pylist(), strict=True)
    return {city: value for city, value in rows if value is not None}


def _package(folder: Path) -> dict[str, Any]:
    path = folder / "datapackage.json"
    try:
        package: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise ReleaseError(f"{folder} is not a release folder: {error}") from error
    except ValueError as error:
        raise ReleaseError(f"{path} is damaged: {error}") from error
    return package


def _by_name(package: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {resource["name"]: resource for resource in package["resources"]}


def resources(folder: Path) -> dict[str, dict[str, Any]]:
    """The tables of a release folder, by name, as its ``datapackage.json`` describes them."""
    return _by_name(_package(folder))


def _notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    if before.get("extract") != after.get("extract"):
        which, other = (before, after) if before.get("extract") else (after, before)
        yield (
            f"{which['version']} is made from the bundled extract and {other['version']} from the "
            "publishers' full files: they differ in coverage first of all."
        )
    if before.get("series") != after.get("series"):
        yield f"The population series changed from {before['series']} to {after['series']}."


def _scan(folder: Path, table: str) -> str:
    path = str(folder / f"{table}.parquet").replace("'", "''")
    return f"read_parquet('{path}')"


def _names(
    con: duckdb.DuckDBPyConnection, *releases: tuple[Path, Mapping[str, Mapping[str, Any]]]
) -> Names:
    """Names of cities and countries in both releases; the newer one has the last word."""
    import duckdb

    names: dict[str, dict[str, str]] = {"cities": {}, "countries": {}}
    for folder, tables in releases:
        for table in names.keys() & tables.keys():
            if "name" not in _fields(tables[table]):
                continue
            key = _quoted(tables[table]["schema"]["primaryKey"][0])
            try:
                rows = con.execute(f"select {key}, name from {_scan(folder, table)}").fetchall()
            except duckdb.Error as error:
                raise ReleaseError(f"{folder / table}.parquet cannot be read: {error}") from error
            names[table].update(rows)
    return names


def _fields(resource: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in resource["schema"]["fields"]}


def _kind(entry: Mapping[str, Any]) -> str:
    return f"{entry['type']} ({entry['unit']})" if entry.get("unit") else str(entry["type"])


def _table(
    con: duckdb.DuckDBPyConnection,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    scans: tuple[str, str],
    names: Names,
) -> TableChange:
    old, new = _fields(before), _fields(after)
    key = after["schema"]["primaryKey"]
    retyped = {name for name in old.keys() & new.keys() if old[name]["type"] != new[name]["type"]}
    comparable = [name for name in new if name in old and name not in retyped]
    compared = before["schema"]["primaryKey"] == key and set(key) <= set(comparable)
    change: dict[str, Any] = {
        "table": after["name"],
        "rows_before": before["rows"],
        "rows_after": after["rows"],
        "rows_compared": compared,
        "columns_added": {name: _kind(new[name]) for name in new if name not in old},
        "columns_removed": {name: _kind(old[name]) for name in old if name not in new},
        "types_changed": {
            name: (_kind(old[name]), _kind(new[name]))
            for name in new
            if name in old and _kind(old[name]) != _kind(new[name])
        },
    }
    if not compared:
        return TableChange(**change)
    label = _Labels(after, names)
    pairs, unpaired = _pair(con, key, scans, label, before["rows"] == after["rows"])
    columns = [name for name in comparable if name not in key]
    return TableChange(**change, **unpaired, **_cells(con, key, columns, pairs, label))


class _Labels:
    """Puts keys and figures of one table into words."""

    def __init__(self, resource: Mapping[str, Any], names: Names) -> None:
        self.fields = _fields(resource)
        self.names = {resource["schema"]["primaryKey"][0]: names.get(resource["name"], {})}
        for link in resource["schema"].get("foreignKeys", ()):
            self.names[link["fields"][0]] = names.get(link["reference"]["resource"], {})

    def row(self, key: Key) -> str:
        """``Tokyo 2018 wup2018``."""
        return " ".join(
            str(self.names.get(column, {}).get(value, value))
            for column, value in key.items()
            if value is not None
        )

    def figures(self, column: str, old: Any, new: Any) -> tuple[str, str]:
        """Both values as people write them, with as many digits as it takes to tell them apart."""
        year = self.fields[column].get("unit") == "calendar year"
        for digits in (6, 9, 12, 17):
            shown = _figure(old, year, digits), _figure(new, year, digits)
            if shown[0] != shown[1]:
                break
        return shown


def _figure(value: Any, year: bool, digits: int) -> str:
    if value is None:
        return "no figure"
    if isinstance(value, bool) or year:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 or digits > 6 else f"{text[:57]}..."


def _pair(
    con: duckdb.DuckDBPyConnection,
    key: Sequence[str],
    scans: tuple[str, str],
    label: _Labels,
    as_many: bool,
) -> tuple[str, dict[str, Any]]:
    """The FROM clause that pairs old rows ``o`` with new rows ``n``, and the rows left alone.

    Both files are sorted by the key: where no row came or went, rows pair by position, which
    costs a fraction of a join.
    """
    columns, same = ", ".join(map(_quoted, key)), _same(key)
    by_position = f"{scans[0]} o positional join {scans[1]} n"
    if as_many:
        shifted = con.execute(f"select 1 from {by_position} where not ({same}) limit 1").fetchall()
        if not shifted:
            return by_position, {}
    answer: dict[str, Any] = {}
    for one, other, name in ((*scans[::-1], "added"), (*scans, "removed")):
        con.execute(
            f"create or replace temp table apart as select {columns} from {one} n "
            f"anti join (select {columns} from {other}) o on {same}"
        )
        count = con.execute("select count(*) from apart").fetchall()[0][0]
        rows = con.execute(f"from apart order by {columns} limit {ROWS_NAMED}").fetchall()
        answer[f"rows_{name}"] = count
        answer[name] = tuple(label.row(dict(zip(key, row, strict=True))) for row in rows)
    return f"{scans[0]} o join {scans[1]} n on {same}", answer


def _cells(
    con: duckdb.DuckDBPyConnection,
    key: Sequence[str],
    columns: Sequence[str],
    pairs: str,
    label: _Labels,
) -> dict[str, Any]:
    """The rows in both whose figures differ: how many, in which columns, the largest movers.

    The temporary table ``changed`` has k<i>, the key, and o<i> and n<i>, old and new values.
    """
    if not columns:
        return {}
    pick = [f"n.{_quoted(name)} as k{i}" for i, name in enumerate(key)]
    for i, name in enumerate(columns):
        pick += [f"o.{_quoted(name)} as o{i}", f"n.{_quoted(name)} as n{i}"]
    differs = " or ".join(f"o.{c} is distinct from n.{c}" for c in map(_quoted, columns))
    con.execute(
        f"create or replace temp table changed as select {', '.join(pick)} "
        f"from {pairs} where {differs}"
    )
    counts = ", ".join(f"count(*) filter (o{i} is distinct from n{i})" for i in range(len(columns)))
    rows, *numbers = con.execute(f"select count(*), {counts} from changed").fetchall()[0]
    changed = {name: number for name, number in zip(columns, numbers, strict=True) if number}
    return {
        "rows_changed": rows,
        "cells_changed": changed,
        "cells": tuple(_movers(con, key, columns, changed, label)),
    }


def _movers(
    con: duckdb.DuckDBPyConnection,
    key: Sequence[str],
    columns: Sequence[str],
    changed: Mapping[str, int],
    label: _Labels,
) -> list[CellChange]:
    """All changed cells where they are few; else the largest movers, absolute and relative.

    Columns take turns, because persons and per cent do not compare.
    """
    keys = ", ".join(f"k{i}" for i in range(len(key)))
    source = f"n{columns.index('source_id')}" if "source_id" in columns else "null"

    def top(name: str, measure: str | None, count: int) -> list[CellChange]:
        i = columns.index(name)
        size = f"{measure.format(o=f'o{i}', n=f'n{i}')} desc nulls last, " if measure else ""
        rows = con.execute(
            f"select {keys}, o{i}, n{i}, {source} from changed where o{i} is distinct from n{i} "
            f"order by {size}{keys} limit {count}"
        ).fetchall()
        return [_cell(dict(zip(key, row, strict=False)), name, row[-3:], label) for row in rows]

    if sum(changed.values()) <= LISTED:
        return [cell for name in changed for cell in top(name, None, LISTED)]
    most = sorted(changed, key=lambda name: -changed[name])[:MOVERS_FROM]
    numeric = [n for n in most if label.fields[n]["type"] in ("integer", "number")]
    rankings = [top(n, "abs({n} - {o})" if n in numeric else None, LISTED) for n in most]
    rankings += [top(n, "abs(({n} - {o}) / nullif({o}, 0))", LISTED) for n in numeric]
    listed: list[CellChange] = []
    for cell in chain.from_iterable(zip_longest(*rankings)):
        if len(listed) < LISTED and cell is not None and cell not in listed:
            listed.append(cell)
    order = {name: place for place, name in enumerate(columns)}
    return sorted(listed, key=lambda c: (order[c.column], -abs(c.difference or 0), c.label))


def _cell(key: Key, column: str, values: Sequence[Any], label: _Labels) -> CellChange:
    old, new, source = values
    difference = relative = None
    if label.fields[column]["type"] in ("integer", "number") and None not in (old, new):
        difference = new - old
        relative = difference / abs(old) * 100 if old else None
    shown = label.figures(column, old, new)
    return CellChange(key, column, old, new, difference, relative, source, label.row(key), shown)


def _same(key: Sequence[str]) -> str:
    return " and ".join(f"o.{k} is not distinct from n.{k}" for k in map(_quoted, key))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ---- telling -------------------------------------------------------------------------------


def to_json(changes: Changes) -> dict[str, Any]:
    """Everything in plain JSON values; dates as ISO text."""
    answer = asdict(changes)
    for told, change in zip(answer["tables"], changes.tables, strict=True):
        told["cells_not_listed"] = change.cells_not_listed
        for cell, one in zip(told["cells"], change.cells, strict=True):
            cell["label"] = one.label
    plain: dict[str, Any] = json.loads(json.dumps(answer, default=_plain))
    return plain


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def to_markdown(changes: Changes) -> str:
    """A page for people: what changed in a line per table, then the cells, table by table."""
    since = f" since {changes.before}" if changes.before else ""
    lines = [f"# Changes in {changes.after}{since}", "", *changes.notes]
    lines += [""] if changes.notes else []
    if changes.empty:
        lines += ["No table changed."]
    for name, rows in changes.tables_added.items():
        lines += [f"- **{name}**: {'new table, ' if changes.before else ''}{_many(rows, 'row')}"]
    for name, rows in changes.tables_removed.items():
        lines += [f"- **{name}**: table removed ({_many(rows, 'row')})"]
    lines += [f"- **{change.table}**: {_safe(_summary(change))}" for change in changes.tables]
    if changes.unchanged:
        lines += ["", f"Unchanged: {', '.join(changes.unchanged)}."]
    for change in changes.tables:
        lines += _block(change)
    return "\n".join(lines) + "\n"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _summary(change: TableChange) -> str:
    if not change.rows_compared:
        return (
            "its key is another now, so rows were not compared "
            f"({change.rows_before:,} before, {change.rows_after:,} now)"
        )
    counts = {
        "column added": len(change.columns_added),
        "column removed": len(change.columns_removed),
        "column of another type or unit": len(change.types_changed),
        "row added": change.rows_added,
        "row removed": change.rows_removed,
        "row changed": change.rows_changed,
    }
    parts = [
        _many(count, noun.split(" ")[0]) + " " + noun.split(" ", 1)[1]
        for noun, count in counts.items()
        if count
    ]
    if not parts:
        return "same rows; only descriptions or the encoding changed"
    if len(change.cells) == 1 and change.cells_not_listed == 0:
        parts[-1] = f"{parts[-1]}: {change.cells[0].label}"
    return ", ".join(parts)


def _block(change: TableChange) -> list[str]:
    """The section of one table; nothing where its line in the summary says it all."""
    lines = [f"- column {name} added: {kind}" for name, kind in change.columns_added.items()]
    lines += [f"- column {name} removed: {kind}" for name, kind in change.columns_removed.items()]
    lines += [
        f"- column {name}: {old}, now {new}" for name, (old, new) in change.types_changed.items()
    ]
    lines += _named("added", change.rows_added, change.added)
    lines += _named("removed", change.rows_removed, change.removed)
    if change.cells:
        columns = ", ".join(f"{name} {count:,}" for name, count in change.cells_changed.items())
        changed = _many(change.rows_changed, "row")
        lines += [f"- {changed} of {change.rows_after:,} changed; cells: {columns}", ""]
        lines += _cell_table(change)
    return ["", f"## {change.table}", "", *lines] if lines else []


def _named(what: str, count: int, rows: Sequence[str]) -> list[str]:
    if not count:
        return []
    more = f"; and {count - len(rows):,} more" if count > len(rows) else ""
    return [f"- {_many(count, 'row')} {what}: {'; '.join(map(_safe, rows))}{more}"]


def _cell_table(change: TableChange) -> list[str]:
    """The listed cells by key; names lead where the key is a code."""
    keys = list(change.cells[0].key)
    named = any(cell.row != " ".join(map(str, cell.key.values())) for cell in change.cells)
    sourced = any(cell.source_id for cell in change.cells)
    heads = ["row"] * named + keys + ["column", "before", "after", "difference"]
    marks = ["---"] * (named + len(keys) + 1) + ["---:"] * 3
    lines = [_line(heads + ["source_id"] * sourced), _line(marks + ["---"] * sourced)]
    for cell in change.cells:
        row = [cell.row] * named + [str(value) for value in cell.key.values()]
        row += [cell.column, *cell.shown, _difference(cell)] + [cell.source_id or ""] * sourced
        lines += [_line(row)]
    if change.cells_not_listed:
        lines += ["", f"and {change.cells_not_listed:,} more cells; listed are the largest movers."]
    return lines


def _difference(cell: CellChange) -> str:
    if cell.difference is None:
        return ""
    exact = isinstance(cell.difference, int)
    text = f"{cell.difference:+,}" if exact else f"{cell.difference:+,.4g}"
    return text if cell.relative_pct is None else f"{text} ({cell.relative_pct:+.2g} %)"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_safe, cells))} |"


def _safe(text: str) -> str:
    """Text that a Markdown table can hold."""
    return " ".join(text.replace("|", "\\|").split())
