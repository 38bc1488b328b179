"""The search engines over real HTTP, against stubs that speak their providers' formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.retrievers import BaseRetriever
from pydantic import SecretStr

from graph.search.engine import Engine, SearchUnusable
from graph.search.fetching import Fetcher, Limits, PageUnread
from graph.search.queries import Queries, planned
from graph.search.searcher import Budget, Found, Searcher
from graph.search.setup import SearchSetup, check_setup, engines_of, search_names
from tests.fakes import FakeClock, FakeRetriever
from tests.search_stub import SearchStub

pytestmark = pytest.mark.anyio

KEY = "sk-planted-secret"
QUERIES = Queries(wide="all words", narrow=("first question", "second question", "third question"))


@pytest.fixture
def stub() -> Iterator[SearchStub]:
    with SearchStub().serving() as stub:
        yield stub


def setup(stub: SearchStub, *names: str) -> SearchSetup:
    return SearchSetup(
        names=names,
        fetched_pages=0,
        searxng_url=stub.url,
        tavily_api_key=SecretStr(KEY),
        tavily_base_url=stub.url,
        openai_model="gpt-5",
        openai_api_key=SecretStr(KEY),
        openai_base_url=f"{stub.url}/v1",
    )


def unstored(engines: list[Engine]) -> list[Engine]:
    """Outside of a graph there is no checkpoint that an answer could be stored beside."""
    return [Engine(engine.name, engine.open, wide=engine.wide, durable=False) for engine in engines]


async def searched(engines: list[Engine], **budget: float) -> tuple[Found, FakeClock]:
    clock = FakeClock()
    searcher = Searcher(unstored(engines), Budget(**{"queries": 1, **budget}), clock.sleep)  # type: ignore[arg-type]
    return await searcher.search(QUERIES, 3, lambda done, total: None), clock


@pytest.mark.parametrize("name", ["searxng", "tavily", "openai"])
async def test_each_engine_gives_titles_addresses_and_excerpts(stub: SearchStub, name: str) -> None:
    found, _ = await searched(list(engines_of(setup(stub, name))))
    assert [(r["title"], r["url"], r["origin"]) for r in found.results] == [
        ("Arven", "https://arven.example/a", name),
        ("Costs", "https://arven.example/b", name),
    ]
    assert [r["text"] for r in found.results] == ["Twelve turbines stand at Arven.", "It cost 410 million crowns."]
    assert found.failures == []
    assert len(stub.asked) == 1


async def test_searxng_is_asked_for_json(stub: SearchStub) -> None:
    await searched(list(engines_of(setup(stub, "searxng"))))
    assert stub.asked == [{"q": "first question", "format": "json"}]


async def test_tavily_is_asked_with_its_key(stub: SearchStub) -> None:
    await searched(list(engines_of(setup(stub, "tavily"))))
    assert stub.keys == [f"Bearer {KEY}"]
    assert stub.asked[0]["query"] == "first question"
    assert stub.asked[0]["max_results"] == 6


async def test_openai_searches_with_its_tool_and_its_tokens_are_counted(stub: SearchStub) -> None:
    found, _ = await searched(list(engines_of(setup(stub, "openai"))))
    asked = stub.asked[0]
    assert asked["tools"] == [{"type": "web_search"}]
    assert asked["store"] is False
    assert "first question" in asked["input"]
    assert all(r.get("summary") for r in found.results), "its words are a model's, not the pages'"
    assert found.spent == [
        {"phase": 3, "role": "search", "model": "openai:gpt-5", "calls": 1, "input_tokens": 1200, "output_tokens": 80}
    ]


@pytest.mark.parametrize("name", ["searxng", "tavily", "openai"])
async def test_a_failing_search_is_tried_again(stub: SearchStub, name: str) -> None:
    stub.failures = [503, 429]
    found, clock = await searched(list(engines_of(setup(stub, name))))
    assert len(found.results) == 2
    assert len(stub.asked) == 3
    assert len(clock.slept) == 2
    assert found.failures == []


@pytest.mark.parametrize("name", ["searxng", "tavily", "openai"])
@pytest.mark.parametrize(("status", "tries"), [(500, 3), (401, 1)])
async def test_what_keeps_failing_is_told_without_the_providers_text(
    stub: SearchStub, name: str, status: int, tries: int
) -> None:
    stub.failures = [status] * 5
    found, _ = await searched(list(engines_of(setup(stub, name))))
    assert found.results == []
    assert len(stub.asked) == tries
    (told,) = found.failures
    assert told.startswith(f"The search by {name} failed: ")
    assert str(status) in told
    assert "secret" not in told
    assert KEY not in told


async def test_one_engine_that_fails_costs_the_others_nothing(stub: SearchStub) -> None:
    stub.failures = [401]
    documents = Engine("documents", lambda _: FakeRetriever(), wide=True, durable=False)
    found, _ = await searched([*engines_of(setup(stub, "searxng")), documents])
    assert [r["origin"] for r in found.results] == ["documents"]
    assert len(found.failures) == 1


async def test_several_engines_share_the_sources(stub: SearchStub) -> None:
    documents = Engine("documents", lambda _: FakeRetriever(), wide=True, durable=False)
    found, _ = await searched([*engines_of(setup(stub, "searxng")), documents], results=2)
    assert [r["origin"] for r in found.results] == ["searxng", "documents"]


async def test_a_search_has_its_time(stub: SearchStub) -> None:
    stub.delay_sec = 0.5
    found, _ = await searched(list(engines_of(setup(stub, "searxng"))), timeout_sec=0.05, attempts=2)
    assert found.failures == ["The search by searxng failed: no answer within 0.05 s."]


async def test_an_engine_is_asked_no_more_than_its_budget(stub: SearchStub) -> None:
    await searched(list(engines_of(setup(stub, "searxng"))), queries=2)
    assert sorted(each["q"] for each in stub.asked) == ["first question", "second question"]


def own_retriever() -> BaseRetriever:
    return FakeRetriever()


def no_retriever() -> object:
    return object()


async def test_ones_own_engine_is_named_by_its_factory() -> None:
    name = f"{__name__}:own_retriever"
    check_setup(SearchSetup(names=(name,)))
    found, _ = await searched(list(engines_of(SearchSetup(names=(name,)))))
    assert [r["title"] for r in found.results] == ["Storage"]


async def test_a_factory_that_makes_no_retriever_is_told() -> None:
    found, _ = await searched(list(engines_of(SearchSetup(names=(f"{__name__}:no_retriever",)))))
    assert "no retriever of LangChain" in found.failures[0]


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("tavily",), "TAVILY_API_KEY"),
        (("searxng",), "SEARXNG_URL"),
        (("openai",), "OPENAI_API_KEY"),
        (("nowhere.at_all:factory",), "cannot be imported"),
        (("graph.clock:nothing",), "has no nothing"),
        (("graph.clock:__doc__",), "cannot be called"),
    ],
)
def test_a_setup_that_cannot_work_is_refused(names: tuple[str, ...], hint: str) -> None:
    with pytest.raises(SearchUnusable, match=hint):
        check_setup(SearchSetup(names=names))


@pytest.mark.parametrize("text", ["", " , ", "google", "documents,goggle", "a b:c", "a:b:c"])
def test_an_unknown_engine_is_refused(text: str) -> None:
    with pytest.raises(SearchUnusable):
        search_names(text)


def test_names_are_listed_once() -> None:
    assert search_names(" documents, tavily ,documents") == ("documents", "tavily")


def test_queries_are_short_for_the_web_and_whole_for_an_index() -> None:
    topic = "How do tides work? " + "And what of the moon? " * 500
    queries = planned(
        topic, "Costs", "What it costs.", asked=[topic], guidance=["Only Norway"], open_=["What of storms?"]
    )
    assert len(queries.narrow) == 4
    assert all(len(query) <= 300 for query in queries.narrow)
    assert all("tides" in query for query in queries.narrow)
    assert "Norway" in queries.narrow[1]
    assert "storms" in queries.narrow[2]
    assert topic in queries.wide


class Names:
    """A resolver whose every name has one address after the other; how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return [self.addresses[min(len(self.asked), len(self.addresses)) - 1]]


