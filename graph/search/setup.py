"""The engines that `SEARCH` names, checked before the first run and opened at the first search."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graph.search.engine import Engine, Progress, SearchUnusable

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from pydantic import SecretStr

BUILT_IN: Final = ("documents", "openai", "tavily", "searxng")
_FACTORY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
OPENAI_URL: Final = "https://api.openai.com/v1"


@dataclass(frozen=True, kw_only=True)
class SearchSetup:
    """What the engines need. `names` are those of `SEARCH`, `results` how many of one query are wanted."""

    names: tuple[str, ...] = ("documents",)
    results: int = 6
    timeout_sec: float = 30.0
    fetched_pages: int = 3
    documents_dir: Path | None = None
    document_index: Path | None = None
    searxng_url: str | None = None
    tavily_api_key: SecretStr | None = None
    tavily_base_url: str | None = None
    openai_model: str | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None


def search_names(text: str) -> tuple[str, ...]:
    """The engines in a comma-separated list. Raises `SearchUnusable` for none, or one that cannot be meant."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise SearchUnusable(f"names no engine: give one or more of {', '.join(BUILT_IN)}, or package.module:factory")
    for name in names:
        if name not in BUILT_IN and not _FACTORY.fullmatch(name):
            raise SearchUnusable(f"{name!r} is unknown: use {', '.join(BUILT_IN)}, or package.module:factory")
    return names


def check_setup(setup: SearchSetup) -> None:
    """Raises `SearchUnusable` where an engine lacks its key, its address or its package."""
    for name in setup.names:
        if name == "tavily" and importlib.util.find_spec("langchain_tavily") is None:
            raise SearchUnusable("tavily needs the package langchain-tavily: pip install langchain-tavily")
        if name == "tavily" and setup.tavily_api_key is None:
            raise SearchUnusable("tavily needs TAVILY_API_KEY")
        if name == "searxng" and setup.searxng_url is None:
            raise SearchUnusable("searxng needs SEARXNG_URL, the address of an instance")
        if name == "openai" and not (setup.openai_model and setup.openai_api_key):
            raise SearchUnusable("openai needs OPENAI_API_KEY, and SEARCH_MODEL or an openai: model in RESEARCH_MODEL")
        if name not in BUILT_IN:
            _factory(name)


def engines_of(setup: SearchSetup) -> Sequence[Engine]:
    """The engines, in the order of their names."""
    return [_engine(name, setup) for name in setup.names]


def _engine(name: str, setup: SearchSetup) -> Engine:
    openers: dict[str, Callable[[SearchSetup, Progress], BaseRetriever]] = {
        "documents": _documents,
        "openai": _openai,
        "tavily": _tavily,
        "searxng": _searxng,
    }
    if (opener := openers.get(name)) is not None:
        local = name == "documents"
        shipped = local and setup.documents_dir is None
        return Engine(name, lambda progress: opener(setup, progress), wide=local, durable=not local, stand_in=shipped)
    return Engine(name, lambda _: _made(name))


def _documents(setup: SearchSetup, progress: Progress) -> BaseRetriever:
    from graph.documents import open_documents

    return open_documents(setup.documents_dir, setup.document_index, k=setup.results, progress=progress)


def _openai(setup: SearchSetup, _: Progress) -> BaseRetriever:
    from graph.search.openai_web import OpenAIWebRetriever
    from graph.search.pages import PageReader

    assert setup.openai_model is not None
    assert setup.openai_api_key is not None
    return OpenAIWebRetriever(
        model=setup.openai_model,
        api_key=setup.openai_api_key,
        base_url=setup.openai_base_url or OPENAI_URL,
        k=setup.results,
        pages=PageReader(setup.fetched_pages),
    )


def _tavily(setup: SearchSetup, _: Progress) -> BaseRetriever:
    from graph.search.tavily import TavilyRetriever

    assert setup.tavily_api_key is not None
    return TavilyRetriever(api_key=setup.tavily_api_key, k=min(setup.results, 20), base_url=setup.tavily_base_url)


def _searxng(setup: SearchSetup, _: Progress) -> BaseRetriever:
    from graph.search.pages import PageReader
    from graph.search.searxng import SearxngRetriever

    assert setup.searxng_url is not None
    return SearxngRetriever(
        url=setup.searxng_url, k=setup.results, pages=PageReader(setup.fetched_pages), timeout_sec=setup.timeout_sec
    )


def _factory(name: str) -> Callable[[], object]:
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise SearchUnusable(f"{name!r} cannot be imported ({error})") from error
    except AttributeError as error:
        raise SearchUnusable(f"{name!r}: the module {module} has no {attribute}") from error
    except Exception as error:  # whatever a user's module does when it is imported
        raise SearchUnusable(f"{name!r} cannot be imported ({type(error).__name__})") from error
    if not callable(made):
        raise SearchUnusable(f"{name!r} cannot be called")
    factory: Callable[[], object] = made
    return factory


def _made(name: str) -> BaseRetriever:
    from langchain_core.retrievers import BaseRetriever

    retriever = _factory(name)()
    if not isinstance(retriever, BaseRetriever):
        raise SearchUnusable(f"{name!r} made a {type(retriever).__name__}, which is no retriever of LangChain.")
    return retriever
