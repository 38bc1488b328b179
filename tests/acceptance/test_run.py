"""A research run from a POST to its report, as a client sees it."""

from __future__ import annotations

import itertools
import socket

import pytest

from tests.acceptance.client import ResearchClient, SSEParser
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, check_same, check_stream, events, subcall_texts
from tests.openai_stub.process import ModelStub


def test_run_ends_with_a_report_and_a_sound_transcript(client: ResearchClient, stub: ModelStub) -> None:
    accepted = client.post("What keeps bridges up?")
    assert accepted["status"] == "started"
    frames = check_invocation(client, accepted["invocation_id"])
    kinds = [event["type"] for event in events(frames)]
    assert kinds.count("subcall_end") == 6
    assert kinds.count("phase_end") == 3
    assert "What keeps bridges up?" in client.report(accepted["invocation_id"])
    assert len(stub.calls()) == 6


def test_the_tokens_of_a_subcall_are_the_model_s_text(client: ResearchClient) -> None:
    frames = client.read_stream(client.post("Bridges")["invocation_id"])
    texts = subcall_texts(frames)
    assert len(set(texts.values())) == 6
    report = client.report(events(frames)[0]["invocation_id"])
    assert texts[(3, 2)].strip() in report


def test_usage_is_what_the_model_counted(client: ResearchClient) -> None:
    frames = client.read_stream(client.post("Bridges")["invocation_id"])
    ends = [event for event in events(frames) if event["type"] == "subcall_end"]
    record = client.record(events(frames)[0]["invocation_id"])
    for count in ("input_tokens", "output_tokens"):
        assert record["usage"][count] == sum(end["usage"][count] for end in ends) > 0
        assert events(frames)[-1]["usage"][count] == record["usage"][count]


def test_a_post_that_accepts_events_streams_them(client: ResearchClient) -> None:
    frames = client.post_stream("Bridges")
    check_stream(frames, ended=True)
    again = client.read_stream(events(frames)[0]["invocation_id"])
    check_same(frames, again)


def test_every_position_of_an_ended_stream_can_be_read_on_from(client: ResearchClient) -> None:
    invocation = client.post("Bridges")["invocation_id"]
    whole = client.read_stream(invocation)
    for position, via in itertools.product((0, 1, 7, whole.last_id - 1, whole.last_id, 10_000), ("header", "query")):
        rest = client.read_stream(invocation, position, via=via)  # type: ignore[arg-type]
        assert [frame.id for frame in rest if frame.id] == [
            frame.id for frame in whole if frame.id and int(frame.id) > position
        ]
        assert rest.closed == "done"


def test_an_ended_run_is_whole_after_a_restart(server: ServerProcess, client: ResearchClient) -> None:
    invocation = client.post("Bridges")["invocation_id"]
    before, report = client.read_stream(invocation), client.report(invocation)
    server.restart()
    check_same(before, client.read_stream(invocation))
    assert client.report(invocation) == report


def test_a_report_of_an_unfinished_run_says_so(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(3)
    client.read_stream(invocation, until=lambda frame: frame.data is not None and '"phase_end"' in frame.data)
    assert "under way" in client.report(invocation)
    stub.release()
    client.read_stream(invocation)
    assert "under way" not in client.report(invocation)


def test_cooldowns_are_told_and_waited_for(make_server: object) -> None:
    server = make_server(INTRA_PHASE_COOLDOWN_SEC=0.2, INTER_PHASE_COOLDOWN_SEC=0.3, NUM_PHASES=2)  # type: ignore[operator]
    server.start()
    with ResearchClient(server.url) as client:
        frames = check_invocation(client, client.post("Bridges")["invocation_id"])
    told = [event for event in events(frames) if event["type"] == "cooldown"]
    assert [event["stage"] for event in told] == ["intra_phase", "inter_phase", "intra_phase"]
    starts = [e for e in events(frames) if e["type"] == "subcall_start"]
    for pause, start in zip(told, starts[1:], strict=True):
        assert start["server_time_utc"] >= pause["resume_at"]


def test_turns_beyond_the_limit_wait_in_order(make_server: object, stub: ModelStub) -> None:
    server = make_server(MAX_CONCURRENT_RUNS=1, NUM_PHASES=1, CALLS_PER_PHASE=1)  # type: ignore[operator]
    server.start()
    stub.hold(after_tokens=1)
    with ResearchClient(server.url) as client:
        posted = [client.post(f"topic {number}") for number in range(4)]
        assert [answer["status"] for answer in posted] == ["started", "queued", "queued", "queued"]
        stub.wait_for_calls(1)
        assert [client.record(answer["invocation_id"])["status"] for answer in posted] == ["running"] + ["queued"] * 3
        stub.release()
        records = [client.wait_for(answer["invocation_id"], lambda r: r["ended_at"] is not None) for answer in posted]
    assert [record["started_at"] for record in records] == sorted(record["started_at"] for record in records)
    assert all(a["ended_at"] <= b["started_at"] for a, b in itertools.pairwise(records))


@pytest.mark.parametrize("phases", [2, ["Loads", "Materials", "Failures"]])
def test_a_turn_s_own_phases(client: ResearchClient, phases: int | list[str]) -> None:
    config = {"phases": phases, "calls_per_phase": 1}
    frames = check_invocation(client, client.post("Bridges", config=config)["invocation_id"])
    titles = [event["title"] for event in events(frames) if event["type"] == "phase_start"]
    assert titles == phases if isinstance(phases, list) else len(titles) == phases


def test_lists_are_newest_first_in_pages(client: ResearchClient) -> None:
    made = [client.post(f"topic {n}", config={"phases": 1, "calls_per_phase": 1}) for n in range(5)]
    listed, cursor = [], None
    while True:
        page = client.request(
            "GET", "/invocations", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        listed += [record["invocation_id"] for record in page["invocations"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert listed == [answer["invocation_id"] for answer in reversed(made)]
    only = client.request("GET", "/invocations", params={"thread_id": made[0]["thread_id"]}).json()["invocations"]
    assert [record["invocation_id"] for record in only] == [made[0]["invocation_id"]]


def test_a_thread_tells_its_turns_and_progress(client: ResearchClient) -> None:
    first = client.post("Bridges", thread_id="my:thread.1")
    client.read_stream(first["invocation_id"])
    second = client.post("Dams", thread_id="my:thread.1")
    frames = client.read_stream(second["invocation_id"])
    start = events(frames)[0]
    assert (start["entry_mode"], start["prior_topic"], start["topic"]) == ("resumed", "Bridges", "Dams")
    thread = client.request("GET", "/threads/my:thread.1").json()
    assert thread["status"] == "idle"
    assert [turn["topic"] for turn in thread["invocations"]] == ["Dams", "Bridges"]
    assert (thread["completed_phases"], thread["total_phases"]) == (3, 3)


def test_an_old_proxy_gets_the_stream_without_chunks(client: ResearchClient, server: ServerProcess) -> None:
    invocation = client.post("Bridges")["invocation_id"]
    wanted = client.read_stream(invocation)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"GET /invocations/{invocation} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding" not in head.lower()
    assert list(SSEParser().feed(body)) == list(wanted)