def fetcher(names: Names, **limits: float) -> Fetcher:
    """A fetcher to which the stub's address is a public one, and 127.0.0.2 a private one."""
    return Fetcher(Limits(**limits), names, lambda address: address == "127.0.0.1")  # type: ignore[arg-type]


async def test_a_page_is_read_as_its_text(stub: SearchStub) -> None:
    names = Names("127.0.0.1")
    page = await fetcher(names).page(f"http://arven.test:{stub.port}/page")
    assert page.title == "Arven"
    assert "twelve turbines" in str(page.sections)
    assert "Home" not in str(page.sections)
    assert names.asked == ["arven.test"], "the address that was checked is the one that is connected to"


async def test_a_name_that_changes_its_address_is_asked_once(stub: SearchStub) -> None:
    """DNS rebinding: a second look-up would lead inside."""
    names = Names("127.0.0.1", "127.0.0.2")
    await fetcher(names).page(f"http://arven.test:{stub.port}/page")
    assert len(names.asked) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/huge", "it is over 100,000 bytes"),
        ("/slow", "no answer within 1 s"),
        ("/loop", "it redirects too often"),
        ("/packed", "packed"),
        ("/picture", "image/png"),
        ("/nothing", "HTTP 404"),
    ],
)
async def test_a_page_beyond_the_limits_is_not_read(stub: SearchStub, path: str, reason: str) -> None:
    with pytest.raises(PageUnread, match=reason):
        await fetcher(Names("127.0.0.1"), max_bytes=100_000, timeout_sec=1).page(f"http://arven.test:{stub.port}{path}")


