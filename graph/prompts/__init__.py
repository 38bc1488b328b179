"""What is asked of the model: a system prompt, and a prompt for each role, in Markdown files beside this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from graph.digest import count_tokens
from graph.prompts.tags import attribute, element, escaped
from graph.thinking import without_thinking

if TYPE_CHECKING:
    from graph.context import Role
    from graph.digest import PhaseNote
    from graph.state import Finding, Source

__all__ = ["SubcallRequest", "closing_messages", "subcall_messages"]

# Older drafts of a phase are left out beyond this, so that a phase of 100 calls still fits a model's window.
DRAFTS_BUDGET_TOKENS = 24_000

_FILES = (
    *("system", "research", "critique", "refine", "synthesize", "closing"),
    *("no_sources", "summarized", "ending_open", "ending_summary"),
)
PROMPTS: Final = {name: Template(Path(__file__).with_name(f"{name}.md").read_text("utf-8")) for name in _FILES}


@dataclass(frozen=True, kw_only=True)
class SubcallRequest:
    """All that one subcall is told. `phase` and `index` count from 1; `drafts` are this phase's earlier subcalls."""

    topic: str
    phase: int
    total: int
    title: str
    focus: str
    role: Role
    index: int
    of: int
    target_output_tokens: int
    excerpts: Sequence[Source]
    drafts: Sequence[Finding]
    notes: Sequence[PhaseNote]
    guidance: Sequence[str]
    earlier_topics: Sequence[str]


def subcall_messages(request: SubcallRequest) -> list[BaseMessage]:
    """The system and the human message that ask for `request`."""
    return _messages(request, request.role)


def closing_messages(request: SubcallRequest) -> list[BaseMessage]:
    """Like `subcall_messages`, but asks for the closing synthesis of a run that ends early; the role is ignored."""
    return _messages(request, "closing")


def _messages(request: SubcallRequest, prompt: str) -> list[BaseMessage]:
    asked = PROMPTS[prompt].substitute(
        topic=escaped(request.topic),
        phase=request.phase,
        total=request.total,
        title=attribute(request.title),
        focus=escaped(request.focus),
        material="\n\n".join(_material(request)),
        index=request.index,
        of=request.of,
        tokens=request.target_output_tokens,
        ending=_ending(request),
    )
    return [SystemMessage(PROMPTS["system"].substitute()), HumanMessage(asked)]


def _ending(request: SubcallRequest) -> str:
    """How a phase's last text is to end, and the report's last one to begin."""
    names = ["ending_open"] if request.index == request.of else []
    if names and request.phase == request.total:
        names.append("ending_summary")
    return "\n".join(PROMPTS[name].substitute().strip() for name in names)


def _material(request: SubcallRequest) -> Iterator[str]:
    yield from (element("earlier_topic", topic) for topic in request.earlier_topics)
    yield from (element("guidance", message) for message in request.guidance)
    yield from (element("note", note.text, phase=note.phase, title=note.title) for note in request.notes)
    if request.excerpts:
        yield from map(_source, request.excerpts)
        if any(source.get("summary") for source in request.excerpts):
            yield PROMPTS["summarized"].substitute().strip()
    else:
        yield PROMPTS["no_sources"].substitute().strip()
    for draft in _latest(request.drafts):
        yield element("draft", without_thinking(draft["text"]), role=draft["role"])


def _source(source: Source) -> str:
    told = {"words": "summary"} if source.get("summary") else {}
    return element("source", source["snippet"], id=source["id"], title=source["title"], **told)


def _latest(drafts: Sequence[Finding]) -> list[Finding]:
    """The last two drafts, and the ones before them as far as they fit; of a subcall done again, the last one."""
    done = list({draft["index"]: draft for draft in sorted(drafts, key=lambda d: d["index"])}.values())
    kept: list[Finding] = []
    left = DRAFTS_BUDGET_TOKENS
    for draft in reversed(done):
        left -= count_tokens(draft["text"])
        if left < 0 and len(kept) >= 2:
            break
        kept.append(draft)
    return kept[::-1]
