"""To whom threads and invocations belong: each key's names are a space of their own.

Within the server a name is `<key>/<name>`, or the name alone where there are no keys. So whatever looks something up by
its name finds nothing of others, two keys may use one name, and no answer tells that somebody else has it. Clients see
and send the name alone; neither a key's name nor a client's holds a slash.
"""

from __future__ import annotations

SEPARATOR = "/"


def owned(owner: str, name: str) -> str:
    """The server's name for what the client of key `owner` calls `name`; `owner` is empty where there are no keys."""
    return f"{owner}{SEPARATOR}{name}" if owner else name


def owned_text(owner: str, text: str) -> str:
    """The same of a text that may hold slashes itself: one made without keys is no key's, whatever it says."""
    return f"{owner}{SEPARATOR}{text}" if owner or SEPARATOR in text else text


def public(name: str) -> str:
    """What its client calls it."""
    return name.rpartition(SEPARATOR)[2]


def owner_of(name: str) -> str:
    """The key whose it is; empty for what was made without keys."""
    return name.rpartition(SEPARATOR)[0]
