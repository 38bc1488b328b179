"""The answer to an interrupt: go on, take a new message, or stop."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Directive(BaseModel):
    """What a paused run is to do. Studio renders it as a form; anything else raises `pydantic.ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Annotated[
        Literal["continue", "steer", "stop"],
        Field(title="Action", description="continue: go on; steer: take the message; stop: wind down with a report."),
    ] = "continue"
    message: Annotated[
        str, Field(title="Message", description="With steer: the new topic, or the guidance.", max_length=32_000)
    ] = ""
    steering: Annotated[
        Literal["new_topic", "guidance"],
        Field(title="Meaning", description="With steer: start over on a new topic, or guide the phases that are left."),
    ] = "new_topic"
    cause: Annotated[
        Literal["steering", "operator_cancel", "timeout", "budget"],
        Field(title="Cause", description="With stop: why."),
    ] = "operator_cancel"

    @model_validator(mode="after")
    def _steer_says_something(self) -> Self:
        if self.action == "steer" and not self.message.strip():
            raise ValueError("action 'steer' needs a message")
        return self
