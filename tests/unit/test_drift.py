"""What the soak calls drift: a level that moves, not a sample that stands out."""

from __future__ import annotations

import random

from tests.soak.drift import Series, of_level, of_ratio, quantiles, slope


def noisy(*, grows: float = 0.0, outliers: bool = False) -> Series:
    """Ten minutes at about 200, a sample each 5 s; `grows` by so much a minute."""
    chance = random.Random(1)
    series = [(5.0 * n, 200 + chance.uniform(-10, 10) + grows * n / 12) for n in range(120)]
    return [(at, value * (10 if outliers and n % 10 == 9 else 1)) for n, (at, value) in enumerate(series)]


def test_noise_does_not_drift() -> None:
    assert not of_level("rss", noisy(), more=5).drifted
    assert not of_ratio("lag", noisy(), times=1.2, more=0).drifted


def test_single_samples_that_stand_out_do_not_either() -> None:
    assert not of_level("rss", noisy(outliers=True), more=15).drifted
    assert not of_ratio("lag", noisy(outliers=True), times=1.2, more=0).drifted


def test_a_level_that_grows_does() -> None:
    drift = of_level("rss", noisy(grows=2, outliers=True), more=15)
    assert drift.drifted
    assert 15 < drift.last - drift.first < 25
    assert of_ratio("lag", noisy(grows=20), times=1.5, more=0).drifted


def test_a_level_that_falls_does_not() -> None:
    assert not of_level("rss", noisy(grows=-5), more=1).drifted


def test_the_slope_is_in_units_a_second() -> None:
    assert slope([(0, 1), (10, 21), (20, 41)]) == 2
    assert slope([(0, 1)]) == 0


def test_quantiles() -> None:
    assert quantiles(list(range(100))) == {"p50": 50, "p99": 99}
    assert quantiles([]) == {"p50": 0, "p99": 0}
