"""Searching: ranking, variety, addresses, hostile queries, threads, and the corpus that ships."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from graph.documents import DocumentsError, DocumentsRetriever, open_documents
from graph.documents.query import MOST_TERMS, match_query

_PADDING = "The field is wide and the grass is green there. " * 9


@pytest.fixture(scope="module")
def corpus() -> Iterator[DocumentsRetriever]:
    retriever = open_documents(None)
    yield retriever
    retriever.close()


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text)
    return folder


def urls(retriever: DocumentsRetriever, query: str) -> list[str]:
    return [document.metadata["url"] for document in retriever.invoke(query)]


def test_result_has_text_title_address_and_place(tmp_path: Path) -> None:
    folder = tmp_path / "notes (old)" / "été"
    folder.mkdir(parents=True)
    (folder / "a#b.md").write_text("# Barns\n\n## How they burn\n\nStraw burns quickly.\n")
    [found] = open_documents(tmp_path).invoke("burning straw")
    assert found.page_content == "Straw burns quickly."
    assert found.metadata == {
        "title": "Barns › How they burn",
        "url": "notes%20%28old%29/été/a%23b.md#how-they-burn",
        "place": "How they burn",
    }


def test_a_heading_outweighs_the_text(tmp_path: Path) -> None:
    text = f"# Notes\n\n## Grass\n\n{_PADDING}\n\nA barn, a barn and a barn.\n\n## Barn\n\n{_PADDING}\n"
    assert urls(open_documents(write(tmp_path, a=text)), "barn") == ["a.md#barn", "a.md#grass"]


def test_the_rarer_word_outweighs_the_common_one(tmp_path: Path) -> None:
    files = {f"n{number}": "A meadow with a horse in it." for number in range(5)}
    retriever = open_documents(write(tmp_path, z="A meadow with an emu in it.", **files), k=1)
    assert urls(retriever, "horse emu") == ["z.md"]


def test_at_most_two_passages_of_one_file_while_there_are_others(tmp_path: Path) -> None:
    barns = "# Barns\n\n" + "".join(f"## Barn {number}\n\nbarn {_PADDING}\n\n" for number in range(5))
    retriever = open_documents(write(tmp_path, a=barns, **dict.fromkeys("bcd", f"barn {_PADDING}")), k=4)
    assert sorted(url.partition("#")[0] for url in urls(retriever, "barn")) == ["a.md", "a.md", "b.md", "c.md"]
    (tmp_path / "c.md").unlink()
    (tmp_path / "d.md").unlink()
    retriever = open_documents(tmp_path, k=4)
    assert sorted(url.partition("#")[0] for url in urls(retriever, "barn")) == ["a.md", "a.md", "a.md", "b.md"]


def test_equal_scores_are_ordered_by_path(tmp_path: Path) -> None:
    index = tmp_path / "index"
    for name in ("c", "a", "b"):  # in this order they enter the index
        open_documents(write(tmp_path, **{name: "A barn."}), index).close()
    assert urls(open_documents(tmp_path, index), "barn") == ["a.md", "b.md", "c.md"]


@pytest.mark.parametrize("query", ["numero", "NÚMEROS", "número"])
def test_case_accents_and_endings_do_not_matter(tmp_path: Path, query: str) -> None:
    assert urls(open_documents(write(tmp_path, a="Un Número.")), query) == ["a.md"]


def test_chinese_is_found_inside_of_a_sentence_and_comes_back_as_it_was(tmp_path: Path) -> None:
    text = "如果进程崩溃SQLite数据库可以恢复。"
    retriever = open_documents(write(tmp_path, a=text, b="今天天气很好。"))
    [found] = retriever.invoke("数据库恢复")
    assert found.page_content == text
    assert urls(retriever, "sqlite") == ["a.md"]


@pytest.mark.parametrize("query", ["", "  \n", "?!", '"', "🙂🙂", "\x00", "\ud800"])
def test_a_query_without_words_finds_nothing(corpus: DocumentsRetriever, query: str) -> None:
    assert corpus.invoke(query) == []


@pytest.mark.parametrize(
    "query",
    [
        'crash" OR "',
        "crash AND NOT (",
        "NEAR(crash event, 5)",
        "title : crash*",
        "-crash ^crash + {x} 'y'; DROP TABLE file",
        "crash \x00 \ud800 🙂 e\u0301",
        "crash 崩溃 " + "x" * 32_000,
        "crash " + "word " * 6_400,
        "crash " + " ".join(f"w{number}" for number in range(5_000)),
    ],
)
def test_hostile_queries_still_find_their_words(corpus: DocumentsRetriever, query: str) -> None:
    assert len(corpus.invoke(query)) == corpus.k


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_no_text_is_a_syntax_error(corpus: DocumentsRetriever, query: str) -> None:
    assert len(corpus.invoke(query)) <= corpus.k


def test_query_has_each_significant_word_once_and_not_too_many() -> None:
    assert match_query("How can a Crash, the crash, survive?") == '"crash" OR "survive"'
    assert match_query("what is it") == '"what" OR "is" OR "it"'
    assert match_query(" ".join(f"w{number}" for number in range(99))).count(" OR ") == MOST_TERMS - 1
    assert match_query("".join(map(chr, range(0x4E00, 0x4E3C)))).count(" OR ") == MOST_TERMS - 1
    assert match_query("crash " + "x" * 65) == '"crash"'


def test_async_search_leaves_the_loop_free(corpus: DocumentsRetriever) -> None:
    async def held_up() -> bool:
        with corpus.index._lock:  # whoever searched on the loop's own thread would pass this reentrant lock
            search = asyncio.ensure_future(corpus.ainvoke("crash"))
            done, _ = await asyncio.wait([search], timeout=0.1)
        return not done and len(await search) == corpus.k

    assert asyncio.run(held_up())


def test_many_threads_search_at_once(corpus: DocumentsRetriever) -> None:
    expected = urls(corpus, "crash recovery")
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(urls, [corpus] * 64, ["crash recovery"] * 64))


@pytest.mark.parametrize("name", ["missing", "file.md", "nul\x00"])
def test_a_folder_that_cannot_be_read_is_said_in_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.md").write_text("x")
    with pytest.raises(DocumentsError, match=r"^DOCUMENTS_DIR names a folder that cannot be read: [^\n\x00]+\)\.$"):
        open_documents(tmp_path / name)


def test_an_empty_folder_has_no_results(tmp_path: Path) -> None:
    retriever = open_documents(tmp_path)
    assert (retriever.invoke("barn"), retriever.document_count, retriever.skipped) == ([], 0, ())


def test_k_is_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        open_documents(tmp_path, k=0)


def test_a_closed_retriever_says_so(tmp_path: Path) -> None:
    retriever = open_documents(tmp_path)
    retriever.close()
    retriever.close()
    with pytest.raises(DocumentsError, match="cannot be searched"):
        retriever.invoke("barn")


@pytest.mark.parametrize(
    ("question", "url"),
    [
        ("How are events replayed with Last-Event-ID?", "server-sent-events.md#how-replay-works"),
        ("What are the steps of recovery after kill -9?", "kill-9-and-recovery.md#the-steps-of-recovery"),
        ("What does fsync promise?", "sqlite-wal-and-fsync.md#what-fsync-promises"),
        ("What does BM25 measure?", "extractive-summaries-and-bm25.md#what-bm25-measures"),
        ("rollback or enqueue a running turn", "steering-a-running-agent.md#four-ways-to-treat-the-running-turn"),
    ],
)
def test_the_shipped_corpus_answers(corpus: DocumentsRetriever, question: str, url: str) -> None:
    assert url in urls(corpus, question)[:2]


def test_the_shipped_corpus_serves_different_phases_with_different_passages(corpus: DocumentsRetriever) -> None:
    topic = "How can a long-running research agent survive crashes without losing work?"
    phases = [
        "Background and history",
        "Evidence",
        "Alternatives compared",
        "Costs",
        "Risks and limits",
        "Open questions",
    ]
    first = [urls(corpus, f"{phase} {topic}")[0] for phase in phases]
    assert len(set(first)) == len(phases)
    assert (12 <= corpus.document_count <= 16, corpus.skipped) == (True, ())


def test_import_is_light() -> None:
    heavy = "{'langgraph', 'selectolax', 'pypdf', 'langchain_openai'}"
    code = f"import sys, graph.documents; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
