"""Every example of docs/extend.md, run; and the router in somebody else's application, from outside."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from server.data_folder import DataFolder, DataFolderUnusable
from server.embedded import research_router
from server.settings import Settings
from tests.acceptance.server_process import CHECKOUT

PAGE = (CHECKOUT / "docs" / "extend.md").read_text(encoding="utf-8")
_SECTION = re.compile(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES: dict[str, str] = dict(_SECTION.findall(PAGE))
RUN = {"phases": 1, "calls_per_phase": 1, "intra_phase_cooldown_sec": 0, "inter_phase_cooldown_sec": 0}


def executed(code: str) -> dict[str, Any]:
    """The names that an example leaves; it may await at its top, as a notebook's cell may."""
    compiled: CodeType = compile(code, "docs/extend.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "example"}
    result = FunctionType(compiled, names)()
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return names


def test_every_section_has_its_example() -> None:
    assert len(EXAMPLES) == PAGE.count("\n## ") == PAGE.count("```python") == 5


@pytest.mark.parametrize("title", [title for title in EXAMPLES if "FastAPI" not in title])
def test_an_example_runs(title: str) -> None:
    executed(EXAMPLES[title])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return Settings()


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_the_router_in_an_application_of_one_s_own(settings: Settings) -> None:
    app: FastAPI = executed(EXAMPLES["In your own FastAPI application"])["app"]

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418, "short and stout")

    with client_of(app) as client:
        assert client.get("/").json() == {"research": "/research/invocations"}
        # One's own errors are left alone.
        assert client.get("/teapot").json() == {"detail": "short and stout"}
        refused = client.post("/research/invocations", json={})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        bad = client.get("/research/invocations?limit=0")
        assert (bad.status_code, bad.headers["content-type"]) == (422, "application/problem+json")
        body = {"message": "Tides", "config": RUN, "thread_id": "t"}
        started = client.post("/research/invocations", json=body)
        assert started.status_code == 202
        address = started.headers["location"]
        assert address == f"/research/invocations/{started.json()['invocation_id']}"
        assert '"status":"completed"' in client.get(address).text
        assert "# Research report: Tides" in client.get(f"{address}/report").text
        assert client.get("/research/threads/t").json()["status"] == "idle"
        with pytest.raises(DataFolderUnusable), DataFolder(settings.data_dir):
            pass


def test_its_turns_go_on_at_the_next_start(settings: Settings) -> None:
    def application() -> FastAPI:
        app = FastAPI()
        app.include_router(research_router(settings))
        return app

    resting = {**RUN, "phases": 2, "inter_phase_cooldown_sec": 1}
    with client_of(application()) as client:
        address = client.post("/invocations", json={"message": "Tides", "config": resting}).headers["location"]
    with client_of(application()) as client:
        told = client.get(address).text
    assert '"status":"completed"' in told
    assert told.count('"type":"phase_end"') == 2


def test_two_routers_in_one_application_keep_apart(settings: Settings, tmp_path: Path) -> None:
    app = FastAPI()
    for name in ("one", "two"):
        own = settings.model_copy(update={"data_dir": tmp_path / name})
        app.include_router(research_router(own), prefix=f"/{name}")
    with client_of(app) as client:
        client.post("/one/invocations", json={"message": "Tides", "config": RUN})
        assert len(client.get("/one/invocations").json()["invocations"]) == 1
        assert client.get("/two/invocations").json()["invocations"] == []


def test_without_keys_it_answers_to_loopback_names_alone(settings: Settings) -> None:
    app = FastAPI()
    app.include_router(research_router(settings))
    with client_of(app) as client:
        assert client.get("/invocations", headers={"Host": "evil.example"}).status_code == 421
