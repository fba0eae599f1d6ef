"""The raw store: a source's files are those of one refresh, wherever a run was killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from urban_migration.errors import RawStoreError
from urban_migration.files import LockedError, atomic_write_bytes, exclusive_lock
from urban_migration.raw import Fetched, RawFile, RawStore

Commit = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    return RawStore(tmp_path / "raw")


@pytest.fixture
def commit(store: RawStore, tmp_path: Path) -> Commit:
    """Commit texts as the files of the source ``un``: ``commit(**{"a.csv": "text"})``."""

    def commit(etag: str = '"1"', **texts: str) -> None:
        new = {name: fetched(tmp_path / f"new-{name}", text, etag) for name, text in texts.items()}
        store.commit("un", {item.name: item for item in new.values()})

    return commit


def fetched(path: Path, text: str, etag: str | None = None) -> Fetched:
    path.write_text(text)
    name = path.name.removeprefix("new-")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Fetched(name, f"https://un.org/{name}", path, digest, len(text), etag, None)


def texts(store: RawStore) -> dict[str, str]:
    return {name: file.path.read_text() for name, file in store.verify("un").items()}


def test_a_store_that_was_never_written_is_empty_and_reading_it_creates_nothing(
    store: RawStore,
) -> None:
    assert store.empty
    assert store.files("un") == store.verify("un") == {}
    with store.reading("un") as files:
        assert files == {}
    assert not store.root.exists()


def test_the_lock_does_not_change_when_the_bytes_do_not(store: RawStore, commit: Commit) -> None:
    commit(a="1", b="2")
    lock = store.lock.read_bytes()
    entry = json.loads(lock)["sources"]["un"]["files"]["a"]
    assert sorted(entry) == ["bytes", "etag", "first_seen", "last_modified", "sha256", "url"]
    assert lock.endswith(b"}\n")
    commit(etag='"another"', a="1", b="2")
    assert store.lock.read_bytes() == lock


def test_changed_bytes_keep_the_earlier_ones_under_their_hash(
    store: RawStore, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urban_migration.raw.utc_now", lambda: "2025-01-01T00:00:00Z")
    commit(a="old", b="same")
    old = store.files("un")["a"]
    monkeypatch.setattr("urban_migration.raw.utc_now", lambda: "2026-01-01T00:00:00Z")
    commit(a="new", b="same")
    assert texts(store) == {"a": "new", "b": "same"}
    assert old.kept.read_text() == "old"
    seen = {name: file.first_seen[:4] for name, file in store.files("un").items()}
    assert seen == {"a": "2026", "b": "2025"}


def test_a_page_that_is_gone_leaves_the_set_and_its_bytes_are_kept(
    store: RawStore, commit: Commit
) -> None:
    commit(page1="1", page2="2")
    gone = store.files("un")["page2"]
    commit(page1="1+2")
    assert texts(store) == {"page1": "1+2"}
    assert not gone.path.exists()
    assert gone.kept.read_text() == "2"


def test_files_that_stay_are_named_as_they_are(store: RawStore, commit: Commit) -> None:
    commit(a="1", b="2")
    held = store.verify("un")
    new = fetched(store.root / "new-b", "3")
    store.commit("un", {"a": held["a"], "b": new})
    assert texts(store) == {"a": "1", "b": "3"}
    assert store.files("un")["a"] == held["a"]


def test_a_file_that_stays_comes_back_from_its_kept_bytes(store: RawStore, commit: Commit) -> None:
    commit(a="1")
    held = store.verify("un")
    commit(a="2")  # another run was faster
    store.commit("un", held)
    assert texts(store) == {"a": "1"}


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_file_is_named_with_the_command_that_mends_it(
    store: RawStore, commit: Commit, damage: str
) -> None:
    commit(a="1")
    path = store.files("un")["a"].path
    path.write_text("2") if damage == "changed" else path.unlink()
    with pytest.raises(RawStoreError, match=r"un/a: missing, or not the bytes.*refresh --source"):
        store.verify("un")
    commit(a="1")
    assert texts(store) == {"a": "1"}


@pytest.mark.parametrize(
    "lock",
    ["{", "[]", '{"version": 9}', '{"version": 1, "sources": {"un": {"files": {"a": {}}}}}'],
)
def test_an_unreadable_lock_is_an_error_that_names_it(store: RawStore, lock: str) -> None:
    store.root.mkdir()
    store.lock.write_text(lock)
    with pytest.raises(RawStoreError, match=r"raw\.lock\.json"):
        store.files("un")


@pytest.mark.parametrize("name", ["../a", "a/b", ".a", "previous", ""])
def test_a_file_cannot_be_named_out_of_its_folder(
    store: RawStore, tmp_path: Path, name: str
) -> None:
    with pytest.raises(RawStoreError, match="cannot be the name"):
        store.commit("un", {name: fetched(tmp_path / "x", "1")})


# ------------------------------------------------------------------ killed, full, interrupted

CHANGE = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from test_raw import fetched
    from urban_migration.raw import RawStore

    calls, real = 0, getattr(os, {call!r})

    def deadly(*args, **kwargs):
        global calls
        calls += 1
        if calls == {at} and not {after}:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if calls == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, {call!r}, deadly)
    root = Path({root!r})
    new = [fetched(root / f"new-{{name}}", name + " new") for name in ("a", "b", "c")]
    RawStore(root).commit("un", {{item.name: item for item in new}})
"""


