"""The settings: one sentence for each bad variable, no secret shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings import Settings, SettingsInvalid, describe_settings, is_loopback, read_settings

ROOT = Path(__file__).parents[2]
NAMES = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_HOSTS", "https://example.org/"),
        ("ENCRYPTION_KEY", "not-a-key-of-32-bytes"),
        ("PORT", "80000"),
        ("PORT", "http"),
        ("DATABASE_URL", "mysql://x"),
        ("ROLE", "boss"),
        ("ROLE", "api"),
        ("WORKER_LEASE_SEC", "0"),
        ("DOCUMENTS_DIR", "/nowhere/at/all"),
        ("RESEARCH_MODEL", "gpt-5"),
        ("RESEARCH_MODEL", "openai:"),
        ("RESEARCH_MODEL", "openai:gpt-5"),
        ("OPENAI_BASE_URL", "http://["),
        ("OPENAI_BASE_URL", "127.0.0.1:8000/v1"),
        ("OPENAI_BASE_URL_REFINE", "ftp://models/v1"),
        ("OPENAI_BASE_URL", "http:models/v1"),
        ("SEARXNG_URL", "http://:8080"),
        ("SEARXNG_URL", "http://host/a b"),
        ("TAVILY_BASE_URL", "https://host:port"),
        ("NUM_PHASES", "0"),
        ("NUM_PHASES", "1.5"),
        ("CALLS_PER_PHASE", "101"),
        ("TARGET_OUTPUT_TOKENS", "1"),
        ("INTRA_PHASE_COOLDOWN_SEC", "-1"),
        ("INTER_PHASE_COOLDOWN_SEC", "nan"),
        ("MODEL_ATTEMPTS", "0"),
        ("MODEL_IDLE_TIMEOUT_SEC", "0"),
        ("RUN_TIMEOUT_SEC", "0"),
        ("TOKEN_BUDGET", "5"),
        ("MAX_CONCURRENT_RUNS", "0"),
        ("EVENT_TTL_SEC", "0"),
        ("SSE_PING_SEC", "16"),
        ("SHUTDOWN_GRACE_SEC", "-1"),
        ("DEMO_MODE", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
    ],
)
def test_a_bad_value_gives_one_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    sentence = str(caught.value)
    assert sentence.startswith(name)
    assert "\n" not in sentence
    assert "pydantic" not in sentence


def test_traces_need_their_packages_and_http(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not read_settings(otel_exporter_otlp_protocol="grpc").traced
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert read_settings().traced
    assert not read_settings(otel_sdk_disabled="true").traced
    assert not read_settings(otel_traces_exporter="none").traced
    with pytest.raises(SettingsInvalid, match=r"^OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf$"):
        read_settings(otel_exporter_otlp_protocol="grpc")
    monkeypatch.setattr("server.trace_settings.find_spec", lambda name: None)
    with pytest.raises(SettingsInvalid, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: .* extra `otel`"):
        read_settings()


def test_the_password_in_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:sk-planted@[")
    with pytest.raises(SettingsInvalid, match=r"^OPENAI_BASE_URL: must be an address such as ") as caught:
        read_settings()
    assert "sk-planted" not in str(caught.value)


def test_an_address_stays_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert read_settings().openai_base_url == "http://localhost:8000/v1"


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert read_settings() == Settings()


@pytest.mark.parametrize("name", ["INTER_PHASE_COOLDOWN_SEC", "RUN_TIMEOUT_SEC", "EVENT_TTL_SEC", "SSE_PING_SEC"])
@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_a_time_is_a_finite_number(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name):
        read_settings()


@pytest.mark.parametrize("value", ["DEBUG", "Debug", "debug"])
def test_words_may_be_in_capitals(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOG_LEVEL", value)
    assert read_settings().log_level == "debug"


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("RESEARCH_MODEL", "openai:gpt-5")
    settings = read_settings()
    assert "sk-planted" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_bad_value_beside_a_secret_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    assert "sk-planted" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_help_has_a_line_for_every_variable(name: str) -> None:
    (line,) = (line for line in describe_settings().splitlines() if line.split()[0] == name)
    assert len(line.split()) > 2
    assert line.endswith("]")


def test_the_command_shows_them() -> None:
    env = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "server", "--help"]
    shown = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=20, check=True).stdout
    assert describe_settings() in shown


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
