"""Bodies of requests, read no further than they may go, and waited for no longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect

from server.problems import Problem
from server.services import services_of

if TYPE_CHECKING:
    from fastapi import Request

# A client may take so much longer as it sends more; slower ones are no upload.
SLOWEST_BYTES_PER_SEC: Final = 16 * 1024


async def read_body(request: Request, *, most: int, too_large: str) -> bytes:
    """The body of a request. Raises `Problem`: 413, with the words of `too_large`, or 408."""
    patience_sec = (await services_of(request)).settings.slow_client_sec
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > most):
        raise Problem(413, too_large)
    body, began = bytearray(), asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(patience_sec) as limit:
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise Problem(413, too_large)
                limit.reschedule(began + patience_sec + len(body) / SLOWEST_BYTES_PER_SEC)
    except TimeoutError as error:
        raise Problem(408, f"The body did not come within {patience_sec:g} s, and 1 s for each 16 KiB.") from error
    except ClientDisconnect as error:
        # Heard by nobody: who sent it has gone.
        raise Problem(400, "The body was not sent to its end.") from error
    return bytes(body)
