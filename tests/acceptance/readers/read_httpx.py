"""Reads an event stream with httpx; prints each event's data as a line."""

import sys

import httpx

HEADERS = {"Accept": "text/event-stream"}
with httpx.stream("GET", sys.argv[1], headers=HEADERS, timeout=30, trust_env=False) as response:
    response.raise_for_status()
    for line in response.iter_lines():
        if line.startswith("data: "):
            print(line.removeprefix("data: "), flush=True)
