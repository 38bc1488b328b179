"""The routes by which an orchestrator asks how a process is: all that one has which takes no other requests."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from server.measured import scraped
from server.problems import Problem, ProblemRoute
from server.services import Parts, Services

router = APIRouter(route_class=ProblemRoute)


@router.get("/liveness")
async def liveness() -> dict[str, str]:
    """The process is up; touches no database."""
    return {"status": "alive"}


@router.get("/readiness")
async def readiness(parts: Parts) -> dict[str, str]:
    """Ready to take work: a write reaches the disk, and the process is not about to end."""
    check_open(parts)
    await parts.store.probe()
    return {"status": "ready"}


@router.get("/metrics")
async def metrics(request: Request, parts: Parts) -> Response:
    """What this process counts and measures, for Prometheus."""
    text, media_type = await scraped(parts, request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type})


def check_open(parts: Services) -> None:
    """Raises `Problem` 503 where the process is about to end."""
    if parts.lifecycle.phase == "draining":
        raise Problem(503, "The server is about to end and takes no new work.", headers={"Retry-After": "5"})
