"""The research loop as a LangGraph graph. Runs by itself in a notebook and in Studio; knows nothing of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.context import Context
from graph.lazy import lazy_names

if TYPE_CHECKING:
    from graph.control import TurnControl
    from graph.directive import Directive
    from graph.graph import build_graph
    from graph.notebook import research
    from graph.ports import Ports

__all__ = ["Context", "Directive", "Ports", "TurnControl", "build_graph", "research"]

# LangGraph takes over a second to import, and who only needs the context should not wait for it.
__getattr__ = lazy_names(
    __name__,
    {
        "Directive": "graph.directive",
        "Ports": "graph.ports",
        "TurnControl": "graph.control",
        "build_graph": "graph.graph",
        "research": "graph.notebook",
    },
)
