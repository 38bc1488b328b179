"""`python -m server.probe liveness`: asks the server of this container, for its healthcheck; exit code 1 says no.

Imports nothing but the standard library: it is started every few seconds.
"""

from __future__ import annotations

import os
import sys
import urllib.request

TIMEOUT_SEC = 2


def main() -> int:
    """0 where the route that is named answers 200."""
    (route,) = sys.argv[1:]
    port = os.environ.get("PORT") or "8088"
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/{route}", timeout=TIMEOUT_SEC).close()
    except OSError as error:
        print(f"{route}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
