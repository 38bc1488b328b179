"""Which server the command talks to: a named one, one that is found running, or an embedded one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.cli.embedded import Embedded, lock_holder, running_at
from client.cli.errors import NoServer
from client.cli.memory import Last
from client.cli.probe import answers
from client.cli.report_file import check_readable, check_writable
from client.sync_client import ResearchClient

DEFAULT_PORT = "8088"


@dataclass(frozen=True)
class Place:
    """What the options say. `data` and `documents` mean this machine; `embedded`: a server of the command's own."""

    server: str = ""
    data: Path | None = None
    documents: Path | None = None
    embedded: bool = False


@dataclass(frozen=True)
class Reached:
    """A server that answers. `last` says how to find it again; `embedded` is None where it is not this command's."""

    client: ResearchClient
    last: Last
    embedded: Embedded | None

    @property
    def ends_with_us(self) -> bool:
        return self.embedded is not None and self.embedded.owned


@contextmanager
def reached(
    place: Place,
    last: Last,
    environ: Mapping[str, str],
    tell: Callable[[str], object],
    *,
    new: bool = False,
    may_embed: bool = True,
) -> Iterator[Reached]:
    """The server that the options, the last run and this machine lead to. Raises `NoServer`, `FolderUnusable`."""
    url = running_server(place, last, environ)
    if url is not None:
        with ResearchClient(url, sleep=time.sleep) as client:
            yield Reached(client, Last(server=url), None)
        return
    data, documents = _folders(place, last, environ)
    _check(data, documents, new=new, may_embed=may_embed)
    found = Last(data=str(data.resolve()), documents=str(documents.resolve()) if documents else "")
    with (
        Embedded(data, documents, environ, tell) as embedded,
        ResearchClient(embedded.url, sleep=embedded.pause, give_up_after_sec=None) as client,
    ):
        yield Reached(client, found, embedded)


def running_server(place: Place, last: Last, environ: Mapping[str, str]) -> str | None:
    """The address of a server that is not the command's own; None where an embedded one is meant.

    Raises `NoServer` where the one that was named does not answer.
    """
    named = (place.server or environ.get("RESEARCH_SERVER", "")).rstrip("/")
    if place.embedded or (not place.server and (place.data or place.documents)):
        return None
    if named:
        if not answers(named):
            raise NoServer(f"No research server answers at {named}.")
        return named
    remembered = last.server
    if remembered and answers(remembered):
        return remembered
    usual = f"http://127.0.0.1:{environ.get('PORT') or DEFAULT_PORT}"
    # Of a remembered data folder it can only be the server if somebody has the folder's lock.
    possible = not last.data or lock_holder(Path(last.data)) is not None
    return usual if possible and not (last.data and running_at(Path(last.data))) and answers(usual) else None


def _folders(place: Place, last: Last, environ: Mapping[str, str]) -> tuple[Path, Path | None]:
    remembered = place.data is None and not environ.get("DATA_DIR") and bool(last.data)
    data = Path(last.data) if remembered else place.data or Path(environ.get("DATA_DIR") or "data")
    documents = place.documents or (Path(last.documents) if remembered and last.documents else None)
    return data, documents


def _check(data: Path, documents: Path | None, *, new: bool, may_embed: bool) -> None:
    """Before a server is worth starting."""
    if not may_embed and running_at(data) is None:
        raise NoServer("No server answers: start one with `make serve`, or use `research run`, which brings its own.")
    if not new and not (data / "server.sqlite").exists():
        raise NoServer(f"No server answers, and {data} holds no runs: start one with `research run`.")
    if documents is not None:
        check_readable(documents, "documents")
    check_writable(data, "data")
