"""How each error of a chat model is taken, and that its own text is never repeated."""

from __future__ import annotations

import email.utils
import json
import time

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.failure import CutStream, EmptyAnswer, Failure, SilentStream, failure_of, parse_retry_after

KEY = "sk-planted-0123456789"
REQUEST = httpx2.Request("POST", f"http://model.test/v1/chat/completions?key={KEY}")
NOW = 1_795_000_000.0


def status_error(
    kind: type[openai.APIStatusError], status: int, *, code: str | None = None, retry_after: str | None = None
) -> openai.APIStatusError:
    headers = {"retry-after": retry_after} if retry_after is not None else {}
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return kind(f"Incorrect key {KEY}", response=response, body={"code": code, "message": KEY})


REFUSED = [
    (openai.BadRequestError, 400),
    (openai.AuthenticationError, 401),
    (openai.PermissionDeniedError, 403),
    (openai.NotFoundError, 404),
    (openai.UnprocessableEntityError, 422),
    (openai.APIStatusError, 402),
    (openai.APIStatusError, 418),
]
TRANSIENT = [
    (openai.APIStatusError, 408),
    (openai.ConflictError, 409),
    (openai.APIStatusError, 425),
    (openai.RateLimitError, 429),
    (openai.InternalServerError, 500),
    (openai.InternalServerError, 502),
    (openai.InternalServerError, 503),
    (openai.InternalServerError, 529),
]


@pytest.mark.parametrize(("kind", "status"), REFUSED)
def test_a_refusal_is_final_and_says_its_status(kind: type[openai.APIStatusError], status: int) -> None:
    failure = failure_of(status_error(kind, status, retry_after="5"))
    assert not failure.transient
    assert not failure.limited
    assert str(status) in failure.message
    assert failure.type == kind.__name__


@pytest.mark.parametrize(("status", "hint"), [(401, "OPENAI_API_KEY"), (404, "RESEARCH_MODEL"), (404, "BASE_URL")])
def test_a_refusal_says_what_to_check(status: int, hint: str) -> None:
    assert hint in failure_of(status_error(openai.APIStatusError, status)).message


@pytest.mark.parametrize(("kind", "status"), TRANSIENT)
def test_what_may_pass_is_transient(kind: type[openai.APIStatusError], status: int) -> None:
    failure = failure_of(status_error(kind, status, retry_after="5"))
    assert failure.transient
    assert failure.limited == (status == 429)
    assert failure.retry_after_sec == 5.0
    assert str(status) in failure.message


def test_a_used_up_quota_does_not_pass_by_waiting() -> None:
    failure = failure_of(status_error(openai.RateLimitError, 429, code="insufficient_quota", retry_after="5"))
    assert not failure.transient
    assert "quota" in failure.message


@pytest.mark.parametrize(
    "error",
    [
        openai.APIConnectionError(message=KEY, request=REQUEST),
        openai.APITimeoutError(REQUEST),
        openai.APIError(KEY, REQUEST, body={"message": KEY}),
        httpx2.ConnectError(KEY, request=REQUEST),
        httpx2.ReadTimeout(KEY, request=REQUEST),
        httpx2.RemoteProtocolError(KEY, request=REQUEST),
        ConnectionResetError(KEY),
        BrokenPipeError(KEY),
        TimeoutError(KEY),
        json.JSONDecodeError(KEY, f'{{"key": "{KEY}"', 3),
        UnicodeDecodeError("utf-8", KEY.encode(), 0, 1, KEY),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_broken_connection_or_stream_is_transient_and_keeps_the_key(error: Exception) -> None:
    failure = failure_of(error)
    assert failure.transient
    assert not failure.limited
    assert failure.retry_after_sec is None
    assert failure.type == type(error).__name__
    assert KEY not in repr(failure)


@pytest.mark.parametrize("kind", [SilentStream, EmptyAnswer, CutStream])
def test_our_own_errors_speak_for_themselves(kind: type[Exception]) -> None:
    assert failure_of(kind("It was so.")) == Failure(kind.__name__, "It was so.", transient=True)


@pytest.mark.parametrize("error", [ValueError(KEY), KeyError(KEY), RuntimeError(KEY), AssertionError(KEY)])
def test_an_unknown_error_is_final_and_named_by_its_type_alone(error: Exception) -> None:
    failure = failure_of(error)
    assert not failure.transient
    assert type(error).__name__ in failure.message
    assert KEY not in repr(failure)


@pytest.mark.parametrize(("kind", "status"), REFUSED + TRANSIENT)
def test_the_key_never_shows(kind: type[openai.APIStatusError], status: int) -> None:
    assert KEY not in repr(failure_of(status_error(kind, status, retry_after=KEY)))


def test_a_status_without_a_response_is_understood() -> None:
    class Odd(Exception):
        status_code = 503

    assert failure_of(Odd(KEY)) == Failure("Odd", "The model endpoint failed (503).", transient=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("99999", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        ("Mon, 99 Nov 2026 10:00:00 GMT", None),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        (email.utils.formatdate(NOW + 90_000, usegmt=True), 3600.0),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize("value", ["", "soon"])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    assert failure_of(status_error(openai.RateLimitError, 429, retry_after=value)).retry_after_sec is None


def test_a_date_is_counted_from_now() -> None:
    value = email.utils.formatdate(time.time() + 3600 * 24, usegmt=True)
    assert failure_of(status_error(openai.RateLimitError, 429, retry_after=value)).retry_after_sec == 3600.0


@given(st.text(max_size=60))
def test_no_retry_after_can_break_it(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0.0 <= seconds <= 3600.0


@pytest.mark.parametrize(
    "value",
    [
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999999999999999",
        "Wed, 21 Oct 2026 07:28:00 +2500",
    ],
)
def test_a_date_that_no_clock_can_hold_is_none(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0.0 <= seconds <= 3600.0
