"""The lines of keys: what is read, what is refused, and that no message shows a key."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from client.connection import with_key
from server.access import session_key, session_value
from server.key_ring import KeyRing
from server.keys import KeysUnusable, find_key, new_key, read_keys
from server.owners import owned_text

SECRET = "planted-secret-0123456789"


def test_a_kept_key_is_read_back_with_its_limits() -> None:
    key = new_key("alice", SECRET, turns=2, per_minute=60)
    assert read_keys([key.line]) == (key,)
    assert SECRET not in key.line
    assert find_key([key], SECRET) == key
    assert find_key([key], SECRET + "x") is None


def test_one_secret_is_kept_in_two_ways() -> None:
    assert new_key("alice", SECRET).digest != new_key("bob", SECRET).digest


@pytest.mark.parametrize(
    "line",
    [
        SECRET,
        f":{SECRET}",
        f"a/b:{SECRET}",
        "alice:short",
        f"alice:{SECRET} turns=0",
        f"alice:{SECRET} turns=many",
        f"alice:{SECRET} more=1",
        "alice:sha256$00$11",
        f"alice:{SECRET}\N{SNOWMAN}",
    ],
)
def test_a_bad_line_is_refused_without_showing_it(line: str) -> None:
    with pytest.raises(KeysUnusable) as caught:
        read_keys([line])
    assert SECRET not in str(caught.value)


@given(st.text())
def test_any_text_is_keys_or_one_refusal(text: str) -> None:
    with contextlib.suppress(KeysUnusable):
        read_keys(text.splitlines())


def ring(tmp_path: Path, now: list[float]) -> KeyRing:
    ring = KeyRing((new_key("alice", SECRET, per_minute=60),), (tmp_path / "keys",), lambda: now[0])
    ring.read()
    return ring


def test_a_request_a_second_is_let_in_once_the_minute_is_spent(tmp_path: Path) -> None:
    now = [0.0]
    keys = ring(tmp_path, now)
    (alice,) = keys.keys
    assert [keys.wait_for(alice) for _ in range(60)] == [0] * 60
    assert keys.wait_for(alice) == pytest.approx(1)
    now[0] = 1.0
    assert keys.wait_for(alice) == 0
    assert keys.wait_for(alice) > 0


def test_a_session_ends_and_cannot_be_lengthened(tmp_path: Path) -> None:
    keys = ring(tmp_path, [0.0])
    (alice,) = keys.keys
    value = session_value(alice, 100)
    assert session_key(keys, [f"other=1; research_session={value}"], 99) == alice
    assert session_key(keys, [f"research_session={value}"], 100) is None
    assert session_key(keys, [f"research_session={value.replace(':100:', ':200:')}"], 99) is None


@given(st.text())
def test_any_cookie_is_no_session(text: str) -> None:
    keys = KeyRing((), (), lambda: 0.0, keys=(new_key("alice", SECRET),))
    assert session_key(keys, [f"research_session={text}"], 0) is None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"{new_key('alice', SECRET).line}\n{new_key('bob', SECRET).line}\n")
    return file


@pytest.fixture
def opened(file: Path) -> KeyRing:
    keys = KeyRing((new_key("given", SECRET),), (file,), lambda: 0.0)
    keys.read()
    return keys


def names(keys: KeyRing) -> list[str]:
    keys.reload()
    return [key.name for key in keys.keys]


def test_a_revoked_key_is_void_though_its_file_has_a_fault(opened: KeyRing, file: Path) -> None:
    alice, bob = (opened.named(name) for name in ("alice", "bob"))
    assert alice
    assert bob
    file.write_text(f"nonsense\n{bob.line}\n{bob.line}\n{new_key('given', 'another-' + SECRET).line}\n")
    assert names(opened) == ["given", "bob"]
    assert not opened.holds(alice)
    assert opened.holds(bob)
    assert opened.find("another-" + SECRET) is None
    os.unlink(file)
    assert names(opened) == ["given"]
    assert opened.required


def test_a_file_that_cannot_be_read_has_no_keys_until_it_can(opened: KeyRing, file: Path) -> None:
    kept = file.rename(file.with_name("kept"))
    file.mkdir()
    assert names(opened) == ["given"]
    file.rmdir()
    kept.rename(file)
    assert names(opened) == ["given", "alice", "bob"]


def test_bytes_that_are_no_utf_8_are_a_fault_of_their_line(opened: KeyRing, file: Path) -> None:
    alice, bob = file.read_bytes().splitlines()
    file.write_bytes(b"# Schl\xfcssel\n" + alice + b"\nb\xfcb:" + bob.partition(b":")[2])
    assert names(opened) == ["given", "alice"]


def test_a_key_whose_limits_change_is_still_good(opened: KeyRing, file: Path) -> None:
    alice = opened.named("alice")
    assert alice
    file.write_text(f"{replace(alice, turns=3).line}\n")
    assert opened.holds(alice)
    file.write_text(f"{new_key('alice', SECRET).line}\n")
    assert not opened.holds(alice)


def test_a_fault_is_told_once(opened: KeyRing, file: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        for text in ("nonsense", "nonsense", "other nonsense\n\nmore", ""):
            file.write_text(text)
            names(opened)
            names(opened)
    assert [line["event"] for line in logs] == ["keys_unusable"] * 2


@example(1_000_000, 1)
@given(st.integers(), st.integers())
def test_whatever_limits_are_taken_are_read_back(turns: int, per_minute: int) -> None:
    try:
        key = new_key("alice", SECRET, turns=turns, per_minute=per_minute)
    except KeysUnusable:
        return
    assert read_keys([key.line]) == (key,)


def test_a_number_sign_within_a_key_is_its_own() -> None:
    secret = f"{SECRET}#more"
    keys = read_keys(["# one", f"alice:{secret} turns=1 # two", f"\t# three {SECRET}"])
    assert find_key(keys, secret) == keys[0]
    assert find_key(keys, SECRET) is None
    assert keys[0].turns == 1


@pytest.mark.parametrize("other", ['prefs={"a":1}', "path=/", "odd", "version=1; a=b", "=", ";;", 'a="b'])
def test_a_session_stands_beside_other_cookies(tmp_path: Path, other: str) -> None:
    keys = ring(tmp_path, [0.0])
    (alice,) = keys.keys
    assert session_key(keys, [f"{other}; research_session={session_value(alice, 100)}"], 99) == alice


@given(st.sampled_from(["", "alice", "bob"]), st.text("/akl"), st.sampled_from(["", "alice", "bob"]), st.text("/akl"))
def test_texts_of_two_owners_are_never_one(one: str, text: str, other: str, again: str) -> None:
    assert (owned_text(one, text) == owned_text(other, again)) == ((one, text) == (other, again))


def test_clients_take_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCH_API_KEY", SECRET)
    assert httpx2.Headers(with_key({"x-more": "1"}))["authorization"] == f"Bearer {SECRET}"
    assert with_key({"X-API-Key": "mine"}) == {"X-API-Key": "mine"}
    monkeypatch.delenv("RESEARCH_API_KEY")
    assert with_key(None) == {}
