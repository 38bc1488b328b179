"""`app`: what `langgraph dev` serves beside its own API (`http.app` in langgraph.json)."""

from __future__ import annotations

import sys

from fastapi import FastAPI

from graph.checkpointer import studio_folder
from server.data_folder import DataFolder, DataFolderUnusable
from server.embedded import research_router
from server.settings import SettingsInvalid, read_settings


def _app() -> FastAPI:
    """Without `/threads`, which is a path of LangGraph's API; its folder is none that `python -m server` may hold."""
    folder = studio_folder() / "invocations"
    try:
        settings = read_settings()
        if settings.encryption_key is not None:
            # LangGraph's server keeps threads and runs in files of its own, in the open.
            raise SettingsInvalid("ENCRYPTION_KEY: Studio does not encrypt what it stores; unset it to use Studio.")
        with DataFolder(folder):
            pass  # said here, it is one sentence
    except (SettingsInvalid, DataFolderUnusable) as error:
        sys.exit(f"error: {error}")
    app = FastAPI(title="Resilient Research Agent")
    app.include_router(research_router(settings.model_copy(update={"data_dir": folder}), threads=False))
    return app


app = _app()
