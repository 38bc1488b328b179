"""What can go wrong for a client. The docstring is the message, unless a better one is given."""

from __future__ import annotations


class ClientError(Exception):
    """The client could not go on."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class ServerGone(ClientError):
    """The server does not answer. The run is not lost: it goes on when the server does."""


class StreamGone(ClientError):
    """The server no longer keeps this invocation's events."""


class StreamBroken(ClientError):
    """The server's events do not follow on each other."""


class InvocationUnknown(ClientError):
    """The server does not know this invocation."""


class AnswerNotUnderstood(ClientError):
    """The server's answer is not what the protocol says."""


class RequestRefused(ClientError):
    """The server refused the request."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"The server refused the request ({status}): {detail}")
        self.status = status
        self.detail = detail
