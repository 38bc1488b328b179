"""What a request asks for, as the turn that is to be stored; and why one is refused."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from graph.context import Context
from graph.plan import plan_titles
from graph.turn_events import new_invocation_id, new_thread_id
from server.accept import InvocationGone, NewInvocation, NotResumable, ThreadBusy
from server.access import max_unfinished, owner
from server.document_rows import DocumentsUnknown
from server.invocation import Invocation
from server.owners import owned, owned_text
from server.problems import Problem
from server.queue_limits import QueueFull
from server.report_routes import unknown_invocation
from server.requests import RunConfig, StartRequest, checked_name
from server.services import Services
from server.settings import Settings

MAX_KEY = 255


def new_invocation(request: Request, body: StartRequest, parts: Services) -> NewInvocation:
    """The turn that a `POST /invocations` asks for. Raises `Problem` for a bad name."""
    thread_id = body.thread_id or request.query_params.get("agent_session_id", new_thread_id())
    now = parts.now()
    defaults, given = server_defaults(parts.settings), _given(body.config)
    whole = {**defaults, **given}
    return NewInvocation(
        id=_id(request, now),
        thread_id=owned(owner(request), checked_name(thread_id, "thread_id")),
        message=body.text,
        steering=body.steering,
        multitask_strategy=body.multitask_strategy,
        given=given,
        defaults=defaults,
        metadata=body.metadata,
        total_phases=len(
            plan_titles(Context(num_phases=whole["num_phases"], phase_titles=tuple(whole["phase_titles"])))
        ),
        created_at=now,
        idempotency_key=_idempotency_key(request),
        max_unfinished=max_unfinished(request),
    )


def resumption(request: Request, stopped: Invocation, parts: Services) -> NewInvocation:
    """The turn that goes on where `stopped` did."""
    now = parts.now()
    return NewInvocation(
        id=_id(request, now),
        thread_id=stopped.thread_id,
        message=stopped.message,
        steering="resume",
        multitask_strategy="enqueue",
        given=stopped.config,
        defaults={},
        metadata=stopped.metadata,
        total_phases=stopped.total_phases,
        created_at=now,
        idempotency_key=_idempotency_key(request),
        max_unfinished=max_unfinished(request),
    )


def refused(
    error: ThreadBusy | NotResumable | QueueFull | DocumentsUnknown | InvocationGone, parts: Services
) -> Problem:
    """The answer to a turn that could not be taken, or is not there any more."""
    if isinstance(error, InvocationGone):
        return unknown_invocation()
    if isinstance(error, DocumentsUnknown):
        errors = [{"field": "config.documents", "message": str(error)}]
        return Problem(422, f"config.documents: {error}", errors=errors)
    if isinstance(error, QueueFull):
        parts.metrics.limited[error.limit].inc()
        return Problem(429, str(error), headers={"Retry-After": "30"})
    return Problem(409, str(error))


def _id(request: Request, now: float) -> str:
    name = request.headers.get("x-agent-invocation-id")
    chosen = new_invocation_id(now) if name is None else checked_name(name, "x-agent-invocation-id")
    return owned(owner(request), chosen)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        message = f"must be 1 to {MAX_KEY} characters"
        raise Problem(422, f"Idempotency-Key: {message}", errors=[{"field": "Idempotency-Key", "message": message}])
    return key and owned_text(owner(request), key)


def _given(config: RunConfig) -> dict[str, Any]:
    """What the request set of the turn's configuration."""
    given = config.model_dump(exclude_none=True)
    if "models" in given:
        given["role_models"] = given.pop("models")
    elif "model" in given:
        # Who asks for one model wants it everywhere.
        given["role_models"] = {}
    phases = given.pop("phases", None)
    if isinstance(phases, list):
        given |= {"num_phases": len(phases), "phase_titles": phases}
    elif phases is not None:
        given |= {"num_phases": phases, "phase_titles": []}
    return given


def server_defaults(settings: Settings) -> dict[str, Any]:
    """The whole configuration of a turn whose request sets nothing."""
    return {
        "model": settings.research_model,
        "role_models": settings.role_models,
        "num_phases": settings.num_phases,
        "phase_titles": [],
        "calls_per_phase": settings.calls_per_phase,
        "target_output_tokens": settings.target_output_tokens,
        "intra_phase_cooldown_sec": settings.intra_phase_cooldown_sec,
        "inter_phase_cooldown_sec": settings.inter_phase_cooldown_sec,
        "run_timeout_sec": settings.run_timeout_sec,
        "token_budget": settings.token_budget,
    }
