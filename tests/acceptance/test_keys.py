"""API keys from outside: who has none is refused, and nobody sees, or can tell of, what another key has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.client import Frame, Json, ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import CHECKOUT, ServerProcess
from tests.openai_stub.process import ModelStub

ALICE, BOB = "alice-planted-key-0123456789", "bob-planted-key-0123456789abc"
RUN = {"phases": 1, "calls_per_phase": 1}


@pytest.fixture
def keyed(make_server: MakeServer) -> ServerProcess:
    server = make_server(API_KEYS=f"alice:{ALICE},bob:{BOB}")
    server.start()
    return server


def of(server: ServerProcess, secret: str) -> ResearchClient:
    return ResearchClient(server.url, headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def alice(keyed: ServerProcess) -> Iterator[ResearchClient]:
    with of(keyed, ALICE) as client:
        yield client


@pytest.fixture
def bob(keyed: ServerProcess) -> Iterator[ResearchClient]:
    with of(keyed, BOB) as client:
        yield client


def named(client: ResearchClient, name: str, **body: object) -> httpx2.Response:
    headers = {"x-agent-invocation-id": name}
    return client.request("POST", "/invocations", json={"message": f"About {name}", **body}, headers=headers)


def ended(client: ResearchClient, invocation_id: str) -> Json:
    return client.wait_for(invocation_id, lambda record: record["ended_at"] is not None)


PROTECTED = [
    ("POST", "/invocations"),
    ("GET", "/invocations"),
    ("GET", "/invocations/inv"),
    ("GET", "/invocations/inv/report"),
    ("POST", "/invocations/inv/cancel"),
    ("POST", "/invocations/inv/resume"),
    ("GET", "/threads/t"),
    ("GET", "/threads/t/history"),
    ("DELETE", "/threads/t"),
    ("GET", "/web/settings"),
    ("GET", "/web/invocations/inv/report"),
    ("POST", "/web/render"),
    ("GET", "/no/such/route"),
]


BAD_KEYS = {
    "none": {},
    "wrong": {"Authorization": "Bearer wrong-key-0123456789abcdef"},
    "basic": {"Authorization": f"Basic {ALICE}"},
    "empty": {"x-api-key": ""},
    "short": {"x-api-key": ALICE[:-1]},
    "forged": {"Cookie": "research_session=alice:99999999999:AAAA"},
}


def test_without_a_good_key_nothing_is_told(keyed: ServerProcess) -> None:
    with ResearchClient(keyed.url) as client:
        for kind, headers in BAD_KEYS.items():
            for method, path in PROTECTED:
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (kind, method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.headers["content-type"] == "application/problem+json"
                assert ALICE[:-1] not in answer.text


def test_what_tells_nothing_is_open(keyed: ServerProcess) -> None:
    with ResearchClient(keyed.url) as client:
        for path in ("/", "/liveness", "/readiness", "/web/app.js", "/session"):
            assert client.request("GET", path).status_code == 200, path


def test_either_header_lets_in(keyed: ServerProcess) -> None:
    for headers in ({"Authorization": f"bearer {ALICE}"}, {"x-api-key": ALICE}):
        with ResearchClient(keyed.url, headers=headers) as client:
            assert client.request("GET", "/invocations").status_code == 200


def test_a_stranger_cannot_tell_what_is_there_from_what_is_not(alice: ResearchClient, bob: ResearchClient) -> None:
    assert named(alice, "mine", thread_id="line", config=RUN).status_code == 202
    ended(alice, "mine")
    for method, path in (
        ("GET", "/invocations/mine"),
        ("GET", "/invocations/mine/report"),
        ("POST", "/invocations/mine/cancel"),
        ("POST", "/invocations/mine/resume"),
        ("GET", "/web/invocations/mine/report"),
        ("GET", "/invocations/alice%2Fmine"),
        ("GET", "/threads/line"),
        ("GET", "/threads/line/history"),
        ("DELETE", "/threads/line"),
    ):
        other = path.replace("mine", "none").replace("line", "none")
        there, nowhere = bob.request(method, path), bob.request(method, other)
        assert there.status_code == nowhere.status_code == 404, path
        assert there.text == nowhere.text
    assert bob.request("GET", "/invocations").json()["invocations"] == []
    assert bob.request("GET", "/invocations?thread_id=line").json()["invocations"] == []
    (seen,) = alice.request("GET", "/invocations").json()["invocations"]
    assert seen["invocation_id"] == "mine"
    assert alice.request("GET", "/threads/line/history").json()["checkpoints"]


def test_two_keys_may_use_the_same_names(alice: ResearchClient, bob: ResearchClient) -> None:
    for client in (alice, bob):
        taken = named(client, "first", thread_id="line", config=RUN)
        assert taken.status_code == 202
        assert taken.json()["status"] == "started"
        assert taken.headers["location"] == "/invocations/first"
        assert ended(client, "first")["status"] == "completed"
        stream = client.read_stream("first")
        text = "".join(frame.data or "" for frame in stream)
        assert stream.closed == "done"
        assert "alice/" not in text
        assert "bob/" not in text
        assert client.request("GET", "/threads/line").json()["topic"] == "About first"
    assert bob.request("DELETE", "/threads/line").status_code == 204
    assert alice.record("first")["status"] == "completed"


def test_one_idempotency_key_of_two_keys_is_two(alice: ResearchClient, bob: ResearchClient) -> None:
    headers = {"Idempotency-Key": "same"}
    ids = [client.post("Tides", headers=headers, config=RUN)["invocation_id"] for client in (alice, bob, alice, bob)]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]


def test_a_steer_names_its_turn_as_its_client_does(alice: ResearchClient) -> None:
    slow = {**RUN, "phases": 2, "inter_phase_cooldown_sec": 600}
    named(alice, "old", thread_id="line", config=slow)
    alice.read_stream("old", until=of_type("cooldown"))
    named(alice, "new", thread_id="line", config=RUN)
    stream = alice.read_stream("old")
    steering = next(frame.data or "" for frame in stream if '"type":"steering"' in (frame.data or ""))
    assert '"invocation_id":"new"' in steering
    assert ended(alice, "old")["superseded_by"] == "new"


def test_who_may_have_one_turn_may_steer_it(make_server: MakeServer, tmp_path: Path) -> None:
    file = tmp_path / "own-keys"
    file.write_text(f"alice:{ALICE} turns=1\n")
    server = make_server(API_KEYS=file)
    server.start()
    slow = {**RUN, "phases": 2, "inter_phase_cooldown_sec": 600}
    with of(server, ALICE) as alice:
        named(alice, "first", thread_id="line", config=slow)
        alice.read_stream("first", until=of_type("cooldown"))
        assert named(alice, "elsewhere", config=RUN).status_code == 429
        assert named(alice, "queued", thread_id="line", multitask_strategy="enqueue").status_code == 429
        assert named(alice, "second", thread_id="line", config=RUN).status_code == 202
        assert ended(alice, "second")["status"] == "completed"
        assert alice.record("first")["superseded_by"] == "second"


def test_an_open_stream_shows_nothing_more_once_its_key_is_revoked(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server()
    secrets = [keys(server.data_dir, "add", name).stdout.strip() for name in ("alice", "bob")]
    server.start()
    stub.hold(after_tokens=3)
    revoked: list[int] = []

    def revoke(frame: Frame) -> bool:
        if not revoked and of_type("token")(frame):
            revoked.append(keys(server.data_dir, "revoke", "alice").returncode)
            stub.release()
        return False

    with of(server, secrets[0]) as alice, of(server, secrets[1]) as bob:
        assert named(alice, "run", config=RUN).status_code == 202
        stream = alice.read_stream("run", until=revoke)
        assert bob.request("GET", "/invocations").status_code == 200
    assert revoked == [0]
    assert stream.closed == "cut"
    assert not any(map(of_type("subcall_end"), stream))


def test_keys_of_another_user_s_folder_stay_that_user_s(tmp_path: Path) -> None:
    """As root makes them for the service's user, who must be able to read them."""
    if os.geteuid() == 0:
        os.chown(tmp_path, 12_345, 12_345)
    mine = tmp_path.stat().st_uid
    for words in (("add", "alice"), ("add", "bob"), ("revoke", "alice")):
        assert keys(tmp_path, *words).returncode == 0
        assert {path.stat().st_uid for path in tmp_path.iterdir()} == {mine}


