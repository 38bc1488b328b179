"""Why a checkpoint is not read. By itself, so that who only names it does not load LangGraph."""

from __future__ import annotations


class CheckpointRefused(Exception):
    """A checkpoint holds what this program never writes: the file was damaged or changed, and nothing of it was run."""
