"""How tables and query results look: on a terminal, in a pipe, and as CSV, JSON or Parquet.

A terminal gets columns that fit it, with digits grouped; a pipe gets plain aligned text, one
line per row and full precision, and never a colour.  What is shown is decided elsewhere.
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from urban_migration.errors import QueryError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from urban_migration.query import Result

NULL: Final = "–"
_GAP = 2
_NARROWEST_TEXT = 16
_DECIMALS = 4
_FORMATTER = str.maketrans({code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))})


def on_terminal() -> bool:
    """Whether a person is looking at standard output."""
    return sys.stdout.isatty()


def console(*, stderr: bool = False) -> Console:
    """The terminal, as wide as it says it is."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, stderr=stderr)


def plain(value: object) -> str:
    """A value as one line of text; control characters are spelt, as a terminal obeys them."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict | tuple | bytes):
        value = json.dumps(json_value(value), ensure_ascii=False)
    return str(value).translate(_FORMATTER)


def bytes_text(size: int | None) -> str:
    """A file size as people write it."""
    if size is None:
        return NULL
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def count_text(value: object) -> str:
    """A count with its thousands apart, or the sign for none known."""
    return f"{value:,}" if isinstance(value, int) else plain(value)


# ---- aligned tables ------------------------------------------------------------------------


def grid(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[int] = (),
    screen: Console | None = None,
) -> None:
    """Print a table of text cells; ``right`` are the columns to be aligned to the right.

    With a ``screen`` the cells wrap to fit it; without one each row is one line.
    """
    if screen is not None:
        screen.print(_rich_table(headers, rows, set(right)))
    else:
        sys.stdout.writelines(f"{line}\n" for line in aligned(headers, rows, set(right)))


def aligned(
    headers: Sequence[str], rows: Iterable[Sequence[str]], right: set[int]
) -> Iterator[str]:
    """Lines of plain text with every column as wide as its widest cell."""
    from rich.cells import cell_len

    lines = [list(headers), *map(list, rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = []
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if index in right else cell + space)
        return (" " * _GAP).join(padded).rstrip()

    yield from map(line, lines)


def _rich_table(headers: Sequence[str], rows: Iterable[Sequence[str]], right: set[int]) -> Any:
    from rich.box import Box
    from rich.table import Table
    from rich.text import Text

    underlined = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
    table = Table(box=underlined, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, header in enumerate(headers):
        numeric = index in right
        table.add_column(
            Text(header, style="bold"),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
            min_width=None if numeric else min(len(header), _NARROWEST_TEXT),
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def records(headers: Sequence[str], rows: Sequence[Sequence[str]], screen: Console) -> None:
    """Print each row as a list of names and values: for rows wider than the screen."""
    from rich.table import Table
    from rich.text import Text

    for number, row in enumerate(rows, start=1):
        if len(rows) > 1:
            screen.print(Text(f"row {number}", style="dim"))
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for header, cell in zip(headers, row, strict=True):
            table.add_row(Text(header, style="bold"), Text(cell))
        screen.print(table)
        if number < len(rows):
            screen.print()


# ---- what a release says of itself ---------------------------------------------------------


def show_table(headline: str, entry: Mapping[str, Any], screen: Console | None) -> None:
    """Print a table's dictionary: a paragraph per column on a screen, a line each in a pipe."""
    schema = entry["schema"]
    keys = list(schema.get("primaryKey", ()))
    targets = {
        key["fields"][0]: f"{key['reference']['resource'] or entry['name']}."
        f"{key['reference']['fields'][0]}"
        for key in schema.get("foreignKeys", ())
    }
    facts = [
        ("rows", count_text(entry.get("rows"))),
        ("key", ", ".join(keys) or NULL),
        ("file", f"{entry.get('path')} ({bytes_text(entry.get('bytes'))})"),
        *(("source", _source_line(source)) for source in entry.get("sources", ())),
        *(("licence", _licence_line(licence)) for licence in entry.get("licenses", ())),
    ]
    title = f"{entry['name']}: {entry.get('title') or ''}".rstrip(": ")
    _paragraph(headline, screen)
    _paragraph(f"\n{title}", screen, style="bold")
    _paragraph(str(entry.get("description") or ""), screen)
    _facts(facts, screen)
    columns = [
        (
            plain(field["name"]),
            plain(field["type"]),
            plain(field.get("unit")),
            "key" if field["name"] in keys else targets.get(field["name"], NULL),
            plain(field.get("description")),
        )
        for field in schema["fields"]
    ]
    if screen is None:
        sys.stdout.write("\n")
        grid(["column", "type", "unit", "role", "description"], columns)
        return
    for name, kind, unit, role, description in columns:
        kinds = [kind, *([unit] if unit != NULL else [])]
        kinds += [role if role == "key" else f"-> {role}"] if role != NULL else []
        _paragraph(f"\n{name}", screen, style="bold", beside=f"  {', '.join(kinds)}")
        _paragraph(description, screen, indent=4)


