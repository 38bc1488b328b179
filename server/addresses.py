"""Addresses of other services, as settings name them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, AnyHttpUrl, TypeAdapter, ValidationError

_PARSED: Final = TypeAdapter(AnyHttpUrl)


def _readable(value: str) -> str:
    try:
        _PARSED.validate_python(value)
    except ValidationError:
        # Without the value, and without the parser's words of it: an address may hold a password.
        raise ValueError("must be an address such as https://host:8000/v1") from None
    return value


HttpAddress = Annotated[str, AfterValidator(_readable)]
"""An http or https address, kept as it was written. ValueError: it cannot be read."""
