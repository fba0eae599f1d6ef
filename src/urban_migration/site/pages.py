"""The pages of the site as HTML that says the essentials without a script.

Everything written here is escaped; no page holds a script or a style of its own, so that a strict
Content-Security-Policy can forbid both.  The scripts of the front end add to these pages what
needs one: search, map, charts, SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final
from urllib.parse import quote

POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'"
)
"""No script but the site's own, no other host; WebAssembly is what the SQL engine is made of."""

SCROLL: Final = '<div class="scroll" tabindex="0" role="group" aria-label="Table">'
"""What a table wider than the screen scrolls in, with the keyboard too."""

PAGES: Final[Mapping[str, tuple[str, str, str]]] = {
    "index": (
        "Find a city",
        "Population, growth and migration of the world's cities: search, map, and a profile "
        "of each city, from checked public sources.",
        "Find a city",
    ),
    "city": (
        "City profile",
        "One city's population, growth and its parts, foreign-born people and origins, with the "
        "country around it; compared with up to four others.",
        "",
    ),
    "sql": (
        "SQL",
        "Ask every table of the release with SQL, in your browser: nothing is installed and "
        "nothing is sent anywhere.",
        "SQL",
    ),
    "downloads": (
        "Downloads",
        "Every table as Parquet with rows, size, checksum, licence and code for DuckDB, pandas "
        "and R; the whole release, and older releases.",
        "Downloads",
    ),
    "dictionary": (
        "Dictionary",
        "Every table and column: what it means, its unit, its key and its sources.",
        "Dictionary",
    ),
    "quality": (
        "Quality and claims",
        "What was checked, what was withheld and why, what is stale; published claims computed "
        "again.",
        "Quality and claims",
    ),
}
"""Title, description and name in the menu of each page, by file name without ``.html``."""


ORDER: Final[Mapping[str, int]] = {
    "city_indicators": -3,
    "city_migrants": -2,
    "cities": -1,
    "sources": 1,
    "quarantine": 2,
}
"""What most people come for is listed first, what explains it last."""


@dataclass(frozen=True)
class Facts:
    """What the pages say of a release; gathered once by ``make``."""

    descriptor: Mapping[str, Any]
    release: str
    extract: bool
    quality: Mapping[str, Any]
    changes: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    cities: Sequence[tuple[Any, ...]]
    countries: Mapping[str, Sequence[Any]]
    claims: Sequence[Mapping[str, Any]]
    older: Sequence[Mapping[str, Any]]
    assets: Mapping[str, Any]
    archive: Mapping[str, Any]
    sums: Mapping[str, str]
    url: str | None = None

    @property
    def folder(self) -> str:
        """Where the release's files are, seen from a page."""
        return f"releases/{quote(self.release)}/"

    @property
    def resources(self) -> Sequence[Mapping[str, Any]]:
        """The tables as the release's descriptor lists them."""
        found: Sequence[Mapping[str, Any]] = self.descriptor.get("resources", ())
        return sorted(found, key=lambda table: ORDER.get(table["name"], 0))


def render(facts: Facts) -> dict[str, str]:
    """Every page by file name."""
    bodies = {
        "index": _index(facts),
        "city": _city(),
        "sql": _sql(facts),
        "downloads": _downloads(facts),
        "dictionary": _dictionary(facts),
        "quality": _quality(facts),
    }
    return {f"{name}.html": _page(facts, name, body) for name, body in bodies.items()}


# ---- the frame -----------------------------------------------------------------------------


def _page(facts: Facts, name: str, body: str) -> str:
    title, description, _ = PAGES[name]
    series = facts.descriptor.get("title", "Urban migration indicators")
    early = "".join(
        f'<link rel="modulepreload" href="{escape(script)}">\n'
        for script in facts.assets["preload"].get(name, ())
    )
    if early:
        early += '<link rel="preload" as="fetch" href="site.json" crossorigin>\n'
    whole = f"{title} · Urban migration indicators"
    menu = "".join(
        f'<li><a href="{page}.html"{_current(page, name)}>{escape(label)}</a></li>'
        for page, (_, _, label) in PAGES.items()
        if label
    )
    canonical = (
        f'<link rel="canonical" href="{escape(facts.url)}{name}.html">\n' if facts.url else ""
    )
    data = (
        f'<script type="application/ld+json">{_json_ld(facts)}</script>\n'
        if name in {"index", "downloads"}
        else ""
    )
    banner = (
        '<p class="extract" role="note"><strong>Bundled extract.</strong> This site shows a small '
        "sample of cities and countries, to try things out: no total of a region or of the world "
        "can be made from it.</p>"
        if facts.extract
        else ""
    )
    if facts.descriptor.get("private"):
        banner += (
            '<p class="extract" role="note"><strong>Private release.</strong> It holds sources '
            "whose licence forbids passing them on: this site is for yourself, not for others.</p>"
        )
    created = str(facts.descriptor.get("created", ""))[:10]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY, quote=True)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{escape(whole)}</title>
