"""What the stream shows of a model call while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from graph.context import Context
    from graph.failure import Failure


class SubcallEvents:
    """Tells the stream what happens in one subcall."""

    def __init__(self, runtime: Runtime[Context], phase: int, index: int, role: str, of: int) -> None:
        self._write = runtime.stream_writer
        self._where: dict[str, Any] = {"phase": phase, "role": role, "index": index}
        self._of = of

    def started(self, attempt: int) -> None:
        self._write({"type": "subcall_start", **self._where, "of": self._of, "attempt": attempt})

    def token(self, text: str) -> None:
        self._write({"type": "token", "content": text, "phase": self._where["phase"], "index": self._where["index"]})

    def retrying(self, attempt: int, delay_sec: float, failure: Failure) -> None:
        error = {"type": failure.type, "message": failure.message}
        self._write(
            {"type": "retrying", **self._where, "attempt": attempt, "delay_sec": round(delay_sec, 3), "error": error}
        )


class Silent:
    """Hears of a call that the stream does not show."""

    def started(self, attempt: int) -> None: ...

    def token(self, text: str) -> None: ...

    def retrying(self, attempt: int, delay_sec: float, failure: Failure) -> None: ...
