"""DATA_DIR: made, locked, given up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.data_folder import DataFolder, DataFolderUnusable


def test_it_is_made_with_its_parents(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "a" / "b") as folder:
        assert folder.path.is_dir()


def test_its_files_lie_in_it_and_are_three(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    files = {folder.server_database, folder.checkpoint_database, folder.document_index}
    assert len(files) == 3
    assert {file.parent for file in files} == {tmp_path}


def test_a_second_server_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with DataFolder(tmp_path), pytest.raises(DataFolderUnusable, match=rf"DATA_DIR: .*process {os.getpid()}\b"):
        DataFolder(tmp_path).__enter__()


def test_a_refused_server_does_not_break_the_lock(tmp_path: Path) -> None:
    with DataFolder(tmp_path):
        for _ in range(2):
            with pytest.raises(DataFolderUnusable):
                DataFolder(tmp_path).__enter__()


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with DataFolder(tmp_path):
            pass


def test_an_older_and_longer_process_id_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("9" * 18)
    with DataFolder(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderUnusable, match=r"DATA_DIR: .*file cannot be written"):
        DataFolder(tmp_path / "file").__enter__()
