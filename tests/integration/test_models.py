"""Models by name: OpenAI-compatible ones by role, those of other providers by LangChain, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import HumanMessage

from graph.endpoint import Endpoint
from graph.model_call import Patience, call_model
from graph.models import MOST_LOADED, Access, ModelUnusable, check_model, load_model
from graph.ports import MOST_LINES, Ports
from tests.fakes import RecordingListener
from tests.openai_stub import ModelStub

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def stub() -> Iterator[ModelStub]:
    with ModelStub(tokens=3) as stub:
        yield stub


async def answered(name: str, access: Access | None = None) -> str:
    model = load_model(name, access) if access else load_model(name)
    answer = await call_model(
        model, [HumanMessage("Hello")], RecordingListener(), endpoint=Endpoint(), patience=Patience(attempts=1)
    )
    assert answer.usage["output_tokens"] > 0
    return answer.text


async def test_a_model_of_another_provider_is_loaded_by_langchain(
    stub: ModelStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", stub.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    check_model("azure_openai:stub")
    assert (await answered("azure_openai:stub")).endswith("word1 word2")
    assert stub.calls()[-1].model == "stub"


async def test_an_address_and_a_key_of_its_own_are_used(stub: ModelStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert "word1" in await answered("openai:own", Access(stub.base_url, "sk-own"))
    assert stub.calls()[-1].model == "own"


async def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnusable, match="langchain-anthropic"):
        load_model("anthropic:claude")


@pytest.mark.parametrize("name", ["gpt-5", "openai:", ":x", "openai: "])
def test_a_name_that_means_no_model_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    with pytest.raises(ModelUnusable, match="unknown"):
        check_model(name)


def test_a_key_does_not_show() -> None:
    assert "sk-own" not in repr(Access("http://x", "sk-own"))


async def test_any_names_are_asked_for_over_the_same_connections_and_forgotten_in_time(stub: ModelStub) -> None:
    access = Access(stub.base_url, "sk-own")
    first = load_model("openai:first", access)
    assert load_model("openai:first", access) is first
    others = [load_model(f"openai:other-{number}", access) for number in range(MOST_LOADED)]
    assert {id(model.root_async_client) for model in (first, *others)} == {id(first.root_async_client)}  # type: ignore[attr-defined]
    assert load_model("openai:first", access) is not first
    assert "word1" in await answered("openai:first", access)


def test_lines_of_models_that_nobody_asks_for_any_more_are_forgotten() -> None:
    ports = Ports()
    first = ports.line("research", "openai:first")
    for number in range(MOST_LINES):
        assert ports.line("research", "openai:first") is first
        ports.line("research", f"openai:other-{number}")
    for number in range(MOST_LINES):
        ports.line("research", f"openai:other-{number}")
    assert ports.line("research", "openai:first") is not first
