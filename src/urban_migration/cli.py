"""The command line: what each command is called, takes and prints.

Readers' commands open a release and take everything that they say from it, not from this
version of the code.  Whatever is slow to import is imported by the command that needs it, so
that help and mistakes are answered at once.  How tables look is ``render``'s business.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from urban_migration import __version__
from urban_migration.catalogue import (
    EXTRACT,
    Opened,
    checks,
    did_you_mean,
    expectations_folder,
    freshness,
    left_out,
    open_release,
    project_root,
)
from urban_migration.errors import ProductError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

READING: Final = "Read a release"
MAKING: Final = "Make a release"
FOLDERS: Final = ("raw", "bundled", "out", "expectations")


class Commands(TyperGroup):
    """The group of all commands: one way to end for errors of the product and closed pipes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; its errors become one line and their own exit code."""
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader, say `head`, has what it wanted; nor must Python's last flush complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except ProductError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"error: {where}{error.strerror or error}", err=True)
            raise typer.Exit(1) from None
        return answer

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands under what they are for."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                line = command.get_short_help_str(formatter.width - 16)
                panels.setdefault(str(panel) if panel else "Commands", []).append((name, line))
        for panel, lines in panels.items():
            with formatter.section(panel):
                formatter.write_dl(lines)


app = typer.Typer(
    name="urban-migration",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: it pipes, and starts in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"urban-migration {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Comparable, validated and traceable statistics of migration per city."""


# ---- the release that a command reads --------------------------------------------------------

