"""The commands that look at runs, at the set-up, and at what the server survives."""

from __future__ import annotations

from typing import Annotated

import typer

from client.cli import options
from client.cli.place import Place, Reached
from client.cli.session import Session
from client.cli.view import write_json

app = typer.Typer()


@app.command()
def status(
    invocation: options.Invocation = "",
    thread: options.Thread = "",
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """Show where a run stands."""
    session = Session.of_process()
    with session.meant(Place(server, data), invocation, thread) as (found, meant):
        show(session, found, meant.invocation_id, as_json)


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    thread: Annotated[str, typer.Option(metavar="ID", help="Only those of this thread.")] = "",
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """List the runs of the server, newest first."""
    from client.cli.tables import runs_table

    session = Session.of_process()
    with session.reach(Place(server, data), tell=session.say) as found:
        runs = found.client.list(thread_id=thread or None, limit=limit)
    if as_json:
        for each in runs:
            write_json(session.out, each.fields)
    elif runs:
        session.print(runs_table(runs))
    else:
        session.say("No runs yet: start one with `research run TOPIC`.")


@app.command()
def report(
    invocation: options.Invocation = "",
    thread: options.Thread = "",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Into this file.")] = "",
    as_json: options.Json = False,
    server: options.Server = "",
    data: options.Data = None,
) -> None:
    """Print the report as Markdown; of a run under way what there is so far. A terminal shows it set."""
    from client.cli.tables import print_report

    session = Session.of_process()
    with session.meant(Place(server, data), invocation, thread) as (found, meant):
        text = found.client.report(meant.invocation_id)
    print_report(session, text, output, as_json)


@app.command("open")
def open_page(invocation: options.Invocation = "", thread: options.Thread = "", server: options.Server = "") -> None:
    """Open the run's page of a running server in the browser, and print its address."""
    import webbrowser

    session = Session.of_process()
    with session.meant(Place(server), invocation, thread, may_embed=False) as (found, meant):
        address = f"{found.client.url}/#/runs/{meant.invocation_id}"
    session.print(address)
    if not webbrowser.open(address):
        session.say("No browser could be opened: open the address yourself.")


@app.command()
def crash(server: options.Server = "", data: options.Data = None) -> None:
    """For demonstrations: kill -9 the server, an embedded one or one with DEMO_MODE=1."""
    from client.cli.crash import kill_server

    session = Session.of_process()
    session.say(kill_server(Place(server, data), session))


@app.command()
def doctor(server: options.Server = "", data: options.Data = None, as_json: options.Json = False) -> None:
    """Check the set-up, and say what to do about what is wrong."""
    from client.cli.doctor import examine

    session = Session.of_process()
    raise typer.Exit(examine(Place(server, data), session, as_json=as_json))


@app.command()
def demo() -> None:
    """The whole story on one screen: start, kill -9, restart, resume, steer, report, and each promise checked."""
    from client.cli.demo import tell_story

    raise typer.Exit(tell_story(Session.of_process()))


def show(session: Session, found: Reached, invocation_id: str, as_json: bool) -> None:
    """The run's record on stdout."""
    from client.cli.tables import run_lines

    invocation = found.client.get(invocation_id)
    if as_json:
        write_json(session.out, invocation.fields)
    else:
        session.print(run_lines(invocation))
