"""Asking a server that may be away for a while: what counts as away, how long to wait, what a refusal says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import httpx2

from client.errors import AnswerNotUnderstood, RequestRefused
from client.event import Event, text

Sleep: TypeAlias = Callable[[float], object]

# Not every TransportError: a wrong URL or a request that cannot be written stays wrong however often it is sent.
LOST = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.DecodingError)

_AWAY = frozenset({502, 503, 504})
_FIRST_DELAY_SEC = 0.2
_LONGEST_DELAY_SEC = 5.0


def delays() -> Iterator[float]:
    """Seconds to wait before each new attempt, doubling up to the cap."""
    delay = _FIRST_DELAY_SEC
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY_SEC)


def ask(
    http: httpx2.Client,
    method: str,
    path: str,
    *,
    sleep: Sleep,
    json: object = None,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    """Sends until the server answers, so a POST needs its `Idempotency-Key`. Raises `RequestRefused`."""
    for delay in delays():
        try:
            response = http.request(method, path, json=json, headers=headers)
        except LOST:
            sleep(delay)
            continue
        if response.status_code not in _AWAY:
            break
        sleep(delay)
    if response.status_code >= 300:
        raise refusal(response)
    return response


def refusal(response: httpx2.Response) -> RequestRefused:
    """The refusal that a read answer stands for, in the words of its problem (RFC 9457) where it has one."""
    try:
        problem = json_object(response)
    except AnswerNotUnderstood:
        problem = {}
    detail = text(problem, "detail") or text(problem, "title") or response.reason_phrase
    return RequestRefused(response.status_code, detail)


def json_object(response: httpx2.Response) -> Event:
    """The answer's JSON object. Raises `AnswerNotUnderstood`."""
    try:
        answer = response.json()
    except ValueError as error:
        raise AnswerNotUnderstood from error
    if not isinstance(answer, dict):
        raise AnswerNotUnderstood
    return answer
