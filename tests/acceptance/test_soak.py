"""A soak of some seconds: that it runs, checks and measures; what drifts needs longer, and is `make soak`'s."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server_process import Launch
from tests.soak.soak import Soak


def test_a_soak_of_seconds(tmp_path: Path, warm_launch: Launch | None) -> None:
    with Soak(0.12, 1, tmp_path, launch=warm_launch, quiet_sec=0) as soak:
        figures = soak.run()
    assert figures["verdict"] == "kept"
    assert sum(figures["kills"].values()) >= 2
    assert figures["turns"] == figures["counts"]["turns accepted"] > 3
    assert figures["counts"]["model calls"] > figures["turns"]
    assert figures["event_lag_ms"]["p50"] > 0
