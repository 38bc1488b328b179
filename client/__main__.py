"""The command line: `python -m client`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import FrameType
from typing import NoReturn

from client.progress import Progress
from client.run import DEFAULT_TOPIC, EXIT_ERROR, RunOptions, run, topic_of
from client.screen import Screen

_RUN_NOTES = """\
Progress goes to stderr; stdout gets only the path of the report. If the server crashes, it is started
again and the run goes on. Ctrl-C stops it; `make serve` continues what is unfinished.

exit codes:
  0  completed     2  could not be run (wrong folder, server did not start, ...)
  1  failed        3  cancelled    4  timed out    5  superseded    130  Ctrl-C

environment:
  All settings of the server are taken from it. NO_COLOR=1 switches colours off.
"""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = _parser(environ)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return EXIT_ERROR
    options = RunOptions(topic_of(arguments.topic), arguments.documents, arguments.reports, arguments.data)
    progress = Progress(Screen(sys.stderr, environ))
    # Unbuffered: nothing is left to be flushed at exit, into a pipe whose reader may have gone.
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as out:
        return run(options, environ=environ, progress=progress, out=out, today=date.today())


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m client", description="The research agent's client.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    command = commands.add_parser(
        "run",
        help="research a topic with a server of its own and write the report",
        description="Researches one topic with a server of its own and writes the report as Markdown.",
        epilog=_RUN_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_arguments(command, environ)
    return parser


def _add_run_arguments(command: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    data = Path(environ.get("DATA_DIR") or "data")
    command.add_argument("topic", metavar="TOPIC", nargs="?", help=f"what to research (default: {DEFAULT_TOPIC})")
    command.add_argument("--documents", metavar="FOLDER", type=_folder, help="your own documents, used as sources")
    command.add_argument(
        "--reports", metavar="FOLDER", type=_folder, default=Path("reports"), help="for the report (default: ./reports)"
    )
    command.add_argument(
        "--data",
        metavar="FOLDER",
        type=_folder,
        default=data,
        help="for checkpoints, events and server.log (default: $DATA_DIR, else ./data)",
    )


def _folder(value: str) -> Path:
    """An empty shell variable must not quietly mean the current folder."""
    if not value.strip():
        raise argparse.ArgumentTypeError("a folder is needed, not an empty name")
    return Path(value).expanduser()


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _stop_like_ctrl_c() -> None:
    """A client that is told to end takes its server with it; under nohup, SIGHUP stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


if __name__ == "__main__":
    _stop_like_ctrl_c()
    sys.exit(main(sys.argv[1:], os.environ))
