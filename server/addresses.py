"""Addresses of other services, as settings name them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, ValidationError


def _readable(value: str) -> str:
    try:
        AnyHttpUrl(value)
    except ValidationError:
        # Without the value, and without the parser's words of it: an address may hold a password.
        raise ValueError("must be an address such as https://host:8000/v1") from None
    return value


# The parser alone would take spaces, and mend what lacks its slashes.
HttpAddress = Annotated[str, Field(pattern=r"^https?://\S+$"), AfterValidator(_readable)]
"""An http or https address, kept as it was written. ValueError: it cannot be read."""
