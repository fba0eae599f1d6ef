"""UNRWA's refugees and IDMC's displaced in UNHCR's database: small pages, and facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from urban_migration.errors import ReadError
from urban_migration.sources import unhcr_totals as source

Tables = dict[str, list[dict[str, Any]]]


def item(year: int, total: object, asylum: str = "LBN", origin: str = "PSE") -> dict[str, Any]:
    labels = {"year": year, "coo_id": 1, "coo_name": "Palestinian", "coo": "GAZ", "coo_iso": origin}
    return {
        **labels,
        "coa_id": 2,
        "coa_name": "Lebanon",
        "coa": "LEB",
        "coa_iso": asylum,
        "total": total,
    }


def page(items: list[dict[str, Any]], number: int = 1, pages: int = 1) -> dict[str, Any]:
    return {"page": number, "short-url": "1", "maxPages": pages, "total": [], "items": items}


def read(folder: Path, spoil: Callable[[dict[str, Any]], None] = lambda _: None) -> Tables:
    pages = {
        "unrwa-1.json": page([item(1952, 103_137), item(1953, "-"), item(1954, "0")]),
        "idmc-1.json": page([item(2023, 5, "SDN", "SDN")], 1, 2),
        "idmc-2.json": page([item(2024, 7, "UNK", "UNK")], 2, 2),
    }
    spoil(pages)
    for name, content in pages.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    tables = source.read({name: folder / name for name in pages})
    return {name: table.to_pylist() for name, table in tables.items()}


def test_not_collected_is_null_and_zero_is_zero(tmp_path: Path) -> None:
    assert [row["persons"] for row in read(tmp_path)["unrwa"]] == [103_137, None, 0]


def test_pages_follow_each_other(tmp_path: Path) -> None:
    rows = read(tmp_path)["idmc"]
    assert [(row["asylum_code"], row["year"], row["file"]) for row in rows] == [
        ("SDN", 2023, "idmc-1.json"),
        ("UNK", 2024, "idmc-2.json"),
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.pop("idmc-2.json"), "idmc-1.json: says that there are 2 pages, and 1 are"),
        (lambda p: p.pop("idmc-1.json"), "idmc-1.json: this page is missing"),
        (
            lambda p: p["unrwa-1.json"]["items"][1].update(total="*"),
            "unrwa-1.json, row 2, column 'total': the text '*' stands where a number is expected",
        ),
        (
            lambda p: p["unrwa-1.json"]["items"][1].update(refugees=1),
            "unrwa-1.json, row 2, column 'refugees': unknown member",
        ),
    ],
)
def test_bad_pages_are_named(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(ReadError) as error:
        read(tmp_path, spoil)
    assert str(error.value).startswith(message)


def test_the_questions_ask_for_all_pairs_with_iso_codes() -> None:
    for download in source.SOURCE.downloads:
        assert "coo_all=true&coa_all=true&cf_type=ISO" in download.url
        assert download.pages == "maxPages" and "{page}" in download.file


@pytest.fixture(scope="module")
def real(serve: ModuleType, upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    api = serve.Unhcr(upstream / "tables" / "unhcr")
    query = {"coo_all": ["true"], "coa_all": ["true"], "cf_type": ["ISO"], "limit": ["10000"]}
    folder = tmp_path_factory.mktemp("unhcr")
    files = {f"{endpoint}-1.json": folder / endpoint for endpoint in source.ENDPOINTS}
    for endpoint in source.ENDPOINTS:
        (folder / endpoint).write_bytes(api.reply(endpoint, query).body)
    return {name: table.to_pylist() for name, table in source.read(files).items()}


def test_the_worlds_totals_of_2015(real: Tables) -> None:
    def world(endpoint: str) -> int:
        return sum(row["persons"] for row in real[endpoint] if row["year"] == 2015)

    assert (world("unrwa"), world("idmc")) == (5_241_257, 40_451_900)
    assert (len(real["unrwa"]), len(real["idmc"])) == (296, 934)