def show_sources(
    headline: str, sources: Sequence[Mapping[str, Any]], screen: Console | None
) -> None:
    """Print each source with its freshness, then what became of the rows of all of them."""
    _paragraph(headline, screen)
    for source in sources:
        need = "required" if source.get("required") else "optional"
        mark = "" if source.get("first_seen") else ", NEVER HAD"
        mark = ", STALE" if source.get("stale") else mark
        mark = ", NOT FOR THE PUBLIC" if source.get("redistributable") is False else mark
        mark += ", EXPERIMENTAL" if source.get("experimental") else ""
        _paragraph(f"\n{source['source_id']}", screen, style="bold", beside=f"  {need}{mark}")
        failed = _moment(source.get("last_failed"))
        failed += f" ({source['error']})" if source.get("error") else ""
        absence = [("not here", plain(source["absence"]))] if source.get("absence") else []
        _facts(
            [
                *absence,
                ("title", f"{plain(source.get('title'))}. {plain(source.get('publisher'))}"),
                ("edition", plain(source.get("edition"))),
                (
                    "licence",
                    " ".join(filter(None, (source.get("licence"), source.get("licence_url")))),
                ),
                ("first seen", _moment(source.get("first_seen"), "never")),
                ("checked", _moment(source.get("last_checked"))),
                ("changed", _moment(source.get("last_changed"))),
                ("failed", failed),
            ],
            screen,
        )
    fates = ("read", "published", "quarantined", "unmatched", "ignored")
    _paragraph("\nRows: one fact each, and what became of it", screen, style="bold")
    rows = [
        [str(source["source_id"]), *(count_text(source.get(f"rows_{fate}")) for fate in fates)]
        for source in sources
    ]
    grid(["source", *fates], rows, right=range(1, 6), screen=screen)
    covered = [source for source in sources if source.get("places")]
    if covered:
        _paragraph("\nCities: how much is about known ones", screen, style="bold")
        headers = ["source", "places", "matched", "%", "people", "matched", "%"]
        grid(headers, map(_coverage, covered), right=range(1, 7), screen=screen)


def _coverage(source: Mapping[str, Any]) -> list[str]:
    cells = [str(source["source_id"])]
    for name in ("places", "people"):
        every, matched = source.get(name), source.get(f"{name}_matched")
        share = f"{100 * (matched or 0) / every:.0f}" if every else NULL
        cells += [count_text(every), count_text(matched), share]
    return cells


def width() -> int:
    """Columns of text: those of the terminal up to a measure that reads, 100 in a pipe."""
    return min(console().width, 120) if on_terminal() else 100


def encodes(signs: str) -> bool:
    """Whether standard output can show these signs."""
    try:
        signs.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def show_lines(lines: Iterable[str]) -> None:
    """Print lines of text; control characters are spelt."""
    sys.stdout.writelines(f"{line.translate(_FORMATTER)}\n" for line in lines)


def show_claims(headline: str, claims: Sequence[Mapping[str, Any]], screen: Console | None) -> None:
    """Print each claim with its figures and verdict under its document, then how many hold."""
    _paragraph(headline, screen)
    for document in dict.fromkeys(claim["document"] for claim in claims):
        _paragraph(f"\n{document}", screen, style="bold")
        for claim in claims:
            if claim["document"] == document:
                _show_claim(claim, screen)
    verdicts = [str(claim["verdict"]) for claim in claims]
    tally = [
        f"{verdicts.count(verdict)} {verdict.replace('_', ' ')}"
        for verdict in ("reproduced", "revised", "not_reproducible")
    ]
    _paragraph(f"\n{len(claims)} claims: {', '.join(tally)}", screen, style="bold")
    _paragraph(
        "Each has its query in the column sql of the table claims: urban-migration sql runs it.",
        screen,
    )


