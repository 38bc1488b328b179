"""What each route takes and answers: parameters, bodies, states and examples, for `openapi.json`."""

from __future__ import annotations

from typing import Final

from server.operation_parts import (
    NAME_SCHEMA,
    Schema,
    answer,
    answers,
    header_parameter,
    json_content,
    path_parameter,
    query_parameter,
    ref,
    request_body,
)
from server.requests import DOCUMENT_ID
from server.status import Status

INVOCATION: Final = "/invocations/{invocation_id}"
THREAD: Final = "/threads/{thread_id}"
DOCUMENT: Final = "/documents/{document_id}"

_EXAMPLE_EVENT = (
    '{"sequence_number":1,"type":"run_start","topic":"How do agents survive crashes?","entry_mode":"fresh",'
    '"thread_id":"crashes","invocation_id":"crashes-1","total_phases":3,"calls_per_phase":2,"model":"offline",'
    '"server_time_utc":"2026-11-23T10:13:00.123Z","server_uptime_sec":1.5}'
)

# One frame of the stream, as a client's parser gives it.
_STREAM: Schema = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "id": {"type": "string", "description": "The event's `sequence_number`; the last frame has none."},
                "event": {"type": "string", "description": "`done` or `gone` on the last frame alone."},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"anyOf": [ref("Event"), ref("StreamEnd")]},
                },
            },
        },
        "example": {"id": "1", "data": _EXAMPLE_EVENT},
    }
}
_TAKEN = {"status": "started", "invocation_id": "crashes-1", "session_id": "crashes", "thread_id": "crashes"}
_NAMES: Schema = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in {
        "x-agent-invocation-id": "The invocation.",
        "x-agent-session-id": "Its thread.",
        "Location": "Where it is read.",
    }.items()
}
_ID = path_parameter("invocation_id", "crashes-1")
_THREAD_ID = path_parameter("thread_id", "crashes")
_DOCUMENT_ID: Schema = path_parameter("document_id", f"doc_{0:032x}") | {
    "schema": {"type": "string", "pattern": f"^{DOCUMENT_ID}$"}
}
_FILE_NAME: Schema = {
    "in": "query",
    "name": "name",
    "required": True,
    "description": "The file's name; its end says how the file is read.",
    "schema": {
        "type": "string",
        "minLength": 4,
        "maxLength": 200,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f/\\]+\.(md|markdown|txt|rst|html|htm|pdf)$",
    },
    "example": "tides.md",
}
_POSITION: Schema = {"type": "integer", "minimum": 0}
_AFTER = query_parameter("last_event_id", _POSITION, "Go on behind this number; it wins over the header.", 0)
_LAST_EVENT_ID = header_parameter("Last-Event-ID", _POSITION, "Go on behind this number.", 0)
_OWN_NAME = header_parameter("x-agent-invocation-id", NAME_SCHEMA, "The client's own name for the invocation.")
_KEY = header_parameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "Repeats of this POST answer the first one's invocation.",
)
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
_TAKES = {
    200: answer(
        _STREAM | json_content("Record"), "The stream, where it is asked for; the record, where the name was used."
    ),
    202: answer(json_content("Started", _TAKEN), "The turn is stored.", _NAMES),
}


_FORMAT: Schema = {"type": "string", "enum": ["markdown", "json", "html", "pdf", "docx"], "default": "markdown"}
_FORMATS: Final = (
    "text/html",
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
)

