"""The command: `python -m tests.soak --minutes 30 --seed 1`. One JSON line; exit code 1: broken or drifted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.soak.leaky_server import LEAKS, command_of
from tests.soak.soak import Soak


def main() -> int:
    # The server and the stub are to end with it, however it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for the databases and the log, left behind")
    parser.add_argument("--leak", choices=LEAKS, help="plants a leak in the server: the soak must find it")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        command = command_of(asked.leak) if asked.leak else ()
        figures = stack.enter_context(Soak(asked.minutes, asked.seed, folder, command=command)).run()
    print(json.dumps(figures))
    return 0 if figures["verdict"] == "kept" else 1


if __name__ == "__main__":
    sys.exit(main())