<meta name="description" content="{escape(description)}">
<meta property="og:title" content="{escape(whole)}">
<meta property="og:description" content="{escape(description)}">
{canonical}<link rel="icon" href="data:,">
<link rel="stylesheet" href="{escape(facts.assets["style"])}">
<script type="module" src="{escape(facts.assets["script"])}"></script>
{early}{data}</head>
<body data-page="{name}">
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<p class="brand"><a href="index.html">Urban migration indicators</a></p>
<nav aria-label="Pages"><ul>{menu}</ul></nav>
</header>
{banner}
<main id="main">
{body}
</main>
<footer>
<p>Release <code>{escape(facts.release)}</code> · sources as of {escape(created)} ·
series {escape(str(facts.descriptor.get("series", "")))}.
The data keep their publishers' licences, named beside every table and chart.</p>
<p>{escape(series)}: no account, no cookies, no tracking; nothing is loaded from another host.</p>
</footer>
</body>
</html>
"""


def _current(page: str, name: str) -> str:
    return ' aria-current="page"' if page == name else ""


def _json_ld(facts: Facts) -> str:
    """The release as a schema.org Dataset, for search engines and catalogues."""
    base = facts.url or ""
    descriptor = facts.descriptor
    people = descriptor.get("contributors") or [{"title": "Urban migration indicators"}]
    about = {
        "@context": "https://schema.org",
        "@type": "Dataset",
        "name": descriptor.get("title"),
        "description": (
            f"{descriptor.get('description', '')} One row per city and year, with the country's "
            "migration beside it, from official sources; what is estimated, projected or "
            "interpolated says so."
        ),
        "identifier": facts.release,
        "version": facts.release,
        "dateModified": descriptor.get("created"),
        "isAccessibleForFree": True,
        "keywords": descriptor.get("keywords", []),
        "creator": [
            {"@type": "Organization", "name": person.get("title")}
            for person in people
            if person.get("title")
        ],
        "license": [item.get("path") for item in descriptor.get("licenses", ())],
        "isBasedOn": [item.get("path") for item in descriptor.get("sources", ())],
        "citation": [item.get("citation") for item in descriptor.get("sources", ())],
        "spatialCoverage": "World",
        "temporalCoverage": _years(facts),
        "variableMeasured": [
            {
                "@type": "PropertyValue",
                "name": column["name"],
                "description": column.get("description"),
                **({"unitText": column["unit"]} if column.get("unit") else {}),
            }
            for table in facts.resources
            if table["name"] == "city_indicators"
            for column in table["schema"]["fields"]
            if column.get("unit")
        ],
        "distribution": [
            {
                "@type": "DataDownload",
                "name": table.get("title"),
                "encodingFormat": table.get("mediatype"),
                "contentUrl": f"{base}{facts.folder}{table['path']}",
                "contentSize": f"{table.get('bytes', 0)} B",
                "sha256": str(table.get("hash", "")).removeprefix("sha256:"),
            }
            for table in facts.resources
        ],
        **({"url": f"{base}index.html"} if base else {}),
    }
    plain = {name: value for name, value in about.items() if value not in (None, [], "")}
    # "</script>" in a publisher's title must not end the block.
    return json.dumps(plain, ensure_ascii=False).replace("<", "\\u003c")


def _years(facts: Facts) -> str:
    first, last = facts.descriptor.get("years") or (1950, 2035)
    return f"{first}/{last}"


# ---- find a city ---------------------------------------------------------------------------


def _index(facts: Facts) -> str:
    rows = "".join(
        f'<tr><td class="n">{number}</td><th scope="row">'
        f'<a href="city.html?id={quote(str(city[0]))}">{escape(str(city[1]))}</a></th>'
        f"<td>{escape(_country(facts, city[3]))}</td>"
        f'<td class="n">{_count(city[9])}</td><td class="n">{_text(city[10])}</td></tr>'
        for number, city in enumerate(facts.cities[:50], 1)
    )
    table = (
        f"{SCROLL}<table><caption>The largest cities; population as last estimated, "
        "not projected</caption><thead><tr>"
        '<th scope="col" class="n">#</th><th scope="col">City</th><th scope="col">Country</th>'
        '<th scope="col" class="n">Population</th><th scope="col" class="n">Year</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        if rows
        else "<p>This release has no table of cities.</p>"
    )
    many = f"{len(facts.cities):,} cities in {len({city[3] for city in facts.cities}):,} countries"
    return f"""<h1>How much of a city's growth is migration?</h1>
