"""Backup and restore of a data folder: both files of one instant, whole or not at all, refused in words."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from graph.checkpoints import open_checkpoints
from server.backup import MANIFEST, BackupFailed, back_up, read_backup
from server.data_folder import DataFolder, DataFolderUnusable
from server.restore import RestoreRefused, restore
from server.snapshot import copy, opened_unchanged, snapshots
from server.sqlite import SqliteDatabase
from tests.integration.storage import opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """One that holds a schema and no turns."""
    folder = DataFolder(tmp_path / "data")
    with folder:
        SqliteDatabase(folder.server_database).close()
    with closing(sqlite3.connect(folder.checkpoint_database)) as checkpoints:
        checkpoints.execute("PRAGMA journal_mode = WAL")
        checkpoints.execute("CREATE TABLE done (step INTEGER)")
        checkpoints.execute("INSERT INTO done VALUES (0)")
        checkpoints.commit()
    return folder


@contextmanager
def writing(folder: DataFolder) -> Iterator[list[int]]:
    """Takes steps as a server does: begun in the events, then done in the checkpoints, then told in the events."""
    stopped, steps = threading.Event(), [0]

    def write() -> None:
        with (
            closing(sqlite3.connect(folder.server_database, isolation_level=None, timeout=30)) as events,
            closing(sqlite3.connect(folder.checkpoint_database, isolation_level=None, timeout=30)) as checkpoints,
        ):
            # Without waits for the disk, steps are shorter than any gap between the two readings would be.
            for connection in (events, checkpoints):
                connection.execute("PRAGMA synchronous = OFF")
            while not stopped.is_set():
                step = steps[0] + 1
                events.execute("UPDATE steps SET begun = ?", [step])
                checkpoints.execute("UPDATE done SET step = ?", [step])
                events.execute("UPDATE steps SET told = ?", [step])
                steps[0] = step

    with closing(sqlite3.connect(folder.server_database, isolation_level=None)) as events:
        events.execute("CREATE TABLE IF NOT EXISTS steps (begun INTEGER, told INTEGER)")
        events.execute("INSERT INTO steps VALUES (0, 0)")
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield steps
    finally:
        stopped.set()
        thread.join()


def test_both_files_are_of_one_instant(folder: DataFolder) -> None:
    with writing(folder) as steps:
        for _ in range(200):
            with snapshots(folder) as found:
                done = found["checkpoints.sqlite"].execute("SELECT step FROM done").fetchone()[0]
                begun, told = found["server.sqlite"].execute("SELECT begun, told FROM steps").fetchone()
            assert told <= done <= begun <= told + 1
    assert steps[0] > 1000, "nothing was written meanwhile"


def test_what_is_written_during_the_copying_neither_gets_in_nor_begins_it_anew(
    folder: DataFolder, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(folder.server_database)) as events:
        events.execute("CREATE TABLE ballast AS SELECT zeroblob(20000000) AS x")
        events.commit()
    with writing(folder) as steps, snapshots(folder) as found:
        before = found["server.sqlite"].execute("SELECT begun FROM steps").fetchone()[0]
        written = steps[0]
        while steps[0] < written + 20:
            time.sleep(0.001)
        copy(found["server.sqlite"], tmp_path / "copy")
        written = steps[0]
        while steps[0] < written + 20:
            time.sleep(0.001)
    with closing(opened_unchanged(tmp_path / "copy")) as copied:
        assert copied.execute("SELECT begun FROM steps").fetchone()[0] == before


async def test_a_reader_that_stays_does_not_hold_an_erasure_up(tmp_path: Path) -> None:
    saver = await open_checkpoints(tmp_path / "checkpoints.sqlite")
    async with opened(tmp_path) as storage:
        await storage.accepted("one")
        with snapshots(DataFolder(tmp_path)):
            began = time.monotonic()
            await saver.adelete_thread("thread")
            await storage.database.give_space_back()
            # Each used to wait five seconds for the reader, and held all writers up meanwhile.
            assert time.monotonic() - began < 4.5
        await storage.database.give_space_back()
        assert (tmp_path / "server.sqlite-wal").stat().st_size == 0
    await saver.conn.close()


async def test_a_restored_folder_holds_what_was_backed_up(tmp_path: Path) -> None:
    data, target, other = tmp_path / "data", tmp_path / "backup", tmp_path / "other"
    data.mkdir()
    async with opened(data) as storage:
        claimed = await storage.claimed("one")
        writer = storage.log.writer(claimed)
        writer.put({"type": "token", "content": "a word", "phase": 1, "index": 1})
        await writer.flushed()
        events = await storage.events(claimed)
        (data / "keys").write_text("alice:sha256$00$00\n")
        back_up(data, target)
        await storage.accepted("two")
    restore(other, target)
    assert (other / "keys").read_text() == "alice:sha256$00$00\n"
    async with opened(other) as storage:
        found = await storage.found("one")
        assert await storage.events(found) == events
        assert await storage.store.get("two") is None
    assert {path.name for path in target.iterdir()} == {"server.sqlite", "keys", MANIFEST}


def test_permissions_are_kept(folder: DataFolder, tmp_path: Path) -> None:
    (folder.path / "keys").write_text("")
    for path, mode in ((folder.path, 0o750), (folder.path / "keys", 0o600), (folder.server_database, 0o640)):
        path.chmod(mode)
    back_up(folder.path, tmp_path / "backup")
    restore(tmp_path / "other", tmp_path / "backup")
    for name, mode in (("keys", 0o600), ("server.sqlite", 0o640), ("checkpoints.sqlite", 0o644 & ~umask())):
        assert (tmp_path / "backup" / name).stat().st_mode & 0o777 == mode
        assert (tmp_path / "other" / name).stat().st_mode & 0o777 == mode
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o750


def umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


def test_a_damaged_database_is_no_backup(folder: DataFolder, tmp_path: Path) -> None:
    with closing(sqlite3.connect(folder.checkpoint_database)) as checkpoints:
        checkpoints.execute("PRAGMA journal_mode = DELETE")
        checkpoints.execute("CREATE TABLE ballast (x INTEGER PRIMARY KEY, y TEXT)")
        checkpoints.execute("CREATE INDEX of_y ON ballast (y)")
        checkpoints.executemany("INSERT INTO ballast VALUES (?, ?)", [(n, "text" * 50) for n in range(200)])
        checkpoints.commit()
    with folder.checkpoint_database.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(os.urandom(4096))
    with pytest.raises(BackupFailed, match=r"checkpoints\.sqlite"):
        back_up(folder.path, tmp_path / "backup")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("target", "said"),
    [("data", "is there already"), ("nowhere/backup", "no folder .*nowhere"), ("data/keys", "is there already")],
)
def test_a_target_that_cannot_be_is_named(folder: DataFolder, tmp_path: Path, target: str, said: str) -> None:
    (folder.path / "keys").write_text("")
    with pytest.raises(BackupFailed, match=said):
        back_up(folder.path, tmp_path / target)


def test_an_empty_data_folder_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match=r"DATA_DIR: .* holds no data"):
        back_up(tmp_path / "data", tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_in_use_is_not_overwritten(folder: DataFolder, tmp_path: Path) -> None:
    back_up(folder.path, tmp_path / "backup")
    with folder, pytest.raises(DataFolderUnusable, match=rf"in use .*process {os.getpid()}\b"):
        restore(folder.path, tmp_path / "backup")


def test_a_data_folder_that_holds_something_is_not_touched(folder: DataFolder, tmp_path: Path) -> None:
    back_up(folder.path, tmp_path / "backup")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for full in ("data", "full"):
        before = sorted((path.name, path.stat().st_size) for path in (tmp_path / full).iterdir())
        with pytest.raises(RestoreRefused, match="is not empty"):
            restore(tmp_path / full, tmp_path / "backup")
        assert sorted((path.name, path.stat().st_size) for path in (tmp_path / full).iterdir()) == before


def test_a_restore_that_was_broken_off_can_be_done_again(folder: DataFolder, tmp_path: Path) -> None:
    back_up(folder.path, tmp_path / "backup")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "server.sqlite.restoring").write_text("half")
    restore(tmp_path / "other", tmp_path / "backup")
    assert {path.name for path in (tmp_path / "other").iterdir()} == {"lock", "server.sqlite", "checkpoints.sqlite"}


def test_a_changed_backup_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    back_up(folder.path, tmp_path / "backup")
    with (tmp_path / "backup" / "checkpoints.sqlite").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BackupFailed, match=r"checkpoints\.sqlite is damaged"):
        restore(tmp_path / "other", tmp_path / "backup")
    (tmp_path / "backup" / "checkpoints.sqlite").unlink()
    with pytest.raises(BackupFailed, match=r"there is no checkpoints\.sqlite"):
        restore(tmp_path / "other", tmp_path / "backup")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("manifest", "said"), [(None, "is no backup"), ("[]", "is no backup"), ('{"format": 2}', "another format")]
)
def test_what_is_no_backup_is_refused(tmp_path: Path, manifest: str | None, said: str) -> None:
    (tmp_path / "backup").mkdir()
    if manifest is not None:
        (tmp_path / "backup" / MANIFEST).write_text(manifest)
    with pytest.raises(BackupFailed, match=said):
        restore(tmp_path / "other", tmp_path / "backup")


def test_a_name_that_leads_out_of_the_backup_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    back_up(folder.path, tmp_path / "backup")
    manifest = json.loads((tmp_path / "backup" / MANIFEST).read_text())
    manifest["files"][0]["name"] = "../data/server.sqlite"
    (tmp_path / "backup" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BackupFailed, match="not whole"):
        restore(tmp_path / "other", tmp_path / "backup")


def test_a_backup_of_a_newer_server_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    with closing(sqlite3.connect(folder.server_database)) as events:
        events.execute("PRAGMA user_version = 999")
    back_up(folder.path, tmp_path / "backup")
    with pytest.raises(RestoreRefused, match=r"schema 999.*start the newer server"):
        restore(tmp_path / "other", tmp_path / "backup")
    assert not (tmp_path / "other").exists()


def test_it_says_what_it_holds(folder: DataFolder, tmp_path: Path) -> None:
    made = back_up(folder.path, tmp_path / "backup")
    assert read_backup(tmp_path / "backup") == made
    assert made.size == sum((tmp_path / "backup" / file.name).stat().st_size for file in made.files)


async def test_backups_follow_one_another_while_a_server_writes(tmp_path: Path) -> None:
    """The writer's lock is had, and given back, however busy the writer is."""
    (tmp_path / "data").mkdir()
    async with opened(tmp_path / "data") as storage:
        stopped = asyncio.Event()

        async def write() -> None:
            while not stopped.is_set():
                await storage.store.probe()

        task = asyncio.create_task(write())
        for number in range(5):
            await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / f"backup-{number}")
        stopped.set()
        await task
