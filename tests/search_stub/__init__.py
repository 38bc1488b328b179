"""Stubs of search providers over real HTTP: OpenAI's Responses API, Tavily, SearXNG, and pages to fetch."""

from tests.search_stub.server import SearchStub

__all__ = ["SearchStub"]