<p class="lede">{escape(many)}: population, growth and its parts, foreign-born people, and
the migration of the country around them. Every figure says where it comes from, and whether it
was observed, estimated, projected or interpolated.</p>
<div id="app" data-view="home">
<noscript><p class="note">Search, map and charts need JavaScript. Without it, every figure is in
the <a href="downloads.html">downloads</a>, explained in the
<a href="dictionary.html">dictionary</a>.</p></noscript>
{table}
</div>"""


def _country(facts: Facts, code: str) -> str:
    return str(facts.countries.get(code, [code])[0])


def _city() -> str:
    return """<div id="app" data-view="city">
<h1>City profile</h1>
<p class="waiting">Reading the release …</p>
<noscript><p class="note">A profile is drawn by your browser from the release's files, which needs
JavaScript. Without it, the same figures are in
<a href="downloads.html#city_indicators"><code>city_indicators</code></a> among the downloads.
</p></noscript>
</div>"""


def _sql(facts: Facts) -> str:
    rows = "".join(
        f'<li><a href="dictionary.html#{escape(table["name"])}"><code>{escape(table["name"])}'
        f"</code></a> {_count(table.get('rows'))} rows</li>"
        for table in facts.resources
    )
    return f"""<h1>SQL</h1>
<p class="lede">Ask the tables of the release. The query runs in your browser, on your machine:
nothing is sent anywhere, and nothing that you ask can change the data.</p>
<div id="app" data-view="sql">
<noscript><p class="note">The SQL engine needs JavaScript and WebAssembly. Without them, download
<a href="{facts.folder}urban_migration.duckdb">urban_migration.duckdb</a> and open it with DuckDB.
</p></noscript>
<h2>Tables</h2>
<ul class="plain">{rows}</ul>
</div>"""


# ---- downloads -----------------------------------------------------------------------------


def _downloads(facts: Facts) -> str:
    tables = "".join(_download(facts, table) for table in facts.resources)
    archive = facts.archive
    sums = facts.sums
    files = [
        (
            f"releases/{quote(str(archive['name']))}",
            archive["name"],
            archive["bytes"],
            archive["sha256"],
            "Everything below in one file",
        ),
        *(
            (facts.folder + name, name, archive["files"].get(name), sums.get(name), text)
            for name, text in (
                ("urban_migration.duckdb", "All tables in one DuckDB database (1.4 or newer)"),
                ("datapackage.json", "Frictionless descriptor: schema, units, licences"),
                ("SHA256SUMS", "Checksums of all files"),
                ("quality.html", "The full quality report"),
                ("changes.md", "What changed since the release before"),
            )
            if name in archive["files"]
        ),
    ]
    rows = "".join(
        f'<tr><th scope="row"><a href="{escape(path)}" download>{escape(name)}</a></th>'
        f'<td>{escape(text)}</td><td class="n">{_bytes(size)}</td></tr>'
        + (_sum_row(digest) if digest else "")
        for path, name, size, digest, text in files
    )
    return f"""<h1>Downloads</h1>
