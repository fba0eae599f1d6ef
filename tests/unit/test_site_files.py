"""The site as files: whole, safe, derived from the release alone; and its server."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import duckdb
import numpy as np
import pytest
import small_release
from typer.testing import CliRunner

from urban_migration.cli import app
from urban_migration.errors import ReleaseError, UsageError
from urban_migration.site import build_site, derive, pages, server


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build of the front end leaves, in small."""
    folder = tmp_path_factory.mktemp("front") / "dist"
    folder.mkdir()
    for name in ("main-1.js", "site-1.css"):
        (folder / name).write_text("")
    manifest = {"script": "main-1.js", "style": "site-1.css", "preload": {"city": ["main-1.js"]}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases, one after the other."""
    folder = tmp_path_factory.mktemp("releases")
    small_release.run(folder)
    small_release.run(folder, {("jpn-tokyo", 2018): 37_000_000})
    return folder


@pytest.fixture(scope="module")
def site(out: Path, front_end: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "site"
    build_site((out / "latest").resolve(), folder, front_end=front_end)
    return folder


class Links(HTMLParser):
    """Addresses and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.ids: set[str] = set()
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to."""
        given = dict(attrs)
        self.addresses += [str(given[name]) for name in ("href", "src") if given.get(name)]
        self.ids |= {str(given["id"])} if "id" in given else set()
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(str(given.get("type")))


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    read = {path.name: Links(path.read_text("utf-8")) for path in site.glob("*.html")}
    assert set(read) == {f"{name}.html" for name in pages.PAGES}
    for name, links in read.items():
        for address in links.addresses:
            parts = urlsplit(address)
            if parts.scheme:
                assert parts.scheme in {"https", "http", "data"}, address
                continue
            target = unquote(parts.path) or name
            assert (site / target).is_file(), f"{name}: {address}"
            if parts.fragment and target in read:
                assert parts.fragment in read[target].ids | {"main"}, f"{name}: {address}"


def test_no_page_holds_a_script_or_style_of_its_own(site: Path) -> None:
    for path in site.glob("*.html"):
        text = path.read_text("utf-8")
        links = Links(text)
        assert set(links.inline) <= {"application/ld+json"}, path.name
        assert links.handlers == [], path.name
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
        assert "default-src &#x27;none&#x27;" in policy
        assert "unsafe-inline" not in policy
        assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
        assert "//" not in policy, "another host"


def test_titles_and_descriptions_are_each_pages_own(site: Path) -> None:
    texts = [path.read_text("utf-8") for path in site.glob("*.html")]
    for form in (r"<title>(.*?)</title>", r'name="description" content="(.*?)"'):
        found = [re.findall(form, text) for text in texts]
        assert all(len(one) == 1 for one in found)
        assert len({one[0] for one in found}) == len(texts)


def test_a_publishers_string_cannot_become_markup() -> None:
    evil = '</script><script>alert("1")</script>'
    facts = pages.Facts(
        descriptor={
            "title": evil,
            "resources": [
                {
                    "name": "cities",
                    "path": "cities.parquet",
                    "title": evil,
                    "description": evil,
                    "schema": {"fields": [{"name": "a", "description": evil, "unit": evil}]},
                    "sources": [{"source_id": "s", "title": evil}],
                    "licenses": [{"title": evil, "path": "javascript:alert(1)"}],
                }
            ],
        },
        release="umi-000000000000",
        extract=False,
        quality={
            "checks": {evil: [{"success": False, "statement": evil, "examples": [evil]}]},
            "withheld": {"by_rule": [{"rows": 1, "source_id": evil, "reason": evil}]},
            "sources": [{"source_id": "s", "title": evil, "state": evil}],
        },
        changes={"notes": [evil], "before": evil, "tables": [{"table": evil}]},
        sources={"s": {"title": evil, "homepage": "javascript:alert(1)", "citation": evil}},
        cities=[(evil, evil, None, "XXX", 0, 0, evil, None, 0, 1, 2018, None)],
        countries={"XXX": [evil, None, None]},
        claims=[dict.fromkeys(CLAIM, evil)],
        older=[{"id": evil, "created": evil, "tables": 1, "rows": 1, "bytes": 1}],
        assets={"script": "a.js", "style": "a.css", "preload": {}},
        archive={"name": evil, "bytes": 1, "sha256": "0", "files": {}},
        sums={},
    )
    for name, text in pages.render(facts).items():
        assert "<script>alert" not in text, name
        assert 'href="javascript' not in text, name
        # Neither does it end the block of data that search engines read.
        for block in re.findall(r'ld\+json">(.*?)</script>', text):
            json.loads(block)


CLAIM = (
    "claim_id document statement published_value computed_value unit difference verdict "
    "explanation sql"
).split()


def test_the_release_describes_itself_to_search_engines(site: Path) -> None:
    (block,) = re.findall(r'ld\+json">(.*?)</script>', (site / "downloads.html").read_text("utf-8"))
    about = json.loads(block)
    assert about["@type"] == "Dataset"
    assert about["license"] == ["https://creativecommons.org/licenses/by/3.0/igo/"]
    for item in about["distribution"]:
        assert (site / item["contentUrl"]).is_file()


def test_the_sitemap_names_every_page_and_city(out: Path, front_end: Path, tmp_path: Path) -> None:
    address = "https://migration.example.org/cities"
    build_site((out / "latest").resolve(), tmp_path / "site", front_end=front_end, url=address)
    root = ElementTree.parse(tmp_path / "site" / "sitemap.xml").getroot()
    found = [str(one.text) for one in root.iter() if one.tag.endswith("loc")]
    assert f"{address}/downloads.html" in found
    assert all(one.startswith(f"{address}/") for one in found)
    assert f"Sitemap: {address}/sitemap.xml" in (tmp_path / "site" / "robots.txt").read_text()


def test_release_and_older_ones_are_on_the_site_whole(site: Path, out: Path) -> None:
    current = (out / "latest").resolve()
    folders = sorted(path.name for path in (out / "releases").iterdir())
    assert len(folders) == 2
    for name in folders:
        for path in (out / "releases" / name).iterdir():
            assert (site / "releases" / name / path.name).read_bytes() == path.read_bytes()
    text = (site / "downloads.html").read_text("utf-8")
    (older,) = set(folders) - {current.name}
    assert older in text
    for line in (current / "SHA256SUMS").read_text().splitlines():
        if line.endswith(".parquet"):
            assert line.split()[0] in text


def test_a_site_is_replaced_and_nothing_else_is(out: Path, front_end: Path, tmp_path: Path) -> None:
    release = (out / "latest").resolve()
    target = tmp_path / "site"
    build_site(release, target, front_end=front_end)
    (target / "stray.txt").write_text("of the site before")
    build_site(release, target, front_end=front_end)
    assert not (target / "stray.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other things"):
        build_site(release, mine, front_end=front_end)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_damaged_release_makes_no_site(out: Path, front_end: Path, tmp_path: Path) -> None:
    release = Path(shutil.copytree((out / "latest").resolve(), tmp_path / "release"))
    path = release / "cities.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ReleaseError, match=r"cities\.parquet differs"):
        build_site(release, tmp_path / "site", front_end=front_end)
    assert not (tmp_path / "site").exists()


def test_a_front_end_that_is_not_built_is_named_with_the_step(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make site"):
        build_site((out / "latest").resolve(), tmp_path / "site", front_end=tmp_path)


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org/", "https://example.org/?a=1"])
def test_an_address_that_is_none_is_refused(
    url: str, out: Path, front_end: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--url"):
        build_site((out / "latest").resolve(), tmp_path / "site", front_end=front_end, url=url)


def test_the_command_makes_it_and_says_where(out: Path, front_end: Path, tmp_path: Path) -> None:
    to = tmp_path / "site"
    options = ["--out", str(out), "--front-end", str(front_end), "--to", str(to)]
    result = CliRunner().invoke(app, ["site", *options, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["folder"] == str(to)
    assert told["release"] == (out / "latest").resolve().name
    assert len(told["older"]) == 1
    assert (to / "index.html").is_file()
    result = CliRunner().invoke(app, ["site", *options[:2], "--to", str(tmp_path)])
    assert result.exit_code == 2


# ---- what is derived


@pytest.fixture
def tables() -> Iterator[derive.Tables]:
    """A release with every table that a profile can use, a few rows of each."""
    con = duckdb.connect()
    con.execute(
        """
        create table countries as select * from (values
            ('DEU', 'Germany', 'Europe', 'Western Europe', null),
            ('SYR', 'Syria', 'Asia', 'Western Asia', null)
        ) t(country_iso3, name, region, subregion, notes);
        create table cities as select * from (values
            ('deu-munich', 'Munich', 'München', 'DEU', 48.1, 11.6, 'un_agglomeration', false,
             '204371', null),
            ('deu-girona', 'Girona', 'Girona', 'DEU', 41.9, 2.8, 'statistical_city', null,
             null, null)
        ) t(city_id, name, local_name, country_iso3, latitude, longitude, kind, is_capital,
            wup2018_code, wup2025_code);
        create table city_indicators as select * from (values
            ('deu-munich', 2017, 1480000, 'estimate', 1.3, 3, 2.3, 1.5, null),
            ('deu-munich', 2018, 1503708, 'estimate', 1.4, 3, 2.4, 1.6, 28.5),
            ('deu-munich', 2019, 1520000, 'projection', 1.2, 3, 2.4, 1.4, null)
        ) t(city_id, year, population, population_status, population_growth_pct, rank_in_country,
            urban_population_share_pct, implied_net_migration_pct, foreign_born_pct);
        create table city_crosswalk as select * from (values
            ('eurostat_cities', 'DE003C', 'Muenchen, Kreisfreie Stadt', 'deu-munich')
        ) t(source_id, source_code, source_name, city_id);
        create table city_groups as select * from (values
            ('largest_20', 'deu-munich', 'The 20 largest')
        ) t(group_id, city_id, group_name);
        create table migrant_stock_origins as select * from (values
            ('DEU', 'SYR', 2020, 'both', 10), ('DEU', 'SYR', 2024, 'both', 20),
            ('DEU', 'SYR', 2024, 'female', 9)
        ) t(destination_iso3, origin_iso3, year, sex, migrants);
        create table migrant_incidents as select * from (values
            ('a', 'deu-munich', 3, 2015), ('b', 'deu-munich', null, 2020), ('c', null, 1, 2020)
        ) t(incident_id, nearest_city_id, dead_and_missing, year);
        create table quarantine as select * from (values
            ('eurostat_cities', 'DE003C', 2021, 'OBS_VALUE', '16000', 'falls by more than half')
        ) t(source_id, source_code, year, "column", value, reason);
        create table claims as select * from (values
            ('c1', 'WMR 2015', 'Half of Dubai', 83.0, null::double, 'percent', null::double,
             'not_reproducible', 'no source', 'select 1')
        ) t(claim_id, document, statement, published_value, computed_value, unit, difference,
            verdict, explanation, sql);
        """
    )
    names = [row[0] for row in con.execute("show tables").fetchall()]
    columns = {
        name: [row[0] for row in con.execute(f"describe {name}").fetchall()] for name in names
    }
    yield derive.Tables(con, columns)
    con.close()


def test_munich_is_found_by_every_name_it_has(tables: derive.Tables) -> None:
    munich, girona = derive.cities(tables)
    named = dict(zip(derive.CITY_COLUMNS, munich, strict=True))
    assert named["local_name"] == "München"
    assert named["aliases"] == ["Muenchen, Kreisfreie Stadt"]
    # The last estimate: a projection is no size.
    assert (named["population"], named["population_year"]) == (1_503_708, 2018)
    # A name that is the same in both languages is said once, a size not known not at all.
    assert (girona[2], girona[9]) == (None, None)


def test_a_countrys_file_says_what_its_tables_say(tables: derive.Tables) -> None:
    files = dict(derive.country_files(tables, derive.cities(tables)))
    germany = files["DEU"]
    assert [row[0] for row in germany["cities"]] == ["deu-munich", "deu-girona"]
    assert germany["origins"] == {"year": 2024, "total": 20, "top": [["SYR", "Syria", 20]]}
    assert germany["groups"] == {"deu-munich": [["largest_20", "The 20 largest"]]}
    assert germany["incidents"]["deu-munich"] == [2, 3, 2015, 2020]
    assert germany["withheld"]["deu-munich"] == [
        [2021, "OBS_VALUE", "eurostat_cities", "16000", "falls by more than half"]
    ]
    assert germany["latest"]["deu-munich"]["implied_net_migration_pct"] == [2018, 1.6]
    assert "origins" not in files["SYR"]


def test_a_layer_of_the_map_is_a_run_of_floats_per_year(tables: derive.Tables) -> None:
    listed = derive.cities(tables)
    about, files = derive.map_layers(tables, listed, {})
    assert about["years"] == [2017, 2019]
    assert about["estimates_until"] == 2018
    grid = np.frombuffer(files["population_growth_pct.f32"], "<f4").reshape(3, 2)
    assert grid[:, 0] == pytest.approx([1.3, 1.4, 1.2])
    assert np.isnan(grid[:, 1]).all()
    observed = next(one for one in about["layers"] if one["id"] == "foreign_born_pct")
    assert observed["years"] == [2018]


def test_examples_ask_only_tables_that_are_there_and_claims_are_among_them(
    tables: derive.Tables,
) -> None:
    found = derive.examples(tables)
    assert found[-1] == {"title": "Claim: Half of Dubai", "sql": "select 1"}
    assert not any("city_migrants" in one["sql"] for one in found)


def test_a_release_without_tables_leaves_every_index_empty() -> None:
    with duckdb.connect() as con:
        nothing = derive.Tables(con, {})
        assert derive.cities(nothing) == []
        assert list(derive.country_files(nothing, [])) == []
        assert derive.map_layers(nothing, [], {})[1] == {}
        assert derive.examples(nothing) == []
        assert derive.claims(nothing) == []


# ---- the server


@pytest.fixture
def running(site: Path) -> Iterator[Any]:
    with server.start(site) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


def ask(running: Any, path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection(server.HOST, running.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_it_binds_the_loopback_address_only(running: Any) -> None:
    assert running.server_address[0] == "127.0.0.1"


def test_parts_of_a_file_are_the_files(running: Any, site: Path) -> None:
    data = (site / "site.json").read_bytes()
    for wanted, expected in (
        ("bytes=0-9", data[:10]),
        ("bytes=5-", data[5:]),
        ("bytes=-7", data[-7:]),
        (f"bytes=0-{len(data) * 2}", data),
    ):
        answer, body = ask(running, "/site.json", Range=wanted)
        assert (answer.status, body) == (206, expected)
        assert answer.headers["Content-Range"].endswith(f"/{len(data)}")
    answer, body = ask(running, "/site.json", Range=f"bytes={len(data)}-")
    assert answer.status == 416
    for wanted in ("bytes=0-1,3-4", "lines=1-2"):
        answer, body = ask(running, "/site.json", Range=wanted)
        assert (answer.status, body) == (200, data)
    answer, body = ask(running, "/site.json", "HEAD", Range="bytes=0-9")
    assert (answer.status, body, answer.headers["Content-Length"]) == (206, b"", "10")


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/data/"])
def test_nothing_outside_is_served_and_no_folder_is_listed(running: Any, path: str) -> None:
    assert ask(running, path)[0].status == 404


def test_a_port_in_use_and_a_folder_without_a_site_are_said(running: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no site is here"):
        server.start(tmp_path)
    (tmp_path / "index.html").write_text("")
    with pytest.raises(UsageError, match="--port"):
        server.start(tmp_path, running.server_port)
