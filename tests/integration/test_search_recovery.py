"""A search that was done is not done again: not after a crash in the search beside it, nor behind its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import Field

from graph.context import Context
from graph.graph import build_graph
from graph.ports import Ports
from graph.search.engine import Engine
from graph.search.searcher import Budget
from tests.fakes import FakeModel, answers, fake_ports

pytestmark = pytest.mark.anyio

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
ONE = Context(num_phases=1, calls_per_phase=1)


class Killed(BaseException):
    """The process died: nothing catches it."""


class Web(BaseRetriever):
    """A search that is paid for; the process dies while it answers its `dies_at`th query."""

    queries: list[str] = Field(default_factory=list)
    dies_at: int = 0

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise NotImplementedError

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        self.queries.append(query)
        if len(self.queries) == self.dies_at:
            raise Killed
        return [Document(f"Words on {query}", metadata={"title": query, "url": f"https://example.org/{len(query)}"})]


def ports_over(web: Web, model: FakeModel | None = None) -> Ports:
    ports = fake_ports(model or FakeModel(script=answers))
    ports.engines = lambda: [Engine("web", lambda _: web)]
    ports.budget = Budget(queries=2)
    return ports


async def test_the_queries_that_were_answered_are_not_asked_again(tmp_path: Path) -> None:
    first, second = Web(dies_at=2), Web()
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        with pytest.raises(Killed):
            await build_graph(saver, ports=ports_over(first)).ainvoke(
                {"topic": "Tides"}, THREAD, context=ONE, durability="sync"
            )
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        graph = build_graph(saver, ports=ports_over(second))
        await graph.ainvoke(None, THREAD, context=ONE, durability="sync")
        sources = (await graph.aget_state(THREAD)).values["sources"]
    assert second.queries == first.queries[1:], "only the one that was not answered"
    assert len(sources[0]["items"]) == 2
    assert [search["found"] for search in sources[0]["searches"]] == [1, 1]


async def test_behind_its_checkpoint_a_search_is_not_made_again(tmp_path: Path) -> None:
    web = Web()
    failing = FakeModel(script=lambda _: [ValueError("no")])
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        with pytest.raises(Exception, match="ValueError"):
            await build_graph(saver, ports=ports_over(web, failing)).ainvoke(
                {"topic": "Tides"}, THREAD, context=ONE, durability="sync"
            )
        done = len(web.queries)
        await build_graph(saver, ports=ports_over(web)).ainvoke(None, THREAD, context=ONE, durability="sync")
    assert len(web.queries) == done == 2
