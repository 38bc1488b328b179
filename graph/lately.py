"""Keeps what was used lately, of things that whoever starts a run may name any number of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def used_lately(kept: OrderedDict[K, V], key: K, make: Callable[[], V], *, most: int) -> V:
    """What `kept` has for `key`, else what `make` returns; of more than `most` the one used longest ago is let go.

    Whoever uses that one still has it.
    """
    value = kept.pop(key) if key in kept else make()
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)
    return value
