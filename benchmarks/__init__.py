"""Measurements, each a program that prints one JSON line: `python -m benchmarks.restart`."""
