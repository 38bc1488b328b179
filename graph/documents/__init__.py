"""The user's own documents, searched without any network: Markdown, text, HTML and PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.lazy import lazy_names

if TYPE_CHECKING:
    from graph.documents.document import Skipped
    from graph.documents.errors import DocumentsError
    from graph.documents.retriever import DocumentsRetriever, open_documents

__all__ = ["DocumentsError", "DocumentsRetriever", "Skipped", "open_documents"]

# The retriever brings LangChain, for which the process that reads one document apart should not wait.
__getattr__ = lazy_names(
    __name__,
    {
        "DocumentsError": "graph.documents.errors",
        "DocumentsRetriever": "graph.documents.retriever",
        "Skipped": "graph.documents.document",
        "open_documents": "graph.documents.retriever",
    },
)
