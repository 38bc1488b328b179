"""The alert rules by Prometheus' own tool: their form, and a test of each; what each means stands in the docs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        # It comes with Prometheus (Debian: the package `prometheus`).
        (pytest.fail if os.environ.get("CI") else pytest.skip)("promtool is not installed")
    return str(found)


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml"), ("check", "config", "prometheus.yml")],
    ids=" ".join,
)
def test_prometheus_takes_them(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_has_a_test_that_it_fires_and_one_that_it_is_silent() -> None:
    tests = [test["name"] for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]]
    assert tests == [f"{name} {what}" for name in NAMES for what in ("fires", "is silent")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_says_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert all(notes[name].endswith(".") for name in ("summary", "description"))
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    page, _, anchor = notes["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor == f"alert-{rule['alert'].lower()}"
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_the_docs_know_no_other_alerts() -> None:
    headings = re.findall(r"^#+ Alert (\w+)$", (ROOT / "docs" / "observability.md").read_text(), re.MULTILINE)
    assert headings == NAMES
