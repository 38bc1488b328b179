"""Checkpoints are data, not code: msgpack of plain values and a few named types; no pickle, nothing else."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from graph.checkpoint_refused import CheckpointRefused

ALLOWED: Final = (("graph.directive", "Directive"),)
_KINDS: Final = frozenset({"null", "bytes", "bytearray", "msgpack"})

_refused: ContextVar[list[str] | None] = ContextVar("refused", default=None)


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer without its fallbacks: it raises where that one would make an object, or leave it raw."""

    def __init__(self) -> None:
        super().__init__(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=ALLOWED)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:  # Any: as LangGraph has it
        """The value. Raises `CheckpointRefused`."""
        kind = data[0]
        if kind not in _KINDS:
            raise CheckpointRefused(f"A checkpoint is of the kind {kind[:20]!r}, which is not read.")
        found: list[str] = []
        token = _refused.set(found)
        try:
            value = super().loads_typed(data)
        except Exception as error:  # whatever damaged bytes lead to
            raise CheckpointRefused("A checkpoint cannot be read: it is damaged.") from error
        finally:
            _refused.reset(token)
        if found:
            raise CheckpointRefused(f"A checkpoint names {found[0]}, which is not on the list of what is read.")
        return value


class SealedSerializer(EncryptedSerializer):
    """The strict serializer under a cipher. LangGraph's own would also read what is not encrypted."""

    def __init__(self, cipher: CipherProtocol) -> None:
        super().__init__(cipher, StrictSerializer())

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value. Raises `CheckpointRefused`."""
        if "+" not in data[0]:
            raise CheckpointRefused("A checkpoint is not encrypted, as all here are: it was changed.")
        try:
            return super().loads_typed(data)
        except CheckpointRefused:
            raise
        except Exception as error:  # whatever the cipher says
            raise CheckpointRefused("A checkpoint cannot be decrypted: it was changed or moved.") from error


def _note(event: SerdeEvent) -> None:
    found = _refused.get()
    if found is not None and event["kind"] in ("msgpack_blocked", "msgpack_method_blocked"):
        found.append(f"{event['module']}.{event['name']}"[:100])


register_serde_event_listener(_note)