@pytest.mark.parametrize(
    ("call", "at", "after"),
    [("link", 1, False), ("link", 2, True)]
    + [("replace", at, after) for at in range(1, 8) for after in (False, True)],
)
def test_a_run_killed_at_any_rename_leaves_the_old_set_or_the_new_one(
    store: RawStore, commit: Commit, call: str, at: int, after: bool
) -> None:
    old = {"a": "a old", "b": "b old", "gone": "gone old"}
    new = {"a": "a new", "b": "b new", "c": "c new"}
    commit(**old)
    script = CHANGE.format(
        here=str(Path(__file__).parent), call=call, at=at, after=after, root=str(store.root)
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    in_lock = store.files("un")
    found = texts(store)
    assert found == (new if "c" in in_lock else old)
    assert done.returncode or found == new
    commit(**new)  # the next run
    assert texts(store) == new
    assert not list(store.root.rglob("*.tmp"))


@pytest.mark.parametrize("call", ["replace", "link", "fsync"])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
def test_a_full_disk_while_committing_leaves_the_old_set(
    store: RawStore, commit: Commit, call: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = {"a": "a old", "b": "b old"}, {"a": "a new", "b": "b new", "c": "c new"}
    commit(**old)
    real, calls = getattr(os, call), []

    def full(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) >= at:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        try:
            commit(**new)
            committed = True  # a link that fails is a copy, and the last names may be unsynced
        except OSError:
            committed = False
    assert texts(store) == (new if committed or "c" in store.files("un") else old)
    commit(**new)
    assert texts(store) == new


def test_an_error_in_a_first_commit_leaves_no_file(
    store: RawStore, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("urban_migration.raw.atomic_write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        commit(a="1", b="2")
    assert store.empty
    assert not [path for path in store.root.glob("un/*") if path.is_file()]


def test_what_a_killed_download_left_is_cleared_away(store: RawStore) -> None:
    leftover = store.root / ".incoming" / "un" / "0"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    with store.incoming("un") as folder:
        assert list(folder.iterdir()) == []
    assert not folder.exists()


# ------------------------------------------------------------------------- several at once


def test_commits_wait_while_a_source_is_read(store: RawStore, commit: Commit) -> None:
    commit(a="old")
    with store.reading("un") as files:
        other = threading.Thread(target=commit, kwargs={"a": "new"})
        other.start()
        time.sleep(0.1)
        assert files["a"].path.read_text() == "old"
    other.join()
    assert texts(store) == {"a": "new"}


def test_many_commits_at_once_lose_none(store: RawStore, tmp_path: Path) -> None:
    def one(number: int) -> None:
        name = f"f{number}"
        store.commit(f"source{number}", {name: fetched(tmp_path / name, "x")})

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.sources()) == 12


def test_a_lock_that_is_held_too_long_names_its_holder(tmp_path: Path) -> None:
    path, told = tmp_path / "folder" / "lock", list[str]()
    with (
        exclusive_lock(path),
        pytest.raises(LockedError, match=f"in use by process {os.getpid()} since 20") as error,
        exclusive_lock(path, wait_seconds=0.3, on_wait=told.append),
    ):
        raise AssertionError("held twice")
    assert "try again" in str(error.value)
    assert len(told) == 1 and f"process {os.getpid()}" in told[0]
    with exclusive_lock(path):
        pass
    with exclusive_lock(path, shared=True), exclusive_lock(path, shared=True):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = (
        "import os, sys, pathlib\n"
        "from urban_migration.files import exclusive_lock\n"
        "with exclusive_lock(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    with exclusive_lock(path, wait_seconds=0):
        pass


def test_a_write_that_fails_leaves_the_old_bytes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    atomic_write_bytes(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_raw_file_knows_when_it_is_no_longer_itself(store: RawStore, commit: Commit) -> None:
    commit(a="1")
    file = store.files("un")["a"]
    assert isinstance(file, RawFile) and file.intact
    file.path.write_text("x")
    assert not file.intact
