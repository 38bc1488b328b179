"""Citations checked by code: what no search of the thread has brought is taken out and counted."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from graph.report.addresses import address_key, is_web
from graph.report.quotations import letters, quotations, stands_in

if TYPE_CHECKING:
    from graph.state import Finding, Source, SourceList

NOT_FOUND: Final = " *(not found in the source)*"
LINK_REMOVED: Final = "(link removed)"

_CITATION: Final = re.compile(r" ?\[(\d{1,9}(?:\s*[,;]\s*\d{1,9})*)\]")
_NUMBER: Final = re.compile(r"\d+")
_ADDRESS: Final = r"[^\s()<>\[\]\"'`|]*(?:\([^\s()<>]*\)[^\s()<>\[\]\"'`|]*)*"
# A link in Markdown, or a bare address, which many viewers make a link of.
_LINK: Final = re.compile(
    rf"\[(?P<text>[^\[\]]*)\]\(\s*(?P<target>https?://{_ADDRESS})[^)\n]{{0,300}}\)|(?P<bare>(?:https?://|\bwww\.){_ADDRESS})",
    re.IGNORECASE,
)
_TRAILING: Final = ".,;:!?*_~”’»"


class Registry:
    """The sources of a thread by their numbers. A number counts from when a search has brought it, not before."""

    def __init__(self, entries: Iterable[SourceList]) -> None:
        self.sources: dict[int, Source] = {}
        self._reached: list[tuple[int, int, int]] = []
        self.highest = 0
        for entry in entries:
            for source in entry["items"]:
                self.sources.setdefault(source["id"], source)
                self.highest = max(self.highest, source["id"])
            self._reached.append((entry["turn"], entry["phase"], self.highest))

    def known_to(self, finding: Finding) -> int:
        """The highest number that the model can have been shown when it wrote `finding`."""
        at = (finding["turn"], finding["phase"] + 1, 0)
        behind = bisect_left(self._reached, at)
        return self._reached[behind - 1][2] if behind else 0

    @cached_property
    def addresses(self) -> frozenset[str]:
        """The web addresses that searches brought, as they are compared."""
        return frozenset(address_key(source["url"]) for source in self.sources.values() if is_web(source["url"]))

    @cached_property
    def _texts(self) -> dict[int, str]:
        own = ((number, source) for number, source in self.sources.items() if not source.get("summary"))
        return {number: letters(source["snippet"]) for number, source in own}

    def texts(self, numbers: Iterable[int]) -> list[str]:
        """What is known of the sources' own words, as `letters`; nothing of those that a provider only summed up."""
        return [self._texts[n] for n in numbers if n in self._texts]


@dataclass
class Tally:
    """What the check of a report's citations came to. Each of `cited` numbers is counted once."""

    citations: int = 0
    removed_citations: int = 0
    removed_links: int = 0
    removed_lists: int = 0
    quotations: int = 0
    unverified_quotations: int = 0


class Verifier:
    """Checks the texts of one report against a registry; `cited` and `tally` add up over them."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.tally = Tally()
        self.cited: set[int] = set()

    def verified(self, run: str, known: int) -> str:
        """A run of prose lines with citations up to `known` alone, links to sources alone, and quotations looked up."""
        return self._citations(self._links(self._quotations(run, known)), known)

    def _quotations(self, run: str, known: int) -> str:
        marks: list[int] = []
        for quotation in quotations(run):
            self.tally.quotations += 1
            # Without a citation any source will do: what matters is that somebody has said it.
            cited = [number for number in quotation.cited if self._is_known(number, known)]
            if not stands_in(quotation.words, self.registry.texts(cited or range(1, known + 1))):
                self.tally.unverified_quotations += 1
                marks.append(quotation.end)
        for at in reversed(marks):
            run = run[:at] + NOT_FOUND + run[at:]
        return run

    def _links(self, run: str) -> str:
        def checked(found: re.Match[str]) -> str:
            target = found["target"] or found["bare"]
            address = target.rstrip(_TRAILING)
            if self._is_source(address):
                return found[0]
            self.tally.removed_links += 1
            return LINK_REMOVED + target[len(address) :] if found["bare"] else found["text"]

        return _LINK.sub(checked, run)

    def _is_source(self, address: str) -> bool:
        whole = address if "://" in address else f"https://{address}"
        return address_key(whole) in self.registry.addresses

    def _is_known(self, number: int, highest: int) -> bool:
        return number <= highest and number in self.registry.sources

    def _citations(self, run: str, known: int) -> str:
        def known_ones(found: re.Match[str]) -> str:
            numbers = [int(number) for number in _NUMBER.findall(found[1])]
            kept = [number for number in numbers if self._is_known(number, known)]
            self.cited.update(kept)
            self.tally.citations += len(kept)
            self.tally.removed_citations += len(numbers) - len(kept)
            space = " " if found[0].startswith(" ") and kept else ""
            return space + "".join(f"[{number}]" for number in kept)

        return _CITATION.sub(known_ones, run)


def grouped(registry: Registry, cited: Iterable[int]) -> list[tuple[Sequence[int], Source]]:
    """The cited sources by number; passages of one place, under one title, stand together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number in sorted(cited):
        source = registry.sources[number]
        groups.setdefault((source["title"].strip(), address_key(source["url"].strip())), []).append(number)
    return [(numbers, registry.sources[numbers[0]]) for numbers in groups.values()]
