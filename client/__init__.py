"""A client of the research server. It speaks HTTP only."""

from client.async_client import AsyncResearchClient
from client.errors import (
    AnswerNotUnderstood,
    ClientError,
    InvocationUnknown,
    RequestRefused,
    ServerGone,
    StreamBroken,
    StreamGone,
)
from client.events import Event
from client.records import Document, Invocation, Page, Report, Started, Status, Usage
from client.requests import RunConfig
from client.sync_client import ResearchClient

__all__ = [
    "AnswerNotUnderstood",
    "AsyncResearchClient",
    "ClientError",
    "Document",
    "Event",
    "Invocation",
    "InvocationUnknown",
    "Page",
    "Report",
    "RequestRefused",
    "ResearchClient",
    "RunConfig",
    "ServerGone",
    "Started",
    "Status",
    "StreamBroken",
    "StreamGone",
    "Usage",
]
