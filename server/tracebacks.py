"""An error with where it came from, for the log: without the values of variables, and without text of others.

An error's message may hold what it was about: a prompt, a part of an answer, a row. It is shown where this project or
the operating system wrote it; of all other errors the kind and the place tell what to look for.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final

# What these say are names out of the program or the system.
_PLAIN: Final = (OSError, ImportError, AttributeError, NameError, TypeError, RecursionError, MemoryError)
_OWN: Final = ("server", "graph", "client")
MOST_FRAMES: Final = 40
MOST_ERRORS: Final = 10


def told(error: BaseException) -> list[dict[str, Any]]:
    """`error` and what caused it, the outermost first: `{type, message, frames}`, the newest frame last."""
    return [_one(each) for each in _chain(error)]


def shown(error: BaseException) -> str:
    """The same as lines for people."""
    lines = []
    for each in told(error):
        lines += [f"{each['type']}: {each['message']}" if "message" in each else each["type"]]
        lines += [f"  {frame}" for frame in each["frames"]]
    return "\n".join(lines)


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < MOST_ERRORS:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        before = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if before is not None:
            waiting.append(before)


def _one(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = {"message": str(error)} if _is_plain(error) and str(error) else {}
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    return {"type": name, **message, "frames": [f"{_short(at.filename)}:{at.lineno} {at.name}" for at in frames]}


def _is_plain(error: BaseException) -> bool:
    package = type(error).__module__.partition(".")[0]
    return package in _OWN or (type(error).__module__ == "builtins" and isinstance(error, _PLAIN))


def _short(filename: str) -> str:
    """A path as it is imported."""
    roots = [path for path in sys.path if path and filename.startswith(f"{path}/")]
    return filename[len(max(roots, key=len)) + 1 :] if roots else filename
