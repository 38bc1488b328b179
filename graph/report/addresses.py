"""Web addresses as they are compared: one page has one, however a link to it is written."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

WEB: Final = re.compile(r"https?://[^\s<>\"\x00-\x1f]+", re.IGNORECASE)
# Parameters that say where a reader came from, and nothing of the page.
_TRACKING: Final = re.compile(r"utm_.*|gclid|fbclid|msclkid|mc_[ce]id|igshid|srsltid", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def is_web(url: str) -> bool:
    """Whether `url` is an address of the web, and nothing else."""
    return WEB.fullmatch(url) is not None


def address_key(url: str) -> str:
    """What two spellings of one address have in common: no scheme, `www.`, fragment, tracking or last slash.

    An address that is none of the web's is its own key.
    """
    if not is_web(url):
        return url
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError:
        return url
    shown = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme.lower())) else f":{port}"
    asked = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.fullmatch(k)]
    query = f"?{urlencode(asked)}" if asked else ""
    return f"{host.removeprefix('www.')}{shown}{parts.path.rstrip('/')}{query}"
