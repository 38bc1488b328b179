"""`openapi.json`: the application's routes with all that they take and answer. `python -m server.openapi` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from server.access import COOKIE, OPEN_PATHS

FILE: Final = Path(__file__).parents[1] / "openapi.json"


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`."""
    from server.operations import OPERATIONS

    made: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        description="Turns of research on threads, told as numbered events that no crash loses.",
        license_info={"name": "MIT", "identifier": "MIT"},
        routes=app.routes,
    )
    for (path, method), operation in OPERATIONS.items():
        made["paths"][path][method] |= operation
    # The page's own routes are between it and this server.
    made["paths"] = {
        path: shown for path, shown in made["paths"].items() if path != "/" and not path.startswith("/web/")
    }
    made["components"] = {"schemas": _schemas(), "securitySchemes": _KEYS}
    # With API_KEYS one of them is needed, without keys none.
    made["security"] = [{}, *({name: []} for name in _KEYS)]
    for path in OPEN_PATHS & made["paths"].keys():
        for operation in made["paths"][path].values():
            operation["security"] = []
    return made


_KEYS: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "What `POST /session` sets."},
}


def _schemas() -> dict[str, Any]:
    # Loaded when somebody asks: a server that starts has other things to do.
    from pydantic import BaseModel
    from pydantic.json_schema import models_json_schema

    from server import answer_models as answers
    from server.event_models import StreamEnd, StreamEvent
    from server.requests import CancelRequest, StartRequest

    models: list[type[BaseModel]] = [
        *(CancelRequest, StartRequest, StreamEnd, StreamEvent),
        *(answers.DocumentRecord, answers.Documents),
        *(answers.Health, answers.History, answers.Page, answers.ProblemDetails, answers.Record, answers.Report),
        *(answers.SessionInfo, answers.SignIn, answers.Started, answers.Thread),
    ]
    _, defined = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = defined["$defs"]
    # The union by `type` stands by its own name, not as a field.
    schemas["Event"] = schemas.pop("StreamEvent")["properties"]["event"] | {"title": "Event"}
    return schemas


def install(app: FastAPI) -> None:
    """Makes `/openapi.json` and `/docs` show the whole document."""

    def whole() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or document(app)
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # FastAPI's documented way


def text() -> str:
    """The document of the server's application, as the file holds it."""
    from server.app import routed

    return json.dumps(document(routed()), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
