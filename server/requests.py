"""What clients send: bodies, names, positions, and the media type they want back."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from graph.context import ModelName, Role
from server.bodies import read_body
from server.problems import Problem, invalid

if TYPE_CHECKING:
    from fastapi import Request

MAX_BODY_BYTES: Final = 256 * 1024
MAX_MESSAGE: Final = 32_000
MAX_DEPTH: Final = 32
NAME: Final = r"[A-Za-z0-9_.:-]{1,128}"
DOCUMENT_ID: Final = r"doc_[0-9a-f]{32}"

Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
# To JSON 3 and 3.0 are the same number.
_whole = BeforeValidator(lambda value: int(value) if isinstance(value, float) and value % 1 == 0 else value)
Whole = Annotated[int, _whole]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


# What `RunConfig` checks by itself, to say one sentence for both.
_PHASES: Final[list[Any]] = [
    {"type": "integer", "minimum": 1, "maximum": 1000},
    {
        "type": "array",
        "minItems": 1,
        "maxItems": 1000,
        "items": {"type": "string", "pattern": r"\S", "minLength": 1, "maxLength": 200},
    },
    {"type": "null"},
]
_DOCUMENTS: Final[list[Any]] = [
    {"type": "array", "maxItems": 50, "items": {"type": "string", "pattern": f"^{DOCUMENT_ID}$"}},
    {"type": "null"},
]
Body = TypeVar("Body", bound=BaseModel)


class RunConfig(BaseModel):
    """Settings of one turn; what is left out is the server's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    phases: Annotated[
        Whole | list[Title] | None,
        Field(
            description="How many phases, or the titles of your own (at most 1,000).",
            json_schema_extra={"anyOf": _PHASES},
        ),
    ] = None
    calls_per_phase: Annotated[int, Field(ge=1, le=100), _whole] | None = None
    target_output_tokens: Annotated[int, Field(ge=16, le=100_000), _whole] | None = None
    intra_phase_cooldown_sec: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] | None = None
    inter_phase_cooldown_sec: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] | None = None
    run_timeout_sec: Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)] | None = None
    token_budget: Annotated[int, Field(ge=100, le=1_000_000_000), _whole] | None = None
    model: Annotated[ModelName | None, Field(description="The model of every role that `models` does not name.")] = None
    models: Annotated[dict[Role, ModelName] | None, Field(description="Models by role.")] = None
    documents: Annotated[
        list[str] | None,
        Field(
            max_length=50,
            description="Uploaded documents to search besides; left out, those of the thread's last turn.",
            json_schema_extra={"anyOf": _DOCUMENTS},
        ),
    ] = None

    @field_validator("phases")
    @classmethod
    def _phases_in_range(cls, phases: int | list[str] | None) -> int | list[str] | None:
        number = len(phases) if isinstance(phases, list) else phases
        if number is not None and not 1 <= number <= 1000:
            raise ValueError("must be a number from 1 to 1000, or a list of 1 to 1000 titles")
        return phases

    @field_validator("documents")
    @classmethod
    def _document_ids(cls, documents: list[str] | None) -> list[str] | None:
        if any(re.fullmatch(DOCUMENT_ID, document) is None for document in documents or []):
            raise ValueError("must be ids of documents: doc_ and 32 of the characters 0-9 a-f")
        return documents and list(dict.fromkeys(documents))


def _says_what(schema: dict[str, Any]) -> None:
    """`message` or `topic` has to be there, and not blank: the model leaves that to `read_start`."""
    said = {"type": "string", "pattern": r"\S", "maxLength": MAX_MESSAGE}
    schema["anyOf"] = [{"required": [name], "properties": {name: said}} for name in ("message", "topic")]