def _show_claim(claim: Mapping[str, Any], screen: Console | None) -> None:
    low, high = claim["computed_low"], claim["computed_high"]
    computed = _amount(claim["computed_value"])
    if claim["computed_value"] is None and low is not None:
        bounds = (_amount(low), _amount(high))
        computed = f"at least {bounds[0]}" if high is None else " to ".join(bounds)
    figures = [f"published {_amount(claim['published_value'])}", f"recomputed {computed}"]
    if claim["difference"] is not None:
        figures.append(f"difference {claim['difference']:+,.10g}")
    verdict = str(claim["verdict"]).replace("_", " ")
    _paragraph(f"\n  {claim['statement']}", screen, beside=f"  [{claim['claim_id']}]")
    facts = [("verdict", f"{verdict}: {', '.join(figures)} ({claim['unit']})")]
    facts += [("why", str(claim["explanation"]))]
    facts += [("figures", str(claim["context"]))] if claim["context"] else []
    _facts([(f"  {name}", text) for name, text in facts], screen)


def _amount(value: float | None) -> str:
    return NULL if value is None else f"{value:,.10g}"


def _source_line(source: Mapping[str, Any]) -> str:
    edition = f", {source['edition']}" if source.get("edition") else ""
    path = f" {source['path']}" if source.get("path") else ""
    return f"{source.get('title')}{edition}.{path}"


def _licence_line(licence: Mapping[str, Any]) -> str:
    title = str(licence.get("title") or licence.get("name"))
    return f"{title} {licence['path']}" if licence.get("path") else title


def _moment(value: object, absent: str = NULL) -> str:
    return str(value).replace("T", " ").replace("Z", " UTC") if value else absent


def _paragraph(
    text: str, screen: Console | None, *, style: str = "", beside: str = "", indent: int = 0
) -> None:
    """A paragraph, wrapped on a screen; ``beside`` follows it quietly on the same line."""
    if screen is None:
        sys.stdout.write(f"{text}{beside}\n")
        return
    from rich.padding import Padding
    from rich.text import Text

    whole = Text.assemble((text, style), (beside, "dim"))
    screen.print(Padding(whole, (0, 0, 0, indent)) if indent else whole)


def _facts(facts: Sequence[tuple[str, str]], screen: Console | None) -> None:
    """Names and what they say, aligned; a long one goes on under itself on a screen."""
    width = max(len(name) for name, _ in facts)
    if screen is None:
        sys.stdout.writelines(f"  {name:{width}}  {plain(text)}\n" for name, text in facts)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(Text(f"  {name}", style="dim"), Text(plain(text)))
    screen.print(table)


# ---- query results -------------------------------------------------------------------------

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
_WHOLE |= {f"U{name}" for name in _WHOLE}
_CODES = {"year", "m49", "code", "id", "row", "month", "day"}


def _is_whole(kind: str) -> bool:
    return kind in _WHOLE or (kind.startswith("DECIMAL") and kind.endswith(",0)"))


def _is_number(kind: str) -> bool:
    return _is_whole(kind) or kind in {"DOUBLE", "FLOAT"} or kind.startswith("DECIMAL")


def _is_code(name: str) -> bool:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return not _CODES.isdisjoint(words)


def _decimals(values: Iterable[object]) -> int:
    """Digits after the point that a column of figures needs, at most four."""
    most = 0
    for value in values:
        if isinstance(value, float | Decimal) and math.isfinite(value):
            _, _, fraction = f"{value:.{_DECIMALS}f}".rstrip("0").partition(".")
            most = max(most, len(fraction))
    return most


def _figure(value: object, decimals: int) -> str:
    if not isinstance(value, float | Decimal) or not math.isfinite(value):
        return plain(value)
    size = abs(float(value))
    if size and (size < 10**-_DECIMALS or size >= 10**15):
        return f"{value:.{_DECIMALS}g}"
    return f"{value:,.{decimals}f}"


def _screen_column(name: str, kind: str, values: Sequence[object]) -> list[str]:
    """A column as a person reads it: years and codes as they are, counts with digits grouped."""
    if _is_whole(kind) and not _is_code(name):
        return [NULL if value is None else f"{int(str(value)):,}" for value in values]
    if _is_number(kind) and not _is_whole(kind):
        decimals = _decimals(values)
        return [_figure(value, decimals) for value in values]
    return list(map(plain, values))


