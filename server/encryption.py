"""AES-256-GCM over what is stored, each value bound to its place.

A sealed value: version (1 byte), fingerprint of its key (4), salt (16), nonce (12), ciphertext, tag (16). With the salt
a data key is derived (HKDF-SHA256): each process has its own, so that none comes near the 2^32 random nonces that one
key may have (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.claims import present_thread
from server.encryption_key import KEY_BYTES, read_encryption_keys
from server.sealing import Sealing, StoredValueRefused

CIPHER: Final = "aes-256-gcm"
FINGERPRINT_BYTES: Final = 4
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
# Values that one data key seals; far below 2^32, so that threads need not count together.
RENEWAL: Final = 2**30

_VERSION: Final = b"\x01"
_SALT_AT: Final = 1 + FINGERPRINT_BYTES
_NONCE_AT: Final = _SALT_AT + SALT_BYTES
_SEALED_AT: Final = _NONCE_AT + NONCE_BYTES


class Encryption:
    """Seals with the first of `keys`, opens with any. Each is 32 bytes. To be used from any thread."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_derived(key, b"", "fingerprint", FINGERPRINT_BYTES): key for key in keys}
        self._first = next(iter(self._keys))
        # Each start of a process made one.
        self._data_key = lru_cache(maxsize=1024)(self._new_data_key)
        self._renew()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of its keys, the one that seals first."""
        return tuple(fingerprint.hex() for fingerprint in self._keys)

    def seal(self, plain: bytes, *place: object) -> bytes:
        """`plain`, to be opened for `place` alone."""
        self._left -= 1
        if self._left <= 0:
            self._renew()
        header, cipher = self._sealing
        nonce = os.urandom(NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, plain, _bound_to(place))

    def open(self, sealed: bytes, *place: object) -> bytes:
        """What was sealed for `place`. Raises `StoredValueRefused`."""
        if sealed[:1] != _VERSION:
            raise StoredValueRefused
        fingerprint, salt, nonce = sealed[1:_SALT_AT], sealed[_SALT_AT:_NONCE_AT], sealed[_NONCE_AT:_SEALED_AT]
        try:
            return self._data_key(fingerprint, salt).decrypt(nonce, sealed[_SEALED_AT:], _bound_to(place))
        except (InvalidTag, ValueError) as error:  # the latter of one that was cut short
            raise StoredValueRefused from error

    def seal_text(self, plain: str, *place: object) -> str:
        """The same for a column of text: in base64."""
        return base64.b64encode(self.seal(plain.encode(), *place)).decode()

    def open_text(self, sealed: str, *place: object) -> str:
        """What was sealed for `place`. Raises `StoredValueRefused`."""
        try:
            data = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError) as error:
            raise StoredValueRefused from error
        return self.open(data, *place).decode()

    def _renew(self) -> None:
        salt = os.urandom(SALT_BYTES)
        self._sealing = _VERSION + self._first + salt, self._data_key(self._first, salt)
        self._left = RENEWAL

    def _new_data_key(self, fingerprint: bytes, salt: bytes) -> AESGCM:
        key = self._keys.get(fingerprint)
        if key is None:
            raise StoredValueRefused
        return AESGCM(_derived(key, salt, "data", KEY_BYTES))


class CheckpointCipher:
    """LangGraph's `CipherProtocol`: checkpoints are sealed for their thread."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """The cipher's name, and the sealed bytes."""
        return CIPHER, self._sealing.seal(plaintext, "checkpoints", present_thread())

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """What was sealed. Raises `StoredValueRefused`."""
        if ciphername != CIPHER:
            raise StoredValueRefused
        return self._sealing.open(ciphertext, "checkpoints", present_thread())


def encryption_of(value: str) -> Encryption:
    """That of ENCRYPTION_KEY. Raises `EncryptionKeyUnusable`."""
    return Encryption(read_encryption_keys(value))


def _derived(key: bytes, salt: bytes, purpose: str, length: int) -> bytes:
    return HKDF(SHA256(), length, salt or None, f"resilient-research-agent {purpose}".encode()).derive(key)


def _bound_to(place: tuple[object, ...]) -> bytes:
    return "\0".join(map(str, place)).encode()
