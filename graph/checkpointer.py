"""The SQLite checkpointer of `langgraph dev` (`checkpointer.path` in langgraph.json): threads outlive its process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graph.checkpoints import CheckpointSaver, open_checkpoints

# A folder of its own: the server locks DATA_DIR, and both may run at once.
FOLDER = "STUDIO_DATA_DIR"


def studio_folder() -> Path:
    """Where `langgraph dev` keeps what outlives it: STUDIO_DATA_DIR, by default `data/studio`."""
    return Path(os.environ.get(FOLDER) or "data/studio")


@asynccontextmanager
async def open_checkpointer() -> AsyncIterator[CheckpointSaver]:
    """A saver over `STUDIO_DATA_DIR/checkpoints.sqlite` (default `data/studio`), closed with the context."""
    folder = studio_folder()
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    saver = await open_checkpoints(folder / "checkpoints.sqlite")
    try:
        yield saver
    finally:
        await saver.conn.close()
