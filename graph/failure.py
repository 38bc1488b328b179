"""What went wrong with a model call, said without a provider's own text: that may hold a part of the key."""

from __future__ import annotations

import email.utils
import json
import re
import time
from dataclasses import dataclass

from langchain_core.exceptions import ContextOverflowError


class SilentStream(Exception):
    """The model sent nothing for the idle timeout."""


class EmptyAnswer(Exception):
    """The model's answer held no text."""


class CutStream(Exception):
    """The model's stream ended before the model had said that it was done."""


class ModelFailed(Exception):
    """A model call failed for good; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Failure:
    """One failed model call. `retry_after_sec` is what the endpoint asked for, if it did.

    `overflow`: the prompt is longer than the model takes, so the same one would fail again, and a shorter one may not.
    """

    type: str
    message: str
    transient: bool
    limited: bool = False
    retry_after_sec: float | None = None
    overflow: bool = False


_LIMITING = "The model endpoint is limiting requests (429)."
_USED_UP = "The model endpoint says that the quota is used up (429)."
# What is said of every answer 429.
RATE_LIMITED = frozenset({_LIMITING, _USED_UP})
_REFUSALS = {
    400: "The model endpoint did not accept the request (400).",
    401: "The model endpoint refused the API key (401): check OPENAI_API_KEY.",
    403: "The model endpoint does not allow this key to use the model (403).",
    404: "The model endpoint does not know the model, or the address is wrong (404): check RESEARCH_MODEL and "
    "OPENAI_BASE_URL.",
}
_OVERFLOW = re.compile(
    r"context (?:length|window|size)|maximum context|too many (?:input )?tokens|(?:prompt|input) is too long"
    r"|exceeds? the (?:available |model's )?(?:context|maximum (?:number of )?tokens)|ContextWindowExceeded",
    re.IGNORECASE,
)
_TRANSIENT_STATUS = {408, 409, 425, 429}
# Connection errors of the HTTP clients that LangChain's providers use, by the package that defines them.
_TRANSPORT_PACKAGES = {"httpx", "httpx2", "httpcore", "httpcore2", "anyio", "aiohttp"}


def failure_of(error: BaseException) -> Failure:
    """How `error`, raised by a chat model, is to be taken: its kind, a safe sentence, whether trying again may help."""
    kind = type(error).__name__
    if _overflows(error):
        return Failure(kind, "The prompt is longer than the model takes.", transient=False, overflow=True)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _of_status(kind, status, error)
    if isinstance(error, ValueError) and str(error).startswith("No generation chunks"):
        return Failure("EmptyAnswer", "The model's answer was empty.", transient=True)
    if isinstance(error, SilentStream | EmptyAnswer | CutStream):
        return Failure(kind, str(error), transient=True)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return Failure(kind, "The model endpoint sent a malformed chunk.", transient=True)
    package = type(error).__module__.partition(".")[0]
    if package in _TRANSPORT_PACKAGES or isinstance(error, ConnectionError | TimeoutError) or "Connection" in kind:
        return Failure(kind, "The connection to the model endpoint failed or was cut.", transient=True)
    if package == "openai":
        return Failure(kind, "The model endpoint broke the answer off with an error.", transient=True)
    return Failure(kind, f"The model call failed with {kind}.", transient=False)


def _overflows(error: BaseException) -> bool:
    """By LangChain's own class where its provider has one, else by what endpoints are known to say."""
    if isinstance(error, ContextOverflowError) or getattr(error, "code", None) == "context_length_exceeded":
        return True
    refused = getattr(error, "status_code", None) in (400, 413, 422)
    return refused and _OVERFLOW.search(str(error)) is not None


def _of_status(kind: str, status: int, error: BaseException) -> Failure:
    if status == 429:
        if getattr(error, "code", None) == "insufficient_quota":
            return Failure(kind, _USED_UP, transient=False)
        return Failure(kind, _LIMITING, True, True, _retry_after(error))
    if status in _TRANSIENT_STATUS or status >= 500:
        return Failure(
            kind, f"The model endpoint failed ({status}).", transient=True, retry_after_sec=_retry_after(error)
        )
    return Failure(kind, _REFUSALS.get(status, f"The model endpoint refused the request ({status})."), transient=False)


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    value = headers.get("retry-after") if headers is not None else None
    return parse_retry_after(value, now=time.time()) if value else None


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Seconds of a `Retry-After` header, a number or an HTTP date (RFC 9110, 10.2.3); None where it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), 3600.0) if seconds == seconds else None