class StartRequest(BaseModel):
    """The body of `POST /invocations`."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_says_what)

    message: Annotated[str, Field(max_length=MAX_MESSAGE, description="What to research.")] | None = None
    topic: Annotated[str, Field(max_length=MAX_MESSAGE, description="Another name for `message`.")] | None = None
    thread_id: Name | None = None
    multitask_strategy: Literal["interrupt", "enqueue", "reject", "rollback"] = "interrupt"
    steering: Literal["new_topic", "guidance"] = "new_topic"
    config: RunConfig = RunConfig()
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("metadata")
    @classmethod
    def _plain(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        _check_plain(metadata, MAX_DEPTH)
        return metadata

    @property
    def text(self) -> str:
        """What was said, without the blanks around it. A NUL, which PostgreSQL's text cannot hold, becomes U+FFFD."""
        return (self.message or self.topic or "").replace("\0", "\ufffd").strip()


class CancelRequest(BaseModel):
    """The body of a cancel, which may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    mode: Literal["checkpoint", "now"] = "checkpoint"


async def read_cancel(request: Request) -> CancelRequest:
    """The body of a cancel. Raises `Problem` as `read_start` does."""
    return await _read(request, CancelRequest, empty={})


async def read_start(request: Request) -> StartRequest:
    """The body of a start. Raises `Problem`: 400 for no JSON, 413 for too much, 422 for what does not fit."""
    body = await _read(request, StartRequest)
    if not body.text:
        message = "is missing or blank: say what to research"
        raise Problem(422, f"message: {message}", errors=[{"field": "message", "message": message}])
    return body


async def _read(request: Request, model: type[Body], *, empty: Any = None) -> Body:
    body = await read_json(request, empty=empty)
    if not isinstance(body, dict):
        raise Problem(422, "The body must be a JSON object.", errors=[{"field": "body", "message": "not an object"}])
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from error


async def read_json(request: Request, *, empty: Any = None) -> Any:
    """The JSON body of a request, read no further than 256 KiB; `empty` stands for no body, where that is allowed."""
    body = await read_body(request, most=MAX_BODY_BYTES, too_large=f"The body is larger than {MAX_BODY_BYTES} bytes.")
    if not body and empty is not None:
        return empty
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The body is not JSON.") from error
    _check_text(value)
    return value


def _check_plain(value: object, depth: int) -> None:
    """Raises `ValueError` for what could be stored, but not be written as JSON again."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
        for item in value.values() if isinstance(value, dict) else value:
            _check_plain(item, depth - 1)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_text(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise Problem(
            422, "The body is nested too deeply.", errors=[{"field": "body", "message": "too deep"}]
        ) from error
    except UnicodeEncodeError as error:
        raise Problem(
            422, "The body holds a lone surrogate.", errors=[{"field": "body", "message": "lone surrogate"}]
        ) from error


def checked_name(value: str, field: str) -> str:
    """`value` where it may name a thread or an invocation. Raises `Problem` 422."""
    if re.fullmatch(NAME, value) is None:
        message = "must be 1 to 128 of the characters A-Z a-z 0-9 _ . : -"
        raise Problem(422, f"{field}: {message}", errors=[{"field": field, "message": message}])
    return value


def position_of(request: Request) -> int:
    """The number behind which a reader wants to go on: `?last_event_id`, else `Last-Event-ID`, else 0."""
    value = request.query_params.get("last_event_id", request.headers.get("last-event-id"))
    if value is None:
        return 0
    if re.fullmatch(r"[0-9]+", value) is None:
        message = "must be a whole number from 0"
        raise Problem(422, f"last_event_id: {message}", errors=[{"field": "last_event_id", "message": message}])
    return int(value) if len(value) <= 18 else 10**18


def prefers(request: Request, wanted: str, *, over: str) -> bool:
    """Whether the client's `Accept` puts media type `wanted` above `over` (RFC 9110, 12.5.1)."""
    accept = ",".join(request.headers.getlist("accept"))
    return _quality(accept, wanted) > _quality(accept, over)


def _quality(accept: str, media_type: str) -> float:
    ranges: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        ranges.setdefault(name, quality)
    for name in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0
