"""The index of a folder: what is read, what is skipped, what is read again, and when it is built anew."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from graph.documents import DocumentsRetriever, Skipped, open_documents
from graph.documents.folder import LARGEST
from graph.documents.index import VERSION


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The barn is red.")
    (tmp_path / "docs" / "b.txt").write_text("The emu is brown.")
    return tmp_path / "docs"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "new" / "documents.sqlite"


def texts(retriever: DocumentsRetriever, query: str = "barn emu") -> list[str]:
    found = sorted(document.page_content for document in retriever.invoke(query))
    retriever.close()
    return found


def execute(index: Path, statement: str) -> None:
    with sqlite3.connect(index) as db:
        db.execute(statement)
    db.close()


def rewrite(file: Path, text: str, *, later_ns: int) -> None:
    """New content, with a time that is `later_ns` nanoseconds after the old one."""
    then = file.stat().st_mtime_ns
    file.write_text(text)
    os.utime(file, ns=(then, then + later_ns))


def test_skips_are_collected_and_logged_without_content(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outside.md").write_text("The barn is secret.")
    (folder / "leaves.md").symlink_to(tmp_path / "outside.md")
    (folder / "dangling.md").symlink_to("nowhere")
    (folder / "bad.txt").write_bytes(b"secret \xff")
    (folder / "bad.pdf").write_bytes(b"secret")
    with (folder / "large.md").open("wb") as large:
        large.truncate(LARGEST + 1)
    os.mkfifo(folder / "pipe.md")
    with caplog.at_level(logging.INFO):
        retriever = open_documents(folder)
    assert retriever.skipped == (
        Skipped("bad.pdf", "it is not a readable PDF"),
        Skipped("bad.txt", "it is not UTF-8 text"),
        Skipped("dangling.md", "No such file or directory"),
        Skipped("large.md", "it is over 50 MB"),
        Skipped("leaves.md", "it is a link that leaves the folder"),
        Skipped("pipe.md", "it is not an ordinary file"),
    )
    assert [record.name for record in caplog.records] == ["graph.documents"] * 6
    assert "secret" not in caplog.text
    assert retriever.document_count == 2
    assert texts(retriever) == ["The barn is red.", "The emu is brown."]


def test_hidden_files_and_other_kinds_are_passed_over_in_silence(folder: Path) -> None:
    for path in (".hidden.md", ".git/x.md", "deep/.cache/y.md", "barn.png", "barn"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("The barn is hidden.")
    retriever = open_documents(folder)
    assert (retriever.skipped, texts(retriever, "barn")) == ((), ["The barn is red."])


def test_links_inside_the_folder_are_read_as_in_a_mounted_configmap(folder: Path) -> None:
    (folder / "..2026").mkdir()
    (folder / "..2026" / "c.md").write_text("The barn is mounted.")
    (folder / "c.md").symlink_to("..2026/c.md")
    (folder / "loop").symlink_to(folder)
    assert texts(open_documents(folder), "barn") == ["The barn is mounted.", "The barn is red."]


def test_folders_are_read_to_the_bottom(folder: Path) -> None:
    deep = folder / "x" / "y" / "z"
    deep.mkdir(parents=True)
    (deep / "C.MD").write_text("The barn is deep.")
    found = open_documents(folder).invoke("barn deep")
    assert found[0].metadata["url"] == "x/y/z/C.MD"


def test_unchanged_files_are_not_read_again(folder: Path, index: Path) -> None:
    open_documents(folder, index).close()
    rewrite(folder / "a.md", "The barn is new.", later_ns=0)  # same size, same time: only reading would tell
    retriever = open_documents(folder, index)
    assert retriever.document_count == 2
    assert texts(retriever, "barn") == ["The barn is red."]


def test_changed_files_are_read_again(folder: Path, index: Path) -> None:
    open_documents(folder, index).close()
    rewrite(folder / "a.md", "The barn is new.", later_ns=1)
    rewrite(folder / "b.txt", "The emu is very old.", later_ns=0)  # another size is enough
    assert texts(open_documents(folder, index)) == ["The barn is new.", "The emu is very old."]


def test_a_new_time_alone_does_not_cut_a_file_again(folder: Path, index: Path) -> None:
    open_documents(folder, index).close()
    execute(index, "UPDATE passage SET place = 'kept'")
    rewrite(folder / "a.md", "The barn is red.", later_ns=1)
    retriever = open_documents(folder, index)
    assert [found.metadata["place"] for found in retriever.invoke("barn")] == ["kept"]
    assert retriever.index.known()["a.md"].mtime_ns == (folder / "a.md").stat().st_mtime_ns
    retriever.close()


def test_what_could_not_be_read_is_remembered_until_it_changes(folder: Path, index: Path) -> None:
    (folder / "a.md").write_bytes(b"\xff barn is new.\xff")
    expected = (Skipped("a.md", "it is not UTF-8 text"),)
    for _ in range(2):
        retriever = open_documents(folder, index)
        assert (retriever.skipped, retriever.document_count) == (expected, 1)
        retriever.close()
    rewrite(folder / "a.md", "The barn is mended.", later_ns=1)
    retriever = open_documents(folder, index)
    assert (retriever.skipped, texts(retriever, "barn")) == ((), ["The barn is mended."])


def test_new_files_come_and_vanished_ones_go(folder: Path, index: Path) -> None:
    open_documents(folder, index).close()
    (folder / "a.md").rename(folder / "c.md")
    (folder / "b.txt").unlink()
    retriever = open_documents(folder, index)
    assert [found.metadata["url"] for found in retriever.invoke("barn emu")] == ["c.md"]
    assert (retriever.document_count, texts(retriever)) == (1, ["The barn is red."])


def _no_database(index: Path) -> None:
    index.write_bytes(b"this is no database " * 500)


def _torn(index: Path) -> None:
    whole = index.read_bytes()
    index.write_bytes(whole[:4096] + b"\xff" * 8192 + whole[12288:])


def _cut_off(index: Path) -> None:
    index.write_bytes(index.read_bytes()[:5000])


def _without_words(index: Path) -> None:
    execute(index, "DELETE FROM word_data WHERE id > 10")


def _without_table(index: Path) -> None:
    execute(index, "DROP TABLE folder")


def _other_version(index: Path) -> None:
    execute(index, f"PRAGMA user_version = {VERSION + 1}")


def _other_folder(index: Path) -> None:
    execute(index, "UPDATE folder SET path = '/elsewhere'")


@pytest.mark.parametrize(
    "damage", [_no_database, _torn, _cut_off, _without_words, _without_table, _other_version, _other_folder]
)
def test_a_doubtful_index_is_built_anew(
    folder: Path, index: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    open_documents(folder, index).close()
    damage(index)
    rewrite(folder / "a.md", "The barn is new.", later_ns=0)  # what is known of it must be forgotten
    assert texts(open_documents(folder, index)) == ["The barn is new.", "The emu is brown."]
    rewrite(folder / "a.md", "The barn is red.", later_ns=0)
    assert texts(open_documents(folder, index)) == ["The barn is new.", "The emu is brown."]  # kept again
    assert "in memory" not in caplog.text


def test_a_file_written_by_nobody_yet_is_an_index_to_be(folder: Path, index: Path) -> None:
    index.parent.mkdir()
    index.touch()
    assert len(texts(open_documents(folder, index))) == 2
    assert index.stat().st_size > 0


@pytest.mark.parametrize("inside", ["", "below"])
def test_an_index_that_cannot_be_kept_is_made_in_memory(
    folder: Path, tmp_path: Path, inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "taken" / inside
    (tmp_path / "taken").mkdir() if not inside else (tmp_path / "taken").touch()
    assert len(texts(open_documents(folder, place))) == 2
    assert "kept in memory" in caplog.text


def test_two_retrievers_share_an_index(folder: Path, index: Path) -> None:
    first = open_documents(folder, index)
    (folder / "c.md").write_text("The barn is third.")
    second = open_documents(folder, index)
    assert len(first.invoke("barn")) == len(second.invoke("barn")) == 2
    first.close()
    second.close()
