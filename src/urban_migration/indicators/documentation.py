"""The generated parts of docs/methodology.md: indicators, the evaluation, and the claims.

Text between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` is replaced and everything else left
alone.  Indicators come from the dictionary, figures from a release.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

DICTIONARY: Final = Path(__file__).with_name("dictionary.csv")

Row = Mapping[str, Any]


def indicators(path: Path = DICTIONARY) -> str:
    """Each indicator with unit, definition, formula, document and where it is absent."""
    with path.open(encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    return "\n".join(
        f"**`{entry['indicator_id']}`** ({entry['unit']}): {entry['name']}. "
        f"{entry['description']}\n"
        f"- *Method:* {entry['method']}\n"
        f"- *From:* {entry['document']}.\n"
        f"- *Absent:* {entry['absent_where']}\n"
        for entry in entries
    ).rstrip("\n")


def evaluation(rows: Sequence[Row]) -> str:
    """The table ``estimate_evaluation`` as Markdown."""
    heads = (
        "cities",
        "n",
        "countries",
        "error of the model",
        "of the country's share",
        "of share × median quotient",
        "inside the 80 % interval",
        "mean over countries",
        "width",
    )
    order = ("all", "list", "size", "region")
    ranked = sorted(rows, key=lambda row: (order.index(row["grouping"]), _size(row["part"])))
    lines = [
        [
            row["part"],
            f"{row['cities']:,}",
            str(row["countries"]),
            *(f"{row[name]:.2f}" for name in row if name.startswith("mae_")),
            f"{row['coverage_pooled_pct']:.1f} %",
            f"{row['coverage_by_country_pct']:.1f} %",
            f"{row['interval_width']:.1f}",
        ]
        for row in ranked
    ]
    rule = ["---", *["--:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def _size(part: str) -> tuple[int, str]:
    """Classes of size from small to large; other parts by name."""
    starts = ("under", "100,000", "300,000", "1 million")
    return next((at for at, start in enumerate(starts) if part.startswith(start)), 0), part


def claims(rows: Sequence[Row]) -> str:
    """The table ``claims`` as Markdown, without its SQL."""
    lines = ["| claim | document | published | recomputed | verdict |", "|---|---|--:|--:|---|"]
    for row in sorted(rows, key=lambda row: row["claim_id"]):
        computed = _figure(row["computed_value"])
        low, high = row["computed_low"], row["computed_high"]
        if row["computed_value"] is None and low is not None:
            upper = "" if high is None else f" to {_figure(high)}"
            computed = f"{_figure(low)}{upper or ' or more'}"
        verdict = row["verdict"].replace("_", " ")
        lines.append(
            f"| {row['statement']} | {row['document']} | {_figure(row['published_value'])} "
            f"| {computed} | {verdict} |"
        )
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.10g}"


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The page with its generated parts renewed; a part whose marks are missing is an error."""
    for name, part in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"no {start} ... {end} to fill")
        text = f"{before}{start}\n{part}\n{end}{after}"
    return text
