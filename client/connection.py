"""What the sync and the async client share about a server that may be away for a while."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

import httpx2

from client.errors import AnswerNotUnderstood, RequestRefused, ServerGone
from client.fields import Fields, text

# Not every TransportError: a wrong URL or a request that cannot be written stays wrong however often it is sent.
LOST = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.DecodingError)

DEFAULT_URL = "http://127.0.0.1:8088"
KEY_VARIABLE = "RESEARCH_API_KEY"
REQUEST_TIMEOUT_SEC = 30.0
# The server answers when it has read the document, which it gives up behind two minutes.
UPLOAD_TIMEOUT_SEC = 150.0
CONNECT_TIMEOUT_SEC = 10.0

_AWAY = frozenset({502, 503, 504})
_FIRST_DELAY_SEC = 0.2
_LONGEST_DELAY_SEC = 5.0


class Waits:
    """How long to wait before each new attempt: doubling up to 5 s, from the start again behind `reset`.

    Raises `ServerGone` where nothing came for `give_up_after_sec`; None waits for ever.
    """

    def __init__(self, give_up_after_sec: float | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._give_up_after = give_up_after_sec
        self._monotonic = monotonic
        self.reset()

    def reset(self) -> None:
        """The server is back."""
        self._delays = delays()
        self.heard()

    def heard(self) -> None:
        """The server said something, be it only that it is there."""
        self._since = self._monotonic()

    def next(self) -> float:
        delay = next(self._delays)
        if self._give_up_after is not None and self._monotonic() + delay > self._since + self._give_up_after:
            raise ServerGone
        return delay


def delays() -> Iterator[float]:
    """Seconds to wait before each new attempt, doubling up to the cap."""
    delay = _FIRST_DELAY_SEC
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY_SEC)


def with_key(headers: Mapping[str, str] | None) -> dict[str, str]:
    """`headers` with the API key of `RESEARCH_API_KEY`, unless they bring one."""
    given = dict(headers or {})
    secret = os.environ.get(KEY_VARIABLE, "")
    if not secret or {"authorization", "x-api-key"} & {name.lower() for name in given}:
        return given
    return {**given, "Authorization": f"Bearer {secret}"}


def away(response: httpx2.Response) -> bool:
    """Whether it is an answer of a server that cannot answer now."""
    return response.status_code in _AWAY


def answered(response: httpx2.Response) -> httpx2.Response:
    """The answer where it is one that was asked for. Raises `RequestRefused`."""
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


def json_object(response: httpx2.Response) -> Fields:
    """The answer's JSON object. Raises `AnswerNotUnderstood`."""
    try:
        answer = response.json()
    except ValueError as error:
        raise AnswerNotUnderstood from error
    if not isinstance(answer, dict):
        raise AnswerNotUnderstood
    return answer


def trusts_environment(url: str) -> bool:
    """Whether proxies of the environment may be used: never on the way to this machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
