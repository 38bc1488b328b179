"""The documents say what the code does: settings, diagram, Python examples, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from graph import build_graph
from server.settings import Settings, describe_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")), *(ROOT / "docs").rglob("*.md")]
)
_LINK = re.compile(r"\]\(([^()\s]+)\)")


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _settings_rows() -> list[str]:
    rows = []
    for line in describe_settings().splitlines():
        name, rest = line.split(maxsplit=1)
        meaning, default = rest.removesuffix("]").rsplit(" [", 1)
        shown = meaning.replace("<", r"\<")
        rows.append(f"| `{name}` | `{default}` | {shown} |")
    return rows


def _links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in _LINK.findall(prose):
            if not target.startswith(("http://", "https://", "#")):
                yield page, target.partition("#")[0]


def test_every_setting_stands_in_the_table_as_in_help() -> None:
    table = [line for line in _page("docs/settings.md").splitlines() if line.startswith("| `")]
    assert table == _settings_rows(), "the table is to be:\n" + "\n".join(_settings_rows())
    assert len(table) == len(Settings.model_fields)


def test_the_diagram_is_that_of_the_graph() -> None:
    (diagram,) = _blocks(_page("docs/graph.md"), "mermaid")
    assert diagram.strip() == build_graph().get_graph().draw_mermaid().strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_examples_compile(page: Path) -> None:
    for block in _blocks(page.read_text(encoding="utf-8"), "python"):
        compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def test_links_lead_to_files() -> None:
    dead = [f"{page.relative_to(ROOT)}: {target}" for page, target in _links() if not (page.parent / target).exists()]
    assert dead == []
