"""The web page at `/`, that of the API at `/docs`: their files, and what the page alone asks the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from graph.search.setup import search_names
from server import report_routes
from server.access import owner
from server.asked import server_defaults
from server.problems import Problem
from server.rendering import html_of
from server.requests import RunConfig, read_json
from server.services import Parts, Services
from server.settings import Settings

FOLDER: Final = Path(__file__).parent / "web"

# Scripts and styles from the server's own files alone. Trusted Types: in a browser that has them, markup can come only
# through the page's one policy, which is for what `html_of` made.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types sanitized",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Asked for each time, and answered 304 while it is the same: a newer server brings a newer page at once.
    "Cache-Control": "no-cache",
}
# Swagger UI writes styles and pictures into its page itself.
API_DOCS_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
}
# A fragment is for the page's script; opened by itself it may do nothing at all.
FRAGMENT_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

router = APIRouter(include_in_schema=False)


class PageFiles(StaticFiles):
    """The page's files with its headers, validated by `ETag`."""

    def file_response(self, *args: Any, **options: Any) -> Response:  # Any: handed on as they are
        response = super().file_response(*args, **options)
        response.headers.update(HEADERS)
        return response


_FILES: Final = PageFiles(directory=FOLDER)
# Only the files of Swagger UI are of interest; the package's code is not loaded.
_SWAGGER: Final = PageFiles(packages=[("fastapi_offline", "static")])


def install(app: FastAPI) -> None:
    """Adds the page to `app`, behind its other routes."""
    app.include_router(router)
    app.mount("/web/swagger", _SWAGGER, name="swagger")
    app.mount("/web", _FILES, name="web")


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page."""
    return await _FILES.get_response("index.html", request.scope)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def api_docs(request: Request) -> Response:
    """The page of the API: what `/openapi.json` says, for people."""
    response = await _FILES.get_response("api_docs.html", request.scope)
    response.headers.update(API_DOCS_HEADERS)
    return response


@router.get("/web/settings")
async def settings(parts: Parts) -> dict[str, Any]:
    """What the form shows: the server's defaults for a turn, and what it searches."""
    return {
        "defaults": server_defaults(parts.settings) | {"phases": parts.settings.num_phases},
        "limits": _limits(),
        "searches": search_names(parts.settings.search),
        "documents": _documents(parts.settings),
        "server": {"demo_mode": parts.settings.demo_mode},
    }


@router.get("/web/invocations/{invocation_id}/report")
async def report(invocation_id: str, request: Request, parts: Parts) -> Response:
    """The report as a fragment of safe HTML."""
    markdown = await report_routes.report(invocation_id, request, parts, "markdown")
    return await _fragment(bytes(markdown.body).decode(), request, parts)


@router.post("/web/render")
async def render(request: Request, parts: Parts) -> Response:
    """The text of a model call as a fragment of safe HTML."""
    body = await read_json(request)
    markdown = body.get("markdown") if isinstance(body, dict) else None
    if not isinstance(markdown, str):
        message = "must be text"
        raise Problem(422, f"markdown: {message}", errors=[{"field": "markdown", "message": message}])
    return await _fragment(markdown, request, parts)


def _limits() -> dict[str, dict[str, Any]]:
    """Of the numbers of a run's configuration: `minimum` or what it must be `above`, `maximum`, whether `whole`."""
    limits = {}
    for name, schema in RunConfig.model_json_schema()["properties"].items():
        number = schema.get("anyOf", [{}])[0]
        if number.get("type") in ("integer", "number"):
            told = {
                "minimum": number.get("minimum"),
                "above": number.get("exclusiveMinimum"),
                "maximum": number["maximum"],
            }
            limits[name] = {key: value for key, value in told.items() if value is not None}
            limits[name]["whole"] = number["type"] == "integer"
    return limits


def _documents(settings: Settings) -> dict[str, str]:
    if settings.documents_dir is None:
        return {"kind": "shipped", "name": ""}
    return {"kind": "folder", "name": settings.documents_dir.resolve().name}


async def _fragment(markdown: str, request: Request, parts: Services) -> Response:
    html = await parts.makers.made(owner(request), lambda: html_of(markdown))
    return Response(html, media_type="text/html; charset=utf-8", headers=FRAGMENT_HEADERS)
