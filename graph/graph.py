"""The wiring of the graph. `graph` is what LangGraph Studio loads; `build_graph` is for everybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime, get_runtime

from graph.context import Context, settled
from graph.control import is_pending
from graph.nodes import Nodes
from graph.ports import Ports
from graph.routing import after_pause, after_plan, after_subcall, review_due
from graph.state import Input, Output, State

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

# A step a subcall, one a phase and two a pause: 1,000 phases of 100 calls stay far below it.
RECURSION_LIMIT = 1_000_000


def _behind_subcall(state: State) -> Literal["cooldown", "steering", "phase", "subcall", "report"]:
    # Asked for, not taken as an argument: where a state is written by hand, as for a fork, there is no run.
    runtime: Runtime[Context] | None = get_runtime(Context)
    wanted = runtime is not None and (is_pending(runtime.control) or review_due(state, settled(runtime.context)))
    return after_subcall(state, wanted=wanted)


def build_graph(
    checkpointer: BaseCheckpointSaver[str] | None = None, *, ports: Ports | None = None
) -> CompiledStateGraph[State, Context, Input, Output]:
    """The research graph, compiled.

    With a `checkpointer` a thread outlives its process and cooldowns can be taken; without one, only a run whose
    cooldowns are 0 goes to its end. Context is `graph.context.Context`, input `{"topic": …}`, output `{"report": …}`.
    """
    nodes = Nodes(ports or Ports())
    builder = StateGraph(State, context_schema=Context, input_schema=Input, output_schema=Output)
    builder.add_node("plan", nodes.plan)
    builder.add_node("phase", nodes.phase)
    builder.add_node("subcall", nodes.subcall)
    builder.add_node("cooldown", nodes.cooldown)
    builder.add_node("steering", nodes.steering)
    builder.add_node("report", nodes.report)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", after_plan, ["phase", "report"])
    builder.add_edge("phase", "subcall")
    builder.add_conditional_edges("subcall", _behind_subcall, ["cooldown", "steering", "phase", "subcall", "report"])
    builder.add_conditional_edges("cooldown", after_pause, ["plan", "phase", "subcall", "report"])
    builder.add_conditional_edges("steering", after_pause, ["cooldown", "plan", "phase", "subcall", "report"])
    builder.add_edge("report", END)
    compiled = builder.compile(checkpointer=checkpointer, name="research")
    return compiled.with_config(recursion_limit=RECURSION_LIMIT)


graph = build_graph()
