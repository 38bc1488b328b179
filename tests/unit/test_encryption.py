"""Values that are sealed: for their place alone, by any key of the list, and never as they are."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import encryption
from server.encryption import Encryption
from server.encryption_key import EncryptionKeyUnusable, read_encryption_keys
from server.sealing import StoredValueRefused

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
TEXT = base64.b64encode(OLD).decode()
PLACE = ("events", 1, "inv_1", 2)


@given(st.binary(max_size=300))
def test_what_is_sealed_is_opened_in_its_place(plain: bytes) -> None:
    one = Encryption([OLD])
    assert Encryption([OLD]).open(one.seal(plain, *PLACE), *PLACE) == plain


@pytest.mark.parametrize(
    "place", [(), ("events", 1, "inv_1", 3), ("events", 1, "inv_2", 2), ("event", "s1", "inv_1", 2)]
)
def test_in_another_place_it_is_refused(place: tuple[object, ...]) -> None:
    one = Encryption([OLD])
    with pytest.raises(StoredValueRefused):
        one.open(one.seal(b"text", *PLACE), *place)


def test_every_flipped_bit_and_every_cut_is_refused() -> None:
    one = Encryption([OLD])
    sealed = one.seal(b"some text", *PLACE)
    for at in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(StoredValueRefused):
            one.open(bytes(changed), *PLACE)
    for length in range(len(sealed)):
        with pytest.raises(StoredValueRefused):
            one.open(sealed[:length], *PLACE)


@pytest.mark.parametrize("stored", ["", "plain text", "About tides", "ü", "QUJD"])
def test_text_that_is_not_sealed_is_refused(stored: str) -> None:
    with pytest.raises(StoredValueRefused):
        Encryption([OLD]).open_text(stored, *PLACE)


def test_text_is_sealed_as_text() -> None:
    one = Encryption([OLD])
    assert one.open_text(one.seal_text("Gezeiten ü 🌊", *PLACE), *PLACE) == "Gezeiten ü 🌊"


def test_the_first_key_seals_and_all_open() -> None:
    before, both, after = Encryption([OLD]), Encryption([NEW, OLD]), Encryption([NEW])
    assert both.open(before.seal(b"old", *PLACE), *PLACE) == b"old"
    assert after.open(both.seal(b"new", *PLACE), *PLACE) == b"new"
    with pytest.raises(StoredValueRefused):
        before.open(both.seal(b"new", *PLACE), *PLACE)
    assert both.fingerprints == after.fingerprints + before.fingerprints


def test_a_data_key_seals_a_bounded_number_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "RENEWAL", 3)
    one = Encryption([OLD])
    sealed = [one.seal(b"text", *PLACE) for _ in range(9)]
    assert {one.open(value, *PLACE) for value in sealed} == {b"text"}
    salts = [value[5:21] for value in sealed]
    assert max(salts.count(salt) for salt in salts) == 3
    assert len({value[21:33] for value in sealed}) == len(sealed)


def test_keys_come_by_value_and_by_file(tmp_path: Path) -> None:
    file = tmp_path / "encryption-key"
    file.write_text(f"# the present one\n{base64.b64encode(NEW).decode()}\n{TEXT} # the one before\n")
    assert read_encryption_keys(str(file)) == (NEW, OLD)
    assert read_encryption_keys(f"{base64.b64encode(NEW).decode()},{TEXT}") == (NEW, OLD)


@pytest.mark.parametrize(
    "value", ["secret", "secret" * 99, "/nowhere", TEXT[:-4], f"{TEXT},{TEXT}", "/", base64.b64encode(b"k").decode()]
)
def test_what_is_no_key_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(EncryptionKeyUnusable) as caught:
        read_encryption_keys(value)
    assert TEXT not in str(caught.value)
    assert "secret" not in str(caught.value)
