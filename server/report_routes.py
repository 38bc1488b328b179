"""The routes of reports, and the record of an invocation with all that it cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from graph.usage import breakdown
from server.access import owner
from server.incoming import concerns
from server.invocation import Invocation
from server.owners import owned, owner_of, public
from server.problems import Problem, ProblemRoute
from server.records import record_of
from server.report_store import StoredReport
from server.requests import NAME
from server.runner import context_of
from server.services import Parts, Services
from server.status import Status

if TYPE_CHECKING:
    from graph.report import Report

router = APIRouter(route_class=ProblemRoute)

Format = Literal["markdown", "json", "html", "pdf", "docx"]
_MEDIA = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


@router.get("/invocations/{invocation_id}/report")
async def report(
    invocation_id: str, request: Request, parts: Parts, format: Annotated[Format, Query()] = "markdown"
) -> Response:
    """The report; of an unfinished turn what is there so far, and it says so."""
    invocation = await known_invocation(invocation_id, request, parts)
    stored = await parts.reports.of(invocation) or await _report_so_far(invocation, parts)
    if stored is None:
        raise Problem(404, "This turn has no report: it has no findings yet, or ended without any.")
    if format == "json":
        partial = invocation.status is not Status.COMPLETED
        told = {"invocation_id": public(invocation.id), "partial": partial, "markdown": stored.markdown}
        return JSONResponse(told | {"report": stored.document})
    if format == "html":
        return await _html(invocation, stored, parts)
    if format in ("pdf", "docx"):
        return await _file(invocation, stored, format, parts)
    # A browser must not take what a model wrote for HTML.
    headers = {"X-Content-Type-Options": "nosniff"}
    return Response(stored.markdown, media_type="text/markdown; charset=utf-8", headers=headers)


async def known_invocation(invocation_id: str, request: Request, parts: Services) -> Invocation:
    """The asking key's invocation of that id. Raises `Problem` 404, `StoredValueRefused`."""
    # With a slash in it, it would be the server's own name for it.
    known = re.fullmatch(NAME, invocation_id) is not None
    invocation = await parts.store.get(owned(owner(request), invocation_id)) if known else None
    if invocation is None:
        raise unknown_invocation()
    concerns(invocation)
    invocation.check_readable()
    return invocation


def unknown_invocation() -> Problem:
    """The answer to who asks for an invocation that is not there, or not his."""
    return Problem(404, "No invocation of this id has been seen.")


async def whole_record(invocation: Invocation, parts: Services) -> dict[str, Any]:
    """The record with the report, and with what the turn cost by role, phase and model."""
    stored = await parts.reports.of(invocation)
    record = record_of(invocation, stored.markdown if stored else None)
    spent = breakdown(await parts.reports.spent(invocation), parts.engine.prices)
    return record | {"usage": spent | record["usage"]}


async def _html(invocation: Invocation, stored: StoredReport, parts: Services) -> Response:
    from server.report_html import content_security_policy, html_of_markdown, html_report

    document = stored.document
    text = await parts.makers.made(
        owner_of(invocation.id),
        lambda: html_report(document) if document else html_of_markdown(invocation.topic, stored.markdown),
    )
    headers = {
        "Content-Security-Policy": content_security_policy(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(text, headers=headers)


async def _file(
    invocation: Invocation, stored: StoredReport, kind: Literal["pdf", "docx"], parts: Services
) -> Response:
    from server.report_files import FormatMissing, docx_of, pdf_of

    document = stored.document
    if document is None:
        raise Problem(409, "This report was written by an earlier version: it is there as Markdown and HTML only.")
    try:
        make = pdf_of if kind == "pdf" else docx_of
        content = await parts.makers.made(owner_of(invocation.id), lambda: make(document))
    except FormatMissing as error:
        raise Problem(501, str(error)) from error
    name = f"report-{public(invocation.id).replace(':', '-')}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=_MEDIA[kind], headers=headers)


async def _report_so_far(invocation: Invocation, parts: Services) -> StoredReport | None:
    if invocation.status.ended or not invocation.last_event_id:
        return None
    snapshot = await parts.engine.snapshot(invocation.thread_id)
    if (snapshot.metadata or {}).get("run_id") != invocation.id:
        return None
    from graph.report import markdown_of
    from graph.reporting import UNDER_WAY, report_of
    from graph.state import State
    from graph.topic import findings_of_line

    state = cast(State, snapshot.values)
    if not findings_of_line(state):
        return None
    document: Report = report_of(
        state, context_of(invocation), partial=UNDER_WAY, now=parts.now(), prices=parts.engine.prices
    )
    return StoredReport(markdown_of(document), document)
