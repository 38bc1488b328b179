"""Reads an event stream with httpx2; prints each event's data as a line."""

import sys

import httpx2

with httpx2.stream(
    "GET", sys.argv[1], headers={"Accept": "text/event-stream"}, timeout=30, trust_env=False
) as response:
    response.raise_for_status()
    for line in response.iter_lines():
        if line.startswith("data: "):
            print(line.removeprefix("data: "), flush=True)
