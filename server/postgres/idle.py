"""What stands for a worker in a process that runs no turns."""

from __future__ import annotations

from server.invocation import Wish


class Idle:
    """Does nothing: other hosts hear of new turns, and of wishes, by the database."""

    def start(self) -> None:
        """Nothing to begin."""

    def wake(self) -> None:
        """Nothing to claim."""

    def want(self, invocation_id: str, wish: Wish) -> None:
        """Nothing runs here."""

    async def drain(self, grace_sec: float) -> None:
        """Nothing to wait for."""

    async def stop(self) -> None:
        """Nothing to break off."""