<p class="lede">Release <code>{escape(facts.release)}</code>. Cite the publisher of the figures,
and the release id with it, so that others find the same numbers.</p>
<section aria-labelledby="whole"><h2 id="whole">The whole release</h2>
{SCROLL}<table><thead><tr><th scope="col">File</th><th scope="col">What it is</th>
<th scope="col" class="n">Size</th></tr></thead><tbody>{rows}</tbody></table></div>
<p>To check what you downloaded, in the folder of the files:</p>
<pre tabindex="0"><code>sha256sum --check --ignore-missing SHA256SUMS</code></pre>
</section>
<section aria-labelledby="tables"><h2 id="tables">Tables</h2>
<p>One Parquet file per table. Names ending in <code>_pct</code> are percent from 0 to 100;
columns that start with <code>country_</code> are national figures repeated on city rows: never
add them up over cities.</p>
{tables}
</section>
<section aria-labelledby="older"><h2 id="older">Older releases, and what changed</h2>
{_changes(facts)}
{_older(facts)}
</section>
<section aria-labelledby="sources"><h2 id="sources">Sources and licences</h2>
{_sources(facts)}
</section>"""


def _sum_row(digest: str) -> str:
    return (
        '<tr class="sum"><td colspan="3"><span class="quiet">sha256</span> '
        f"<code>{escape(digest)}</code></td></tr>"
    )


def _download(facts: Facts, table: Mapping[str, Any]) -> str:
    name = str(table["name"])
    ids = [source.get("source_id") for source in table.get("sources", ())]
    known = [facts.sources[source] for source in ids if source in facts.sources]
    licences = "; ".join(
        _link(item.get("path"), item.get("title") or item.get("name"))
        for item in table.get("licenses", ())
    )
    digest = str(table.get("hash", "")).removeprefix("sha256:")
    path = str(table["path"])
    changed = max(
        (str(s.get("last_changed") or s.get("first_seen") or "") for s in known), default=""
    )
    looked = min((str(s.get("last_checked") or "") for s in known), default="")
    facts_list = [
        ("Rows", _count(table.get("rows"))),
        ("Columns", _count(len(table["schema"]["fields"]))),
        ("Size", _bytes(table.get("bytes"))),
        ("Last change", _day(changed)),
        ("Last check", _day(looked)),
        ("Licence", licences or "see its sources"),
    ]
    described = "".join(f"<div><dt>{label}</dt><dd>{text}</dd></div>" for label, text in facts_list)
    return f"""<article class="table" id="{escape(name)}">
