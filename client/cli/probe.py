"""Whether a research server answers at an address."""

from __future__ import annotations

import httpx2

from client.connection import trusts_environment

_TIMEOUT_SEC = 2.0


def answers(url: str) -> bool:
    """Whether it is up; it may still be starting, or about to end."""
    try:
        response = httpx2.get(f"{url}/liveness", timeout=_TIMEOUT_SEC, trust_env=trusts_environment(url))
        return response.status_code == 200 and response.json() == {"status": "alive"}
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return False
