"""The research loop as a LangGraph graph. Runs by itself in a notebook and in Studio; knows nothing of HTTP."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graph.context import Context

if TYPE_CHECKING:
    from graph.control import TurnControl
    from graph.directive import Directive
    from graph.graph import build_graph
    from graph.notebook import research
    from graph.ports import Ports

__all__ = ["Context", "Directive", "Ports", "TurnControl", "build_graph", "research"]

# LangGraph takes over a second to import, and who only needs the context should not wait for it.
_LAZY = {
    "Directive": "graph.directive",
    "Ports": "graph.ports",
    "TurnControl": "graph.control",
    "build_graph": "graph.graph",
    "research": "graph.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'graph' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
