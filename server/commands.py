"""The commands of `python -m server` besides serving: `keys`, `backup`, `restore`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from server.settings import SettingsInvalid, read_settings

COMMANDS: Final = ("keys", "backup", "restore")
HELP: Final = "keys add|list|revoke: the API keys in DATA_DIR; backup TARGET, restore SOURCE: what DATA_DIR holds"


def run(command: str, arguments: Sequence[str]) -> int:
    """The exit code: 0, or 2 with a sentence on stderr."""
    try:
        settings = read_settings()
    except SettingsInvalid as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if command == "keys":
        from server import key_commands

        return key_commands.main(arguments, settings)
    from server import backup_commands

    return backup_commands.main(command, arguments, settings)