def test_a_key_of_the_environment_is_not_made_again(tmp_path: Path) -> None:
    refused = keys(tmp_path, "add", "alice", API_KEYS=f"alice:{ALICE}")
    assert refused.returncode == 2
    assert refused.stderr == "error: API_KEYS has a key named alice: take it out there first, or use another name.\n"
    assert keys(tmp_path, "list").stdout == ""


def test_limits_of_a_key(make_server: MakeServer, tmp_path: Path) -> None:
    file = tmp_path / "own-keys"
    file.write_text(f"# who may\nalice:{ALICE} turns=1\nbob:{BOB} per_minute=3\n")
    server = make_server(API_KEYS=file)
    server.start()
    with of(server, ALICE) as alice, of(server, BOB) as bob:
        slow = {**RUN, "phases": 2, "inter_phase_cooldown_sec": 600}
        assert named(alice, "one", config=slow).status_code == 202
        refused = named(alice, "two", config=RUN)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        alice.cancel("one", mode="now")
        ended(alice, "one")
        assert named(alice, "two", config=RUN).status_code == 202
        answers = [bob.request("GET", "/invocations") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 20


def keys(data_dir: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server", "keys", *words]
    env = {"DATA_DIR": str(data_dir), **settings}
    return subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=60)


def test_a_key_is_made_used_revoked_and_replaced_while_the_server_runs(make_server: MakeServer) -> None:
    server = make_server()
    data = server.data_dir
    secret = keys(data, "add", "alice", "--turns", "5").stdout.strip()
    assert len(secret) > 40
    assert keys(data, "list").stdout == "alice turns=5\n"
    stored = data / "keys"
    assert secret not in stored.read_text()
    assert stored.stat().st_mode & 0o077 == 0
    assert keys(data, "add", "alice").returncode == 2
    server.start()
    with of(server, secret) as client:
        assert named(client, "kept", config=RUN).status_code == 202
        ended(client, "kept")
        assert keys(data, "revoke", "alice").returncode == 0
        assert client.request("GET", "/invocations").status_code == 401
    with ResearchClient(server.url) as nobody:
        assert nobody.request("GET", "/invocations").status_code == 401
    again = keys(data, "add", "alice").stdout.strip()
    with of(server, again) as client:
        assert client.record("kept")["status"] == "completed"
    assert secret not in server.log_text()
    assert again not in server.log_text()


def test_a_session_is_a_cookie_that_scripts_cannot_read(keyed: ServerProcess) -> None:
    with httpx2.Client(base_url=keyed.url, trust_env=False) as page:
        assert page.get("/session").json() == {"keys": True, "key": None}
        assert page.post("/session", json={"key": "wrong"}).status_code == 401
        assert page.post("/session", json={"key": 1}).status_code == 422
        assert page.post("/session", json={"key": ALICE * 5000}).status_code == 401
        signed = page.post("/session", json={"key": ALICE})
        assert signed.status_code == 200
        cookie = signed.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ALICE not in cookie
        assert page.get("/session").json() == {"keys": True, "key": "alice"}
        assert page.post("/invocations", json={"message": "Tides", "config": RUN}).status_code == 202
        for origin in ("https://evil.example", "null", f"{keyed.url}.evil.example", "http://127.0.0.1:1"):
            forged = page.post("/invocations", json={"message": "Tides"}, headers={"Origin": origin})
            assert forged.status_code == 403, origin
        own = page.post("/invocations", json={"message": "Tides", "config": RUN}, headers={"Origin": keyed.url})
        assert own.status_code == 202
        assert page.delete("/session").status_code == 204
        assert page.get("/invocations").status_code == 401


def test_a_session_outlives_a_restart_and_ends_with_its_key(make_server: MakeServer) -> None:
    server = make_server()
    secret = keys(server.data_dir, "add", "alice").stdout.strip()
    keys(server.data_dir, "add", "bob")
    server.start()
    with httpx2.Client(base_url=server.url, trust_env=False) as page:
        assert page.post("/session", json={"key": secret}).status_code == 200
        server.restart()
        assert page.get("/invocations").status_code == 200
        keys(server.data_dir, "revoke", "alice")
        assert page.get("/invocations").status_code == 401


def refusal(server: ServerProcess) -> str:
    server.spawn()
    assert server.wait_for_exit() == 2
    return server.log_text()


def test_off_loopback_it_starts_with_keys_alone(make_server: MakeServer) -> None:
    server = make_server(HOST="0.0.0.0")
    told = refusal(server)
    assert told.startswith("error: HOST: 0.0.0.0 is not loopback")
    assert "Traceback" not in told
    server.set_env(API_KEYS=f"alice:{ALICE}")
    server.start()
    with ResearchClient(server.url) as client:
        assert client.request("GET", "/invocations").status_code == 401


@pytest.mark.parametrize("value", ["alice:short", "no-such-file", f"alice:{ALICE},alice:{BOB}", f"a b:{ALICE}"])
def test_bad_keys_are_one_sentence_that_shows_none(make_server: MakeServer, value: str) -> None:
    told = refusal(make_server(API_KEYS=value))
    assert told.startswith("error: API_KEYS: ")
    assert told.count("\n") == 1
    assert ALICE not in told


def test_without_keys_a_foreign_page_is_refused(make_server: MakeServer) -> None:
    server = make_server(ALLOWED_HOSTS="research.example")
    server.start()
    with ResearchClient(server.url) as client:
        for host, status in (("evil.example", 421), ("research.example", 200), ("localhost:1", 200), ("[::1]:9", 200)):
            assert client.request("GET", "/invocations", headers={"Host": host}).status_code == status
        body = {"message": "Tides", "config": RUN}
        for origin, status in (
            ("https://evil.example", 403),
            ("null", 403),
            ("http://[", 403),
            ("http://[x]", 403),
            ("http://localhost:1", 403),
            ("https://research.example", 202),
            (server.url, 202),
        ):
            answer = client.request("POST", "/invocations", json=body, headers={"Origin": origin})
            assert answer.status_code == status, origin
