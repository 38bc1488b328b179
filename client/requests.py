"""What the client asks the server, as plain values: the same for the sync and the async client."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict
from urllib.parse import quote

from client.connection import REQUEST_TIMEOUT_SEC, UPLOAD_TIMEOUT_SEC
from client.events import MultitaskStrategy, Steering
from client.records import Status


class RunConfig(TypedDict, total=False):
    """Settings of one turn; what is left out is the server's.

    `phases`: how many, or the titles of your own. `documents`: ids of uploaded ones, for the run to search.
    """

    phases: int | list[str]
    calls_per_phase: int
    target_output_tokens: int
    intra_phase_cooldown_sec: float
    inter_phase_cooldown_sec: float
    run_timeout_sec: float
    token_budget: int
    model: str
    documents: list[str]


@dataclass(frozen=True)
class Request:
    """One request. Sending it twice does no more than sending it once."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    json: Mapping[str, Any] | None = None  # Any: what JSON can hold
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    timeout_sec: float = REQUEST_TIMEOUT_SEC


def start(
    topic: str,
    *,
    thread_id: str | None = None,
    steering: Steering | None = None,
    multitask_strategy: MultitaskStrategy | None = None,
    config: RunConfig | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Request:
    """Starts a turn, or steers the one that runs on the thread."""
    body = {
        "message": topic,
        "thread_id": thread_id,
        "steering": steering,
        "multitask_strategy": multitask_strategy,
        "config": config,
        "metadata": metadata,
    }
    given = {name: value for name, value in body.items() if value is not None}
    return Request("POST", "/invocations", json=given, headers=_once(idempotency_key))


def resume(invocation_id: str, idempotency_key: str | None = None) -> Request:
    return Request("POST", f"{path_of(invocation_id)}/resume", headers=_once(idempotency_key))


def cancel(invocation_id: str, *, now: bool) -> Request:
    return Request("POST", f"{path_of(invocation_id)}/cancel", json={"mode": "now" if now else "checkpoint"})


def record(invocation_id: str) -> Request:
    return Request("GET", path_of(invocation_id), headers={"Accept": "application/json"})


def report(invocation_id: str) -> Request:
    return Request("GET", f"{path_of(invocation_id)}/report", params={"format": "json"})


def page(thread_id: str | None, status: Status | None, limit: int, cursor: str | None) -> Request:
    asked = {"thread_id": thread_id, "status": status, "limit": str(limit), "cursor": cursor}
    return Request("GET", "/invocations", params={name: value for name, value in asked.items() if value is not None})


def upload_document(name: str, content: bytes) -> Request:
    """The same name and content again is no second document."""
    return Request("POST", "/documents", params={"name": name}, content=content, timeout_sec=UPLOAD_TIMEOUT_SEC)


def documents() -> Request:
    return Request("GET", "/documents")


def delete_document(document_id: str) -> Request:
    return Request("DELETE", f"/documents/{quote(document_id, safe='')}")


def path_of(invocation_id: str) -> str:
    return f"/invocations/{quote(invocation_id, safe='')}"


def _once(key: str | None) -> dict[str, str]:
    """The key makes a POST safe to repeat when the server dies before its answer is here."""
    return {"Idempotency-Key": key or uuid.uuid4().hex}
