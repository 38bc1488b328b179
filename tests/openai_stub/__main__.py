"""The stub's routes, and the process that serves them."""

from __future__ import annotations

import argparse
import asyncio
import socket

import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response

from tests.openai_stub.answer import Answer, ChatRequest, Connection
from tests.openai_stub.model import Call, Command, Model, State


def build_app() -> FastAPI:
    """The stub's routes, over a model of their own."""
    app, model = FastAPI(), Model()

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest) -> Response:
        return Answer(model, model.begin(asked.messages, asked.model), asked)

    @app.post("/openai/deployments/{deployment}/chat/completions")
    async def azure(deployment: str, asked: ChatRequest) -> Response:
        return Answer(model, model.begin(asked.messages, deployment), asked)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [{"id": "stub", "object": "model", "created": 0, "owned_by": "tests"}]}

    @app.post("/control")
    async def control(command: Command) -> dict[str, str]:
        model.command(command)
        return {"status": "ok"}

    @app.get("/calls")
    async def calls() -> list[Call]:
        return model.calls

    @app.get("/calls/wait")
    async def wait(response: Response, count: int, timeout: float = 30, state: State = "started") -> list[Call]:
        try:
            await asyncio.wait_for(model.wait(count, state), timeout)
        except TimeoutError:
            response.status_code = 408
        return model.calls

    return app


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("listening", *(bound.getsockname()[1] for bound in sockets or []), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    bound = socket.create_server(("127.0.0.1", parser.parse_args().port), backlog=512)
    config = uvicorn.Config(build_app(), http=Connection, log_level="critical", lifespan="off", proxy_headers=False)
    _Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
