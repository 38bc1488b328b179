"""The routes of documents: uploaded, listed, deleted. Which runs search them is said when those are started."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from graph.documents.errors import UnreadableError
from server.access import owner
from server.bodies import read_body
from server.document_rows import StoredDocument, TooManyDocuments
from server.health_routes import check_open
from server.owners import owned
from server.problems import Problem, ProblemRoute
from server.requests import DOCUMENT_ID
from server.services import Parts, Services

router = APIRouter(route_class=ProblemRoute)

MAX_DOCUMENT_BYTES: Final = 10 * 1024 * 1024
MAX_NAME: Final = 200

# Line breaks of Unicode, and marks that turn the direction of what follows.
_UNWANTED: Final = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffd/\\")


@router.post("/documents", status_code=201)
async def upload(request: Request, parts: Parts, name: str = "") -> Response:
    """Keeps a document that runs may search; its body is the file as it is. 200 where it is kept already."""
    check_open(parts)
    checked = checked_document_name(name)
    with parts.uploads.one(owner(request)):
        content = await read_document(request)
        try:
            document, new = await parts.documents.add(owner(request), checked, content)
        except UnreadableError as error:
            raise _wrong("body", f"{checked} cannot be used: {error}") from error
        except TooManyDocuments as error:
            raise Problem(409, str(error)) from error
    record = document.record
    headers = {"Location": f"{request.url.path.rstrip('/')}/{record['document_id']}"}
    return JSONResponse(record, 201 if new else 200, headers=headers)


@router.get("/documents")
async def listed(request: Request, parts: Parts) -> dict[str, Any]:
    """All documents of the key, newest first."""
    return {"documents": [document.record for document in await parts.documents.page(owner(request))]}


@router.get("/documents/{document_id}")
async def read(document_id: str, request: Request, parts: Parts) -> dict[str, Any]:
    """The record of a document."""
    return (await _known(document_id, request, parts)).record


@router.delete("/documents/{document_id}", status_code=204)
async def delete(document_id: str, request: Request, parts: Parts) -> Response:
    """Deletes a document. Runs that search it go on without it; what they have found in it stays with them."""
    known = await _known(document_id, request, parts)
    if not await parts.documents.delete(known.id):
        raise _unknown()
    return Response(status_code=204)


def checked_document_name(name: str) -> str:
    """`name` where it is that of a file that can be read. Raises `Problem` 422."""
    from graph.documents.reading import KINDS

    if not 1 <= len(name) <= MAX_NAME:
        raise _wrong("name", f"must be the name of the file, of 1 to {MAX_NAME} characters")
    # What was no UTF-8, or a lone surrogate, is U+FFFD by now.
    if any(character in _UNWANTED or unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise _wrong("name", "must be the name of a file in UTF-8, without slashes and control characters")
    if PurePath(name).suffix.lower() not in KINDS:
        raise _wrong("name", f"must end in one of {' '.join(sorted(KINDS))}")
    return name


async def read_document(request: Request) -> bytes:
    """The body, read no further than `MAX_DOCUMENT_BYTES`. Raises `Problem`: 408, 413, or 422 for none."""
    too_large = f"The document is larger than {MAX_DOCUMENT_BYTES // 1024 // 1024} MiB."
    body = await read_body(request, most=MAX_DOCUMENT_BYTES, too_large=too_large)
    if not body:
        raise _wrong("body", "is empty: send the file as it is")
    return body


async def _known(document_id: str, request: Request, parts: Services) -> StoredDocument:
    if re.fullmatch(DOCUMENT_ID, document_id) is None:
        raise _unknown()
    document = await parts.documents.get(owned(owner(request), document_id))
    if document is None:
        raise _unknown()
    return document


def _unknown() -> Problem:
    return Problem(404, "No document of this id is kept.")


def _wrong(field: str, message: str) -> Problem:
    return Problem(422, f"{field}: {message}", errors=[{"field": field, "message": message}])
