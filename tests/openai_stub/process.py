"""The stub in a process of its own, and the commands a test gives it."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
from pydantic import TypeAdapter

from tests.openai_stub.model import Call, State

CALLS = TypeAdapter(list[Call])


class ModelStub:
    """The stub in a process of its own. `stop()` and `start()` again: the same port, refused in between."""

    def __init__(self, **settings: object) -> None:
        self._settings, self._port = settings, 0
        self._process: subprocess.Popen[str] | None = None
        self._http = httpx2.Client(trust_env=False, timeout=httpx2.Timeout(30))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._http.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What goes into `OPENAI_BASE_URL`."""
        return f"{self.url}/v1"

    def start(self) -> None:
        """Nothing where it runs."""
        if self._process:
            return
        command = [sys.executable, "-m", "tests.openai_stub", "--port", str(self._port)]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            self._port = self._listening(self._process)
            self.control(**self._settings)
        except BaseException:
            self.stop()
            raise

    def _listening(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], 30)
        line = process.stdout.readline().split() if ready else []
        assert line[:1] == ["listening"], f"the model stub did not start: {line}, exit code {process.poll()}"
        return int(line[1])

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    def control(self, **command: object) -> None:
        """Send a `Command`; a wrong one raises `httpx2.HTTPStatusError`."""
        self._http.post(f"{self.url}/control", json=command).raise_for_status()

    def fail(self, *faults: dict[str, object]) -> None:
        """Queue faults for the next calls."""
        self.control(faults=list(faults))

    def hold(self, after_tokens: int, *, from_call: int = 1) -> None:
        """Let calls wait once that many tokens are out; `wait_for_calls(state="held")` tells when."""
        self.control(hold_after_tokens=after_tokens, hold_from_call=from_call)

    def release(self) -> None:
        self.control(release=True)

    def calls(self) -> list[Call]:
        return CALLS.validate_json(self._http.get(f"{self.url}/calls").raise_for_status().content)

    def take_calls(self) -> list[Call]:
        """The calls that came since the last time, which the stub forgets: it is to live long."""
        calls = self.calls()
        if calls:
            self.control(forget=calls[-1].number)
        return calls

    def wait_for_calls(self, count: int, *, state: State = "started", timeout: float = 30) -> list[Call]:
        """All calls, as soon as `count` of them have reached the state; after `timeout` seconds, AssertionError."""
        asked: dict[str, str | int | float] = {"count": count, "state": state, "timeout": timeout}
        answer = self._http.get(f"{self.url}/calls/wait", params=asked, timeout=timeout + 30)
        calls = CALLS.validate_json(answer.content)
        told = [call.model_dump(include={"number", "status", "tokens_sent", "held", "finished"}) for call in calls]
        assert answer.status_code == 200, f"not {count} calls {state} within {timeout} s: {told}"
        return calls
