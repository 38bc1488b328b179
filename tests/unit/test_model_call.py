"""One model call against a scripted model: its retries, its silences, its cuts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.messages.ai import UsageMetadata

from graph.endpoint import Endpoint
from graph.failure import ModelFailed
from graph.model_call import Answer, Patience, call_model
from tests.fakes import FakeClock, FakeModel, Piece, RecordingListener, Silence, VirtualLoop

PROMPT = [HumanMessage("Twelve chars")]
PATIENCE = Patience(attempts=3, first_delay_sec=1.0, max_delay_sec=60.0, idle_timeout_sec=0.1)
USAGE = UsageMetadata(input_tokens=7, output_tokens=5, total_tokens=12)
STOP = AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})
REQUEST = httpx2.Request("POST", "http://model.test")


def http_error(status: int, retry_after: str | None = None) -> openai.APIStatusError:
    response = httpx2.Response(status, headers={"retry-after": retry_after} if retry_after else {}, request=REQUEST)
    return openai.APIStatusError("no", response=response, body=None)


class Call:
    """A call of a model that follows `scripts`, one an attempt, and what was seen of it."""

    def __init__(self, *scripts: Iterable[Piece], kind: str = "fake", patience: Patience = PATIENCE) -> None:
        self.model = FakeModel(script=lambda call: scripts[call - 1], kind=kind)
        self.listener = RecordingListener()
        self.clock = FakeClock()
        self.endpoint = Endpoint(now=self.clock.now, sleep=self.clock.sleep)
        self.patience = patience

    def run(self) -> Answer:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(
                call_model(
                    self.model,
                    list(PROMPT),
                    self.listener,
                    endpoint=self.endpoint,
                    patience=self.patience,
                    sleep=self.clock.sleep,
                )
            )

    def fails(self) -> ModelFailed:
        with pytest.raises(ModelFailed) as caught:
            self.run()
        return caught.value

    @property
    def kinds(self) -> list[object]:
        return [heard[0] for heard in self.listener.heard]


def test_a_call_is_streamed_and_its_usage_estimated_where_the_model_counts_none() -> None:
    call = Call(["one ", 0.05, "two"])
    assert call.run() == Answer("one two", {"input_tokens": 3, "output_tokens": 2})
    assert call.listener.heard == [("started", 1), ("token", "one "), ("token", "two")]
    assert call.clock.slept == []


def test_the_models_own_count_is_taken() -> None:
    counted = AIMessageChunk(content="", usage_metadata=USAGE)
    assert Call(["text", counted]).run() == Answer("text", {"input_tokens": 7, "output_tokens": 5})


def test_content_in_blocks_is_text_as_well() -> None:
    blocks = AIMessageChunk(content=[{"type": "text", "text": "in blocks"}])
    assert Call([blocks]).run().text == "in blocks"


def test_a_passing_error_is_tried_again_from_the_start() -> None:
    call = Call(["lost ", http_error(503)], ["whole"])
    assert call.run().text == "whole"
    assert call.kinds == ["started", "token", "retrying", "started", "token"]
    assert [heard[1] for heard in call.listener.heard if heard[0] == "started"] == [1, 2]


def test_the_delay_is_told_before_it_is_slept() -> None:
    call = Call([http_error(500)], [http_error(500)], ["text"])
    call.run()
    told = [heard[2] for heard in call.listener.heard if heard[0] == "retrying"]
    assert told == call.clock.slept
    assert 0.5 <= call.clock.slept[0] <= 1.0 <= call.clock.slept[1] <= 2.0


def test_retry_after_is_honoured_and_the_endpoint_told() -> None:
    call = Call([http_error(429, "30")], ["text"])
    call.run()
    assert 30.0 <= call.clock.slept[0] <= 30.5
    before = call.clock.time
    asyncio.run(call.endpoint.ready())
    assert call.clock.time > before


def test_attempts_are_used_up_and_the_last_failure_is_raised() -> None:
    call = Call([http_error(500)], [http_error(502)], [http_error(503)], ["too late"])
    failed = call.fails()
    assert "503" in failed.failure.message
    assert isinstance(failed.__cause__, openai.APIStatusError)
    assert call.kinds == ["started", "retrying", "started", "retrying", "started"]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    call = Call([http_error(status)], ["never"])
    assert call.fails().failure.transient is False
    assert call.kinds == ["started"]
    assert call.clock.slept == []


@pytest.mark.parametrize("empty", [[""], [" \n"], ["", AIMessageChunk(content="", usage_metadata=USAGE)]])
def test_an_empty_answer_is_tried_again(empty: Sequence[Piece]) -> None:
    call = Call(empty, ["text"])
    assert call.run().text == "text"
    assert [heard[3] for heard in call.listener.heard if heard[0] == "retrying"] == ["EmptyAnswer"]


@pytest.mark.parametrize("script", [[Silence()], ["a beginning", Silence()], ["a ", 0.09, "b ", 0.11, "too late"]])
def test_silence_is_tried_again(script: Sequence[Piece]) -> None:
    call = Call(script, ["text"])
    assert call.run().text == "text"
    assert [heard[3] for heard in call.listener.heard if heard[0] == "retrying"] == ["SilentStream"]


def test_a_slow_stream_is_not_silence() -> None:
    slow: list[Piece] = [piece for _ in range(50) for piece in ("word ", 0.09)]
    assert Call(slow).run().text == "word " * 50


def test_lasting_silence_fails_the_call() -> None:
    failed = Call([Silence()], [Silence()], [Silence()]).fails()
    assert failed.failure.type == "SilentStream"
    assert "0.1 s" in failed.failure.message


def test_a_cut_stream_of_an_openai_endpoint_is_tried_again() -> None:
    call = Call(["half of "], ["whole", STOP], kind="openai-chat")
    assert call.run().text == "whole"
    assert [heard[3] for heard in call.listener.heard if heard[0] == "retrying"] == ["CutStream"]


def test_text_that_waits_is_handed_on_before_the_retry() -> None:
    call = Call(["a ", "b ", "c", http_error(500)], ["text"])
    call.run()
    assert call.listener.heard[:3] == [("started", 1), ("token", "a "), ("token", "b c")]
    assert call.listener.heard[3][0] == "retrying"


def test_usage_is_enough_to_know_that_an_openai_answer_is_whole() -> None:
    call = Call(["text", AIMessageChunk(content="", usage_metadata=USAGE)], kind="openai-chat")
    assert call.run().text == "text"


def test_a_stream_cut_before_its_first_chunk_is_tried_again() -> None:
    call = Call([], ["whole", STOP], kind="openai-chat")
    assert call.run().text == "whole"


def test_a_cancelled_call_is_neither_retried_nor_swallowed() -> None:
    call = Call([asyncio.CancelledError()], ["never"])
    with pytest.raises(asyncio.CancelledError):
        call.run()
    assert call.kinds == ["started"]


@pytest.mark.parametrize(
    ("attempt", "retry_after", "jitter", "delay"),
    [
        (1, None, 0.0, 0.5),
        (1, None, 1.0, 1.0),
        (3, None, 1.0, 4.0),
        (30, None, 1.0, 60.0),
        (1, 10.0, 0.0, 10.0),
        (1, 10.0, 1.0, 10.5),
        (5, 2.0, 1.0, 16.5),
        (1, 0.0, 1.0, 1.0),
    ],
)
def test_delays(attempt: int, retry_after: float | None, jitter: float, delay: float) -> None:
    assert PATIENCE.delay(attempt, retry_after, jitter) == delay
