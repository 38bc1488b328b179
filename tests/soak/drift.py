"""Whether a measure drifts: the level at its end against the level at its beginning, whatever single samples say."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Series = Sequence[tuple[float, float]]  # seconds, value

MOST_POINTS = 400


@dataclass(frozen=True)
class Drift:
    """What a measure was at first and at last, and the last that is allowed."""

    name: str
    first: float
    last: float
    limit: float

    @property
    def drifted(self) -> bool:
        return self.last > self.limit


def slope(series: Series) -> float:
    """Theil–Sen: the median of the slopes between all pairs of points, in units a second; 0 of fewer than two."""
    thinned = series[:: len(series) // MOST_POINTS + 1]
    pairs = itertools.combinations(thinned, 2)
    slopes = [(later - earlier) / (end - begin) for (begin, earlier), (end, later) in pairs if end > begin]
    return statistics.median(slopes) if slopes else 0.0


def of_level(name: str, series: Series, *, more: float) -> Drift:
    """By the slope: the level at the end may be `more` above the level at the beginning."""
    span = series[-1][0] - series[0][0]
    middle, grown = statistics.median(value for _, value in series), slope(series) * span
    return _rounded(name, middle - grown / 2, middle + grown / 2, middle - grown / 2 + more)


def of_ratio(name: str, series: Series, *, times: float, more: float) -> Drift:
    """By the medians of the first and the last third: the last may be so many `times` the first, and `more`."""
    third = len(series) // 3
    first = statistics.median(value for _, value in series[:third])
    last = statistics.median(value for _, value in series[-third:])
    return _rounded(name, first, last, first * times + more)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99; both 0 of nothing."""
    ordered = sorted(values) or [0.0]
    return {f"p{q}": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 1) for q in (50, 99)}


def _rounded(name: str, first: float, last: float, limit: float) -> Drift:
    return Drift(name, round(first, 1), round(last, 1), round(limit, 1))
