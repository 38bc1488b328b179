"""What each route takes and answers: parameters, bodies, states and examples, for `openapi.json`."""

from __future__ import annotations

from typing import Any, Final

from server.requests import NAME
from server.status import Status

Schema = dict[str, Any]

INVOCATION: Final = "/invocations/{invocation_id}"
THREAD: Final = "/threads/{thread_id}"

_NAME: Schema = {"type": "string", "pattern": f"^{NAME}$"}
_EXAMPLE_EVENT = (
    '{"sequence_number":1,"type":"run_start","topic":"How do agents survive crashes?","entry_mode":"fresh",'
    '"thread_id":"crashes","invocation_id":"crashes-1","total_phases":3,"calls_per_phase":2,"model":"offline",'
    '"server_time_utc":"2026-11-23T10:13:00.123Z","server_uptime_sec":1.5}'
)
_PROBLEMS: Final = {
    400: "The body is not JSON.",
    401: "An API key is needed, or is wrong.",
    403: "The request comes from a page of another site.",
    404: "Never seen, or somebody else's.",
    409: "The thread has a turn under way, or there is nothing to resume.",
    410: "The events are past their retention; the record and the report are kept.",
    413: "The body is larger than 256 KiB.",
    422: "Something that was sent does not fit; `errors` names the fields.",
    421: "This server does not answer to this host name.",
    429: "Too many turns wait, or too many requests were made in a minute.",
    501: "This server lacks what makes a report of that form.",
    503: "The server is starting or about to end, or its storage does not answer.",
}


# Where keys, hosts or the storage have their say.
_ANYWHERE: Final = (401, 403, 421, 429, 503)


