"""The command `research`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import httpx2
import typer

from client.cli import looking, options
from client.cli.following import EXIT_ERROR, EXIT_INTERRUPTED, Followed, follow_to_end
from client.cli.place import Place, Reached
from client.cli.session import Session
from client.cli.uploads import with_uploads
from client.cli.view import write_json
from client.errors import ClientError
from client.fields import printable
from client.records import Started
from client.requests import RunConfig

DEFAULT_TOPIC = "How can a long-running research agent survive crashes without losing work?"
REPORTS = Path("reports")

HELP = """Research a topic with an agent that never loses work.

Progress goes to stderr, results to stdout. Ctrl-C detaches from a run; `research attach` comes back to it.

Exit codes: 0 completed, 1 failed, 2 could not be done, 3 cancelled, 4 timed out, 5 superseded, 130 detached.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help=f"What to research. Default: {DEFAULT_TOPIC}")] = "",
    reports: options.Reports = REPORTS,
    as_json: options.Json = False,
    thread: options.NewThread = "",
    phases: options.Phases = None,
    calls: options.Calls = None,
    tokens: options.Tokens = None,
    model: options.Model = None,
    intra: options.IntraRest = None,
    inter: options.InterRest = None,
    time_limit: options.TimeLimit = None,
    budget: options.Budget = None,
    files: options.Files = None,
    server: options.Server = "",
    data: options.Data = None,
    documents: options.Documents = None,
    embedded: options.Embedded = False,
) -> None:
    """Research a topic, follow it to its end, write the report and print its path.

    Without a running server it brings its own, which it starts again if it crashes.
    """
    config = options.config_of(phases, calls, tokens, model, intra, inter, time_limit, budget)
    place, session = Place(server, data, documents, embedded), Session.of_process()
    raise typer.Exit(_run(session, place, topic_of(topic), thread, config, files or [], Followed(reports, as_json)))


@app.command()
def start(
    topic: Annotated[str, typer.Argument(help="What to research.")],
    as_json: options.Json = False,
    thread: options.NewThread = "",
    phases: options.Phases = None,
    calls: options.Calls = None,
    tokens: options.Tokens = None,
    model: options.Model = None,
    intra: options.IntraRest = None,
    inter: options.InterRest = None,
    time_limit: options.TimeLimit = None,
    budget: options.Budget = None,
    files: options.Files = None,
    server: options.Server = "",
) -> None:
    """Start a run on a running server and print its id, without following it."""
    config = options.config_of(phases, calls, tokens, model, intra, inter, time_limit, budget)
    session = Session.of_process()
    with session.reach(Place(server), tell=session.say, new=True, may_embed=False) as found:
        config = with_uploads(found, config, files or [], session.say)
        started = found.client.start(topic_of(topic), thread_id=thread or None, config=config or None)
        session.remember(found, started.invocation_id, started.thread_id)
        _print_started(session, started, as_json)


@app.command()
def attach(
    invocation: options.Invocation = "",
    thread: options.Thread = "",
    reports: options.Reports = REPORTS,
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """Come back to a run: its events from the start, then live, and its report at the end."""
    session = Session.of_process()
    view = session.view(as_json=as_json)
    with closing(view), session.meant(Place(server, data), invocation, thread, tell=view.say) as (found, meant):
        session.remember(found, meant.invocation_id, meant.thread_id)
        code = follow_to_end(session, found, meant.invocation_id, Followed(reports, as_json), view)
    raise typer.Exit(code)


@app.command()
def steer(
    message: Annotated[str, typer.Argument(help="What the run is to do from now on.")],
    new_topic: Annotated[
        bool, typer.Option("--new-topic", help="Start over with this topic, instead of guidance on the same one.")
    ] = False,
    strategy: Annotated[
        options.Strategy,
        typer.Option(
            help="What the run under way does: stop at its next checkpoint, go on to its end first, refuse, "
            "or be put back."
        ),
    ] = "interrupt",
    detach: options.Detach = False,
    invocation: options.Invocation = "",
    thread: options.Thread = "",
    reports: options.Reports = REPORTS,
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """Give a run a new direction, and follow it."""
    session = Session.of_process()
    with session.meant(Place(server, data), invocation, thread, may_embed=not detach) as (found, meant):
        started = found.client.steer(
            meant.thread_id,
            message,
            steering="new_topic" if new_topic else "guidance",
            multitask_strategy=strategy,
        )
        code = _go_on(session, found, started, detach, Followed(reports, as_json))
    raise typer.Exit(code)


@app.command()
def cancel(
    now: Annotated[bool, typer.Option("--now", help="Break the model call off, instead of waiting for it.")] = False,
    invocation: options.Invocation = "",
    thread: options.Thread = "",
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """Stop a run; what it has stays as a partial report, and `research resume` goes on with it."""
    session = Session.of_process()
    with session.meant(Place(server, data), invocation, thread) as (found, meant):
        cancelled = found.client.cancel(meant.invocation_id, now=now)
        for _ in found.client.follow(meant.invocation_id, last_event_id=cancelled.last_event_id):
            pass
        looking.show(session, found, meant.invocation_id, as_json)


@app.command()
def resume(
    detach: options.Detach = False,
    invocation: options.Invocation = "",
    thread: options.Thread = "",
    reports: options.Reports = REPORTS,
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """Go on where a run stopped that failed, was cancelled or timed out, and follow it."""
    session = Session.of_process()
    with session.meant(Place(server, data), invocation, thread, may_embed=not detach) as (found, meant):
        started = found.client.resume(meant.invocation_id)
        code = _go_on(session, found, started, detach, Followed(reports, as_json))
    raise typer.Exit(code)


app.add_typer(looking.app)


def main() -> NoReturn:
    """Runs the command; a broken set-up is one sentence on stderr."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Like Ctrl-C, so that an embedded server goes too; under nohup, SIGHUP stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        app(prog_name="research")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(EXIT_ERROR)
    except (ClientError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error.strerror}: {error.filename}" if error.filename else str(error)
    print(printable(sentence), file=sys.stderr)  # noqa: T201
    sys.exit(EXIT_ERROR)


def topic_of(given: str) -> str:
    """The default where none or a blank one is given. A byte that was not UTF-8 on the command line becomes `?`."""
    return given.encode("utf-8", "replace").decode().strip() or DEFAULT_TOPIC


def _run(
    session: Session, place: Place, topic: str, thread: str, config: RunConfig, files: Sequence[Path], how: Followed
) -> int:
    from client.cli.report_file import check_writable

    check_writable(how.reports, "reports")
    view = session.view(as_json=how.as_json)
    with closing(view), session.reach(place, tell=view.say, new=True) as found:
        config = with_uploads(found, config, files, view.say)
        started = found.client.start(topic, thread_id=thread or None, config=config or None)
        session.remember(found, started.invocation_id, started.thread_id)
        return follow_to_end(session, found, started.invocation_id, how, view)


def _go_on(session: Session, found: Reached, started: Started, detach: bool, how: Followed) -> int:
    session.remember(found, started.invocation_id, started.thread_id)
    if detach:
        _print_started(session, started, how.as_json)
        return 0
    view = session.view(as_json=how.as_json)
    with closing(view):
        return follow_to_end(session, found, started.invocation_id, how, view)


def _print_started(session: Session, started: Started, as_json: bool) -> None:
    if as_json:
        write_json(session.out, started.__dict__)
    else:
        session.print(printable(started.invocation_id))


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