<h3>{escape(str(table.get("title") or name))} <code>{escape(name)}</code></h3>
<p>{escape(str(table.get("description") or ""))}</p>
<dl class="facts">{described}</dl>
<p class="sum"><a class="button" href="{facts.folder}{escape(path)}" download>{escape(path)}</a>
<a href="dictionary.html#{escape(name)}">columns and units</a></p>
<p class="sum"><span class="quiet">sha256</span> <code class="hash">{escape(digest)}</code></p>
<details><summary>Code for DuckDB, pandas and R</summary>
{_code(facts, name, path)}</details>
</article>"""


def _code(facts: Facts, name: str, path: str) -> str:
    address = f"{facts.url}{facts.folder}{path}" if facts.url else path
    blocks = [
        ("DuckDB", f"select * from '{address}' limit 10;"),
        ("pandas", f'import pandas as pd\n{name} = pd.read_parquet("{address}")'),
        (
            "R",
            f'library(arrow)\n{name} <- read_parquet("{path}")'
            if not facts.url
            else f'library(arrow)\ndownload.file("{address}", "{path}", mode = "wb")\n'
            f'{name} <- read_parquet("{path}")',
        ),
    ]
    return "".join(
        f'<h4>{label}</h4><pre tabindex="0" data-file="{escape(path)}">'
        f"<code>{escape(code)}</code></pre>"
        for label, code in blocks
    )


def _changes(facts: Facts) -> str:
    changes = facts.changes
    before = changes.get("before")
    parts = [f"<p>{escape(str(note))}</p>" for note in changes.get("notes", ())]
    if before:
        rows = "".join(
            f'<tr><th scope="row"><code>{escape(str(change["table"]))}</code></th>'
            f'<td class="n">{_count(change.get("rows_before"))}</td>'
            f'<td class="n">{_count(change.get("rows_after"))}</td></tr>'
            for change in changes.get("tables", ())
        )
        parts.append(f"<p>Since <code>{escape(str(before))}</code>:</p>")
        if rows:
            parts.append(
                f'{SCROLL}<table><thead><tr><th scope="col">Table</th>'
                '<th scope="col" class="n">Rows before</th><th scope="col" class="n">Rows now</th>'
                f"</tr></thead><tbody>{rows}</tbody></table></div>"
            )
        for key, text in (("tables_added", "New tables"), ("tables_removed", "Removed tables")):
            names = ", ".join(f"<code>{escape(name)}</code>" for name in changes.get(key, ()))
            parts += [f"<p>{text}: {names}.</p>"] if names else []
        if not rows and not changes.get("tables_added") and not changes.get("tables_removed"):
            parts.append("<p>No table changed.</p>")
    parts.append(f'<p><a href="{facts.folder}changes.md">Every change, cell by cell</a></p>')
    return "".join(parts)


def _older(facts: Facts) -> str:
    if not facts.older:
        return "<p>There is no older release on this site.</p>"
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(str(item["id"]))}</code></th>'
        f"<td>{_day(item.get('created'))}</td>"
        f'<td class="n">{_count(item.get("tables"))}</td>'
        f'<td class="n">{_count(item.get("rows"))}</td>'
        f'<td><a href="releases/{quote(str(item["id"]))}/urban_migration.duckdb" download>'
        f"DuckDB ({_bytes(item.get('bytes'))})</a>, "
        f'<a href="releases/{quote(str(item["id"]))}/datapackage.json">descriptor</a>, '
        f'<a href="releases/{quote(str(item["id"]))}/SHA256SUMS">checksums</a>, '
        f'<a href="releases/{quote(str(item["id"]))}/changes.md">changes</a></td></tr>'
        for item in facts.older
    )
    return (
        f'{SCROLL}<table><thead><tr><th scope="col">Release</th>'
        '<th scope="col">Sources as of</th><th scope="col" class="n">Tables</th>'
        '<th scope="col" class="n">Rows</th><th scope="col">Files</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _sources(facts: Facts) -> str:
    rows = "".join(
        f'<tr id="source-{escape(source_id)}"><th scope="row">'
        f"{_link(source.get('homepage'), source.get('title'))}"
        f'<br><span class="quiet">{escape(str(source.get("publisher") or ""))}</span></th>'
        f"<td>{_text(source.get('edition'))}</td>"
        f"<td>{_link(source.get('licence_url'), source.get('licence'))}</td>"
        f"<td>{_day(source.get('last_changed') or source.get('first_seen'))}</td>"
        f"<td>{_day(source.get('last_checked'))}</td>"
        f"<td>{escape(str(source.get('citation') or ''))}</td></tr>"
        for source_id, source in facts.sources.items()
    )
    return (
        f'{SCROLL}<table class="wide"><thead><tr><th scope="col">Source</th>'
        '<th scope="col">Edition</th><th scope="col">Licence</th><th scope="col">Last change</th>'
        '<th scope="col">Last check</th><th scope="col">Cite as</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


# ---- dictionary ----------------------------------------------------------------------------


def _dictionary(facts: Facts) -> str:
    menu = "".join(
        f'<li><a href="#{escape(table["name"])}"><code>{escape(table["name"])}</code></a></li>'
        for table in facts.resources
    )
    return f"""<h1>Dictionary</h1>
<p class="lede">Every table and column of the release. A column is null where there is no figure;
null is never zero.</p>
<nav aria-label="Tables"><ul class="columns">{menu}</ul></nav>
{"".join(_described(table) for table in facts.resources)}"""


def _described(table: Mapping[str, Any]) -> str:
    schema = table["schema"]
    key = schema.get("primaryKey", [])
    key = [key] if isinstance(key, str) else list(key)
    references = {
        names[0] if isinstance(names, list) else names: foreign.get("reference", {})
        for foreign in schema.get("foreignKeys", ())
        if (names := foreign.get("fields"))
    }
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(column["name"])}</code>'
        f"{' <span class=mark>key</span>' if column['name'] in key else ''}</th>"
        f"<td>{escape(str(column.get('type', '')))}</td><td>{_text(column.get('unit'))}</td>"
        f"<td>{escape(str(column.get('description') or ''))}{_reference(references, column)}</td>"
        "</tr>"
        for column in schema["fields"]
    )
    sources = ", ".join(
        f'<a href="downloads.html#source-{escape(str(source.get("source_id")))}">'
        f"{escape(str(source.get('title')))}</a>"
        for source in table.get("sources", ())
    )
    return f"""<section id="{escape(table["name"])}" class="table">
