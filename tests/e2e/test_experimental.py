"""Experimental sources: known from documentation alone, and never in the way of a release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import Mirror, World, ask, cli, standing, tiny_world

from urban_migration.errors import CheckError, ReadError
from urban_migration.render import show_summary
from urban_migration.sources import all_sources, us_acs_metro

METRO, FILE = us_acs_metro.ID, us_acs_metro.FILE
EXPERIMENTAL = sorted(s.id for s in all_sources().values() if s.experimental and s.redistributable)
KEY = "made0up0key0of0the0census0bureau"
HEADER = ["NAME", "B05002_001E", "B05002_001M", "B05002_013E", "B05002_013M", us_acs_metro.AREA]
CONCORD = ["Concord, CA Metro Area", "130000", "0", "40000", "500", "18000"]
SPARKS = ["Sparks, NV Metro Area", "110000", "0", "20000", "500", "18001"]


def answer(*rows: list[str]) -> dict[str, bytes]:
    return {FILE: json.dumps([HEADER, *(rows or (CONCORD, SPARKS))]).encode()}


BROKEN = answer(["Concord", *CONCORD[1:]])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny edition and the release made from it; not to be changed."""
    world = tiny_world(tmp_path_factory.mktemp("experimental"))
    world.build()
    return world


@pytest.fixture
def world(tiny: World, tmp_path: Path) -> World:
    """A copy to change."""
    return tiny.copy(tmp_path / "world")


@pytest.fixture
def mirror(world: World) -> Iterator[Mirror]:
    """The publishers of the tiny edition; the others answer 404."""
    with Mirror.of(world.raw).running() as mirror:
        yield mirror


def absence(out: Path) -> str | None:
    ((why,),) = ask(out, f"select absence from sources where source_id = '{METRO}'")
    assert why is None or isinstance(why, str)
    return why


def test_what_cannot_be_had_is_asked_for_once_and_named_in_one_line(
    flow: Any, world: World, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = flow(world, mirror.base_url, sources=tuple(EXPERIMENTAL))
    assert sorted(path for path, _, _ in mirror.log) == sorted(
        download.url.removeprefix("https:/")
        for source_id in EXPERIMENTAL
        for download in all_sources()[source_id].downloads
    )
    show_summary(summary.to_json())
    told = capsys.readouterr().out.splitlines()
    for source_id in EXPERIMENTAL:
        (line,) = [each for each in told if source_id in each]
        assert line.startswith(f"missing: {source_id} was never had") and "404" in line


def test_a_source_whose_layout_is_as_documented_is_published(world: World) -> None:
    world.receive(METRO, answer())
    assert world.build().withheld == {}
    query = f"select source_code, status, method from city_crosswalk where source_id = '{METRO}'"
    assert len(ask(world.out, query)) == 2
    assert absence(world.out) is None


@pytest.mark.parametrize("files", [BROKEN, answer(CONCORD, CONCORD)], ids=["title", "repeated"])
def test_what_cannot_be_read_is_left_out_and_says_where(
    flow: Any, world: World, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    world.receive(METRO, files)
    first = flow(world)
    assert standing(world.out) == first.outcome.release_id
    reason = first.outcome.withheld[METRO]
    assert FILE in reason and "row " in reason and "column " in reason
    assert METRO not in first.missing
    show_summary(first.to_json())
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if METRO in line] == [f"left out: {METRO} ({reason})"]
    second = flow(world)
    assert not second.outcome.published
    assert second.outcome.withheld == {METRO: reason}
    assert reason in " ".join(cli("sources", "--out", world.out).out.split())


def test_what_its_checks_block_is_left_out(world: World) -> None:
    suite = world.expectations / f"{METRO}.places.yaml"
    rules = yaml.safe_load(suite.read_text("utf-8"))
    rules["derived"][0]["sql"] = f"select * from {METRO}.places where country_code = 'USA'"
    suite.write_text(yaml.safe_dump(rules), "utf-8")
    world.receive(METRO, answer())
    outcome = world.build()
    assert "country_is_known" in outcome.withheld[METRO]
    assert ask(world.out, f"select count(*) from city_crosswalk where source_id = '{METRO}'") == [
        (0,)
    ]


def test_any_other_source_still_blocks(world: World) -> None:
    header = b"City;State\r\n"
    world.receive("us_acs", {"us-cities-demographics.csv": header})
    before = standing(world.out)
    with pytest.raises((ReadError, CheckError)):
        world.build()
    assert standing(world.out) == before


def test_a_key_goes_to_the_publisher_and_nowhere_else(
    flow: Any, world: World, mirror: Mirror
) -> None:
    address = us_acs_metro.URL.removeprefix("https:/")
    mirror.files[f"{address}&key={KEY}"] = answer()[FILE]
    secrets = {us_acs_metro.SECRET: KEY}
    said: list[str] = []
    summary = flow(world, mirror.base_url, said.append, sources=(METRO,), secrets=secrets)
    assert summary.outcome.published and METRO not in summary.off
    assert any(KEY in path for path, _, _ in mirror.log)
    mirror.files.clear()
    failed = flow(world, mirror.base_url, said.append, sources=(METRO,), secrets=secrets)
    assert METRO in failed.stale and us_acs_metro.SECRET in failed.stale[METRO]
    shown = [*said, json.dumps(summary.to_json()), json.dumps(failed.to_json())]
    assert not any(KEY in text for text in shown)
    kept = [path for path in world.root.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in kept)


def test_without_a_key_it_is_asked_for_all_the_same(
    flow: Any, world: World, mirror: Mirror
) -> None:
    mirror.files[us_acs_metro.URL.removeprefix("https:/")] = answer()[FILE]
    summary = flow(world, mirror.base_url, sources=(METRO,))
    assert summary.off == {} and absence(world.out) is None
