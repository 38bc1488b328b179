"""Reads one document in a process of its own: `graph.documents.apart` starts it.

On stdin a line of JSON (`name`, `cpu_sec`, `memory_bytes`) and the file; on stdout a line of JSON, either `unreadable`
with the reason or `passages` with their number, and behind it the packed passages.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

_NICE = 10


def main() -> None:
    """Answers for the document on stdin."""
    told: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    _limit(told["cpu_sec"], told["memory_bytes"])
    raw = sys.stdin.buffer.read()
    head, content = _answer(raw, told["name"])
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + content)
    sys.stdout.buffer.flush()


def _limit(cpu_sec: int, memory_bytes: int) -> None:
    """Before anything of the document is looked at. What runs beside it goes first."""
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # At the soft limit comes SIGXCPU, which says what it died of; the hard one kills.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_sec, cpu_sec + 1))
    if sys.platform != "darwin":  # which refuses it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _answer(raw: bytes, name: str) -> tuple[dict[str, object], bytes]:
    from graph.documents.errors import UnreadableError
    from graph.documents.packing import packed
    from graph.documents.passages import passages
    from graph.documents.reading import read

    try:
        count, content = packed(passages(read(raw, name)))
    except UnreadableError as error:
        return {"unreadable": str(error)}, b""
    except MemoryError:
        return {"unreadable": "it needs too much memory to be read"}, b""
    return {"passages": count}, content


if __name__ == "__main__":
    main()
