"""`python -m server keys add|list|revoke`: the file of keys in DATA_DIR. A running server reads it again."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from server.data_folder import give_to_owner, take_after
from server.key_ring import KEY_FILE, open_key_ring, read_key_file
from server.keys import Key, KeysUnusable, new_key, new_secret
from server.settings import Settings


def main(arguments: Sequence[str], settings: Settings) -> int:
    """Does what `arguments` say; the exit code is 0, or 2 with a sentence on stderr."""
    asked = _parser().parse_args(arguments)
    path = settings.data_dir / KEY_FILE
    try:
        if asked.command == "add":
            secret = new_secret()
            _add(path, new_key(asked.name, secret, turns=asked.turns, per_minute=asked.per_minute), settings)
            print(f"The key of {asked.name}, shown this once:", file=sys.stderr)  # noqa: T201
            print(secret)  # noqa: T201
        elif asked.command == "revoke":
            _revoke(path, asked.name)
        else:
            for key in read_key_file(path):
                print(_shown(key))  # noqa: T201
    except KeysUnusable as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"error: DATA_DIR: {path} cannot be written ({error.strerror}).", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server keys", description="The API keys in DATA_DIR. A running server follows at once."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="make a key and show it, this once")
    add.add_argument("name", help="whose it is: A-Z a-z 0-9 _ . -")
    add.add_argument("--turns", type=int, help="unfinished turns at once")
    add.add_argument("--per-minute", type=int, help="requests a minute")
    commands.add_parser("list", help="names and limits")
    commands.add_parser("revoke", help="refuse a key from now on").add_argument("name")
    return parser


def _add(path: Path, key: Key, settings: Settings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        keys = read_key_file(path)
        if any(other.name == key.name for other in keys):
            raise KeysUnusable(
                f"There is a key named {key.name}: revoke it first; a new one of that name sees its runs."
            )
        if open_key_ring(settings, time.monotonic).named(key.name) is not None:
            raise KeysUnusable(f"API_KEYS has a key named {key.name}: take it out there first, or use another name.")
        _write(path, [*keys, key])


def _revoke(path: Path, name: str) -> None:
    if not path.exists():
        raise KeysUnusable(f"There is no key named {name} in {path}.")
    with _locked(path):
        keys = read_key_file(path)
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            raise KeysUnusable(f"There is no key named {name} in {path}.")
        _write(path, kept)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two commands at once: neither loses the other's key."""
    beside = path.with_name(f"{path.name}.lock")
    lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_to_owner(beside, path.parent.stat())
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: Path, keys: Sequence[Key]) -> None:
    """Replaces the file as a whole: a server that reads it meanwhile sees the old or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.writelines(f"{key.line}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        take_after(new, path.stat())
    else:
        give_to_owner(new, path.parent.stat())
    new.replace(path)


def _shown(key: Key) -> str:
    limits = [f"turns={key.turns}"] if key.turns else []
    limits += [f"per_minute={key.per_minute}"] if key.per_minute else []
    return " ".join([key.name, *limits])
