"""Which tokens are handed on together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graph.token_joiner import WINDOW_SEC, TokenJoiner
from tests.fakes import VirtualLoop


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario)


async def stream(pieces: list[tuple[str, float]]) -> tuple[list[tuple[float, str]], str]:
    """What is handed on, and when, of pieces that come each after some seconds."""
    loop = asyncio.get_running_loop()
    out: list[tuple[float, str]] = []
    joiner = TokenJoiner(lambda text: out.append((round(loop.time(), 6), text)))
    for piece, after in pieces:
        await asyncio.sleep(after)
        joiner.add(piece)
    joiner.flush()
    return out, joiner.text


def test_the_first_piece_goes_at_once_and_what_follows_closely_goes_together() -> None:
    async def scenario() -> None:
        out, text = await stream([("a", 1.0), ("b", 0.01), ("c", 0.01), ("d", 0.01), ("e", 0.001)])
        assert out == [(1.0, "a"), (1.02, "bc"), (1.031, "de")]
        assert text == "abcde"

    run(scenario())


def test_what_waits_does_not_wait_for_more() -> None:
    async def scenario() -> None:
        out: list[tuple[float, str]] = []
        loop = asyncio.get_running_loop()
        joiner = TokenJoiner(lambda text: out.append((round(loop.time(), 6), text)))
        begun = loop.time()
        joiner.add("a")
        joiner.add("b")
        await asyncio.sleep(1)
        assert out == [(begun, "a"), (begun + WINDOW_SEC, "b")]

    run(scenario())


def test_a_slow_stream_is_handed_on_piece_by_piece_without_delay() -> None:
    async def scenario() -> None:
        out, _ = await stream([("a", 1.0), ("b", 1.0), ("c", 1.0)])
        assert out == [(1.0, "a"), (2.0, "b"), (3.0, "c")]

    run(scenario())


def test_flush_is_harmless_when_nothing_waits() -> None:
    async def scenario() -> None:
        out: list[str] = []
        joiner = TokenJoiner(out.append)
        joiner.flush()
        joiner.add("a")
        joiner.flush()
        joiner.flush()
        await asyncio.sleep(1)
        assert out == ["a"]

    run(scenario())


def test_no_timer_is_left_behind() -> None:
    async def scenario() -> None:
        out: list[str] = []
        joiner = TokenJoiner(out.append)
        joiner.add("a")
        joiner.add("b")
        joiner.flush()
        joiner.add("c")
        assert out == ["a", "b"]
        joiner.flush()
        assert out == ["a", "b", "c"]

    run(scenario())


@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.floats(0, 0.06)), max_size=40))
def test_nothing_is_lost_reordered_or_held_longer_than_the_window(pieces: list[tuple[str, float]]) -> None:
    async def scenario() -> None:
        out, text = await stream(pieces)
        assert "".join(piece for _, piece in out) == text == "".join(piece for piece, _ in pieces)
        arrived, length, shown = 0.0, 0, 0
        due: list[tuple[float, int]] = []
        for piece, after in pieces:
            arrived += after
            length += len(piece)
            due.append((arrived, length))
        moments = iter(out)
        at = 0.0
        for arrival, wanted in due:
            while shown < wanted:
                at, piece = next(moments)
                shown += len(piece)
            assert at <= arrival + WINDOW_SEC + 1e-5

    run(scenario())
