"""The user's own documents, searched without any network: Markdown, text, HTML and PDF."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.documents.document import Skipped
    from graph.documents.errors import DocumentsError
    from graph.documents.retriever import DocumentsRetriever, open_documents

__all__ = ["DocumentsError", "DocumentsRetriever", "Skipped", "open_documents"]

# The retriever brings LangChain, for which the process that reads one document apart should not wait.
_LAZY = {
    "DocumentsError": "graph.documents.errors",
    "DocumentsRetriever": "graph.documents.retriever",
    "Skipped": "graph.documents.document",
    "open_documents": "graph.documents.retriever",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'graph.documents' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
