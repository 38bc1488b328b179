"""Results of a search as numbered sources of the thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graph.digest import clip
from graph.report.addresses import address_key
from graph.state import Gap, Searching, Source, SourceList

if TYPE_CHECKING:
    from graph.search.results import Result
    from graph.search.searcher import Found
    from graph.state import State

MAX_QUERY_CHARS = 300
MAX_SKIPPED = 50


def numbered(results: Sequence[Result], known: Sequence[Source]) -> list[Source]:
    """`results` as sources: a passage that the thread knows keeps its number, a new one takes the next."""
    numbers = {(address_key(source["url"]), source["snippet"]): source["id"] for source in known}
    free = max((source["id"] for source in known), default=0) + 1
    items: dict[int, Source] = {}
    for result in results:
        number = numbers.setdefault((address_key(result["url"]), result["text"]), free)
        free = max(free, number + 1)
        source = Source(id=number, title=result["title"], url=result["url"], snippet=result["text"])
        source["origin"] = result["origin"]
        if result["place"]:
            source["place"] = result["place"]
        if result.get("summary"):
            source["summary"] = True
        items[number] = source
    return list(items.values())


def source_list(state: State, found: Found) -> SourceList:
    """What the searches of the present phase found, and what they were."""
    known = [item for entry in state["sources"] for item in entry["items"]]
    entry = SourceList(
        line=state["line"], turn=state["turn"], phase=state["phase"], items=numbered(found.results, known)
    )
    entry["searches"] = [
        Searching(
            engine=one["engine"],
            query=clip(" ".join(one["query"].split()), MAX_QUERY_CHARS),
            found=len(one["results"]),
            error=one["error"],
        )
        for one in found.searched
    ]
    if found.spent:
        entry["spent"] = found.spent
    return entry


def gaps_of(state: State, found: Found) -> list[Gap]:
    """What the present phase's searches could not have, and files that could not be read and were not told before."""
    line, phase = state["line"], state["phase"]
    told = {gap["message"] for gap in state.get("gaps", []) if gap["line"] == line}
    more = len(found.skipped) - MAX_SKIPPED
    files = found.skipped[:MAX_SKIPPED] + ([f"{more} more files could not be read."] if more > 0 else [])
    return [
        *(Gap(line=line, phase=0, message=message) for message in files if message not in told),
        *(Gap(line=line, phase=phase, message=message) for message in found.failures),
    ]
