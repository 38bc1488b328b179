"""The keys of a running server: read again whenever their file changes, so that a revoked one is refused at once."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from server.keys import Key, KeysUnusable, find_key, read_keys
from server.settings import is_loopback

if TYPE_CHECKING:
    from server.settings import Settings

_log = structlog.get_logger(__name__)

KEY_FILE: Final = "keys"


class KeyFileUnreadable(KeysUnusable):
    """A file of keys is there, and cannot be read as a whole."""


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class KeyRing:
    """Keys of API_KEYS and of the file that `keys add` writes. `monotonic` is in seconds.

    Once there have been any, nobody comes in without one, also where all have been revoked.
    """

    given: tuple[Key, ...]
    files: tuple[Path, ...]
    monotonic: Callable[[], float]
    keys: tuple[Key, ...] = ()
    required: bool = False
    _seen: object = None
    _told: list[str] = field(default_factory=list)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def read(self) -> None:
        """Reads the files, at the start. Raises `KeysUnusable`."""
        for fault in self._read([_stamp(path) for path in self.files]):
            raise fault

    def reload(self) -> None:
        """Reads the files where they have changed.

        Of a file that is at fault only what can be read is good: a key that was revoked must not stay for a fault
        beside it. What is at fault is told in the log, once.
        """
        seen = [_stamp(path) for path in self.files]
        if seen == self._seen:
            return
        faults = [str(fault) for fault in self._read(seen)]
        if faults and faults != self._told:
            _log.error("keys_unusable", reason="; ".join(faults))
        self._told = faults

    def holds(self, key: Key) -> bool:
        """Whether the key is still good; its limits may be others now."""
        self.reload()
        now = self.named(key.name)
        return now is not None and (now.salt, now.digest) == (key.salt, key.digest)

    def _read(self, seen: list[tuple[int, ...] | None]) -> list[KeysUnusable]:
        faults: list[KeysUnusable] = []
        keys = {key.name: key for key in self.given}
        for path in self.files:
            for key in read_key_file(path, faults):
                if key.name in keys:
                    faults.append(KeysUnusable(f"API_KEYS and {path} both have a key named {key.name}"))
                keys.setdefault(key.name, key)
        # What cannot be read today is tried again, until it can be or changes.
        self._seen = None if any(isinstance(fault, KeyFileUnreadable) for fault in faults) else seen
        self.keys = tuple(keys.values())
        self.required = self.required or bool(keys) or any(stamp is not None for stamp in seen)
        return faults

    def find(self, secret: str) -> Key | None:
        """The key whose secret it is."""
        return find_key(self.keys, secret)

    def named(self, name: str) -> Key | None:
        """The key of that name."""
        return next((key for key in self.keys if key.name == name), None)

    def wait_for(self, key: Key) -> float:
        """0 where the key may make a request now, which then counts; else the seconds until it may."""
        if key.per_minute is None:
            return 0
        now, rate = self.monotonic(), key.per_minute / 60
        bucket = self._buckets.setdefault(key.name, _Bucket(key.per_minute, now))
        bucket.tokens = min(key.per_minute, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate
        bucket.tokens -= 1
        return 0


def open_keys(settings: Settings) -> KeyRing:
    """The API keys. Raises `KeysUnusable`, also where strangers could reach the server without any."""
    ring = open_key_ring(settings, time.monotonic)
    if not is_loopback(settings.host):
        if not ring.keys:
            raise KeysUnusable(
                f"HOST: {settings.host} is not loopback, and there are no API keys: "
                "make one with `python -m server keys add NAME`, or use 127.0.0.1."
            )
        ring.required = True
    return ring


def open_key_ring(settings: Settings, monotonic: Callable[[], float]) -> KeyRing:
    """The keys that `settings` name, read once. Raises `KeysUnusable`."""
    value = settings.api_keys.get_secret_value() if settings.api_keys is not None else ""
    own = settings.data_dir / KEY_FILE
    if ":" in value:
        ring = KeyRing(_of_value(value), (own,), monotonic)
    elif value:
        path = Path(value)
        if not path.is_file():
            raise KeysUnusable("API_KEYS: must be name:key, several with commas between, or a file that is there")
        ring = KeyRing((), (path,) if path.resolve() == own.resolve() else (path, own), monotonic)
    else:
        ring = KeyRing((), (own,), monotonic)
    ring.read()
    return ring


def read_key_file(path: Path, faults: list[KeysUnusable] | None = None) -> tuple[Key, ...]:
    """The keys of a file; none where it is not there. Raises `KeysUnusable`, unless `faults` is there to take it."""
    found: list[KeysUnusable] = []
    try:
        # What is no UTF-8 is a fault of its own line, or stands in a comment.
        keys = read_keys(path.read_text("utf-8", "surrogateescape").splitlines(), found)
    except FileNotFoundError:
        return ()
    except OSError:
        keys, found = (), [KeyFileUnreadable("cannot be read")]
    for fault in found:
        told = type(fault)(f"{path}: {fault}")
        if faults is None:
            raise told
        faults.append(told)
    return keys


def _of_value(value: str) -> tuple[Key, ...]:
    try:
        return read_keys(re.split(r"[,\n]", value))
    except KeysUnusable as error:
        raise KeysUnusable(f"API_KEYS: {str(error).replace('line', 'entry')}") from error


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    # The time of its change of state as well: permissions are not its content.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