OPERATIONS: Final[dict[tuple[str, str], Schema]] = {
    ("/invocations", "post"): {
        "parameters": [
            query_parameter("agent_session_id", NAME_SCHEMA, "The thread, where the body names none.", "crashes"),
            _AFTER,
            _LAST_EVENT_ID,
            _OWN_NAME,
            _KEY,
        ],
        "requestBody": request_body(
            "StartRequest",
            {
                "topic": {"value": {"message": "How do agents survive crashes?"}},
                "steer": {"value": {"message": "Only SQLite", "thread_id": "crashes", "steering": "guidance"}},
            },
            required=True,
        ),
        "responses": answers(_TAKES, 400, 409, 408, 413, 422, 429),
    },
    ("/invocations", "get"): {
        "parameters": [
            query_parameter("thread_id", NAME_SCHEMA, "Of this thread alone."),
            query_parameter("status", {"type": "string", "enum": list(Status)}, "In this state alone."),
            query_parameter("limit", _LIMIT, "How many at most."),
            query_parameter("cursor", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "The last page's `next_cursor`."),
        ],
        "responses": answers({200: answer(json_content("Page"), "A page.")}, 422),
    },
    (INVOCATION, "get"): {
        "parameters": [_ID, _AFTER, _LAST_EVENT_ID],
        "responses": answers(
            {
                200: answer(
                    _STREAM | json_content("Record"), "The event stream; with `Accept: application/json` the record."
                )
            },
            404,
            410,
            422,
        ),
    },
    (f"{INVOCATION}/cancel", "post"): {
        "parameters": [_ID],
        "requestBody": request_body("CancelRequest", {"now": {"value": {"mode": "now"}}}, required=False),
        "responses": answers(
            {200: answer(json_content("Record"), "The record; asked again, nothing changes.")}, 400, 404, 408, 413, 422
        ),
    },
    (f"{INVOCATION}/resume", "post"): {
        "parameters": [_ID, _OWN_NAME, _KEY],
        "responses": answers(_TAKES, 404, 409, 422, 429),
    },
    (f"{INVOCATION}/report", "get"): {
        "parameters": [
            _ID,
            query_parameter(
                "format",
                _FORMAT,
                "In which form.",
            ),
        ],
        "responses": answers(
            {
                200: answer(
                    {"text/markdown": {"schema": {"type": "string"}, "example": "# Research report"}}
                    | json_content("Report")
                    | {kind: {"schema": {"type": "string"}} for kind in _FORMATS},
                    "The report; of an unfinished turn what is there so far, and it says so.",
                )
            },
            404,
            409,
            422,
            501,
        ),
    },
    (THREAD, "get"): {
        "parameters": [_THREAD_ID],
        "responses": answers({200: answer(json_content("Thread"), "The thread.")}, 404, 422),
    },
    (f"{THREAD}/history", "get"): {
        "parameters": [
            _THREAD_ID,
            query_parameter("limit", _LIMIT, "How many at most."),
            query_parameter("before", NAME_SCHEMA, "The last page's `next_cursor`."),
        ],
        "responses": answers({200: answer(json_content("History"), "Its checkpoints.")}, 404, 422),
    },
    (THREAD, "delete"): {
        "parameters": [_THREAD_ID],
        "responses": answers({204: {"description": "Erased."}}, 404, 409, 422),
    },
    ("/documents", "post"): {
        "parameters": [_FILE_NAME],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary", "minLength": 1},
                    "example": "# Tides\n\nThe moon raises the tides of the sea twice on every day.\n",
                }
            },
        },
        "responses": answers(
            {
                200: answer(json_content("DocumentRecord"), "The document was kept already, under this name."),
                201: answer(json_content("DocumentRecord"), "The document is kept.", {"Location": _NAMES["Location"]}),
            },
            409,
            408,
            413,
            422,
            429,
        ),
    },
    ("/documents", "get"): {"responses": answers({200: answer(json_content("Documents"), "All of the key's.")})},
    (DOCUMENT, "get"): {
        "parameters": [_DOCUMENT_ID],
        "responses": answers({200: answer(json_content("DocumentRecord"), "The document's record.")}, 404),
    },
    (DOCUMENT, "delete"): {
        "parameters": [_DOCUMENT_ID],
        "responses": answers({204: {"description": "Deleted."}}, 404),
    },
    ("/session", "get"): {"responses": answers({200: answer(json_content("SessionInfo"), "Whose session this is.")})},
    ("/session", "post"): {
        "requestBody": request_body("SignIn", {"key": {"value": {"key": "rk_…"}}}, required=True),
        "responses": answers({200: answer(json_content("SessionInfo"), "Signed in: a cookie.")}, 400, 408, 413, 422),
    },
    ("/session", "delete"): {"responses": answers({204: {"description": "Signed out: the cookie goes."}})},
    ("/liveness", "get"): {
        "responses": {"200": answer(json_content("Health", {"status": "alive"}), "The process is up.")}
    },
    ("/metrics", "get"): {
        "responses": answers({200: answer({"text/plain": {"schema": {"type": "string"}}}, "Prometheus' text format.")})
    },
    ("/readiness", "get"): {
        "responses": answers({200: answer(json_content("Health", {"status": "ready"}), "Takes work.")})
    },
}
