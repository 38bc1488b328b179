"""What can go wrong for the command beyond the client's own errors. The docstring is the message."""

from __future__ import annotations

from client.errors import ClientError


class ServerDidNotStart(ClientError):
    """The server did not start."""


class ServerKeepsEnding(ClientError):
    """The server ended again and again."""


class FolderUnusable(ClientError):
    """A folder cannot be used."""


class NoServer(ClientError):
    """No server answers."""


class NothingRemembered(ClientError):
    """No run is remembered yet: start one with `research run TOPIC`, or name one with --invocation or --thread."""


class NotDone(ClientError):
    """The command could not be done."""
