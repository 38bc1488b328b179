"""ENCRYPTION_KEY: 32 random bytes in base64, several with commas between, or a file of them."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import re
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
_ALLOWED: Final = (
    "must be 32 bytes in base64 as `openssl rand -base64 32` prints them, several with commas between, "
    "or a file of such lines"
)


class EncryptionKeyUnusable(Exception):
    """The keys cannot be used; the message says what is allowed, and shows no key."""


def read_encryption_keys(value: str) -> tuple[bytes, ...]:
    """The keys, the one that seals first. Raises `EncryptionKeyUnusable`."""
    keys = _decoded(value)
    if keys is None:
        keys = _decoded(_content(value))
    if not keys:
        raise EncryptionKeyUnusable(_ALLOWED)
    if len(set(keys)) < len(keys):
        raise EncryptionKeyUnusable("a key stands in it twice")
    if importlib.util.find_spec("cryptography") is None:
        raise EncryptionKeyUnusable("needs the package cryptography, which is not installed")
    return keys


def _content(value: str) -> str:
    path = Path(value)
    try:
        # In a file `#` begins a comment.
        return re.sub(r"#.*", "", path.read_text("ascii")) if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise EncryptionKeyUnusable("the file that it names cannot be read") from error


def _decoded(text: str) -> tuple[bytes, ...] | None:
    """None where it is anything else."""
    try:
        keys = tuple(base64.b64decode(word, validate=True) for word in re.split(r"[,\s]+", text) if word)
    except (binascii.Error, ValueError):
        return None
    return keys if all(len(key) == KEY_BYTES for key in keys) else None
