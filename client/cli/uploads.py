"""Files that are uploaded for a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from client.cli.place import Reached
from client.fields import printable
from client.requests import RunConfig


def with_uploads(found: Reached, config: RunConfig, files: Sequence[Path], say: Callable[[str], object]) -> RunConfig:
    """`config` with the documents that `files` are at the server. Raises `OSError`, `RequestRefused`."""
    if not files:
        return config
    kept = []
    for file in files:
        document = found.client.upload_document(file.name, file.read_bytes())
        passages = "1 passage" if document.passages == 1 else f"{document.passages} passages"
        say(f"Uploaded {printable(file.name)}: {passages}.")
        kept.append(document.document_id)
    return {**config, "documents": kept}
