"""The user's own documents, searched without any network: Markdown, text, HTML and PDF below one folder."""

from graph.documents.document import Skipped
from graph.documents.errors import DocumentsError
from graph.documents.retriever import DocumentsRetriever, open_documents

__all__ = ["DocumentsError", "DocumentsRetriever", "Skipped", "open_documents"]
