"""Labels stay few, whatever clients name."""

from __future__ import annotations

import pytest

from server.metrics import MOST_LABELS, Labels, Metrics


def test_known_names_and_the_first_others_are_kept() -> None:
    labels = Labels(["openai:gpt-5"])
    others = [labels.of(f"openai:model-{number}") for number in range(1000)]
    assert len(set(others)) == MOST_LABELS + 1
    assert others[-1] == "other"
    assert labels.of("openai:gpt-5") == "openai:gpt-5"
    assert labels.of("openai:model-0") == "openai:model-0"


@pytest.mark.parametrize("name", ["", "a b", "x" * 81, 'a"b', "a\nb", "ключ"])
def test_what_is_no_name_is_other(name: str) -> None:
    assert Labels().of(name) == "other"


def test_two_servers_in_a_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.spent("offline", 3, 2)
    assert b'model_tokens_total{direction="output",model="offline"} 2.0' in one.exposition("")[0]
    assert b'model="offline"' not in two.exposition("")[0]
