"""Reads an event stream with requests; prints each event's data as a line."""

import sys

import requests

with requests.Session() as session:
    session.trust_env = False
    with session.get(sys.argv[1], stream=True, timeout=30) as response:
        response.raise_for_status()
        for line in response.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                print(line.removeprefix(b"data: ").decode(), flush=True)
