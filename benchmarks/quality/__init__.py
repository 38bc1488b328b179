"""How good reports are: `python -m benchmarks.quality` (docs/quality.md)."""
