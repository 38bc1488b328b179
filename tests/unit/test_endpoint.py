"""How the calls to a limited endpoint are spaced."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from graph.endpoint import FIRST_SPACING_SEC, MAX_SPACING_SEC, Endpoint
from tests.fakes import FakeClock, VirtualLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def endpoint(clock: FakeClock) -> Endpoint:
    return Endpoint(now=clock.now, sleep=clock.sleep)


async def spacings(endpoint: Endpoint, clock: FakeClock, calls: int) -> list[float]:
    """The time between `calls` calls that want to leave at once."""
    await endpoint.ready()
    left = [clock.time]
    for _ in range(calls):
        await endpoint.ready()
        left.append(clock.time)
    return [round(b - a, 9) for a, b in itertools.pairwise(left)]


async def test_without_a_429_nothing_is_held_back(endpoint: Endpoint, clock: FakeClock) -> None:
    assert await spacings(endpoint, clock, 50) == [0.0] * 50
    assert clock.slept == []


async def test_a_429_holds_everybody_back_for_the_pause_and_spaces_the_calls(
    endpoint: Endpoint, clock: FakeClock
) -> None:
    began = clock.time
    endpoint.limited(7.0)
    assert await spacings(endpoint, clock, 3) == [FIRST_SPACING_SEC] * 3
    assert clock.time == pytest.approx(began + 7.0 + 3 * FIRST_SPACING_SEC)


async def test_each_429_doubles_the_spacing_up_to_its_bound(endpoint: Endpoint, clock: FakeClock) -> None:
    seen = []
    for _ in range(10):
        endpoint.limited(0.0)
        seen.append((await spacings(endpoint, clock, 1))[0])
    doubled = [min(MAX_SPACING_SEC, FIRST_SPACING_SEC * 2**i) for i in range(10)]
    assert seen == pytest.approx(doubled)


async def test_a_later_429_never_shortens_a_longer_pause(endpoint: Endpoint, clock: FakeClock) -> None:
    began = clock.time
    endpoint.limited(60.0)
    endpoint.limited(1.0)
    await endpoint.ready()
    assert clock.time >= began + 60.0


async def test_success_recovers_to_no_spacing_at_all(endpoint: Endpoint, clock: FakeClock) -> None:
    for _ in range(10):
        endpoint.limited(0.0)
    widths = []
    for _ in range(60):
        endpoint.succeeded()
        widths.append((await spacings(endpoint, clock, 1))[0])
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(MAX_SPACING_SEC * 0.9)
    assert widths[-1] == 0.0


async def test_a_sleep_that_wakes_early_is_gone_on_with() -> None:
    clock = FakeClock()

    async def half(seconds: float) -> None:
        await clock.sleep(seconds / 2 if seconds > 0.001 else seconds)

    endpoint = Endpoint(now=clock.now, sleep=half)
    began = clock.time
    endpoint.limited(8.0)
    await endpoint.ready()
    assert clock.time >= began + 8.0


def test_callers_leave_in_the_order_in_which_they_came() -> None:
    async def scenario() -> list[tuple[int, float]]:
        loop = asyncio.get_running_loop()
        endpoint = Endpoint(now=loop.time)
        endpoint.limited(1.0)
        left: list[tuple[int, float]] = []

        async def call(number: int) -> None:
            await endpoint.ready()
            left.append((number, round(loop.time(), 6)))

        await asyncio.gather(*(call(number) for number in range(5)))
        return left

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        left = runner.run(scenario())
    assert left == [(number, round(1.0 + number * FIRST_SPACING_SEC, 6)) for number in range(5)]