def show_result(result: Result, screen: Console | None) -> None:
    """Print a query's result; on a screen too narrow for its columns, row by row as a list."""
    from rich.cells import cell_len

    if result.columns == ("explain_key", "explain_value"):
        sys.stdout.write("".join(f"{plan}\n" for _, plan in result.rows()))
        return
    headers = list(map(plain, result.columns))
    right = {index for index, kind in enumerate(result.types) if _is_number(kind)}
    if screen is None:
        grid(headers, (list(map(plain, row)) for row in result.rows()), right=right)
        return
    columns = [
        _screen_column(name, kind, result.table.column(index).to_pylist())
        for index, (name, kind) in enumerate(zip(headers, result.types, strict=True))
    ]
    needed = 0
    for index, (header, cells) in enumerate(zip(headers, columns, strict=True)):
        widest = max((cell_len(cell) for cell in cells), default=0)
        foldable = widest if index in right else min(widest, _NARROWEST_TEXT)
        needed += max(cell_len(header), foldable) + _GAP
    rows = list(zip(*columns, strict=True))
    if needed - _GAP > screen.width and rows:
        records(headers, rows, screen)
    else:
        grid(headers, rows, right=right, screen=screen)


# ---- machine formats -----------------------------------------------------------------------


def json_value(value: object) -> object:
    """A value as JSON has it: no NaN, dates as ISO text, exact whole numbers as numbers."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list) or type(value) is tuple:
        return [json_value(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return _text(value)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _csv_value(value: object) -> object:
    if value is None or isinstance(value, str | int | float | Decimal):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, list | dict | tuple | bytes):
        item = json_value(value)
        return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return _text(value)


def _write_csv(result: Result, stream: IO[str]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_csv_value(value) for value in row] for row in result.rows())


def _write_json(result: Result, stream: IO[str]) -> None:
    """An array with one object, and one line, per row."""
    before = "[\n"
    for row in result.rows():
        values = map(json_value, row)
        item = dict(zip(result.columns, values, strict=True))
        stream.write(before + json.dumps(item, ensure_ascii=False, allow_nan=False))
        before = ",\n"
    stream.write("[]\n" if before == "[\n" else "\n]\n")


def _write_parquet(result: Result, stream: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(result.table, stream, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise QueryError(
            f"Parquet cannot hold one of the columns ({error}); cast it to VARCHAR."
        ) from None


_TEXT_WRITERS: Final[dict[str, Callable[[Result, IO[str]], None]]] = {
    "csv": _write_csv,
    "json": _write_json,
}


def write_result(result: Result, kind: str, to: Path | None) -> None:
    """Write a result as csv, json or parquet to the file ``to``, or to standard output."""
    if kind == "parquet":
        if to is None:
            _write_parquet(result, sys.stdout.buffer)
        else:
            with _replacing(to) as temporary, temporary.open("xb") as stream:
                _write_parquet(result, stream)
    elif to is None:
        _TEXT_WRITERS[kind](result, sys.stdout)
    else:
        with (
            _replacing(to) as temporary,
            temporary.open("x", encoding="utf-8", newline="") as text,
        ):
            _TEXT_WRITERS[kind](result, text)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to, which takes its place once all is written."""
    if path.is_dir() or not path.parent.is_dir():
        fault = "is a folder" if path.is_dir() else "is in a folder that does not exist"
        raise UsageError(f"--to {path} {fault}; name a file in an existing folder.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def print_json(value: object) -> None:
    """Print one JSON document for programs, readable for people."""
    sys.stdout.write(json.dumps(json_value(value), ensure_ascii=False, indent=2) + "\n")


def show_summary(summary: Mapping[str, Any]) -> None:
    """How a refresh or a build ended, in a few lines."""
    release = summary["release"]
    if summary["status"] == "nothing new":
        print(f"nothing new: release {release} stands")
    else:
        print(f"published release {release}")
    if summary["bundled_extract"]:
        print("bundled extract: some cities and countries only, for a first look")
    if summary["rows"]:
        rows = [[name, count_text(count)] for name, count in summary["rows"].items()]
        print()
        grid(["table", "rows"], rows, right=(1,), screen=None)
        print()
    for line in _remarks(summary):
        print(line)
    print(f"folder: {summary['folder']}")


def _remarks(summary: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said of single sources, and the warnings."""
    downloads = summary.get("downloads", {})
    for source_id, done in downloads.items():
        if done["status"] != "failed":
            yield f"{source_id}: {done['status']}, {bytes_text(done['bytes'])} transferred"
    for source_id, error in summary.get("stale", {}).items():
        yield f"stale: {source_id} is used as it stands ({error})"
    for source_id, help_text in summary.get("off", {}).items():
        yield f"off: {source_id} needs a key of your own. {help_text}"
    for source_id, reason in summary.get("withheld", {}).items():
        yield f"left out: {source_id} ({reason})"
    for source_id in summary.get("missing", ()):
        error = downloads.get(source_id, {}).get("error")
        why = f" ({error})" if error else ""
        yield f"missing: {source_id} was never had; what it would fill stays empty{why}"
    for warning in summary["warnings"]:
        yield f"warning: {warning}"
