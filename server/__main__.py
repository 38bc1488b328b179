"""`python -m server`: reads the settings, takes the folder and the port, and serves until it is told to stop."""

from __future__ import annotations

import time

BEGAN = time.monotonic()

import argparse  # noqa: E402
import errno  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from contextlib import AbstractContextManager, nullcontext  # noqa: E402

from server import commands  # noqa: E402
from server.data_folder import DataFolder, DataFolderUnusable  # noqa: E402
from server.database import DatabaseUnusable  # noqa: E402
from server.keys import KeysUnusable  # noqa: E402
from server.settings import Settings, SettingsInvalid, describe_settings, read_settings  # noqa: E402


class AddressUnusable(Exception):
    """The address cannot be listened on; the message says why."""


def main() -> int:
    """Serves; the exit code is 0 after a signal, 2 where the set-up is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="The Resilient Research Agent's server. Its settings are environment variables.",
        epilog="settings [default]:\n" + describe_settings(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--role", choices=("all", "api", "worker"), help="what this process does; comes before ROLE")
    parser.add_argument("command", nargs="?", choices=commands.COMMANDS, help=commands.HELP)
    if sys.argv[1:2] and sys.argv[1] in commands.COMMANDS:
        return commands.run(sys.argv[1], sys.argv[2:])
    asked = {name: value for name, value in vars(parser.parse_args()).items() if value and name != "command"}
    # Until the server has a handler of its own there is nothing to wind down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = read_settings(**asked)
        with _folder(settings) as folder, _listening(settings) as listener:
            _serve(settings, folder, listener)
    except (SettingsInvalid, DataFolderUnusable, DatabaseUnusable, KeysUnusable, AddressUnusable) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _folder(settings: Settings) -> AbstractContextManager[DataFolder | None]:
    """Where everything is kept, if not in a database that others share."""
    return DataFolder(settings.data_dir) if settings.database_url is None else nullcontext()


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's delay off: without it each short answer waits some 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        at_fault = "HOST" if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL else "PORT"
        raise AddressUnusable(
            f"{at_fault}: {settings.host}:{settings.port} cannot be used ({error.strerror})."
        ) from error
    return listener


def _serve(settings: Settings, folder: DataFolder | None, listener: socket.socket) -> None:
    from server import logs
    from server.descriptors import take_descriptors
    from server.serving import serve

    logs.configure(settings.log_level, settings.log_format)
    take_descriptors()
    if folder is None:
        from server.postgres.services import open_shared_services

        services = open_shared_services(settings, began=BEGAN)
    else:
        from server.services import open_services

        services = open_services(settings, folder, began=BEGAN)
    serve(services, listener)


if __name__ == "__main__":
    sys.exit(main())
