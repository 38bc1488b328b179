"""API keys: kept as salted hashes, compared in constant time, each with a name and its limits."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

NAME: Final = r"[A-Za-z0-9_.-]{1,64}"
MIN_LENGTH: Final = 20
MAX_LENGTH: Final = 512
_SECRET: Final = rf"[!-+\--~]{{{MIN_LENGTH},{MAX_LENGTH}}}"
_HASHED: Final = re.compile(r"sha256\$([0-9a-f]{32})\$([0-9a-f]{64})")
_LIMITS: Final = ("turns", "per_minute")
_MAX_LIMIT: Final = 999_999
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")


class KeysUnusable(Exception):
    """The keys cannot be read; the message says what is allowed, and shows no key."""


@dataclass(frozen=True)
class Key:
    """One key: its name, the salted hash of its secret, and its limits; None is no limit.

    `turns`: unfinished ones at once. `per_minute`: requests.
    """

    name: str
    salt: bytes
    digest: bytes
    turns: int | None = None
    per_minute: int | None = None

    def fits(self, secret: str) -> bool:
        """Whether `secret` is this key's, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(_digest(self.salt, secret), self.digest)

    def sign(self, text: str) -> str:
        """A signature under this key: void as soon as the key is revoked."""
        signed = hmac.digest(self.digest, b"session\0" + text.encode(), "sha256")
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()

    @property
    def line(self) -> str:
        """The key as a line of a file of keys."""
        limits = [f"{name}={value}" for name in _LIMITS if (value := getattr(self, name)) is not None]
        return " ".join([f"{self.name}:sha256${self.salt.hex()}${self.digest.hex()}", *limits])


def new_secret() -> str:
    """A key to hand out: 256 random bits. A plain hash keeps it, since nobody can try as many."""
    return f"rra_{secrets.token_urlsafe(32)}"


def new_key(name: str, secret: str, *, turns: int | None = None, per_minute: int | None = None) -> Key:
    """The key as it is kept. Raises `KeysUnusable` for a bad name or limit."""
    if re.fullmatch(NAME, name) is None:
        raise KeysUnusable(f"{name!r}: the name of a key is 1 to 64 of the characters A-Z a-z 0-9 _ . -")
    for limit in (turns, per_minute):
        if limit is not None and not 1 <= limit <= _MAX_LIMIT:
            raise KeysUnusable(f"{name}: a limit is a whole number from 1 to {_MAX_LIMIT}")
    salt = secrets.token_bytes(16)
    return Key(name, salt, _digest(salt, secret), turns, per_minute)


def read_keys(lines: Iterable[str], faults: list[KeysUnusable] | None = None) -> tuple[Key, ...]:
    """The keys of `name:key [turns=N] [per_minute=N]` lines. Raises `KeysUnusable`.

    `key` is the key itself, or what `keys add` writes: its salted hash. `#` at a line's start or behind a blank begins
    a comment. Where `faults` is given, it gets what would be raised, and lines that are wrong are passed over.
    """
    found: dict[str, Key] = {}
    for number, line in enumerate(lines, start=1):
        words = _COMMENT.sub("", line).split()
        try:
            key = _read(words, f"line {number}") if words else None
            if key is not None and key.name in found:
                raise KeysUnusable(f"line {number}: there are two keys named {key.name}")
        except KeysUnusable as fault:
            if faults is None:
                raise
            faults.append(fault)
            continue
        if key is not None:
            found[key.name] = key
    return tuple(found.values())


def find_key(keys: Iterable[Key], secret: str) -> Key | None:
    """The key whose secret it is. All are tried, so that the time tells nothing."""
    found = None
    for key in keys:
        if key.fits(secret):
            found = key
    return found


def _read(words: list[str], where: str) -> Key:
    name, colon, secret = words[0].partition(":")
    if not colon or re.fullmatch(NAME, name) is None:
        raise KeysUnusable(f"{where}: must be name:key, the name of the characters A-Z a-z 0-9 _ . -")
    limits = _read_limits(words[1:], where)
    if (hashed := _HASHED.fullmatch(secret)) is not None:
        return Key(name, bytes.fromhex(hashed[1]), bytes.fromhex(hashed[2]), **limits)
    if secret.startswith("sha256$") or re.fullmatch(_SECRET, secret) is None:
        raise KeysUnusable(f"{where}: the key of {name} must be {MIN_LENGTH} to {MAX_LENGTH} ASCII characters")
    # The same at each start and on each host, so that sessions last: the key itself is in the open here anyway.
    salt = hashlib.sha256(b"resilient-research-agent\0" + name.encode()).digest()[:16]
    return Key(name, salt, _digest(salt, secret), **limits)


def _read_limits(words: list[str], where: str) -> Mapping[str, int]:
    limits: dict[str, int] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in _LIMITS or re.fullmatch(r"[1-9][0-9]{0,5}", value) is None:
            raise KeysUnusable(f"{where}: behind the key may stand turns=N and per_minute=N, whole numbers from 1")
        limits[name] = int(value)
    return limits


def _digest(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogateescape")).digest()
