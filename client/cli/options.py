"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

import typer

from client.requests import RunConfig


def _folder(value: str | Path) -> Path:
    """An empty shell variable must not quietly mean the current folder. Typer also parses the default."""
    if not str(value).strip():
        raise typer.BadParameter("a folder is needed, not an empty name")
    return Path(value).expanduser()


SERVER = "Where the server is found"
RUN = "The run"

Server: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="URL", help="A running server (default: $RESEARCH_SERVER, else what is found).", rich_help_panel=SERVER
    ),
]
Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        parser=_folder,
        metavar="FOLDER",
        help="Data folder of the embedded server (default: $DATA_DIR, the last one, ./data).",
        rich_help_panel=SERVER,
    ),
]
Documents: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        parser=_folder, metavar="FOLDER", help="Your own documents, for an embedded server.", rich_help_panel=SERVER
    ),
]
Files: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--document",
        exists=True,
        dir_okay=False,
        readable=True,
        metavar="FILE",
        help="A document to upload for the run to search; may be given several times.",
        rich_help_panel=RUN,
    ),
]
Embedded: TypeAlias = Annotated[
    bool,
    typer.Option("--embedded", help="A server of the command's own, even if one is running.", rich_help_panel=SERVER),
]
Reports: TypeAlias = Annotated[
    Path, typer.Option(parser=_folder, metavar="FOLDER", help="Where the report is written.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object a line.")]
Detach: TypeAlias = Annotated[bool, typer.Option("--detach", "-d", help="Don't follow the run.")]
Thread: TypeAlias = Annotated[str, typer.Option(metavar="ID", help="The newest run of this thread, not the last one.")]
NewThread: TypeAlias = Annotated[
    str,
    typer.Option("--thread", metavar="ID", help="A thread to start on; without it, a new one.", rich_help_panel=RUN),
]
Invocation: TypeAlias = Annotated[str, typer.Option("--invocation", "-i", metavar="ID", help="This run.")]
Strategy: TypeAlias = Literal["interrupt", "enqueue", "reject", "rollback"]

Phases: TypeAlias = Annotated[int | None, typer.Option(min=1, max=1000, help="Phases.", rich_help_panel=RUN)]
Calls: TypeAlias = Annotated[
    int | None, typer.Option("--calls-per-phase", min=1, max=100, help="Model calls a phase.", rich_help_panel=RUN)
]
Tokens: TypeAlias = Annotated[
    int | None,
    typer.Option("--target-output-tokens", min=16, max=100_000, help="Tokens a call.", rich_help_panel=RUN),
]
IntraRest: TypeAlias = Annotated[
    float | None,
    typer.Option("--intra-phase-cooldown-sec", min=0, max=86_400, help="Rest between calls.", rich_help_panel=RUN),
]
InterRest: TypeAlias = Annotated[
    float | None,
    typer.Option("--inter-phase-cooldown-sec", min=0, max=86_400, help="Rest between phases.", rich_help_panel=RUN),
]
TimeLimit: TypeAlias = Annotated[
    float | None, typer.Option("--run-timeout-sec", help="Time that the run may take.", rich_help_panel=RUN)
]
Budget: TypeAlias = Annotated[
    int | None, typer.Option("--token-budget", min=100, help="Tokens that it may cost.", rich_help_panel=RUN)
]
Model: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="offline, or openai:<name>.", rich_help_panel=RUN)
]


def config_of(
    phases: int | None,
    calls: int | None,
    tokens: int | None,
    model: str | None,
    intra: float | None,
    inter: float | None,
    time_limit: float | None,
    budget: int | None,
) -> RunConfig:
    """What was given of the turn's configuration."""
    given = {
        "phases": phases,
        "calls_per_phase": calls,
        "target_output_tokens": tokens,
        "model": model,
        "intra_phase_cooldown_sec": intra,
        "inter_phase_cooldown_sec": inter,
        "run_timeout_sec": time_limit,
        "token_budget": budget,
    }
    return cast(RunConfig, {name: value for name, value in given.items() if value is not None})