async def test_a_redirect_to_a_private_address_is_refused(stub: SearchStub) -> None:
    names = Names("127.0.0.1", "127.0.0.2")
    inside = f"http://inside.test:{stub.port}/page"
    with pytest.raises(PageUnread, match="not on the public internet"):
        await fetcher(names).page(f"http://arven.test:{stub.port}/to?url={inside}")
    assert names.asked == ["arven.test", "inside.test"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/page",
        "http://localhost:{port}/page",
        "http://0x7f000001:{port}/page",
        "http://2130706433:{port}/page",
        "http://[::1]:{port}/page",
        "http://[::ffff:127.0.0.1]:{port}/page",
        "http://0.0.0.0:{port}/page",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://user:word@127.0.0.1:{port}/page",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://",
        "http://[",
    ],
)
async def test_nothing_of_this_machine_or_its_network_is_fetched(stub: SearchStub, url: str) -> None:
    with pytest.raises(PageUnread):
        await Fetcher(Limits(timeout_sec=5)).page(url.format(port=stub.port))
    assert stub.asked == []


async def test_a_page_that_cannot_be_read_leaves_the_searchs_excerpt_and_is_told(stub: SearchStub) -> None:
    stub.results[0]["url"] = f"{stub.url}/page"
    with_pages = SearchSetup(names=("searxng",), searxng_url=stub.url, fetched_pages=1)
    found, _ = await searched(list(engines_of(with_pages)))
    assert found.results[0]["text"] == "Twelve turbines stand at Arven."
    (told,) = found.failures
    assert "127.0.0.1 (it is not on the public internet)" in told


async def test_documents_are_refreshed_while_the_server_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.documents.retriever.FRESH_SEC", 0.0)
    (tmp_path / "one.md").write_text("# One\n\nAll words are here, in the first document of the folder.")
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.4 nothing")
    seen: list[tuple[int, int]] = []
    searcher = Searcher(engines_of(SearchSetup(documents_dir=tmp_path)))
    first = await searcher.search(QUERIES, 1, lambda done, total: seen.append((done, total)))
    (tmp_path / "two.md").write_text("# Two\n\nAll words are here as well, in the second document of the folder.")
    second = await searcher.search(QUERIES, 2, lambda done, total: None)
    searcher.close()
    assert [len(first.results), len(second.results)] == [1, 2]
    assert seen[-1] == (2, 2)
    assert first.skipped == ["scan.pdf could not be read: it is not a readable PDF."]