<h2><code>{escape(table["name"])}</code></h2>
<p>{escape(str(table.get("description") or ""))}</p>
<p class="quiet">{_count(table.get("rows"))} rows, one per
{escape(", ".join(key)) or "row of the source"}.{f" Sources: {sources}." if sources else ""}
<a href="downloads.html#{escape(table["name"])}">Download</a></p>
{SCROLL}<table class="wide"><thead><tr><th scope="col">Column</th>
<th scope="col">Type</th><th scope="col">Unit</th><th scope="col">What it is</th></tr></thead>
<tbody>{rows}</tbody></table></div>
</section>"""


def _reference(references: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    target = references.get(column["name"])
    if not target or not target.get("resource"):
        return ""
    name = escape(str(target["resource"]))
    return f' <span class="quiet">See <a href="#{name}"><code>{name}</code></a>.</span>'


# ---- quality and claims --------------------------------------------------------------------


def _quality(facts: Facts) -> str:
    summary = facts.quality.get("summary", {})
    shown = [
        ("checks were made", summary.get("checks")),
        ("of them warn", summary.get("warnings")),
        ("rows were read", summary.get("rows_read")),
        ("rows were withheld", summary.get("rows_withheld")),
    ]
    figures = "".join(
        f"<div><dt>{label}</dt><dd>{_count(value)}</dd></div>" for label, value in shown
    )
    return f"""<h1>Quality and claims</h1>
