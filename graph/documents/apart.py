"""Reads a document that nobody vouches for in a process of its own, which may take no more than its time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path

from graph.documents.errors import UnreadableError

_ROOT = Path(__file__).resolve().parents[2]
_TOO_LONG = "it takes too long to be read"
# Nothing else of the environment: no key of a provider is in reach of what a document might do to its reader.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """What was read of a document: `content` is its packed passages, `passages` their number."""

    passages: int
    content: bytes


@dataclass(frozen=True)
class ApartReader:
    """Reads documents, `at_once` at the same time; `wall_sec` is how long one may take, waiting for a processor."""

    at_once: int = 2
    cpu_sec: int = 30
    wall_sec: float = 120.0
    memory_bytes: int = 1 << 30
    _room: asyncio.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_room", asyncio.Semaphore(self.at_once))

    async def read(self, raw: bytes, name: str) -> ReadDocument:
        """The passages of the file in `raw`; the end of `name`, one of `reading.KINDS`, says how it is read.

        Raises:
            UnreadableError: it cannot be decoded or parsed, has no text, or takes too much time or memory.
        """
        asked = {"name": name, "cpu_sec": self.cpu_sec, "memory_bytes": self.memory_bytes}
        async with self._room:
            answer = await self._answer(json.dumps(asked).encode() + b"\n" + raw)
        line, _, content = answer.partition(b"\n")
        head = json.loads(line)
        if "unreadable" in head:
            raise UnreadableError(head["unreadable"])
        return ReadDocument(head["passages"], content)

    async def _answer(self, asked: bytes) -> bytes:
        command = (sys.executable, "-m", "graph.documents")
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # Its errors are not kept: they may quote from the document.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=_ROOT, env=env
        )
        try:
            async with asyncio.timeout(self.wall_sec):
                answer, _ = await process.communicate(asked)
        except TimeoutError as error:
            raise UnreadableError(_TOO_LONG) from error
        finally:
            await _end(process)
        if process.returncode == 0:
            return answer
        raise UnreadableError(_TOO_LONG if process.returncode == -signal.SIGXCPU else "it breaks its reader")


async def _end(process: Process) -> None:
    """Whatever happens, none is left behind."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
