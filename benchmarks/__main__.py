"""All benchmarks, one after the other, a JSON line each: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import subprocess
import sys

ALL = (
    "throughput",
    "latency",
    "crowd",
    "replay",
    "first_event",
    "restart",
    "steer",
    "memory",
    "checkpoints",
    "many_ended",
    "encryption",
    "quality",
)


def main() -> int:
    """Each in a process of its own; the exit code is 1 where one failed."""
    failed = [name for name in ALL if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
    for name in failed:
        print(f"error: benchmarks.{name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