def ref(name: str) -> Schema:
    """A schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, example: Any = None) -> Schema:
    return {"application/json": {"schema": ref(name)} | ({} if example is None else {"example": example})}


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
        "Location": "Where the invocation is read.",
    }.items()
}


def _problem(status: int) -> Schema:
    body = {"type": "about:blank", "title": "…", "status": status, "detail": _PROBLEMS[status]}
    answer: Schema = {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": ref("ProblemDetails"), "example": body}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer


def _answers(good: dict[int, Schema], *bad: int) -> Schema:
    return {str(status): answer for status, answer in good.items()} | {str(s): _problem(s) for s in (*bad, *_ANYWHERE)}


def _ok(content: Schema, description: str, headers: Schema | None = None) -> Schema:
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def _query(name: str, schema: Schema, description: str, example: Any = None) -> Schema:
    return _parameter("query", name, schema, description, example)


def _header(name: str, schema: Schema, description: str, example: Any = None) -> Schema:
    return _parameter("header", name, schema, description, example)


def _parameter(place: str, name: str, schema: Schema, description: str, example: Any) -> Schema:
    parameter: Schema = {"in": place, "name": name, "schema": schema, "description": description, "required": False}
    return parameter if example is None else parameter | {"example": example}


def _path(name: str, example: str) -> Schema:
    return {"in": "path", "name": name, "required": True, "schema": _NAME, "example": example}


_ID = _path("invocation_id", "crashes-1")
_THREAD_ID = _path("thread_id", "crashes")
_POSITION: Schema = {"type": "integer", "minimum": 0}
_AFTER = _query("last_event_id", _POSITION, "Go on behind this number; it wins over the header.", 0)
_LAST_EVENT_ID = _header("Last-Event-ID", _POSITION, "Go on behind this number.", 0)
_OWN_NAME = _header("x-agent-invocation-id", _NAME, "The client's own name for the invocation.")
_KEY = _header(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "Repeats of this POST answer the first one's invocation.",
)
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
_TAKES = {
    200: _ok(_STREAM | _json("Record"), "The stream, where it is asked for; the record, where the name was used."),
    202: _ok(_json("Started", _TAKEN), "The turn is stored.", _NAMES),
}


def _body(name: str, examples: Schema, *, required: bool) -> Schema:
    return {"required": required, "content": {"application/json": {"schema": ref(name), "examples": examples}}}


_FORMAT: Schema = {"type": "string", "enum": ["markdown", "json", "html", "pdf", "docx"], "default": "markdown"}
_FORMATS: Final = (
    "text/html",
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
)

OPERATIONS: Final[dict[tuple[str, str], Schema]] = {
    ("/invocations", "post"): {
        "parameters": [
            _query("agent_session_id", _NAME, "The thread, where the body names none.", "crashes"),
            _AFTER,
            _LAST_EVENT_ID,
            _OWN_NAME,
            _KEY,
        ],
        "requestBody": _body(
            "StartRequest",
            {
                "topic": {"value": {"message": "How do agents survive crashes?"}},
                "steer": {"value": {"message": "Only SQLite", "thread_id": "crashes", "steering": "guidance"}},
            },
            required=True,
        ),
        "responses": _answers(_TAKES, 400, 409, 413, 422, 429),
    },
    ("/invocations", "get"): {
        "parameters": [
            _query("thread_id", _NAME, "Of this thread alone."),
            _query("status", {"type": "string", "enum": list(Status)}, "In this state alone."),
            _query("limit", _LIMIT, "How many at most."),
            _query("cursor", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "The last page's `next_cursor`."),
        ],
        "responses": _answers({200: _ok(_json("Page"), "A page.")}, 422),
    },
    (INVOCATION, "get"): {
        "parameters": [_ID, _AFTER, _LAST_EVENT_ID],
        "responses": _answers(
            {200: _ok(_STREAM | _json("Record"), "The event stream; with `Accept: application/json` the record.")},
            404,
            410,
            422,
        ),
    },
    (f"{INVOCATION}/cancel", "post"): {
        "parameters": [_ID],
        "requestBody": _body("CancelRequest", {"now": {"value": {"mode": "now"}}}, required=False),
        "responses": _answers(
            {200: _ok(_json("Record"), "The record; asked again, nothing changes.")}, 400, 404, 413, 422
        ),
    },
    (f"{INVOCATION}/resume", "post"): {
        "parameters": [_ID, _OWN_NAME, _KEY],
        "responses": _answers(_TAKES, 404, 409, 422, 429),
    },
    (f"{INVOCATION}/report", "get"): {
        "parameters": [
            _ID,
            _query(
                "format",
                _FORMAT,
                "In which form.",
            ),
        ],
        "responses": _answers(
            {
                200: _ok(
                    {"text/markdown": {"schema": {"type": "string"}, "example": "# Research report"}}
                    | _json("Report")
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
        "responses": _answers({200: _ok(_json("Thread"), "The thread.")}, 404, 422),
    },
    (f"{THREAD}/history", "get"): {
        "parameters": [
            _THREAD_ID,
            _query("limit", _LIMIT, "How many at most."),
            _query("before", _NAME, "The last page's `next_cursor`."),
        ],
        "responses": _answers({200: _ok(_json("History"), "Its checkpoints.")}, 404, 422),
    },
    (THREAD, "delete"): {
        "parameters": [_THREAD_ID],
        "responses": _answers({204: {"description": "Erased."}}, 404, 409, 422),
    },
    ("/session", "get"): {"responses": _answers({200: _ok(_json("SessionInfo"), "Whose session this is.")})},
    ("/session", "post"): {
        "requestBody": _body("SignIn", {"key": {"value": {"key": "rk_…"}}}, required=True),
        "responses": _answers({200: _ok(_json("SessionInfo"), "Signed in: a cookie.")}, 400, 413, 422),
    },
    ("/session", "delete"): {"responses": _answers({204: {"description": "Signed out: the cookie goes."}})},
    ("/liveness", "get"): {"responses": {"200": _ok(_json("Health", {"status": "alive"}), "The process is up.")}},
    ("/metrics", "get"): {
        "responses": _answers({200: _ok({"text/plain": {"schema": {"type": "string"}}}, "Prometheus' text format.")})
    },
    ("/readiness", "get"): {"responses": _answers({200: _ok(_json("Health", {"status": "ready"}), "Takes work.")})},
}
