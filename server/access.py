"""Who may ask what: keys, sessions, and which web pages a request may come from. Before a body is read."""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from server.key_ring import KeyRing
from server.keys import NAME, Key
from server.metrics import Metrics
from server.problems import Problem, respond
from server.settings import is_loopback

MAX_TARGET_BYTES: Final = 8192
COOKIE: Final = "research_session"
SESSION_SEC: Final = 7 * 86_400

# What tells nothing of anybody's runs: probes, the page's own files, the description of the API, the way in.
OPEN_PATHS: Final = frozenset({"/", "/liveness", "/readiness", "/session", "/docs", "/openapi.json"})
_OPEN_FILE: Final = re.compile(r"/web/(swagger/)?[A-Za-z_-]+\.(js|css|svg|html)")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """Middleware: answers 401, 403, 414, 421 or 429, or puts `owner` and `key` into the request's state."""

    def __init__(
        self, app: ASGIApp, *, ring: KeyRing, hosts: frozenset[str], now: Callable[[], float], metrics: Metrics
    ) -> None:
        self._app = app
        self._ring = ring
        self._hosts = hosts
        self._now = now
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self.admit(scope, Headers(scope=scope))
            except Problem as problem:
                await respond(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Lets the request in, with its `owner` and `key` in its state. Raises `Problem`."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            raise Problem(414, f"The path with its query has at most {MAX_TARGET_BYTES:,} bytes.")
        self._ring.reload()
        state = scope.setdefault("state", {})
        state["owner"], state["key"] = "", None
        if not self._ring.required:
            self._check_host(headers)
        if scope["method"] not in _SAFE:
            self._check_origin(headers)
        path = scope["path"]
        if not self._ring.required or path in OPEN_PATHS or _OPEN_FILE.fullmatch(path):
            return
        key = self._key_of(headers)
        if key is None:
            raise unauthorized()
        if (wait := self._ring.wait_for(key)) > 0:
            self._metrics.limited["key_rate"].inc()
            raise Problem(
                429,
                f"This key may make {key.per_minute} requests a minute.",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        state["owner"], state["key"] = key.name, key

    def _key_of(self, headers: Headers) -> Key | None:
        secret = secret_of(headers)
        if secret is not None:
            return self._ring.find(secret)
        return session_key(self._ring, headers.getlist("cookie"), self._now())

    def _check_host(self, headers: Headers) -> None:
        """Without keys, against a page whose name was made to lead to this machine (DNS rebinding)."""
        host = _hostname(headers.get("host", ""))
        if not (host in self._hosts or is_loopback(host)):
            raise Problem(421, "Host: this server answers to loopback names and to those of ALLOWED_HOSTS.")

    def _check_origin(self, headers: Headers) -> None:
        """Against other sites' pages that make a browser send a form or a script's request."""
        origin = headers.get("origin")
        if origin is None or headers.get("sec-fetch-site") == "same-origin":
            return
        address = _address(origin)
        own = address.scheme in ("http", "https") and address.netloc.lower() == headers.get("host", "").lower()
        if not own and not (address.scheme in ("http", "https") and _hostname(address.netloc) in self._hosts):
            raise Problem(403, "Origin: a page of another site may not do this; ALLOWED_HOSTS names those that may.")


def owner(request: HTTPConnection) -> str:
    """The name of the key that the request came with; '' where none is needed."""
    return str(request.state.owner)


def key_of(request: HTTPConnection) -> Key | None:
    """The key that the request came with; None where none is needed."""
    key: Key | None = request.state.key
    return key


def max_unfinished(request: HTTPConnection) -> int | None:
    """How many unfinished turns the request's key may have."""
    key = key_of(request)
    return key.turns if key else None


def secret_of(headers: Headers) -> str | None:
    """The key in `Authorization: Bearer` or `x-api-key`; '' for an Authorization of another kind."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""
    return headers.get("x-api-key")


def unauthorized() -> Problem:
    """The answer to a request without a key that is good."""
    return Problem(
        401, "An API key is needed: Authorization: Bearer, or x-api-key.", headers={"WWW-Authenticate": "Bearer"}
    )


def session_value(key: Key, until: int) -> str:
    """The cookie of a session of `key` up to Unix second `until`. It holds no secret."""
    return f"{key.name}:{until}:{key.sign(f'{key.name}:{until}')}"


def session_key(ring: KeyRing, cookies: list[str], now: float) -> Key | None:
    """The key of a session that is still good: its key not revoked, its time not over."""
    for value in _cookies(cookies):
        name, _, rest = value.partition(":")
        until, _, signature = rest.partition(":")
        if re.fullmatch(NAME, name) is None or re.fullmatch(r"[0-9]{1,12}", until) is None or int(until) <= now:
            continue
        key = ring.named(name)
        if key is not None and _same(key.sign(f"{name}:{until}"), signature):
            return key
    return None


def _cookies(headers: list[str]) -> list[str]:
    # As lenient as browsers: other applications on this host name may have set what `http.cookies` stops at.
    return [found for header in headers if (found := cookie_parser(header).get(COOKIE)) is not None]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))


def _address(text: str) -> SplitResult:
    """An address's parts; empty ones where it is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def _hostname(netloc: str) -> str:
    """`[::1]:80` is `::1`; '' where it is none."""
    return (_address(f"//{netloc}").hostname or "").rstrip(".")
