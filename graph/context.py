"""What a run may be told: the plan's size, its pace, its model. Studio shows it as a form."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

Role = Literal["research", "critique", "refine", "synthesize"]
# `offline`, or a provider and a model as LangChain writes them.
MODEL_NAME = r"^(offline|[a-z][a-z0-9_]*:\S.*)$"


def _model_name(value: str) -> str:
    if re.fullmatch(MODEL_NAME, value) is None:
        raise ValueError("must be offline, or a provider and a model, as openai:gpt-5")
    return value


ModelName = Annotated[
    str, Field(max_length=200, json_schema_extra={"pattern": MODEL_NAME}), AfterValidator(_model_name)
]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Context:
    """Settings of one run, fixed while it runs. A value out of its range raises `pydantic.ValidationError`."""

    model: Annotated[
        str,
        Field(
            title="Model",
            description="`offline` (embedded, no key), `openai:<name>` for any OpenAI-compatible endpoint, or "
            "`provider:<name>` as LangChain writes it, where its package is installed.",
            pattern=MODEL_NAME,
            max_length=200,
        ),
    ] = "offline"
    role_models: Annotated[
        dict[Role, ModelName],
        Field(
            title="Models by role",
            description="Other models for single roles; the rest use the model above.",
            # A factory's default is not in the schema, and forms are made from that.
            json_schema_extra={"default": {}},
        ),
    ] = field(default_factory=dict)
    num_phases: Annotated[
        int,
        Field(title="Phases", description="How many phases of the built-in plan are done.", ge=1, le=1000),
    ] = 15
    phase_titles: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(
            title="Own phases",
            description="Titles of your own phases, in order; they replace the built-in plan and its number.",
            max_length=1000,
        ),
    ] = ()
    documents: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=300)], ...],
        Field(
            title="Documents",
            description="Documents that the run searches besides, by their ids; where a server of this project keeps "
            "them (docs/documents.md).",
            max_length=50,
        ),
    ] = ()
    calls_per_phase: Annotated[
        int,
        Field(
            title="Calls a phase",
            description="Model calls in each phase: research first, synthesize last, critique and refine between.",
            ge=1,
            le=100,
        ),
    ] = 4
    target_output_tokens: Annotated[
        int,
        Field(title="Tokens a call", description="Length that each call is asked for, in tokens.", ge=16, le=100_000),
    ] = 1500
    token_budget: Annotated[
        int | None,
        Field(
            title="Token budget",
            description="Tokens, in and out, that a turn may cost; a tenth is kept for its closing synthesis.",
            ge=100,
            le=1_000_000_000,
        ),
    ] = None
    intra_phase_cooldown_sec: Annotated[
        float,
        Field(title="Cooldown between calls", description="Seconds of rest between two calls.", ge=0, le=86_400),
    ] = 0.0
    inter_phase_cooldown_sec: Annotated[
        float,
        Field(title="Cooldown between phases", description="Seconds of rest between two phases.", ge=0, le=86_400),
    ] = 0.0
    review: Annotated[
        Literal["never", "phase"],
        Field(title="Review", description="phase: stop behind each phase, until somebody says how to go on."),
    ] = "never"

    def model_of(self, role: Role) -> str:
        """The name of the model that does `role`."""
        return self.role_models.get(role, self.model)


def settled(context: Context | None) -> Context:
    """The context of a run; LangGraph gives None where whoever started it gave none."""
    return context or Context()


def roles(calls: int) -> tuple[Role, ...]:
    """The role of each call of a phase: `calls` of them, research first and synthesize last."""
    if calls == 1:
        return ("research",)
    middle: tuple[Role, ...] = tuple("critique" if i % 2 == 0 else "refine" for i in range(calls - 2))
    return ("research", *middle, "synthesize")
