"""The tags that hold what others wrote, so that it can be told from what we ask: written here, and read again."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

_ELEMENT = re.compile(r'<(\w+)((?: \w+="[^"<>]*")*)>([^<>]*)</\1>')
_ATTRIBUTE = re.compile(r'(\w+)="([^"<>]*)"')
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Element:
    """A tag's name, its attributes and the text in it, unescaped."""

    name: str
    attributes: Mapping[str, str]
    text: str


def escaped(text: str) -> str:
    """`text` unable to open or close a tag or an attribute; control characters and lone surrogates are dropped."""
    return html.escape(_CONTROL.sub("", text), quote=True)


def attribute(text: str) -> str:
    """`text` for an attribute: escaped, on one line."""
    return " ".join(escaped(text).split())


def element(name: str, text: str, **attributes: object) -> str:
    """A tag called `name` around `text`, everything escaped."""
    written = "".join(f' {key}="{attribute(str(value))}"' for key, value in attributes.items())
    return f"<{name}{written}>{escaped(text)}</{name}>"


def elements(text: str) -> list[Element]:
    """The tags in `text` that hold no tag themselves, in order."""
    return [
        Element(name, {k: html.unescape(v) for k, v in _ATTRIBUTE.findall(attributes)}, html.unescape(inside))
        for name, attributes, inside in _ELEMENT.findall(text)
    ]
