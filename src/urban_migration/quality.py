"""The quality report of a release: what was checked, what was found, what was kept back.

``quality_json`` gathers it as plain data, ``quality_html`` turns that data into one page that
needs nothing else: no script, font or picture from anywhere.  Neither checks anything or knows
when it ran, so that equal data gives equal bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from urban_migration.checks import Finding

SHOWN: Final = 100
"""Withheld rows that the page lists; the table ``quarantine`` has them all."""

PARTS: Final[Mapping[str, str]] = {
    "rows_published": "published",
    "rows_ignored": "ignored",
    "rows_unmatched": "unmatched",
    "rows_quarantined": "withheld",
}
"""What becomes of a row that was read, in the order in which the page shows it."""


def quality_json(
    *,
    extract: bool,
    series: str,
    tables: Mapping[str, int],
    findings: Iterable[Finding],
    sources: Sequence[Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
    stale: Mapping[str, str],
    blocks: Sequence[Mapping[str, Any]] = (),
    evaluations: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Everything that the report says, as plain data.

    ``tables`` gives the rows of each published table; ``sources`` and ``quarantine`` are the rows
    of the published tables of these names; ``stale`` maps each source that could not be fetched
    now, and is used as it was, to the reason; ``blocks`` are the country-years of city figures that
    are withheld as a whole; ``evaluations`` are the rows of published tables that say how good an
    estimate is, by the table's name.
    """
    checks: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        entry = dataclasses.asdict(finding)
        checks.setdefault(entry.pop("table"), []).append(
            {**entry, "examples": list(entry["examples"])}
        )
    flat = [entry for entries in checks.values() for entry in entries]
    rules: dict[tuple[str, str], list[str]] = {}
    for row in quarantine:
        rules.setdefault((row["source_id"], row["rule"]), []).append(row["reason"])
    return {
        "version": 1,
        "extract": extract,
        "series": series,
        "summary": {
            "tables": len(tables),
            "rows": sum(tables.values()),
            "checks": len(flat),
            "warnings": sum(_is(entry, "warn") for entry in flat),
            "blocks": sum(_is(entry, "block") for entry in flat),
            "rows_read": sum(source["rows_read"] for source in sources),
            "rows_withheld": sum(source["rows_quarantined"] for source in sources),
        },
        "tables": {name: {"rows": rows} for name, rows in tables.items()},
        "sources": [_source(source, stale) for source in sources],
        "withheld": {
            "by_rule": [
                {
                    "source_id": source_id,
                    "rule": rule,
                    "reason": reasons[0],
                    "reasons": len(set(reasons)),
                    "rows": len(reasons),
                }
                for (source_id, rule), reasons in sorted(rules.items())
            ],
            "country_years": [dict(block) for block in blocks],
            "first_rows": [dict(row) for row in quarantine[:SHOWN]],
        },
        "evaluations": {
            name: [dict(row) for row in found] for name, found in (evaluations or {}).items()
        },
        "checks": checks,
    }


def _is(entry: Mapping[str, Any], action: str) -> bool:
    """Whether a check failed and this is what its failure means."""
    return not entry["success"] and entry["action"] == action


def _source(source: Mapping[str, Any], stale: Mapping[str, str]) -> dict[str, Any]:
    source_id = source["source_id"]
    files = source["files"] or ()
    state = "missing" if not files else "stale" if source_id in stale else "current"
    return {
        **{
            name: source[name]
            for name in ("source_id", "title", "publisher", "edition", "licence", "licence_url")
        },
        "required": source["required"],
        "state": state,
        "problem": stale.get(source_id) or source.get("absence"),
        "first_seen": source["first_seen"],
        "files": len(files),
        "rows_read": source["rows_read"],
        **{name: source[name] for name in PARTS},
    }


# ------------------------------------------------------------------ the page

