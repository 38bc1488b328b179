"""Requests as nobody means them: known routes with wrong parts, names of others, broken bodies, and plain noise."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes

from hypothesis import strategies as st

from server.operations import OPERATIONS
from server.requests import RunConfig
from tests.fuzz.served import BOB, OF_ALICE, OF_BOB


@dataclass(frozen=True)
class Asked:
    """One request, as bytes of HTTP."""

    method: str
    target: bytes  # path and query
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


_NOISE: Final = st.text(max_size=40) | st.sampled_from(
    ("..", "%2e%2e", "\0", "é", "\ud800", "a/b", "🌊" * 60, "{}", "0")
)
_NAMES: Final = st.sampled_from((*OF_ALICE, *OF_BOB)) | _NOISE
_NUMBERS: Final = (
    st.integers(-3, 60)
    | st.integers()
    | st.floats()
    | st.sampled_from(("1e9999", "-0", "١", "9" * 400, "1_0", " 7", "+7", "nan"))
)

_STARTS: Final = (("POST", "/invocations"),) * 12
_OPERATIONS: Final = tuple((method.upper(), re.sub(r"{.*?}", "{}", path)) for path, method in OPERATIONS)
_OTHERS: Final = tuple(
    (method, path)
    for path in ("/", "/{}", "/{}/{}", "/web/settings", "/web/render", "/web/{}", "/web/invocations/{}/report")
    for method in ("GET", "POST")
) + tuple((method, "/invocations/{}") for method in ("PUT", "PATCH", "HEAD", "OPTIONS", "X"))
_QUERIES: Final = (
    *("last_event_id", "cursor", "limit", "status", "thread_id", "format", "name", "before"),
    *("agent_session_id", "agent_invocation_id"),
)
_HEADERS: Final = (
    *("last-event-id", "accept", "idempotency-key", "x-agent-invocation-id", "x-agent-session-id", "x-request-id"),
    *("cookie", "content-type", "origin", "sec-fetch-site", "content-length", "x-forwarded-for"),
)
_VALUES: Final = st.sampled_from(
    (
        *(
            "application/json",
            "text/event-stream",
            "text/event-stream;q=0.1, */*",
            "*/*;q=x",
            "text/html",
            "pdf",
            "docx",
        ),
        *("http://evil.example", "null", "research_session=alice:99999999999:AAAA", "completed", "running", "json"),
    )
)
_AUTHORIZATIONS: Final = st.sampled_from((f"Bearer {BOB}",) * 40 + ("", "Bearer", "Bearer x", f"Basic {BOB}", f"{BOB}"))

_JSON: Final = st.recursive(
    st.none() | st.booleans() | _NUMBERS.filter(lambda n: not isinstance(n, str)) | _NOISE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NOISE, inner, max_size=4),
    max_leaves=12,
)
_CONFIG: Final = st.dictionaries(
    st.sampled_from(tuple(RunConfig.model_fields)) | _NOISE,
    _JSON | st.lists(_NAMES, max_size=4) | st.integers(0, 3),
    max_size=5,
)
_FIELDS: Final = st.fixed_dictionaries(
    {},
    optional={
        "message": st.just("Tides") | _JSON,
        "topic": _JSON,
        "thread_id": _NAMES | _JSON,
        "multitask_strategy": st.sampled_from(("interrupt", "enqueue", "reject", "rollback")) | _JSON,
        "steering": st.sampled_from(("new_topic", "guidance")) | _JSON,
        "config": _CONFIG | _JSON,
        "metadata": _JSON,
        "mode": st.sampled_from(("now", "checkpoint")) | _JSON,
        "key": st.just(BOB) | _JSON,
        "markdown": _NOISE,
    },
)
_STARTED: Final = st.fixed_dictionaries(
    {"message": st.just("Tides")},
    optional={
        "thread_id": _NAMES | st.none(),
        "multitask_strategy": st.sampled_from(("interrupt", "enqueue", "reject", "rollback")),
        "steering": st.sampled_from(("new_topic", "guidance")),
        "config": _CONFIG | st.fixed_dictionaries({}, optional={"phases": st.integers(1, 3), "documents": st.just([])}),
        "metadata": st.dictionaries(_NOISE, _JSON, max_size=3),
    },
)
_RAW: Final = st.binary(max_size=60) | st.sampled_from(
    (b'{"message": 1e999999}', b"[" * 100_000, b'{"a":' * 900, b"\xef\xbb\xbf{}", b'{"message": "\\ud800"}', b"NaN")
)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _in_target(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


_BODIES: Final = st.just(b"") | _FIELDS.map(_dumped) | _JSON.map(_dumped) | _RAW


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    """A request, mostly with Bob's key and never with Alice's."""
    method, path = draw(st.sampled_from((*_STARTS, *_OPERATIONS, *_OTHERS)))
    for _ in range(path.count("{}")):
        path = path.replace("{}", _in_target(draw(_NAMES)), 1)
    if draw(st.integers(0, 30)) == 0:
        path = "/" + quote_from_bytes(draw(st.binary(max_size=30)), safe="/%")
    query = draw(st.lists(st.tuples(st.sampled_from(_QUERIES) | _NOISE, _NAMES | _NUMBERS | _VALUES), max_size=3))
    target = path + ("?" + "&".join(f"{_in_target(n)}={_in_target(str(v))}" for n, v in query) if query else "")
    given = draw(st.lists(st.tuples(st.sampled_from(_HEADERS), _NAMES | _NUMBERS | _VALUES), max_size=3))
    headers = [(name.encode(), _header(str(value))) for name, value in given]
    headers.append((b"host", b"127.0.0.1"))
    if authorization := draw(_AUTHORIZATIONS):
        headers.append((b"authorization", authorization.encode()))
    meant = path == "/invocations" and draw(st.booleans())
    body = draw(_STARTED.map(_dumped) if meant else _BODIES)
    return Asked(method, target.encode("ascii"), tuple(headers), body)


def _header(value: str) -> bytes:
    """As far as HTTP/1.1 lets it through: no line breaks, no NUL."""
    return bytes(byte for byte in value.encode("utf-8", "surrogatepass") if byte not in b"\r\n\0").strip()
