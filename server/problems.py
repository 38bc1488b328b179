"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from graph.checkpoint_refused import CheckpointRefused
from server.database import StorageFailed
from server.sealing import StoredValueRefused

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_log = structlog.get_logger(__name__)

REQUEST_ID: Final = "x-request-id"


class Problem(Exception):
    """An answer that refuses a request. `errors` names fields: `{"field", "message"}` each."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}


def invalid(error: ValidationError) -> Problem:
    """422 for a body that does not fit."""
    return _unprocessable(error.errors(include_url=False, include_input=False, include_context=False))


class ProblemRoute(APIRoute):
    """A route whose own errors are problems in whatever application it stands."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI's, with its refusals answered here."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as error:
                return await _problem(request, error)
            except RequestValidationError as error:
                return await _validation(request, error)
            except StorageFailed as error:
                return await _storage(request, error)
            except (CheckpointRefused, StoredValueRefused) as error:
                return await _refused(request, error)

        return answer


def install(app: FastAPI) -> None:
    """Makes every error of `app` a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StorageFailed, _storage)
    app.add_exception_handler(CheckpointRefused, _refused)
    app.add_exception_handler(StoredValueRefused, _refused)
    app.add_exception_handler(Exception, _unexpected)


def respond(problem: Problem) -> Response:
    """The problem as an HTTP answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    return Response(
        orjson.dumps(body), problem.status, headers=dict(problem.headers), media_type="application/problem+json"
    )


def _unprocessable(errors: Sequence[ErrorDetails | Mapping[str, Any]]) -> Problem:
    fields = [
        {
            "field": ".".join(str(part) for part in error["loc"]) or "body",
            "message": str(error["msg"]).removeprefix("Value error, "),
        }
        for error in errors
    ]
    first = fields[0]
    return Problem(422, f"{first['field']}: {first['message']}", errors=fields)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    if error.status >= 500:
        _log.warning("request_refused", path=_route_of(request), status=error.status, reason=error.detail)
    return respond(error)


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return respond(_unprocessable([{**each, "loc": each["loc"][1:]} for each in error.errors()]))


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return respond(Problem(error.status_code, str(error.detail), headers=error.headers))


async def _storage(request: Request, error: Exception) -> Response:
    _log.error("storage_failed", path=_route_of(request), reason=str(error))
    return respond(Problem(503, "The server's storage does not answer; try again.", headers={"Retry-After": "5"}))


async def _refused(request: Request, error: Exception) -> Response:
    _log.error("stored_value_refused", path=_route_of(request), reason=str(error))
    return respond(Problem(500, str(error)))


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request_failed", method=request.method, path=_route_of(request), exc_info=error)
    # Answered outside of all middleware.
    headers = {REQUEST_ID: request.state.request_id} if hasattr(request.state, "request_id") else {}
    return respond(Problem(500, "The server met an unexpected error.", headers=headers))


def _route_of(request: Request) -> str | None:
    """The path as it is declared: what a client put in place of its names is not for the log."""
    return getattr(request.scope.get("route"), "path", None)
