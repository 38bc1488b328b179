"""The settings of searches: which engines, what each needs, how much a phase may ask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from graph.search.engine import SearchUnusable
from graph.search.setup import SearchSetup, search_names
from server.addresses import HttpAddress


class SearchSettings(BaseSettings):
    """What `server.settings.Settings` says of searches."""

    search: Annotated[
        str, Field(description="documents, openai, tavily, searxng, package.module:factory; several with commas")
    ] = "documents"
    documents_dir: Annotated[
        Path | None, Field(description="folder of your documents (.md .txt .html .pdf); unset: the shipped corpus")
    ] = None
    searxng_url: Annotated[HttpAddress | None, Field(description="address of your SearXNG, for searxng")] = None
    tavily_api_key: Annotated[SecretStr | None, Field(description="key of Tavily, for tavily")] = None
    tavily_base_url: Annotated[HttpAddress | None, Field(description="another address of Tavily's API")] = None
    search_model: Annotated[
        str | None,
        Field(pattern=r"^openai:\S.*$", description="model that searches, for openai; unset: RESEARCH_MODEL"),
    ] = None
    searches_per_phase: Annotated[int, Field(ge=1, le=4, description="queries of a phase to each web search")] = 3
    sources_per_phase: Annotated[int, Field(ge=1, le=50, description="sources that a phase gets")] = 6
    fetch_pages: Annotated[int, Field(ge=0, le=10, description="pages read of each query's results")] = 3
    search_timeout_sec: Annotated[float, Field(gt=0, le=600, description="time that a search may take")] = 30

    @field_validator("search")
    @classmethod
    def _known_engines(cls, value: str) -> str:
        try:
            search_names(value)
        except SearchUnusable as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("documents_dir")
    @classmethod
    def _readable_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not (value.is_dir() and os.access(value, os.R_OK | os.X_OK)):
            raise ValueError(f"{value} is not a folder that can be read")
        return value

    def search_setup(
        self, research_model: str, api_key: SecretStr | None, base_url: str | None, index: Path | None
    ) -> SearchSetup:
        """What the engines need; `index` is the file of the documents' index."""
        model = self.search_model or (research_model if research_model.startswith("openai:") else None)
        return SearchSetup(
            names=search_names(self.search),
            results=self.sources_per_phase,
            timeout_sec=self.search_timeout_sec,
            fetched_pages=self.fetch_pages,
            documents_dir=self.documents_dir,
            document_index=index,
            searxng_url=self.searxng_url,
            tavily_api_key=self.tavily_api_key,
            tavily_base_url=self.tavily_base_url,
            openai_model=model.removeprefix("openai:") if model else None,
            openai_api_key=api_key,
            openai_base_url=base_url,
        )
