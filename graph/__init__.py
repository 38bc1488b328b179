"""The research loop as a LangGraph graph. Runs by itself in a notebook and in Studio; knows nothing of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graph.context import Context

if TYPE_CHECKING:
    from graph.graph import build_graph
    from graph.ports import Ports

__all__ = ["Context", "Ports", "build_graph"]


def __getattr__(name: str) -> Any:
    # LangGraph takes over a second to import, and who only needs the context should not wait for it.
    if name == "build_graph":
        from graph.graph import build_graph

        return build_graph
    if name == "Ports":
        from graph.ports import Ports

        return Ports
    raise AttributeError(f"module 'graph' has no attribute {name!r}")
