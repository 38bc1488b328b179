"""Usage by role and phase, and what it costs by the user's own prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph.prices import Price, Prices, PricesUnusable, read_prices
from graph.usage import Spent, breakdown, summed, total


def spent(phase: int, role: str, model: str = "openai:a", tokens: int = 1_000_000) -> Spent:
    return Spent(phase=phase, role=role, model=model, calls=1, input_tokens=tokens, output_tokens=tokens // 10)


ROWS = [spent(1, "research"), spent(1, "critique", "openai:b"), spent(2, "research"), spent(1, "research", tokens=10)]


def test_rows_of_the_same_kind_are_added_up() -> None:
    first, *rest = summed(ROWS)
    assert (first["calls"], first["input_tokens"], first["output_tokens"]) == (2, 1_000_010, 100_001)
    assert len(rest) == 2


def test_the_breakdown_adds_up_in_every_way() -> None:
    told = breakdown(ROWS)
    assert list(told["by_role"]) == ["research", "critique"]
    assert list(told["by_phase"]) == ["1", "2"]
    for sums in (told["by_role"], told["by_phase"], told["by_model"]):
        assert total(sums.values()) == {"input_tokens": 3_000_010, "output_tokens": 300_001}
    assert told["cost"] is None


def test_a_cost_is_told_with_what_has_no_price() -> None:
    prices = Prices(currency="EUR", models={"openai:a": Price(input=1.5, output=10)})
    cost = prices.cost_of([spent(1, "research"), spent(1, "critique", "openai:b"), spent(1, "refine", "offline")])
    assert cost == {"amount": 2.5, "currency": "EUR", "unpriced": ["openai:b"]}


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('currency = "EUR"\n[models."openai:gpt-5"]\ninput = 1.25\noutput = 10\n')
    assert read_prices(file).models["openai:gpt-5"] == Price(input=1.25, output=10)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[models", "not TOML"),
        ('[models."a"]\ninput = 1', "models.a.output"),
        ('[models."a"]\ninput = -1\noutput = 1', "models.a.input"),
        ('[models."a"]\ninput = inf\noutput = 1', "models.a.input"),
        ("price = 1", "price"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, hint: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(PricesUnusable, match=hint) as caught:
        read_prices(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PricesUnusable, match="cannot be read"):
        read_prices(tmp_path / "none.toml")
