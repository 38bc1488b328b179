"""Half an hour of everything at once, to see whether anything drifts: `python -m tests.soak`, or `make soak`."""
