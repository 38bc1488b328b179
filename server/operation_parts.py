"""What the descriptions of routes are made of: parameters, bodies, answers, problems, as OpenAPI 3.1 has them."""

from __future__ import annotations

from typing import Any, Final

from server.requests import NAME

Schema = dict[str, Any]

NAME_SCHEMA: Final[Schema] = {"type": "string", "pattern": f"^{NAME}$"}

_PROBLEMS: Final = {
    400: "The body is not JSON.",
    401: "An API key is needed, or is wrong.",
    403: "The request comes from a page of another site.",
    404: "Never seen, or somebody else's.",
    408: "The body did not come in time.",
    409: "The thread has a turn under way, there is nothing to resume, or no more documents can be kept.",
    410: "The events are past their retention; the record and the report are kept.",
    413: "The body is larger than 256 KiB, or a document than 10 MiB.",
    422: "Something that was sent does not fit; `errors` names the fields.",
    414: "The path with its query is longer than 8,192 bytes.",
    421: "This server does not answer to this host name.",
    429: "Too many turns wait, or too many requests were made in a minute.",
    501: "This server lacks what makes a report of that form.",
    503: "The server is starting or about to end, or its storage does not answer.",
}
# Where keys, hosts or the storage have their say.
_ANYWHERE: Final = (401, 403, 414, 421, 429, 503)


def ref(name: str) -> Schema:
    """A schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(name: str, example: Any = None) -> Schema:
    """A body in JSON, of a schema among the components."""
    return {"application/json": {"schema": ref(name)} | ({} if example is None else {"example": example})}


def path_parameter(name: str, example: str) -> Schema:
    """The name of something, in the path."""
    return {"in": "path", "name": name, "required": True, "schema": NAME_SCHEMA, "example": example}


def query_parameter(name: str, schema: Schema, description: str, example: Any = None) -> Schema:
    """What may stand in the query."""
    return _parameter("query", name, schema, description, example)


def header_parameter(name: str, schema: Schema, description: str, example: Any = None) -> Schema:
    """What may stand in a header."""
    return _parameter("header", name, schema, description, example)


def request_body(name: str, examples: Schema, *, required: bool) -> Schema:
    """A request's body in JSON."""
    return {"required": required, "content": {"application/json": {"schema": ref(name), "examples": examples}}}


def answer(content: Schema, description: str, headers: Schema | None = None) -> Schema:
    """One good answer."""
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def answers(good: dict[int, Schema], *bad: int) -> Schema:
    """All answers of a route by their status: the `bad` ones are problems, beside those that any route may give."""
    return {str(status): body for status, body in good.items()} | {str(s): _problem(s) for s in (*bad, *_ANYWHERE)}


def _parameter(place: str, name: str, schema: Schema, description: str, example: Any) -> Schema:
    parameter: Schema = {"in": place, "name": name, "schema": schema, "description": description, "required": False}
    return parameter if example is None else parameter | {"example": example}


def _problem(status: int) -> Schema:
    body = {"type": "about:blank", "title": "…", "status": status, "detail": _PROBLEMS[status]}
    problem: Schema = {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": ref("ProblemDetails"), "example": body}},
    }
    if status in (429, 503):
        problem["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return problem
