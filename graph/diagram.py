"""`python -m graph.diagram`: writes the graph's Mermaid text into docs/graph.md. Drawn here; nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "graph.md"
_BLOCK: Final = re.compile(r"(?<=^```mermaid\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def mermaid() -> str:
    """The graph's nodes and edges as Mermaid text, which ends with a line feed."""
    from graph.graph import build_graph

    return build_graph().get_graph().draw_mermaid().strip() + "\n"


def with_diagram(page: str) -> str:
    """The Markdown `page` with its one Mermaid block made anew."""
    drawn = mermaid()
    return _BLOCK.sub(lambda _: drawn, page)


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
