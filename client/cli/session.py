"""What a command works with: this process's streams and environment, the last run, the server that it reaches."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TextIO

from client.cli.errors import NothingRemembered
from client.cli.memory import Last, Memory
from client.cli.place import Place, Reached, reached
from client.cli.view import JsonLines, Lines, View
from client.fields import printable
from client.records import Invocation


@dataclass(frozen=True)
class Session:
    """One call of the command."""

    environ: Mapping[str, str]
    out: BinaryIO
    err: TextIO
    memory: Memory

    @classmethod
    def of_process(cls) -> Session:
        # Unbuffered: nothing is left to be flushed at exit, into a pipe whose reader may have gone.
        out = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115 - the process's own
        return cls(os.environ, out, sys.stderr, Memory(os.environ))

    @contextmanager
    def reach(
        self, place: Place, *, tell: Callable[[str], object], new: bool = False, may_embed: bool = True
    ) -> Iterator[Reached]:
        """The server; where a run is `new`, it need not be that of the last one."""
        last = Last() if new else self.memory.load()
        with reached(place, last, self.environ, tell, new=new, may_embed=may_embed) as found:
            yield found

    @contextmanager
    def meant(
        self,
        place: Place,
        invocation: str,
        thread: str,
        *,
        tell: Callable[[str], object] | None = None,
        may_embed: bool = True,
    ) -> Iterator[tuple[Reached, Invocation]]:
        """The server and the run that is meant there. Raises `NothingRemembered`."""
        with self.reach(place, tell=tell or self.say, may_embed=may_embed) as found:
            yield found, self._pick(found, invocation, thread)

    def view(self, *, as_json: bool = False) -> View:
        """Live on a terminal, else lines."""
        if as_json:
            return JsonLines(self.out, self.err)
        if self.err.isatty() and self.environ.get("TERM") != "dumb":
            from client.cli.live import LiveView

            return LiveView(self.err, self.environ)
        return Lines(self.err)

    def say(self, sentence: str) -> None:
        """A sentence on stderr."""
        Lines(self.err).say(sentence)

    def print(self, value: str) -> None:
        """A result on stdout. A byte of a file name that is no text goes out as it is."""
        self.out.write(os.fsencode(value) + b"\n")

    def remember(self, found: Reached, invocation_id: str, thread_id: str) -> None:
        """So that the next command need not name it."""
        try:
            self.memory.save(replace(found.last, invocation_id=invocation_id, thread_id=thread_id))
        except OSError as error:
            self.say(f"The run could not be remembered ({error.strerror}): name it with --invocation {invocation_id}.")

    def _pick(self, found: Reached, invocation: str, thread: str) -> Invocation:
        """The run that is meant: a named one, the newest of a thread, or the last one. Raises `NothingRemembered`."""
        if invocation:
            return found.client.get(invocation)
        if thread:
            turns = found.client.list(thread_id=thread, limit=1)
            if not turns:
                raise NothingRemembered(f"The server knows no thread {printable(thread)}.")
            return turns.invocations[0]
        last = self.memory.load().invocation_id
        if not last:
            raise NothingRemembered
        return found.client.get(last)


def own_name() -> str:
    """How this command was called, so that what it proposes can be typed."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m client"
    return (
        called.name if str(called.parent) in os.environ.get("PATH", "").split(os.pathsep) else shlex.quote(str(called))
    )