STYLE: Final = """
:root { --paper: #fcfcfa; --ink: #1d2327; --quiet: #5d676d; --line: #d9dcda; --accent: #1f5f8b;
  --soft: #c9d0d4; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181a; --ink: #e4e6e5; --quiet: #9aa4a9; --line: #33393d; --accent: #7fb8e0;
    --soft: #4a5359; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 62rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 1rem; font-weight: 600; color: var(--quiet); margin: 0 0 1rem; }
h2 { font-size: 1.25rem; font-weight: 600; margin: 3.5rem 0 .75rem; }
h3 { font-size: 1rem; font-weight: 600; margin: 2rem 0 .25rem; }
p, li { max-width: 42rem; }
p { margin: .5rem 0; }
.verdict { font-size: 1.6rem; line-height: 1.35; max-width: 40rem; margin: 0 0 1rem; }
.extract { border-left: .3rem solid var(--accent); padding: .2rem 0 .2rem 1rem; margin: 1.5rem 0; }
.quiet, caption { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: .925rem; }
caption { text-align: left; caption-side: bottom; padding-top: .6rem; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem 1rem .4rem 0;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr:last-child > * { border-bottom: 0; }
tfoot td, tfoot th { border-top: 1px solid var(--ink); border-bottom: 0; font-weight: 600; }
.bar { display: flex; height: .35rem; margin-top: .35rem; min-width: 9rem; gap: 1px; }
.bar i { background: var(--soft); min-width: 2px; }
.bar .published { background: var(--accent); }
.bar .withheld { background: var(--ink); }
ul.places { margin: .25rem 0 0; padding-left: 1.1rem; color: var(--quiet); font-size: .875rem; }
ul.places li { max-width: 52rem; overflow-wrap: anywhere; }
article { margin: 1.25rem 0; }
article p { margin: 0; }
details { border-top: 1px solid var(--line); }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .5rem 0; }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
summary .quiet { margin-left: .5rem; }
dl { display: grid; grid-template-columns: 6.5rem 1fr; gap: .3rem 1rem; margin: .25rem 0 1.25rem; }
dt { color: var(--quiet); }
dd { margin: 0; max-width: 46rem; overflow-wrap: anywhere; }
.mark { color: var(--accent); font-weight: 600; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { :root { --paper: #fff; --ink: #000; --quiet: #444; --accent: #000; }
  main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  article, tr, dl { break-inside: avoid; } }
"""


