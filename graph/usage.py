"""What a turn's model calls cost, by phase, role and model; in money where the user has told prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from graph.prices import Prices
    from graph.state import Finding, State, Usage

# Beside the roles of subcalls: a search by a model, and the synthesis that a token budget's rest pays for.
SEARCH = "search"
CLOSING = "closing"


class Spent(TypedDict):
    """The tokens of `calls` calls to one model, in one role, in one phase (0: behind the last)."""

    phase: int
    role: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int


class Cost(TypedDict):
    """Money, in `currency`. `unpriced` are the models of which no price was told: `amount` is without them."""

    amount: float
    currency: str
    unpriced: list[str]


class Breakdown(TypedDict):
    """Tokens by role and by phase, the most detailed at the bottom of it; `cost` where prices are known."""

    input_tokens: int
    output_tokens: int
    by_role: dict[str, Usage]
    by_phase: dict[str, Usage]
    by_model: dict[str, Usage]
    cost: Cost | None


def spent_by(findings: Iterable[Finding]) -> list[Spent]:
    """What the subcalls of `findings` cost, a row for each phase, role and model."""
    return summed(Spent(phase=f["phase"], role=f["role"], model=f["model"], calls=1, **f["usage"]) for f in findings)


def spent_of_turn(state: State) -> list[Spent]:
    """What the present turn has cost: its subcalls, and its searches where a model made them."""
    turn = state.get("turn")
    findings = [finding for finding in state.get("findings", []) if finding["turn"] == turn]
    searches = [
        spent for entry in state.get("sources", []) if entry["turn"] == turn for spent in entry.get("spent", [])
    ]
    return summed([*spent_by(findings), *searches])


def spent_of_line(state: State) -> list[Spent]:
    """Likewise of all turns on the thread's present topic."""
    line = state.get("line")
    findings = [finding for finding in state.get("findings", []) if finding["line"] == line]
    searches = [
        spent for entry in state.get("sources", []) if entry["line"] == line for spent in entry.get("spent", [])
    ]
    return summed([*spent_by(findings), *searches])


def summed(rows: Iterable[Spent]) -> list[Spent]:
    """One row for each phase, role and model, in the order in which they came."""
    sums: dict[tuple[int, str, str], Spent] = {}
    for row in rows:
        known = sums.setdefault(
            (row["phase"], row["role"], row["model"]),
            Spent(**{**row, "calls": 0, "input_tokens": 0, "output_tokens": 0}),
        )
        known["calls"] += row["calls"]
        known["input_tokens"] += row["input_tokens"]
        known["output_tokens"] += row["output_tokens"]
    return list(sums.values())


def total(rows: Iterable[Mapping[str, object]]) -> Usage:
    """The tokens of all rows together."""
    rows = list(rows)
    return {
        "input_tokens": sum(int(str(row["input_tokens"])) for row in rows),
        "output_tokens": sum(int(str(row["output_tokens"])) for row in rows),
    }


def breakdown(rows: Iterable[Spent], prices: Prices | None = None) -> Breakdown:
    """The rows added up by role, by phase and by model."""
    rows = list(rows)

    def by(name: str) -> dict[str, Usage]:
        keys = dict.fromkeys(str(row[name]) for row in rows)  # type: ignore[literal-required]  # three columns of Spent
        return {key: total(row for row in rows if str(row[name]) == key) for key in keys}  # type: ignore[literal-required]

    return Breakdown(
        **total(rows),
        by_role=by("role"),
        by_phase=by("phase"),
        by_model=by("model"),
        cost=prices.cost_of(rows) if prices else None,
    )
