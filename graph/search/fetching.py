"""Pages of the public web, read within limits: the one way in which this program goes where a search result leads."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import httpx2

from graph.documents.errors import UnreadableError
from graph.documents.reading import read
from graph.search.addresses import AddressRefused, Allowed, Resolve, checked_address, is_public, resolved

if TYPE_CHECKING:
    from graph.documents.document import Document

# The end of a file name for each media type that can be read.
_KINDS: Final = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
}
_HEADERS: Final = {
    "User-Agent": "resilient-research-agent/0.1",
    "Accept": ", ".join(_KINDS),
    # Packed pages would have to be unpacked before their size is known.
    "Accept-Encoding": "identity",
}


class PageUnread(Exception):
    """A page could not be read; the message is a clause such as `HTTP 404`."""


@dataclass(frozen=True)
class Limits:
    """What one page may cost: bytes, seconds in all, redirects."""

    max_bytes: int = 5_000_000
    timeout_sec: float = 15.0
    redirects: int = 5


@dataclass(frozen=True)
class Fetcher:
    """Reads pages of the public web. Tests alone give other names (`resolve`) and let other addresses through."""

    limits: Limits = Limits()
    resolve: Resolve = resolved
    allowed: Allowed = is_public

    async def page(self, url: str) -> Document:
        """The page at `url` as sections of text. Raises `PageUnread`."""
        try:
            async with asyncio.timeout(self.limits.timeout_sec), self._client() as client:
                kind, raw = await self._body(client, url)
            return await asyncio.to_thread(read, raw, f"page{kind}")
        except TimeoutError as error:
            raise PageUnread(f"no answer within {self.limits.timeout_sec:g} s") from error
        except (AddressRefused, UnreadableError) as error:
            raise PageUnread(str(error)) from error
        except httpx2.TooManyRedirects as error:
            raise PageUnread("it redirects too often") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise PageUnread(f"the connection failed ({type(error).__name__})") from error

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=_CheckedTransport(self.resolve, self.allowed),
            headers=_HEADERS,
            follow_redirects=True,
            max_redirects=self.limits.redirects,
            timeout=self.limits.timeout_sec,
            # A proxy would ask for the name again, and might be told another address.
            trust_env=False,
        )

    async def _body(self, client: httpx2.AsyncClient, url: str) -> tuple[str, bytes]:
        async with client.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise PageUnread(f"HTTP {answer.status_code}")
            if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
                raise PageUnread("it comes packed, though it was asked for as it is")
            media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media not in _KINDS:
                raise PageUnread(f"its type is {media[:40] or 'not told'}")
            body = bytearray()
            async for chunk in answer.aiter_raw(65_536):
                body += chunk
                if len(body) > self.limits.max_bytes:
                    raise PageUnread(f"it is over {self.limits.max_bytes:,} bytes")
            return _KINDS[media], bytes(body)


class _CheckedTransport(httpx2.AsyncBaseTransport):
    """Sends each request, redirects too, to the very address that was checked, under the name that was asked for."""

    def __init__(self, resolve: Resolve, allowed: Allowed) -> None:
        self._resolve, self._allowed = resolve, allowed
        # A kept connection would be taken for another name at the same address, whose certificate nobody checked.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._inner = httpx2.AsyncHTTPTransport(verify=_tls(), limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.scheme not in ("http", "https"):
            raise AddressRefused("it is no address of the web")
        if url.userinfo:
            raise AddressRefused("its address holds a name or a password")
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await checked_address(url.host, port, self._resolve, self._allowed)
        sent = httpx2.Request(
            request.method,
            url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return await self._inner.handle_async_request(sent)

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the certificates takes some 20 ms."""
    return httpx2.create_ssl_context()