def quality_html(quality: Mapping[str, Any]) -> str:
    """The report as one self-contained page; every text of a publisher is escaped."""
    extract = quality["extract"]
    title = "Quality report" + (" · bundled extract" if extract else "")
    sections = [
        _head(quality),
        _accounts(quality["sources"]),
        _warnings(quality["checks"]),
        _withheld(quality),
        _evaluations(quality["evaluations"]),
        _tables(quality["tables"]),
        _checks(quality),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · Urban migration indicators</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def verdict(quality: Mapping[str, Any]) -> str:
    """The report in one sentence or two."""
    summary = quality["summary"]
    checks, warnings, blocks = summary["checks"], summary["warnings"], summary["blocks"]
    if blocks:
        first = f"{_count(blocks, 'check')} of {checks:,} failed: these figures cannot be released"
    elif warnings:
        first = (
            f"No check forbids this release: of {checks:,}, "
            f"{_count(warnings, 'check')} {'asks' if warnings == 1 else 'ask'} for a second look"
        )
    else:
        first = f"All {checks:,} checks held"
    withheld = summary["rows_withheld"]
    kept = f"{withheld:,}" if withheld else "None"
    verb = "was" if withheld == 1 else "were"
    return f"{first}. {kept} of the {summary['rows_read']:,} figures read {verb} withheld."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _head(quality: Mapping[str, Any]) -> str:
    summary = quality["summary"]
    notes = []
    if quality["extract"]:
        notes.append(
            '<p class="extract"><strong>Bundled extract.</strong> This release was built from the '
            "small extract that comes with the project: real figures, but not of all cities and "
            "origins. What would be wrong in an extract, such as ranks among all cities, is "
            "left out.</p>"
        )
    for source in quality["sources"]:
        if source["state"] == "stale":
            notes.append(
                f"<p><strong>{escape(source['title'])} is stale:</strong> it could not be fetched "
                f"now, so the files of before are used ({escape(str(source['problem']))}).</p>"
            )
        elif source["state"] == "missing":
            notes.append(
                f"<p><strong>{escape(source['title'])} is missing:</strong> it was never had; "
                "its columns and tables are empty.</p>"
            )
    return (
        "<h1>Urban migration indicators: quality report</h1>\n"
        f'<p class="verdict">{escape(verdict(quality))}</p>\n'
        f'<p class="quiet">{_count(summary["tables"], "table")} with {summary["rows"]:,} rows; '
        f"city populations of series {escape(quality['series'])}.</p>\n" + "\n".join(notes)
    )


def _accounts(sources: Sequence[Mapping[str, Any]]) -> str:
    """What became of every row that was read: one line per source, and their sum."""
    heads = "".join(f'<th class="n" scope="col">{name}</th>' for name in PARTS.values())
    body = "".join(
        f'<tr><th scope="row">{escape(source["title"])}{_bar(source)}'
        f'<div class="quiet">{escape(_about(source))}</div></th>{_numbers(source)}</tr>\n'
        for source in sources
    )
    sums = {name: sum(source[name] for source in sources) for name in ("rows_read", *PARTS)}
    return (
        "<h2>Where every row went</h2>\n"
        '<div class="scroll"><table>\n<thead><tr><th scope="col">source</th>'
        f'<th class="n" scope="col">read</th>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        f'<tfoot><tr><th scope="row">all sources</th>{_numbers(sums)}</tr></tfoot>\n'
        "<caption>Rows are single facts, such as a city in a year. Ignored: of a kind declared as "
        "not published, such as sums over regions. Unmatched: about a place that is no known "
        "city. Withheld: kept back by a check. The four add up to the rows read.</caption>\n"
        "</table></div>"
    )


def _numbers(counts: Mapping[str, Any]) -> str:
    return "".join(f'<td class="n">{counts[name]:,}</td>' for name in ("rows_read", *PARTS))


def _bar(source: Mapping[str, Any]) -> str:
    """The four shares of the rows read as one thin bar; the numbers stand beside it."""
    read = source["rows_read"]
    pieces = "".join(
        f'<i class="{name}" style="flex:{source[key] / read:.4f}"></i>'
        for key, name in PARTS.items()
        if read and source[key]
    )
    return f'<div class="bar" aria-hidden="true">{pieces}</div>' if pieces else ""


def _about(source: Mapping[str, Any]) -> str:
    if source["state"] == "missing":
        return f"{source['source_id']}, never downloaded"
    facts = [source["source_id"], source["edition"], _count(source["files"], "file")]
    if source["first_seen"]:
        facts.append(f"first seen {str(source['first_seen'])[:10]}")
    if source["state"] == "stale":
        facts.append("stale")
    return ", ".join(facts)


def _warnings(checks: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What failed and is published all the same, or forbids the release, with its places."""
    failed = [
        (table, entry)
        for table, entries in checks.items()
        for entry in entries
        if _is(entry, "block") or _is(entry, "warn")
    ]
    failed.sort(key=lambda pair: pair[1]["action"] != "block")
    if not failed:
        return "<h2>Worth a second look</h2>\n<p>Nothing: every check held.</p>"
    articles = "\n".join(
        f"<article>\n<p>{_mark(entry)}{escape(_capital(entry['statement']))}.</p>\n"
        f'<p class="quiet">{escape(_found(table, entry))}</p>{_places(entry)}\n</article>'
        for table, entry in failed
    )
    return f"<h2>Worth a second look</h2>\n{articles}"


def _mark(entry: Mapping[str, Any]) -> str:
    return '<span class="mark">Forbids the release.</span> ' if _is(entry, "block") else ""


def _capital(sentence: str) -> str:
    """A sentence with a capital, unless it begins with the name of a column."""
    first = sentence.split(" ", 1)[0]
    return sentence if "_" in first else sentence[:1].upper() + sentence[1:]


def _found(table: str, entry: Mapping[str, Any]) -> str:
    observed = f"; found {entry['observed']}" if entry["observed"] is not None else ""
    return f"{table}, {entry['rule']}{observed}"


def _places(entry: Mapping[str, Any]) -> str:
    places = [f"<li>{escape(place)}</li>" for place in entry["examples"]]
    more = entry["unexpected"] - len(places)
    if places and more > 0:
        places.append(f"<li>and {more:,} more</li>")
    return f'\n<ul class="places">{"".join(places)}</ul>' if places else ""


def _withheld(quality: Mapping[str, Any]) -> str:
    """Which rows are not published, and why."""
    withheld = quality["withheld"]
    if not withheld["by_rule"]:
        return "<h2>Withheld</h2>\n<p>Nothing was withheld.</p>"
    reasons = "".join(
        f'<tr><th scope="row">{_reason(rule)}</th><td>{escape(rule["source_id"])}</td>'
        f'<td>{escape(rule["rule"])}</td><td class="n">{rule["rows"]:,}</td></tr>\n'
        for rule in withheld["by_rule"]
    )
    rows = "".join(
        f"<li>{escape(row['file'].replace('#', ', sheet '))}, row {row['row_number']}"
        f"{_cell(row)}: {escape(str(row['source_code']))}"
        f"{'' if row['year'] is None else ', ' + str(row['year'])}, "
        f"value {escape(str(row['value']))} ({escape(row['rule'])})</li>"
        for row in withheld["first_rows"]
    )
    return (
        "<h2>Withheld</h2>\n"
        "<p>These figures are in the publishers' files and not in the tables.</p>\n"
        '<div class="scroll"><table>\n<thead><tr><th scope="col">because</th>'
        '<th scope="col">source</th><th scope="col">rule</th>'
        f'<th class="n" scope="col">rows</th></tr></thead>\n<tbody>\n{reasons}</tbody>\n'
        f"</table></div>\n{_country_years(withheld['country_years'])}"
        f'<ul class="places">{rows}</ul>\n'
        f"{_rest(quality)}"
    )


def _reason(rule: Mapping[str, Any]) -> str:
    """Why; where each row has a reason of its own, the first."""
    example = f" (and {rule['reasons'] - 1:,} more of the kind)" if rule["reasons"] > 1 else ""
    return escape(rule["reason"]) + example


def _country_years(blocks: Sequence[Mapping[str, Any]]) -> str:
    """The country-years that fell as a whole."""
    if not blocks:
        return ""
    lines = "".join(
        f"<li>{escape(block['table'])}: {escape(block['what'])} of {escape(block['country'])} "
        f"{block['year']}, {_count(block['rows'], 'figure')}: {escape(block['reason'])}</li>"
        for block in blocks
    )
    return (
        "<p>Of these, country-years of city figures withheld as a whole, because too many of their "
        f'cities contradict the years around:</p>\n<ul class="places">{lines}</ul>\n'
    )


def _evaluations(evaluations: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """How good estimates are: the rows of each table of that kind, under its name."""
    found = {name: rows for name, rows in evaluations.items() if rows}
    parts = ["<h2>How good the estimates are</h2>"] if found else []
    for name, rows in found.items():
        heads = "".join(f'<th scope="col">{escape(str(key))}</th>' for key in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>\n"
            for row in rows
        )
        parts.append(
            f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n'
            f"<tbody>\n{body}</tbody>\n"
            f"<caption>Table {escape(name)}; docs/methodology.md explains it.</caption>\n"
            "</table></div>"
        )
    return "\n".join(parts)


def _cell(row: Mapping[str, Any]) -> str:
    return "" if row["column"] is None else f", column {escape(repr(row['column']))}"


def _rest(quality: Mapping[str, Any]) -> str:
    listed = len(quality["withheld"]["first_rows"])
    every = sum(rule["rows"] for rule in quality["withheld"]["by_rule"])
    if every <= listed:
        return ""
    return f'<p class="quiet">The table quarantine has all {every:,}.</p>\n'


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="n">{entry["rows"]:,}</td></tr>\n'
        for name, entry in tables.items()
    )
    return (
        '<h2>Published tables</h2>\n<div class="scroll"><table>\n<thead><tr>'
        '<th scope="col">table</th><th class="n" scope="col">rows</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table></div>"
    )


def _checks(quality: Mapping[str, Any]) -> str:
    """Every check by table, published tables first, folded away."""
    checks = quality["checks"]
    published = [name for name in quality["tables"] if name in checks]
    read = [name for name in checks if name not in quality["tables"]]
    parts = ["<h2>Every check</h2>"]
    for heading, names in (("Published tables", published), ("As read from the sources", read)):
        if names:
            parts.append(f"<h3>{heading}</h3>")
            parts += [_table_checks(name, checks[name]) for name in names]
    return "\n".join(parts)


def _table_checks(name: str, entries: Sequence[Mapping[str, Any]]) -> str:
    failed = [entry for entry in entries if not entry["success"]]
    outcome = f"{_count(len(entries), 'check')}, " + (
        f"{len(failed):,} not met" if failed else "all held"
    )
    items = "".join(
        f"<dt>{_outcome(entry)}</dt><dd>{escape(_capital(entry['statement']))} "
        f'<span class="quiet">({escape(entry["rule"])}'
        f"{_observed(entry)})</span>{_places(entry)}</dd>\n"
        for entry in entries
    )
    return (
        f"<details><summary>{escape(name)}"
        f'<span class="quiet">{outcome}</span></summary>\n<dl>\n{items}</dl>\n</details>'
    )


def _outcome(entry: Mapping[str, Any]) -> str:
    if entry["success"]:
        return "held"
    words = {"block": "failed", "warn": "look again", "quarantine": "withheld"}
    return f'<span class="mark">{words[entry["action"]]}</span>'


def _observed(entry: Mapping[str, Any]) -> str:
    return "" if entry["observed"] is None else f"; found {escape(entry['observed'])}"
