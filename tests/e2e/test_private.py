"""A source that needs the user's own key and must not be redistributed: IOM's DTM.

A local imitation of its API, in the documented shape and with made-up figures, answers here.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from runs import BUNDLED, World, ask, cli, standing, tiny_world

from urban_migration.errors import UsageError
from urban_migration.raw import RawStore
from urban_migration.sources import get_source, iom_dtm

KEY = "0123456789abcdef-made-up-for-this-test"
DTM, VARIABLE = iom_dtm.ID, iom_dtm.SECRET
DAMASCUS, DISTRICT = 1_234, 700


def record(number: int, persons: int, **units: str) -> dict[str, Any]:
    return {
        "id": number,
        "operation": "Made-up operation",
        "admin0Name": "Syrian Arab Republic",
        "admin0Pcode": "SYR",
        **units,
        "numPresentIdpInd": persons,
        "reportingDate": "2024-03-31T00:00:00",
        "yearReportingDate": 2024,
        "monthReportingDate": 3,
        "roundNumber": 7,
        "displacementReason": "Conflict",
        "numberMales": None,
        "numberFemales": None,
        "idpOriginAdmin1Name": "Not available",
        "idpOriginAdmin1Pcode": "Not available",
        "assessmentType": "BA",
    }


FIRST = {"admin1Name": "Damascus", "admin1Pcode": "SY01"}
SECOND = FIRST | {"admin2Name": "Somewhere", "admin2Pcode": "SY0101"}
RECORDS = {
    "admin0": [record(1, DAMASCUS + 1)],
    "admin1": [record(2, DAMASCUS - 34, **FIRST), record(3, 34, **FIRST)],
    "admin2": [record(4, DISTRICT, **SECOND)],
}


@dataclass
class Imitation:
    """The API: its address, and the requests that it had."""

    base_url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def api() -> Iterator[Imitation]:
    """DTM's API for whoever has the key; 401 as the real one for others."""
    imitation = Imitation()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            imitation.asked.append(self.path)
            address = urlsplit(self.path)
            status, body = 401, {"statusCode": 401, "message": "Access denied"}
            if self.headers.get("Ocp-Apim-Subscription-Key") == KEY:
                level = address.path.rpartition("/")[2]
                syria = parse_qs(address.query)["Admin0Pcode"] == ["SYR"]
                found = RECORDS[level] if syria else []
                envelope = {"statusCode": 200, "isSuccess": True, "errorMessages": []}
                status = 200
                body = {"result": found, **envelope, "totalRecordsCount": len(found)}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        imitation.base_url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield imitation
        server.shutdown()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny edition; not to be changed."""
    return tiny_world(tmp_path_factory.mktemp("private"))


@pytest.fixture
def world(tiny: World, tmp_path: Path) -> World:
    """A copy to change."""
    return tiny.copy(tmp_path / "world")


def figures(out: Path) -> list[tuple[Any, ...]]:
    """DTM's figures in the latest release, wherever they could be."""
    return [
        *ask(out, "select level, source_code, persons from displacement_rounds order by level"),
        *ask(out, f"select city_id, concept, migrants from city_migrants where source_id='{DTM}'"),
    ]


PUBLISHED = [
    ("admin0", "SYR|Made-up operation", DAMASCUS + 1),
    ("admin1", "SY01|Made-up operation", DAMASCUS),
    ("admin2", "SY0101|Made-up operation", DISTRICT),
    ("syr-damascus", "idp", DAMASCUS),
    ("syr-damascus", "idp", DAMASCUS),
]
"""By origin (Syria) and in all."""


def test_without_a_key_the_source_is_off_and_says_how_to_get_one(
    flow: Any, api: Imitation, world: World
) -> None:
    api.asked.clear()
    summary = flow(world, api.base_url, sources=(DTM,))
    assert summary.outcome.published and api.asked == []
    assert VARIABLE in summary.off[DTM] and "https://dtm-apim-portal.iom.int" in summary.off[DTM]
    assert DTM not in summary.stale and DTM not in summary.missing
    assert summary.downloads == []
    assert figures(world.out) == []
    ((absence,),) = ask(world.out, f"select absence from sources where source_id = '{DTM}'")
    assert "forbids redistribution" in absence


def test_with_a_key_the_figures_land_in_the_private_release_only(
    flow: Any, api: Imitation, world: World
) -> None:
    secrets = {VARIABLE: KEY}
    summary = flow(world, api.base_url, sources=(DTM,), secrets=secrets)
    assert [done.status for done in summary.downloads] == ["new"]
    assert "--private" in summary.outcome.withheld[DTM]
    public = standing(world.out)
    assert not public.startswith("umi-private") and figures(world.out) == []

    summary = flow(world, api.base_url, sources=(DTM,), secrets=secrets, private=True)
    assert [done.status for done in summary.downloads] == ["unchanged"]
    private = world.out / "private"
    assert standing(private).startswith("umi-private-") and not summary.outcome.withheld
    assert figures(private) == PUBLISHED
    descriptor = json.loads((private / "latest" / "datapackage.json").read_text("utf-8"))
    assert descriptor["private"] is True and "do not pass it on" in descriptor["description"]
    ((read, *fate),) = ask(
        private,
        f"""select rows_read, rows_published, rows_quarantined, rows_unmatched, rows_ignored
        from sources where source_id = '{DTM}'""",
    )
    assert read == sum(fate) and fate[0] == 6 and fate[2] == 1, "Somewhere is no city"

    assert standing(world.out) == public, "the public release stands as it was"
    assert world.build().release_id == public, "built anew without what is private"
    assert [path.name for path in (world.out / "releases").iterdir()] == [public]


def test_with_a_wrong_key_the_message_names_the_variable_and_never_the_key(
    flow: Any, api: Imitation, world: World
) -> None:
    wrong = "a-key-that-nobody-gave-out"
    summary = flow(world, api.base_url, sources=(DTM,), secrets={VARIABLE: wrong}, private=True)
    assert summary.outcome.published, "the rest is built"
    (done,) = summary.downloads
    assert done.status == "failed"
    assert "401" in done.error and f"The key in {VARIABLE} was not accepted" in done.error
    assert "https://dtm-apim-portal.iom.int" in done.error and wrong not in done.error
    assert wrong not in json.dumps(summary.to_json())
    with pytest.raises(UsageError, match=f"{VARIABLE} is set, and is no key") as caught:
        flow(world, api.base_url, sources=(DTM,), secrets={VARIABLE: "two words"})
    assert "two words" not in str(caught.value)


def test_the_key_is_written_nowhere(api: Imitation, tmp_path: Path) -> None:
    """Through the command line, which alone reads the environment."""
    shutil.copytree(BUNDLED, tmp_path / "raw")
    ended = cli(
        *("refresh", "--source", DTM, "--private", "--mirror", api.base_url),
        *("--raw", tmp_path / "raw", "--out", tmp_path / "processed"),
        env={VARIABLE: KEY},
    )
    assert ended.code == 0, ended.err
    private = tmp_path / "processed" / "private"
    assert standing(private).startswith("umi-private-")
    assert figures(private) == PUBLISHED
    assert not (tmp_path / "processed" / "latest").exists()
    assert set(RawStore(tmp_path / "raw").files(DTM)) == {
        download.file for download in get_source(DTM).downloads
    }
    assert KEY not in ended.out + ended.err
    places = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in places), "the orchestrator's database is there"
    assert [path for path in places if KEY.encode() in path.read_bytes()] == []
