"""What is measured of the server while the soak goes on."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httpx2

from tests.acceptance.resources import file_sizes, open_files, open_sockets, resident_kb, threads
from tests.acceptance.server_process import ServerProcess
from tests.soak.drift import Drift, of_level, of_ratio

# A process takes memory for this long, whatever it does: code, caches, the arenas of its threads.
HOT_SEC = 120
# Samples of a series that is judged.
FEWEST = 6


@dataclass(frozen=True)
class Sample:
    """One look at the server; `at` in monotonic seconds, `turns` ended so far."""

    at: float
    life: int
    turns: int
    rss_kb: int
    handles: int
    sockets: int
    threads: int
    disk: dict[str, int]
    readiness_ms: float

    @property
    def disk_kb(self) -> float:
        return sum(self.disk.values()) / 1024


def take(server: ServerProcess, http: httpx2.Client, life: int, turns: int) -> Sample:
    """Looks once."""
    began = time.monotonic()
    http.get(f"{server.url}/readiness").raise_for_status()
    readiness, pid = (time.monotonic() - began) * 1000, server.pid
    held = open_files(pid), open_sockets(pid), threads(pid)
    return Sample(began, life, turns, resident_kb(pid), *held, file_sizes(server.data_dir), readiness)


def disk_peaks(samples: Iterable[Sample]) -> dict[str, int]:
    """The most kB of each file."""
    peaks = Counter[str]()
    for sample in samples:
        peaks |= Counter({name: size // 1024 for name, size in sample.disk.items()})
    return dict(sorted(peaks.items()))


def lives_of(samples: Iterable[Sample]) -> list[dict[str, float]]:
    """What each process held, first and last."""
    told = []
    for life, group in itertools.groupby(samples, key=lambda sample: sample.life):
        of_life = list(group)
        first, last = of_life[0], of_life[-1]
        told.append(
            {
                "life": life,
                "seconds": round(last.at - first.at),
                "turns": last.turns - first.turns,
                "first_rss_mb": first.rss_kb // 1024,
                "last_rss_mb": last.rss_kb // 1024,
            }
        )
    return told


def drifts_of_life(samples: Sequence[Sample]) -> list[Drift]:
    """Of one process, behind the first third of its life: handles, threads, and where it lives long enough, memory."""
    warm = samples[len(samples) // 3 :]
    hot = [sample for sample in warm if sample.at > samples[0].at + HOT_SEC]
    return [
        *([_of_memory(hot)] if len(hot) >= FEWEST else []),
        of_level("files", [(s.at, s.handles - s.sockets) for s in warm], more=3),
        of_level("sockets", [(s.at, s.sockets) for s in warm], more=8),
        of_level("threads", [(s.at, s.threads) for s in warm], more=3),
    ]


def _of_memory(samples: Sequence[Sample]) -> Drift:
    turns = samples[-1].turns - samples[0].turns
    # 4 MB are the noise of an allocator; the rest is what the turns of that time may leave behind.
    return of_level("rss_kb", [(s.at, s.rss_kb) for s in samples], more=4096 + 8 * turns)


def drifts_of_disk(samples: Sequence[Sample]) -> list[Drift]:
    """Of all lives, behind the first third: what the disk holds, and the logs of the databases."""
    warm = samples[len(samples) // 3 :]
    level = min(s.disk_kb for s in warm)
    return [of_level("disk_kb", [(s.at, s.disk_kb) for s in warm], more=1024 + level * 0.15)]


def drifts_of_latency(latencies: dict[str, list[tuple[float, float]]], samples: Iterable[Sample]) -> list[Drift]:
    """Of all lives; lenient, since a machine may have more to do at one time than at another."""
    measured = latencies | {"readiness": [(s.at, s.readiness_ms) for s in samples]}
    return [
        of_ratio(f"{name}_ms", series, times=2.5, more=20)
        for name, series in sorted(measured.items())
        if len(series) >= FEWEST
    ]
