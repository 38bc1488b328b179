"""The command: `python -m tests.fuzz --cases 100000`. One JSON line; exit code 1 where a case failed."""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.fuzz.fuzz import fuzz_requests, fuzz_streams


def main() -> int:
    """Three of four cases are requests, the rest streams."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked, began = parser.parse_args(), time.monotonic()
    figures = {"fuzz": "requests and streams", "seed": asked.seed, "cases": asked.cases}
    try:
        statuses = fuzz_requests(asked.cases * 3 // 4, asked.seed)
        fuzz_streams(asked.cases - asked.cases * 3 // 4, asked.seed)
    except AssertionError as error:
        print(error, file=sys.stderr)
        print(json.dumps({**figures, "verdict": "failed"}))
        return 1
    seconds = round(time.monotonic() - began)
    print(json.dumps({**figures, "seconds": seconds, "statuses": dict(sorted(statuses.items())), "verdict": "kept"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
