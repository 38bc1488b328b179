"""The providers' wire formats, as their documents give them, in a thread of the test's own process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

PAGE = """<html><head><title>Arven</title></head><body><nav>Home</nav><main><h1>Arven</h1>
<p>The Arven station has twelve turbines of nine megawatts each, and was opened in 1987.</p></main></body></html>"""


@dataclass
class SearchStub:
    """What was asked, and what is answered. `failures` are statuses for the next answers, the first one first."""

    results: list[dict[str, str]] = field(
        default_factory=lambda: [
            {"title": "Arven", "url": "https://arven.example/a", "content": "Twelve turbines stand at Arven."},
            {"title": "Costs", "url": "https://arven.example/b", "content": "It cost 410 million crowns."},
        ]
    )
    failures: list[int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    delay_sec: float = 0.0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def noted(self, asked: dict[str, Any], request: Request) -> int | None:
        """Notes a request; the status of its failure, if it is to fail."""
        self.asked.append(asked)
        self.keys.append(request.headers.get("authorization", ""))
        if self.delay_sec:
            time.sleep(self.delay_sec)
        return self.failures.pop(0) if self.failures else None

    @contextlib.contextmanager
    def serving(self) -> Iterator[SearchStub]:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(_app(self), log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


def _app(stub: SearchStub) -> FastAPI:
    app = FastAPI()

    @app.get("/search")
    def searxng(request: Request, q: str, format: str = "html") -> Response:
        status = stub.noted({"q": q, "format": format}, request)
        if status:
            return PlainTextResponse("secret upstream text", status, headers={"retry-after": "0"})
        found = [{**item, "engine": "stub", "score": 1.0, "category": "general"} for item in stub.results]
        return JSONResponse({"query": q, "number_of_results": 0, "results": found, "answers": [], "suggestions": []})

    @app.post("/search")
    def tavily(request: Request, body: dict[str, Any]) -> Response:
        status = stub.noted(body, request)
        if status:
            return JSONResponse({"detail": {"error": "secret upstream text"}}, status)
        found = [{**item, "score": 0.9, "raw_content": None} for item in stub.results]
        answer = {"query": body["query"], "answer": None, "images": [], "results": found, "response_time": 1.0}
        return JSONResponse(answer)

    @app.post("/v1/responses")
    def responses(request: Request, body: dict[str, Any]) -> Response:
        status = stub.noted(body, request)
        if status:
            return JSONResponse({"error": {"message": "secret upstream text", "code": None}}, status)
        return JSONResponse(openai_response(stub.results, str(body["model"])))

    _pages(app)
    return app


def _pages(app: FastAPI) -> None:
    @app.get("/page")
    def page() -> Response:
        return Response(PAGE, media_type="text/html; charset=utf-8")

    @app.get("/huge")
    def huge() -> Response:
        return StreamingResponse((b"x" * 65_536 for _ in range(10_000)), media_type="text/html")

    @app.get("/slow")
    def slow() -> Response:
        def drops() -> Iterator[bytes]:
            for _ in range(100):
                time.sleep(0.1)
                yield b"<p>"

        return StreamingResponse(drops(), media_type="text/html")

    @app.get("/packed")
    def packed() -> Response:
        return Response(b"\x1f\x8b", media_type="text/html", headers={"content-encoding": "gzip"})

    @app.get("/picture")
    def picture() -> Response:
        return Response(b"\x89PNG", media_type="image/png")

    @app.get("/to")
    def to(url: str) -> Response:
        return RedirectResponse(url)

    @app.get("/loop")
    def loop() -> Response:
        return RedirectResponse("/loop")


def openai_response(results: list[dict[str, str]], model: str) -> dict[str, Any]:
    """A response of the Responses API whose model searched the web (its API reference, `responses`)."""
    text, notes = "", list[dict[str, Any]]()
    for item in results:
        text += f"- {item['content']} "
        link = f"([{item['title']}]({item['url']}))"
        where = {"start_index": len(text), "end_index": len(text) + len(link)}
        notes.append({"type": "url_citation", "url": item["url"], "title": item["title"], **where})
        text += f"{link}\n"
    sources = [{"type": "url", "url": item["url"]} for item in results]
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "q", "sources": sources},
    }
    part = {"type": "output_text", "text": text, "annotations": notes, "logprobs": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_764_000_000,
        "status": "completed",
        "model": model,
        "output": [search, message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [{"type": "web_search"}],
        "usage": {
            "input_tokens": 1200,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 80,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1280,
        },
    }