ReleaseOption = Annotated[
    str | None,
    typer.Option(
        "--release", metavar="ID|DIR", help="The release to read.", show_default="the latest"
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where releases are.", show_default="data/processed"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _screen() -> Console | None:
    from urban_migration import render

    return render.console() if render.on_terminal() else None


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _note_extract(opened: Opened) -> None:
    """Say beside an answer, where programs do not look, that it comes from the extract."""
    if opened.extract:
        _note(f"{opened.id}: {EXTRACT}")


# ---- reading a release -----------------------------------------------------------------------


class Format(StrEnum):
    """How ``sql`` prints a result."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


SCREEN_ROWS: Final = 200
"""Rows that a terminal gets of a query that asks for more."""


@app.command(rich_help_panel=READING)
def sql(
    query: Annotated[
        str,
        typer.Argument(metavar="QUERY", help="One SELECT in DuckDB's SQL; - reads it from stdin."),
    ],
    kind: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How to print it.", show_default="table, or as FILE is named"
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write to a file instead.")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.001, help="Stop after so long.", show_default="30"
        ),
    ] = 30.0,
    max_rows: Annotated[
        int | None,
        typer.Option(
            "--max-rows", min=1, help="Rows at most.", show_default=f"{SCREEN_ROWS} on a terminal"
        ),
    ] = None,
    release: ReleaseOption = None,
    out: OutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Ask the tables with SQL.

    The query sees the release's tables and nothing else: no file, no network; it changes nothing.

    \b
    Examples:
      urban-migration sql "select city_name, year, population, country_migrant_pct
          from city_indicators where city_id = 'prt-lisbon' and year <= 2024
          order by year desc limit 5"
      urban-migration sql "from cities where country_iso3 = 'JOR'" --format csv
      urban-migration sql "from city_population" --to population.parquet
      urban-migration sql "describe city_indicators"
      urban-migration sql - --json < question.sql
    """  # noqa: D301 (the backspace keeps the examples' lines as they are)
    from urban_migration import render
    from urban_migration.query import run

    chosen = _format(kind, as_json, to)
    opened = open_release(release, out)
    text = sys.stdin.read() if query == "-" else query
    screen = _screen() if chosen is Format.table and to is None else None
    if screen is not None and max_rows is None:
        max_rows = SCREEN_ROWS
    if chosen is Format.parquet and to is None and render.on_terminal():
        raise UsageError("Parquet is not for a terminal: add --to FILE, or pipe it on.")
    result = run(opened.folder, text, timeout=timeout, max_rows=max_rows)
    if chosen is Format.table:
        render.show_result(result, screen)
    else:
        render.write_result(result, chosen.value, to)
    _note_extract(opened)
    if result.truncated:
        _note(f"the first {max_rows} rows; more with --max-rows, all with --format csv.")


def _format(kind: Format | None, as_json: bool, to: Path | None) -> Format:
    if as_json and kind not in (None, Format.json):
        raise UsageError(f"--json and --format {kind}: choose one.")
    if as_json:
        return Format.json
    if to is None:
        return kind or Format.table
    named = to.suffix.removeprefix(".").lower()
    if kind is None and named in {"csv", "json", "parquet"}:
        return Format(named)
    if kind in (None, Format.table):
        raise UsageError(f"--to {to}: say --format csv, json or parquet.")
    return kind


@app.command(rich_help_panel=READING)
def tables(
    release: ReleaseOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """List the tables: how long, how wide, and what they are."""
    from urban_migration import render

    opened = open_release(release, out)
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "title": table.get("title"),
            "description": table.get("description"),
            "rows": table.get("rows"),
            "columns": len(table["schema"]["fields"]),
            "bytes": table.get("bytes"),
            "path": table.get("path"),
        }
        for name, table in opened.tables.items()
    ]
    if as_json:
        render.print_json({**opened.about(), "tables": found})
        return
    typer.echo(f"{opened.headline()}\n")
    rows = [
        [
            table["name"],
            render.count_text(table["rows"]),
            str(table["columns"]),
            render.bytes_text(table["bytes"]),
            str(table["title"] or ""),
        ]
        for table in found
    ]
    headers = ["table", "rows", "columns", "size", "what it is"]
    render.grid(headers, rows, right=(1, 2, 3), screen=_screen())


@app.command(rich_help_panel=READING)
def describe(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The name of a table.")],
    release: ReleaseOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a table: its columns, units, key, sources and licence."""
    from urban_migration import render

    opened = open_release(release, out)
    if table not in opened.tables:
        raise UsageError(
            f"release {opened.id} has no table {table!r}.{did_you_mean(table, opened.tables)} "
            "`urban-migration tables` lists them."
        )
    entry = opened.tables[table]
    if as_json:
        render.print_json({**opened.about(), "table": entry})
    else:
        render.show_table(opened.headline(), entry, _screen())


@app.command(rich_help_panel=READING)
def sources(
    release: ReleaseOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """List the sources: licence, how fresh, what became of each row."""
    from urban_migration import render
    from urban_migration.query import run

    opened = open_release(release, out)
    result = run(opened.folder, "from sources order by not required, source_id")
    checked = checks(opened.folder)
    found = [
        {**dict(zip(result.columns, row, strict=True)), **freshness(row[0], checked)}
        for row in result.rows()
    ]
    reasons = left_out(opened.folder)
    for source in found:  # what came since a release that stands unchanged was first made
        source["absence"] = reasons.get(source["source_id"], source.get("absence"))
    if as_json:
        render.print_json({**opened.about(), "sources": found})
    else:
        render.show_sources(opened.headline(), found, _screen())


@app.command(rich_help_panel=READING)
def city(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A city: its name, 'name, country', or its id.")
    ],
    release: ReleaseOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one city on one screen, each number with its source.

    Spelling and diacritics are forgiven; a name of several cities lists them.
    """
    from urban_migration import profile, render

    opened = open_release(release, out)
    found = profile.gather(opened, profile.find(opened, name))
    if as_json:
        render.print_json({**opened.about(), **found})
        return
    blocks = profile.BLOCKS if render.encodes(profile.BLOCKS) else profile.PLAIN_BLOCKS
    render.show_lines(profile.lines(found, render.width(), blocks))
    _note_extract(opened)


@app.command(rich_help_panel=READING)
def claims(
    release: ReleaseOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """Check figures that documents repeat against this release."""
    from urban_migration import render
    from urban_migration.query import run

    opened = open_release(release, out)
    if "claims" not in opened.tables:
        raise UsageError(f"release {opened.id} is from before claims were checked.")
    result = run(opened.folder, "from claims order by claim_id")
    found = [dict(zip(result.columns, row, strict=True)) for row in result.rows()]
    if as_json:
        render.print_json({**opened.about(), "claims": found})
    else:
        render.show_claims(opened.headline(), found, _screen())


@app.command(rich_help_panel=READING)
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Id or folder of a release.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Id or folder of another one.")],
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two releases: schema, rows, and figures by key."""
    from urban_migration import diff as differences
    from urban_migration import render

    before, after = open_release(old, out), open_release(new, out)
    changes = differences.compare(before.folder, after.folder)
    if as_json:
        render.print_json(differences.to_json(changes))
        return
    for opened in (before, after):
        _note_extract(opened)
    typer.echo(differences.to_markdown(changes).rstrip("\n"))


@app.command(rich_help_panel=READING)
def site(
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Where to put it.", show_default="data/processed/site"
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show it, on this machine only, until stopped.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of --serve; 0 takes any.")
    ] = 8000,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Where it will stand, for sitemap and links."),
    ] = None,
    front_end: Annotated[
        Path | None,
        typer.Option(
            "--front-end", metavar="DIR", help="A built front end.", show_default="site/dist"
        ),
    ] = None,
    release: ReleaseOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a static site of a release, for any web server or bucket.

    A site that is in DIR is replaced in one step; a folder that holds anything else is refused.
    """
    from urban_migration import render
    from urban_migration import site as pages

    opened = open_release(release, out)
    folder = to or (out or project_root() / "data" / "processed") / "site"
    made = pages.build_site(opened.folder, folder, front_end=front_end, url=url)
    if as_json:
        render.print_json(made.to_json())
    else:
        size = render.bytes_text(made.bytes)
        typer.echo(f"site of release {made.release}: {made.folder} ({size})")
        _note_extract(opened)
        if url is None:
            _note("the sitemap has no host: give the site's address with --url.")
    if serve:
        pages.serve(folder, port, _note)


# ---- making a release ------------------------------------------------------------------------

RawOption = Annotated[
    Path | None,
    typer.Option("--raw", metavar="DIR", help="The raw store.", show_default="data/raw"),
]
SeriesOption = Annotated[
    str, typer.Option("--series", help="Population series of city_indicators.")
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="ID", help="Download only this one; may be repeated."),
]
MirrorOption = Annotated[
    str | None,
    typer.Option(
        "--mirror", metavar="URL", help="Fetch https://HOST/PATH from URL/HOST/PATH instead."
    ),
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Download nothing: build from the raw store or, if empty, the bundled extract.",
    ),
]
PrivateOption = Annotated[
    bool,
    typer.Option(
        "--private",
        help="With sources whose licence forbids redistribution, for yourself: in OUT/private.",
    ),
]
KeepOption = Annotated[
    int | None,
    typer.Option("--keep", metavar="N", min=1, help="Keep the newest N releases; else all."),
]


def _order(
    raw: Path | None,
    out: Path | None,
    series: str = "wup2018",
    source: list[str] | None = None,
    mirror: str | None = None,
    offline: bool = False,
    keep: int | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """What a refresh is asked to do, with the project's own folders where none are named."""
    root = project_root()
    return {
        "raw": raw or root / "data" / "raw",
        "bundled": root / "data" / "raw" / "bundled",
        "out": out or root / "data" / "processed",
        "expectations": expectations_folder(root),
        "series": series,
        "sources": tuple(source or ()),
        "mirror": mirror,
        "offline": offline,
        "keep": keep,
        "private": private,
    }


def _hush(_: object) -> None:
    """Say nothing."""


def _say(as_json: bool) -> Any:
    """Progress goes to stderr, so that stdout holds the result alone."""
    return _hush if as_json else _note


@app.command(rich_help_panel=MAKING)
def refresh(
    offline: OfflineOption = False,
    source: SourceOption = None,
    series: SeriesOption = "wup2018",
    mirror: MirrorOption = None,
    keep: KeepOption = None,
    private: PrivateOption = False,
    raw: RawOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download what changed, check it and publish a release."""
    from urban_migration import render
    from urban_migration.sources import get_source

    for source_id in source or ():
        get_source(source_id)
    order = _order(raw, out, series, source, mirror, offline, keep, private)
    from flows import keys, server, settle

    settle(order["out"] / ".prefect")
    ready = server.start()
    from flows.refresh import Order, run

    say = _say(as_json)
    if offline:
        summary = run(Order(**order), None, say, ready=ready)
    else:
        from urban_migration.download import Downloader, terminal_progress

        quiet = nullcontext(_hush)
        with (
            quiet if as_json else terminal_progress(render.console(stderr=True)) as progress,
            Downloader(mirror=mirror, progress=progress) as downloader,
        ):
            summary = run(Order(**order), downloader, say, keys(), ready)
    if as_json:
        render.print_json(summary.to_json())
    else:
        render.show_summary(summary.to_json())


@app.command(rich_help_panel=MAKING)
def build(
    series: SeriesOption = "wup2018",
    keep: KeepOption = None,
    private: PrivateOption = False,
    raw: RawOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """The same from the raw store: no download, no flow."""
    from urban_migration import build as steps
    from urban_migration import render
    from urban_migration.raw import RawStore

    order = _order(raw, out, series, keep=keep, private=private)
    outcome = steps.build(
        RawStore(order["raw"]),
        order["out"],
        order["expectations"],
        series=series,
        keep=keep,
        private=private,
        say=_say(as_json),
    )
    if as_json:
        render.print_json(outcome.to_json())
    else:
        render.show_summary(outcome.to_json())


@app.command(rich_help_panel=MAKING)
def schedule(
    cron: Annotated[str, typer.Option("--cron", help="When, such as '0 6 1 * *' (UTC).")],
    source: SourceOption = None,
    series: SeriesOption = "wup2018",
    mirror: MirrorOption = None,
    offline: OfflineOption = False,
    keep: KeepOption = None,
    private: PrivateOption = False,
    raw: RawOption = None,
    out: OutOption = None,
) -> None:
    """Refresh whenever a cron expression says, until stopped."""
    from flows import settle

    order = _order(raw, out, series, source, mirror, offline, keep, private)
    settle(order["out"] / ".prefect", logging_level="INFO")
    from flows.schedule import serve

    folders = {name: str(order[name].resolve()) for name in FOLDERS}
    serve(cron, {**order, **folders, "sources": list(order["sources"])})


maintain = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Renew the files that stand in git.",
)
app.add_typer(maintain, name="maintain", rich_help_panel=MAKING)


@maintain.command()
def bundle(
    raw: RawOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where.", show_default="data/raw/bundled"),
    ] = None,
) -> None:
    """Write the bundled extract from a full raw store."""
    from urban_migration.extract import write_extract
    from urban_migration.raw import RawStore

    order = _order(raw, None)
    write_extract(RawStore(order["raw"]), to or order["bundled"])
    _note(f"written: {to or order['bundled']}")


@maintain.command()
def document(release: ReleaseOption = None, out: OutOption = None) -> None:
    """Renew the generated parts of docs/methodology.md from the dictionary and a full release."""
    from urban_migration.indicators import documentation
    from urban_migration.query import run

    opened = open_release(release, out)
    if opened.extract:
        raise UsageError(f"release {opened.id} is an {EXTRACT}: name a full one with --release.")
    parts = {"indicators": documentation.indicators()}
    for name, table in (("evaluation", "estimate_evaluation"), ("claims", "claims")):
        result = run(opened.folder, f"from {table}")
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows()]
        parts[name] = getattr(documentation, name)(rows)
    page = project_root() / "docs" / "methodology.md"
    page.write_text(documentation.filled(page.read_text("utf-8"), parts), "utf-8")
    _note(f"renewed: {page}")


@maintain.command()
def register(raw: RawOption = None, out: OutOption = None) -> None:
    """Add the cities and codes that the raw store brings to the registry of city ids.

    Review what is new in places/cities.csv before it is committed: an id is for ever.
    """
    from urban_migration import assembly, preparing
    from urban_migration import build as steps
    from urban_migration.places import crosswalk, registry
    from urban_migration.raw import RawStore

    order = _order(raw, out)
    plan = preparing.plan(RawStore(order["raw"]), order["out"], order["expectations"])
    with preparing.readers(plan.out) as pool:
        done = preparing.prepare(plan, pool, _note)
    plan, prepared = steps.sort_out(plan, done, _note)
    known = registry.read_registry()
    con, _ = assembly.relations(plan, prepared)
    grown, unneeded = crosswalk.grow(con, known)
    registry.write_registry(grown)
    _note(f"{len(grown) - len(known):,} cities added, {len(grown):,} in all")
    for line in unneeded:
        _note(f"reviewed decision no longer needed: {line}")


def main() -> None:
    """Run the command line; the entry point of ``urban-migration``."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # 60 MiB less at a build's peak
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's own threads only wait here
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding gets Łódź spelt, not a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code: object = 1  # that of an error which nobody caught

    def leave() -> None:
        # The last of all: not to give back half a million objects one by one (0.4 s), nor to
        # wait for a query that heard no interrupt.
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(code, int | None):
            os._exit(code or 0)

    atexit.register(leave)
    try:
        app()
    except SystemExit as end:
        code = end.code
        raise


if __name__ == "__main__":
    main()
