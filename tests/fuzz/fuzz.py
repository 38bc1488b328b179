"""The fuzz: so many random cases; what fails is shown by Hypothesis in its smallest form."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from client.sse import Frame, FrameDecoder
from tests.acceptance.client import SSEParser
from tests.fuzz.requests import Asked, requests
from tests.fuzz.served import ALICE, BOB, OF_BOB, PLANTED, Answer, Served, served

# What no answer may hold: of another key, of the process, of the machine.
SECRETS: Final = (PLANTED, ALICE, "Traceback", "site-packages", 'File "')
# Bob's turns are put aside so often that there is room for new ones.
ROOM_EACH: Final = 250
RESTING: Final = {"phases": 2, "calls_per_phase": 2, "intra_phase_cooldown_sec": 86_400}


def _settings(cases: int) -> settings:
    return settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def fuzz_requests(cases: int, number: int) -> Counter[str]:
    """Sends so many requests, as Bob; how many were answered with which status. Raises `AssertionError`."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        return _fuzz_requests(runner, Path(folder), cases, number)


def _fuzz_requests(runner: asyncio.Runner, folder: Path, cases: int, number: int) -> Counter[str]:
    statuses: Counter[str] = Counter()
    serving = served(folder)
    server = runner.run(serving.__aenter__())
    try:
        before = runner.run(_prepare(server))
        with structlog.testing.capture_logs() as logs:

            @seed(number)
            @_settings(cases)
            @given(requests())
            def one(asked: Asked) -> None:
                logs.clear()
                answer = runner.run(server.ask(asked))
                check(asked, answer, logs, str(folder))
                statuses[str(answer.status)] += 1
                if statuses.total() % ROOM_EACH == 0:
                    runner.run(_make_room(server))

            one()
        assert runner.run(_of_alice(server)) == before, "Bob changed what is Alice's"
    finally:
        runner.run(serving.__aexit__(None, None, None))
    return statuses


def check(asked: Asked, answer: Answer, logs: list[Any], folder: str) -> None:
    """Raises `AssertionError` for what no request may bring about."""
    assert 200 <= answer.status < 500 or answer.status in (501, 503), (asked, answer)
    assert not [secret for secret in (*SECRETS, folder) if secret.encode() in answer.body], (asked, answer)
    assert not [line for line in logs if line["log_level"] in ("error", "critical") or "exc_info" in line], (
        asked,
        logs,
    )
    if answer.status >= 400 and asked.method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json", (asked, answer)
        assert orjson.loads(answer.body)["status"] == answer.status, (asked, answer)


async def _send(server: Served, key: str, method: str, target: str, body: object = None, **headers: str) -> Any:
    given = {"host": "127.0.0.1", "authorization": f"Bearer {key}", "accept": "application/json", **headers}
    raw = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in given.items())
    answer = await server.ask(Asked(method, target.encode(), raw, b"" if body is None else orjson.dumps(body)))
    assert answer.status < 300, answer
    return orjson.loads(answer.body) if answer.body else None


async def _prepare(server: Served) -> object:
    """Alice has a run and a document; one of Bob's rests, and all others wait for it."""
    told = {"x_agent_invocation_id": "alice-1"}
    await _send(server, ALICE, "POST", "/invocations", {"message": PLANTED, "thread_id": "alice-thread"}, **told)
    while not (await _send(server, ALICE, "GET", "/invocations/alice-1"))["ended_at"]:
        await asyncio.sleep(0.02)
    told = {"x_agent_invocation_id": OF_BOB[0]}
    await _send(
        server, BOB, "POST", "/invocations", {"message": "Dams", "thread_id": OF_BOB[1], "config": RESTING}, **told
    )
    return await _of_alice(server)


async def _of_alice(server: Served) -> object:
    return [
        await _send(server, ALICE, "GET", "/invocations/alice-1"),
        await _send(server, ALICE, "GET", "/invocations"),
        await _send(server, ALICE, "GET", "/threads/alice-thread/history"),
    ]


async def _make_room(server: Served) -> None:
    listed = await _send(server, BOB, "GET", "/invocations?limit=200&status=queued")
    for record in listed["invocations"]:
        await _send(server, BOB, "POST", f"/invocations/{record['invocation_id']}/cancel", {"mode": "now"})


_PIECES: Final = st.sampled_from(
    (
        *(
            b"data",
            b"id",
            b"event",
            b"retry",
            b"data: {}\n\n",
            b"id: 1\r\n",
            b":",
            b" ",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
        ),
        *(b"\0", b"7", b"\xef\xbb\xbf", "€".encode(), "😀".encode(), b"\xff", b"\xe2\x82", "\u2028".encode(), b"\x85"),
    )
)
_STREAMS: Final = st.lists(_PIECES | st.binary(max_size=4), max_size=40).map(b"".join)


def fuzz_streams(cases: int, number: int) -> None:
    """Feeds so many streams, cut anywhere, to the client's decoder and the tests'. Raises `AssertionError`."""

    @seed(number)
    @_settings(cases)
    @given(_STREAMS, st.lists(st.integers(0, 60), max_size=5))
    def one(stream: bytes, cuts: list[int]) -> None:
        places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        decoder, parser = FrameDecoder(), SSEParser()
        chunks = [stream[start:end] for start, end in pairwise(places)]
        decoded = [frame for chunk in chunks for frame in decoder.feed(chunk)]
        assert decoded == _dispatched(parser.feed(stream))

    one()


def _dispatched(frames: Any) -> list[Frame]:
    """What the standard makes of the fields of each frame."""
    shown, last_id, retry = [], "", None
    for frame in frames:
        last_id = last_id if frame.id is None else frame.id
        retry = retry if frame.retry is None or frame.retry >= 10**18 else frame.retry
        if frame.data is not None:
            shown.append(Frame(id=last_id, event=frame.event or "message", data=frame.data, retry=retry))
    return shown


FUZZES: Final[dict[str, Callable[[int, int], object]]] = {"requests": fuzz_requests, "streams": fuzz_streams}
