"""Under which key an event may stand only once."""

from __future__ import annotations

from typing import Any

import pytest

from graph.events import boundary_key
from tests.unit.good_transcript import GOOD


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ({"type": "phase_start", "phase": 3}, "phase_start:3"),
        ({"type": "phase_end", "phase": 3}, "phase_end:3"),
        ({"type": "sources", "phase": 3, "items": []}, "sources:3"),
        ({"type": "subcall_start", "phase": 3, "index": 2, "attempt": 4}, "subcall_start:3:2:4"),
        ({"type": "subcall_end", "phase": 3, "index": 2, "attempt": 4}, "subcall_end:3:2"),
        ({"type": "cooldown", "stage": "intra_phase", "phase": 3, "subcall": 2}, "cooldown:intra_phase:3:2"),
        ({"type": "cooldown", "stage": "inter_phase", "phase": 3}, "cooldown:inter_phase:3:"),
        ({"type": "run_complete"}, "terminal"),
        ({"type": "winding_down"}, "terminal"),
        ({"type": "run_failed"}, "terminal"),
        ({"type": "token", "phase": 3, "index": 2, "content": "x"}, None),
        ({"type": "retrying", "phase": 3, "index": 2}, None),
        ({"type": "run_start"}, None),
        ({"type": "recovered"}, None),
        ({"type": "steering"}, None),
        ({"type": "of a later version"}, None),
    ],
)
def test_boundary_key(event: dict[str, Any], key: str | None) -> None:
    assert boundary_key(event) == key


def test_a_sound_transcript_has_no_key_twice() -> None:
    keys = [key for event in GOOD if (key := boundary_key(event)) is not None]
    assert len(keys) == len(set(keys)) > 0
