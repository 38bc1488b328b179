"""What can go wrong with the user's documents: the whole folder, or one file of it."""

from __future__ import annotations


class DocumentsError(Exception):
    """DOCUMENTS_DIR names a folder that cannot be read: {folder} ({reason})."""


class UnreadableError(Exception):
    """One file cannot be used; the message is the reason, a clause such as `it has no text`."""
