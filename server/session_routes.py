"""Signing in to the page: a key for a cookie that scripts cannot read, so that EventSource works too."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.access import COOKIE, SESSION_SEC, secret_of, session_key, session_value, unauthorized
from server.keys import MAX_LENGTH
from server.problems import Problem, ProblemRoute
from server.requests import read_json
from server.services import Parts

router = APIRouter(route_class=ProblemRoute)


@router.get("/session")
async def session(request: Request, parts: Parts) -> dict[str, object]:
    """Whether a key is needed here, and whose session this is: `{"keys": bool, "key": name or null}`."""
    key = session_key(parts.keys, request.headers.getlist("cookie"), parts.now())
    return {"keys": parts.keys.required, "key": key.name if key else None}


@router.post("/session")
async def sign_in(request: Request, parts: Parts) -> Response:
    """Signs in: `{"key": "…"}`, or the key in a header. 200 and the cookie; 401 for a wrong key."""
    secret = secret_of(request.headers)
    if secret is None:
        body = await read_json(request)
        secret = body.get("key") if isinstance(body, dict) and len(body) == 1 else None
        if not isinstance(secret, str):
            message = "must be text, and the only field"
            raise Problem(422, f"key: {message}", errors=[{"field": "key", "message": message}])
    key = parts.keys.find(secret) if len(secret) <= MAX_LENGTH else None
    if key is None:
        raise unauthorized()
    answer = JSONResponse({"keys": True, "key": key.name})
    _set(request, answer, session_value(key, int(parts.now()) + SESSION_SEC), SESSION_SEC)
    return answer


@router.delete("/session", status_code=204)
async def sign_out(request: Request) -> Response:
    """Signs out: the cookie goes."""
    answer = Response(status_code=204)
    _set(request, answer, "", 0)
    return answer


def _set(request: Request, answer: Response, value: str, seconds: int) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")
    answer.headers["Cache-Control"] = "no-store"
