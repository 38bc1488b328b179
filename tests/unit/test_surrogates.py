"""Mending half characters in what a model streams."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from graph.surrogates import SurrogateMender


def mended(pieces: list[str]) -> str:
    mender = SurrogateMender()
    return "".join([*(mender.mended(piece) for piece in pieces), mender.rest()])


@given(st.text(), st.data())
def test_text_cut_anywhere_in_utf_16_comes_out_whole(text: str, data: st.DataObject) -> None:
    units = [unit for character in text for unit in halves(character)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units)), max_size=5)))
    pieces = ["".join(units[a:b]) for a, b in itertools.pairwise([0, *cuts, len(units)])]
    assert mended(pieces) == text.replace("\0", "\ufffd")


def test_a_half_that_stays_alone_is_replaced() -> None:
    assert mended(["a\ud83d", "b"]) == "a\ufffdb"
    assert mended(["\ude00", "\ud83d"]) == "\ufffd\ufffd"


def halves(character: str) -> list[str]:
    encoded = character.encode("utf-16-be")
    return [chr(int.from_bytes(encoded[i : i + 2], "big")) for i in range(0, len(encoded), 2)]


def test_a_nul_is_replaced() -> None:
    mender = SurrogateMender()
    assert mender.mended("a\0b") + mender.rest() == "a\ufffdb"
