"""A client of the research server. It speaks HTTP only."""

from client.errors import (
    ClientError,
    InvocationUnknown,
    RequestRefused,
    ServerDidNotStart,
    StreamBroken,
    StreamGone,
)
from client.event import Event
from client.follow import follow
from client.sse import Frame, FrameDecoder

__all__ = [
    "ClientError",
    "Event",
    "Frame",
    "FrameDecoder",
    "InvocationUnknown",
    "RequestRefused",
    "ServerDidNotStart",
    "StreamBroken",
    "StreamGone",
    "follow",
]
