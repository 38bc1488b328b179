"""Traces from outside: what a collector is sent of a run that is killed and goes on, and what LangSmith is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from server.traces import place_of
from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.collectors.http import Collector
from tests.collectors.otlp import Seen, spans
from tests.openai_stub.process import ModelStub

pytestmark = pytest.mark.any_backend

RUN = {"phases": 2, "calls_per_phase": 2}
CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")

# What LangSmith's `/info` says of how it takes runs.
INFO = {
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
        "scale_up_nthreads_limit": 16,
        "scale_up_qsize_trigger": 1000,
    }
}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def traced(make_server: MakeServer, collector: Collector) -> ServerProcess:
    server = make_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=20, OTEL_RESOURCE_ATTRIBUTES="site=here"
    )
    server.start()
    return server


def hexed(invocation: str, epoch: int) -> tuple[str, str]:
    place = place_of(invocation, epoch)
    return f"{place.trace_id:032x}", f"{place.span_id:016x}"


def turns(seen: list[Seen]) -> list[Seen]:
    return [span for span in seen if span.name == "invoke_agent research"]


def below(seen: list[Seen], parent: Seen) -> list[Seen]:
    return [span for span in seen if span.trace == parent.trace and span.parent == parent.id]


def sent(collector: Collector, enough: Callable[[list[Seen]], bool]) -> list[Seen]:
    collector.wait_until(lambda: enough(spans(collector)))
    return spans(collector)


def test_a_run_that_is_killed_is_two_turns_of_one_trace(
    traced: ServerProcess, collector: Collector, stub: ModelStub
) -> None:
    stub.hold(after_tokens=5, from_call=3)
    with ResearchClient(traced.url) as client:
        headers = {"traceparent": f"00-{CALLER[0]}-{CALLER[1]}-01", "x-request-id": "mine"}
        invocation = client.post("About planted-topic", headers=headers, config=RUN)["invocation_id"]
        stub.wait_for_calls(1, state="held")
        client.read_stream(invocation, until=lambda frame: '"phase":2,"index":1}' in (frame.data or ""))
        sent(collector, lambda seen: sum(span.name.startswith("chat") for span in seen) == 2)
        traced.kill()
        stub.release()
        stub.fail({"kind": "status", "status": 500})
        traced.start()
        client.read_stream(invocation)
    seen = sent(collector, lambda seen: bool(turns(seen)))
    (posted,) = (span for span in seen if span.name == "POST /invocations")
    assert (posted.trace, posted.parent, posted.kind) == (*CALLER, 2)
    assert posted.links == [(*hexed(invocation, 1), "")]
    assert posted.attributes["research.request_id"] == "mine"
    (turn,) = turns(seen)
    assert (turn.trace, turn.id, turn.parent) == (*hexed(invocation, 2), "")
    assert turn.links == [(*hexed(invocation, 1), "recovers")]
    assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert turn.attributes["research.status"] == "completed"
    assert turn.attributes["gen_ai.usage.output_tokens"] == 80
    assert turn.events == ["recovered"]
    assert turn.resource["service.name"] == "research-agent"
    assert turn.resource["site"] == "here"
    check_before_the_kill(seen, invocation)
    check_after_it(seen, turn)
    # Neither topic, prompt nor answer, in whatever was sent.
    assert not [each for each in collector.sent if b"planted" in each.body or b"word1" in each.body]


def check_before_the_kill(seen: list[Seen], invocation: str) -> None:
    """The phase that was over was sent; it hangs on the span of the first claim, which died unsent."""
    trace, first = hexed(invocation, 1)
    (phase,) = (span for span in seen if span.parent == first)
    assert (phase.name, phase.trace) == ("phase 1", trace)
    names = [span.name for span in below(seen, phase)]
    assert names == ["execute_tool search", "subcall research", "subcall synthesize"]
    for subcall in below(seen, phase)[1:]:
        (call,) = below(seen, subcall)
        assert (call.name, call.kind) == ("chat stub", 3)
        assert subcall.began <= call.began <= call.ended <= subcall.ended


def check_after_it(seen: list[Seen], turn: Seen) -> None:
    (phase,) = below(seen, turn)
    assert phase.name == "phase 2"
    research, synthesize = below(seen, phase)
    assert [research.name, synthesize.name] == ["subcall research", "subcall synthesize"]
    failed, call = below(seen, research)
    assert (failed.status, call.status) == (2, 0)
    assert failed.attributes["error.type"] == "OpenAIAPIError"
    assert [failed.attributes["research.attempt"], call.attributes["research.attempt"]] == [2, 3]
    assert call.attributes["gen_ai.provider.name"] == "openai"
    assert call.attributes["gen_ai.request.model"] == "stub"
    assert call.attributes["gen_ai.usage.output_tokens"] == 20
    assert call.attributes["gen_ai.usage.input_tokens"] > 0
    assert turn.began <= phase.began <= research.began <= call.began <= call.ended <= research.ended <= turn.ended


def test_a_drained_turn_and_a_failed_one_are_sent(traced: ServerProcess, collector: Collector, stub: ModelStub) -> None:
    with ResearchClient(traced.url) as client:
        resting = client.post("Tides", config={**RUN, "inter_phase_cooldown_sec": 600})["invocation_id"]
        client.read_stream(resting, until=of_type("cooldown"))
        assert traced.terminate() == 0
        drained = turns(sent(collector, lambda seen: len(turns(seen)) == 1))[0]
        assert (drained.trace, drained.id) == hexed(resting, 1)
        (posted,) = (span for span in spans(collector) if span.name == "POST /invocations")
        assert drained.links == [(posted.trace, posted.id, "posted")]
        assert (drained.attributes["research.left"], drained.status) == ("drained", 0)
        traced.start()
        client.cancel(resting)
        client.wait_for(resting, lambda record: record["status"] == "cancelled")
        stub.fail({"kind": "status", "status": 401})
        failing = client.post("Dams", config=RUN)["invocation_id"]
        client.read_stream(failing)
        (failed,) = (
            turn
            for turn in turns(sent(collector, lambda seen: len(turns(seen)) == 3))
            if turn.attributes["research.invocation_id"] == failing
        )
        assert (failed.status, failed.attributes["research.status"]) == (2, "failed")
        assert failed.attributes["error.type"] == "OpenAIAuthenticationError"
        resumed = client.resume(failing)["invocation_id"]
        client.read_stream(resumed)
        last = turns(sent(collector, lambda seen: len(turns(seen)) == 4))[-1]
        assert (*hexed(failing, 1), "resumes") in last.links


def test_a_collector_that_is_away_holds_nothing_up(make_server: MakeServer) -> None:
    server = make_server(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY=20)
    server.start()
    with ResearchClient(server.url) as client:
        assert client.read_stream(client.post("Tides", config=RUN)["invocation_id"]).closed == "done"
    assert server.terminate(timeout=5) == 0
    assert "Traceback" not in server.log_text()


def test_langsmith_gets_traces_by_its_own_variables_alone(make_server: MakeServer, stub: ModelStub) -> None:
    with Collector(answer=INFO) as langsmith:
        where = {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": "lsv2_planted_secret"}
        silent = make_server("silent", **where)
        silent.start()
        with ResearchClient(silent.url) as client:
            client.read_stream(client.post("Tides", config=RUN)["invocation_id"])
        assert silent.terminate() == 0
        assert langsmith.sent == []
        told = make_server("told", **where, LANGSMITH_TRACING="true")
        told.start()
        with ResearchClient(told.url) as client:
            invocation = client.post("Tides", thread_id="line", config=RUN)["invocation_id"]
            client.read_stream(invocation)
            langsmith.wait_until(lambda: b"ChatOpenAI" in b"".join(each.body for each in langsmith.sent))
        whole = b"".join(each.body for each in langsmith.sent)
        runs = [each for each in langsmith.sent if each.method == "POST"]
        assert {each.headers["x-api-key"] for each in runs} == {"lsv2_planted_secret"}
        assert invocation.encode() in whole
        assert b"word1" in whole