<p class="lede">What was checked before this release was published, what was kept back and why,
which sources are stale, and what becomes of published claims when they are computed again.</p>
<dl class="figures">{figures}</dl>
<p><a href="{facts.folder}quality.html">The full report, check by check</a></p>
<section aria-labelledby="warnings"><h2 id="warnings">What the checks found</h2>
{_warnings(facts)}</section>
<section aria-labelledby="withheld"><h2 id="withheld">What was withheld</h2>
{_withheld(facts)}</section>
<section aria-labelledby="fresh"><h2 id="fresh">How fresh the sources are</h2>
{_fresh(facts)}</section>
<section aria-labelledby="claims"><h2 id="claims">Claims, computed again</h2>
{_claims(facts)}</section>"""


def _warnings(facts: Facts) -> str:
    by_table = facts.quality.get("checks")
    found = [
        (table, check)
        for table, checks in (by_table.items() if isinstance(by_table, dict) else ())
        for check in checks
        if not check.get("success", True)
    ]
    if not found:
        return "<p>Every check passed.</p>"
    items = "".join(
        f"<li><p><code>{escape(str(table))}</code> {escape(str(check.get('statement', '')))}"
        f'<br><span class="quiet">{_fate(check)}</span></p>'
        f"{_examples(check.get('examples', ()))}</li>"
        for table, check in found
    )
    return f'<ul class="findings">{items}</ul>'


def _fate(check: Mapping[str, Any]) -> str:
    """How many rows failed a check, and what became of them."""
    many = check.get("unexpected")
    rows = f"Not so in {_count(many)} {'row' if many == 1 else 'rows'}" if many else "Not so"
    warned = check.get("action") == "warn"
    return f"{rows}; {'published as it stands' if warned else 'withheld'}."


def _examples(examples: Iterable[Any]) -> str:
    found = list(examples)
    if not found:
        return ""
    items = "".join(f"<li>{escape(str(item))}</li>" for item in found[:5])
    return f"<details><summary>Examples</summary><ul>{items}</ul></details>"


def _withheld(facts: Facts) -> str:
    withheld = facts.quality.get("withheld", {})
    rules = withheld.get("by_rule", ())
    if not rules:
        return "<p>No figure was withheld from this release.</p>"
    rows = "".join(
        f'<tr><td class="n">{_count(rule.get("rows"))}</td>'
        f"<td><code>{escape(str(rule.get('source_id')))}</code></td>"
        f"<td>{escape(str(rule.get('reason') or rule.get('rule')))}</td></tr>"
        for rule in rules
    )
    return (
        f'{SCROLL}<table><thead><tr><th scope="col" class="n">Rows</th>'
        '<th scope="col">Source</th><th scope="col">Why</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        '<p>Each of them, with its file and cell, is in the table <a href="downloads.html#'
        'quarantine"><code>quarantine</code></a>.</p>'
    )


STATES: Final[Mapping[str, str]] = {
    "current": "current",
    "stale": "stale: the publisher did not answer; earlier files are used",
    "missing": "missing: its tables are empty",
}


def _fresh(facts: Facts) -> str:
    rows = []
    for source in facts.quality.get("sources", ()):
        now = facts.sources.get(source["source_id"], {})
        state = "stale" if now.get("stale") else str(source.get("state", ""))
        rows.append(
            f'<tr><th scope="row">{escape(str(source.get("title")))}</th>'
            f'<td class="state-{escape(state)}">{escape(STATES.get(state, state))}</td>'
            f"<td>{_day(now.get('last_checked'))}</td>"
            f"<td>{_day(now.get('last_changed') or source.get('first_seen'))}</td>"
            f'<td class="n">{_count(source.get("rows_read"))}</td>'
            f'<td class="n">{_count(source.get("rows_published"))}</td>'
            f'<td class="n">{_count(source.get("rows_unmatched"))}</td>'
            f'<td class="n">{_count(source.get("rows_quarantined"))}</td></tr>'
        )
    return (
        f'{SCROLL}<table class="wide"><thead><tr><th scope="col">Source</th>'
        '<th scope="col">State</th><th scope="col">Last check</th><th scope="col">Last change</th>'
        '<th scope="col" class="n">Rows read</th><th scope="col" class="n">Published</th>'
        '<th scope="col" class="n">Unmatched</th><th scope="col" class="n">Withheld</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


VERDICTS: Final[Mapping[str, str]] = {
    "reproduced": "reproduced",
    "revised": "revised since",
    "not_reproducible": "not reproducible",
}


def _claims(facts: Facts) -> str:
    if not facts.claims:
        return "<p>This release has no table of claims.</p>"
    counted = dict.fromkeys(VERDICTS, 0)
    for claim in facts.claims:
        counted[str(claim["verdict"])] = counted.get(str(claim["verdict"]), 0) + 1
    summary = ", ".join(f"{count} {VERDICTS.get(name, name)}" for name, count in counted.items())
    rows = "".join(
        f'<tr id="claim-{escape(str(claim["claim_id"]))}"><th scope="row">'
        f"{escape(str(claim['statement']))}"
        f'<br><span class="quiet">{_text(claim["document"])}</span></th>'
        f'<td class="n">{_figure(claim["published_value"])}</td>'
        f'<td class="n">{_figure(claim["computed_value"])}</td><td>{_text(claim["unit"])}</td>'
        f'<td class="verdict-{escape(str(claim["verdict"]))}">'
        f"{escape(VERDICTS.get(str(claim['verdict']), str(claim['verdict'])))}</td>"
        f"<td>{_text(claim['explanation'])}"
        + (
            f' <a href="sql.html?q={quote(str(claim["sql"]))}">Ask again</a>'
            if claim["sql"]
            else ""
        )
        + "</td></tr>"
        for claim in facts.claims
    )
    return (
        f"<p>{len(facts.claims)} claims: {escape(summary)}.</p>"
        f'{SCROLL}<table class="wide"><thead><tr><th scope="col">Claim</th>'
        '<th scope="col" class="n">Published</th><th scope="col" class="n">Computed</th>'
        '<th scope="col">Unit</th><th scope="col">Verdict</th><th scope="col">Why</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


# ---- what stands in a cell -----------------------------------------------------------------


def _text(value: Any) -> str:
    return "" if value is None else escape(str(value))


def _count(value: Any) -> str:
    return "–" if value is None else f"{int(value):,}"


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"
    return _count(value) if isinstance(value, int) else _text(value)


def _day(value: Any) -> str:
    if not value:
        return '<span class="quiet">not recorded</span>'
    return f'<span class="day">{escape(str(value)[:10])}</span>'


def _bytes(value: Any) -> str:
    if value is None:
        return "–"
    size = float(value)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _link(address: Any, text: Any) -> str:
    """A link where the address is one of the web; a publisher's string is never trusted."""
    shown = escape(str(text if text is not None else address or ""))
    if not str(address or "").startswith(("https://", "http://")):
        return shown
    return f'<a href="{escape(str(address))}" rel="noreferrer">{shown}</a>'
