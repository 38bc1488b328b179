"""What a changed checkpoint can make this program do: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import sqlite3
from pathlib import Path

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from graph.checkpoint_refused import CheckpointRefused
from graph.checkpoints import open_checkpoints
from graph.directive import Directive
from graph.strict_serde import StrictSerializer


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def constructor(code: int, module: str, name: str, argument: object) -> bytes:
    inner = ormsgpack.packb((module, name, argument, "call"))
    return ormsgpack.packb({"state": [ormsgpack.Ext(code, inner)]})


def test_pickle_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="pickle"):
        StrictSerializer().loads_typed(("pickle", pickle.dumps(Payload(tmp_path / "made"))))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("code", range(6))
def test_a_type_that_is_not_on_the_list_is_refused_and_not_made(tmp_path: Path, code: int) -> None:
    made = tmp_path / "made"
    argument: object = [str(made)] if code == 1 else {"name": str(made)} if code in (2, 4, 5) else str(made)
    with pytest.raises(CheckpointRefused, match=r"os\.mkdir"):
        StrictSerializer().loads_typed(("msgpack", constructor(code, "os", "mkdir", argument)))
    assert not made.exists()


def test_what_the_graph_writes_is_read() -> None:
    serde = StrictSerializer()
    for value in ({"a": [1, 2.5, None, "x", b"y"]}, Directive(action="continue"), None, b"bytes"):
        assert serde.loads_typed(serde.dumps_typed(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    with contextlib.suppress(CheckpointRefused):
        StrictSerializer().loads_typed(("msgpack", data))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    asyncio.run(_changed(path, tmp_path / "made"))
    assert not (tmp_path / "made").exists()


async def _changed(path: Path, made: Path) -> None:
    saver = await open_checkpoints(path)
    config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    try:
        await saver.aput(config, empty_checkpoint(), {}, {})
        assert await saver.aget_tuple(config)
        for kind, data in (
            ("pickle", pickle.dumps(Payload(made))),
            ("msgpack", constructor(0, "os", "mkdir", str(made))),
            ("msgpack", b"\xc1"),
        ):
            with sqlite3.connect(path) as other:
                other.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", (kind, data))
            other.close()
            with pytest.raises(CheckpointRefused):
                await saver.aget_tuple(config)
    finally:
        await saver.conn.close()
