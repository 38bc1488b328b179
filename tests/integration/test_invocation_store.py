"""Invocations over a real file: who is next, who is refused, what is the same request again, how they are listed."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.accept import InvocationGone, ThreadBusy
from server.event_rows import Ending
from server.invocation import MAX_PAGE_CHARS, Invocation, Wish
from server.queue_limits import MAX_WAITING_ON_THREAD, QueueFull
from server.retention import Retention
from server.sql import Connection
from server.status import Status
from server.thread_rows import ThreadStanding
from tests.integration.storage import Storage, new, opened, traced

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(tmp_path: Path, database_url: str | None) -> AsyncIterator[Storage]:
    async with opened(tmp_path, database_url) as storage:
        yield storage


async def claims(storage: Storage) -> list[str]:
    """All that can be claimed now, in order."""
    found = []
    while (invocation := await storage.store.claim(2_000.0)) is not None:
        found.append(invocation.id)
    return found


async def completed(storage: Storage, invocation: Invocation) -> None:
    event = {"type": "run_complete", "phases_completed": 2}
    await storage.log.writer(invocation).end(Ending(event, Status.COMPLETED))


async def listed(storage: Storage) -> list[Invocation]:
    return (await storage.store.page(limit=200)).invocations


async def test_what_is_stored_is_what_was_asked(storage: Storage) -> None:
    stored = await storage.accepted("a", "t", metadata={"k": [1, "ü"]}, given={"model": "openai:x"})
    assert (stored.id, stored.thread_id, stored.status) == ("a", "t", Status.QUEUED)
    assert stored.metadata == {"k": [1, "ü"]}
    assert stored.config["model"] == "openai:x"
    assert stored.config["calls_per_phase"] == 2
    assert (stored.created_at, stored.started_at, stored.ended_at, stored.epoch) == (1_000.0, None, None, 0)
    assert await storage.found("a") == stored
    assert await storage.store.get("b") is None


async def test_turns_are_claimed_in_the_order_of_their_arrival(storage: Storage) -> None:
    for name in ("c", "a", "b"):
        await storage.accepted(name)
    assert await claims(storage) == ["c", "a", "b"]


async def test_one_turn_of_a_thread_runs_at_a_time(storage: Storage) -> None:
    for name in ("a", "b"):
        await storage.accepted(name, "t")
    await storage.accepted("other", "u")
    assert await claims(storage) == ["a", "other"]
    await completed(storage, await storage.found("a"))
    assert await claims(storage) == ["b"]


async def test_claims_that_come_at_once_get_different_turns(storage: Storage) -> None:
    for number in range(8):
        await storage.accepted(f"turn-{number}", f"thread-{number % 4}")
    found = await asyncio.gather(*(storage.store.claim(2_000.0) for _ in range(8)))
    assert sorted(one.thread_id for one in found if one) == [f"thread-{number}" for number in range(4)]


async def test_a_claim_begins_the_turn_with_its_run_start(storage: Storage) -> None:
    invocation = await storage.claimed("a")
    assert (invocation.status, invocation.epoch, invocation.last_event_id) == (Status.RUNNING, 1, 0)
    (event,) = await storage.events(invocation)
    assert (event["type"], event["entry_mode"], event["topic"]) == ("run_start", "fresh", "About a")
    assert (event["total_phases"], event["calls_per_phase"], event["model"]) == (2, 2, "offline")


async def test_a_turn_that_is_given_back_goes_first_and_recovers(storage: Storage) -> None:
    first = await storage.claimed("a", "t")
    await storage.accepted("b", "t")
    await storage.store.requeue(first)
    again = await storage.store.claim(3_000.0)
    assert again is not None
    assert (again.id, again.epoch, again.started_at) == ("a", 2, first.started_at)
    assert [event["entry_mode"] for event in await storage.events(again)] == ["fresh", "recovered"]
    assert await claims(storage) == []


async def test_a_stale_claim_cannot_give_the_turn_back(storage: Storage) -> None:
    old = await storage.claimed("a")
    await storage.store.requeue(old)
    await storage.store.claim(3_000.0)
    await storage.store.requeue(old)
    assert (await storage.found("a")).status is Status.RUNNING


async def test_what_ran_when_the_process_died_waits_in_the_next_one(tmp_path: Path, database_url: str | None) -> None:
    async with opened(tmp_path, database_url) as storage:
        running = await storage.claimed("a", "t")
        done = await storage.claimed("b")
        await completed(storage, done)
        await storage.accepted("c", "t")
    async with opened(tmp_path, database_url) as storage:
        states = {one.id: one.status for one in await listed(storage)}
        assert states == {"a": Status.QUEUED, "b": Status.COMPLETED, "c": Status.QUEUED}
        assert await claims(storage) == ["a"]
        assert (await storage.found("a")).epoch == running.epoch + 1


async def test_the_second_turn_knows_the_topic_before_it(storage: Storage) -> None:
    await completed(storage, await storage.claimed("a", "t"))
    second = await storage.claimed("b", "t")
    assert (second.turn, second.topic, second.prior_topic) == (2, "About b", "About a")
    event = (await storage.events(second))[0]
    assert (event["entry_mode"], event["prior_topic"]) == ("resumed", "About a")


async def test_guidance_stays_on_the_topic_and_on_its_plan(storage: Storage) -> None:
    await completed(storage, await storage.claimed("a", "t"))
    await storage.accepted("b", "t", steering="guidance", given={"num_phases": 9}, total_phases=9)
    second = await storage.store.claim(2_000.0)
    assert second is not None
    assert (second.topic, second.message, second.total_phases) == ("About a", "About b", 2)
    assert second.config["num_phases"] == 2


@pytest.mark.parametrize(("under_way", "waits"), [(0, False), (1, True)])
async def test_whether_a_turn_waits_for_its_thread(storage: Storage, under_way: int, waits: bool) -> None:
    for _ in range(under_way):
        await storage.claimed("a", "t")
    assert (await storage.store.accept(new("b", "t"), limit=100)).waits == waits


@pytest.mark.parametrize(("limit", "waits"), [(1, True), (2, False)])
async def test_whether_a_turn_waits_for_the_server(storage: Storage, limit: int, waits: bool) -> None:
    await storage.claimed("a")
    assert (await storage.store.accept(new("b", "u"), limit=limit)).waits == waits


async def test_reject_is_refused_on_a_busy_thread_and_changes_nothing(storage: Storage) -> None:
    await storage.claimed("a", "t")
    before = await listed(storage)
    with pytest.raises(ThreadBusy, match="t "):
        await storage.accepted("b", "t", multitask_strategy="reject")
    assert await listed(storage) == before
    await storage.accepted("c", "u", multitask_strategy="reject")


async def test_only_so_many_turns_wait_on_a_thread(storage: Storage) -> None:
    await storage.claimed("running", "t")
    for number in range(MAX_WAITING_ON_THREAD):
        await storage.accepted(f"turn-{number}", "t")
    before = await listed(storage)
    with pytest.raises(QueueFull, match="10 turns"):
        await storage.accepted("one-more", "t")
    assert await listed(storage) == before
    await storage.accepted("elsewhere", "u")


async def test_a_name_that_was_used_answers_the_first_one(storage: Storage) -> None:
    first = await storage.accepted("a", "t")
    before = await listed(storage)
    again = await storage.store.accept(new("a", "elsewhere", message="Other"), limit=100)
    assert (again.repeated, again.invocation) == (True, first)
    assert await listed(storage) == before


@pytest.mark.parametrize("reopened", [False, True])
async def test_an_idempotency_key_answers_the_first_one(
    tmp_path: Path, database_url: str | None, reopened: bool
) -> None:
    async with opened(tmp_path, database_url) as storage:
        await storage.accepted("a", "t", idempotency_key="key")
        if not reopened:
            again = await storage.store.accept(new("b", "t", idempotency_key="key"), limit=100)
            assert (again.repeated, again.invocation.id) == (True, "a")
    async with opened(tmp_path, database_url) as storage:
        again = await storage.store.accept(new("c", "u", idempotency_key="key"), limit=100)
        assert (again.repeated, again.invocation.id) == (True, "a")
        named = await storage.store.accept(new("a", "u"), limit=100)
        assert (named.repeated, named.invocation.thread_id) == (True, "t")
        assert [one.id for one in await listed(storage)] == ["a"]


async def test_a_request_that_comes_many_times_at_once_is_one_turn(storage: Storage) -> None:
    requests = (
        storage.store.accept(new(f"turn-{number}", f"thread-{number}", idempotency_key="key"), limit=100)
        for number in range(20)
    )
    found = {accepted.invocation.id for accepted in await asyncio.gather(*requests)}
    assert found == {"turn-0"}
    assert len(await listed(storage)) == 1


async def test_turns_without_a_key_are_all_their_own(storage: Storage) -> None:
    for name in ("a", "b"):
        await storage.accepted(name)
    assert len(await listed(storage)) == 2


async def test_pages_go_on_where_the_last_one_ended(storage: Storage) -> None:
    for number in range(7):
        await storage.accepted(f"turn-{number}")
    seen: list[str] = []
    before: int | None = None
    more = True
    while more:
        page = await storage.store.page(before=before, limit=3)
        assert len(page.invocations) <= 3
        seen += [one.id for one in page.invocations]
        before, more = page.invocations[-1].n, page.more
        await storage.accepted(f"late-{before}")
    assert seen == [f"turn-{number}" for number in reversed(range(7))]


async def test_a_page_ends_where_it_holds_much_text(storage: Storage) -> None:
    for number in range(5):
        await storage.accepted(f"turn-{number}", metadata={"text": "x" * (MAX_PAGE_CHARS // 2 - 10_000)})
    pages = []
    before: int | None = None
    for _ in range(3):
        page = await storage.store.page(before=before, limit=50)
        pages.append(([one.id for one in page.invocations], page.more))
        before = page.invocations[-1].n
    assert pages == [(["turn-4", "turn-3"], True), (["turn-2", "turn-1"], True), (["turn-0"], False)]
    await storage.accepted("large", metadata={"text": "x" * (MAX_PAGE_CHARS + 1)})
    page = await storage.store.page(limit=50)
    assert ([one.id for one in page.invocations], page.more) == (["large"], True)


async def test_a_thread_is_busy_behind_any_number_of_later_turns(storage: Storage) -> None:
    running = await storage.claimed("running", "t")
    for number in range(210):
        await storage.accepted(f"steer-{number}", "t", multitask_strategy="interrupt", message=f"{number}")
    standing = await storage.store.standing("t")
    assert standing == ThreadStanding(running.topic, busy=True, waiting=("steer-209",))
    assert await storage.store.standing("nobody") is None


async def test_the_topic_of_a_thread_is_that_of_the_turn_begun_last(storage: Storage) -> None:
    await storage.accepted("first", "t")
    await storage.accepted("second", "t")
    standing = await storage.store.standing("t")
    assert standing == ThreadStanding("About first", busy=True, waiting=("first", "second"))


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_turns_that_a_steer_ends_do_not_count_against_its_key(storage: Storage, strategy: str) -> None:
    await storage.claimed("key/running", "key/t")
    for number in range(3):
        await storage.accepted(f"key/{number}", "key/t", multitask_strategy=strategy, max_unfinished=1)
    for name, thread, how in (("a", "t", "enqueue"), ("b", "u", strategy)):
        with pytest.raises(QueueFull, match="1 unfinished"):
            await storage.accepted(f"key/{name}", f"key/{thread}", multitask_strategy=how, max_unfinished=1)
    assert len([one for one in await listed(storage) if not one.status.ended]) == 2


async def test_a_turn_whose_thread_was_erased_meanwhile_is_gone(storage: Storage) -> None:
    erased = await storage.accepted("a", "t")
    await storage.store.cancel(erased, Wish.CANCEL)
    await Retention(storage.database, storage.log, ttl_sec=60).erase_rows("t")
    with pytest.raises(InvocationGone):
        await storage.store.cancel(erased, Wish.CANCEL)
    with pytest.raises(InvocationGone):
        await storage.store.accept_resumption(erased, new("b", "t"), limit=100)


async def test_pages_of_a_thread_and_of_a_state(storage: Storage) -> None:
    running = await storage.claimed("a", "t")
    await storage.accepted("b", "t")
    await storage.accepted("c", "u")
    pages: list[tuple[dict[str, Any], list[str]]] = [
        ({"thread_id": "t"}, ["b", "a"]),
        ({"status": "running"}, [running.id]),
        ({"thread_id": "t", "status": "queued"}, ["b"]),
        ({"thread_id": "nobody"}, []),
    ]
    for asked, found in pages:
        assert [one.id for one in (await storage.store.page(**asked)).invocations] == found


@pytest.mark.backends("sqlite")
async def test_the_probe_reaches_the_disk(storage: Storage) -> None:
    statements = await traced(storage.database)
    await storage.store.probe()
    assert any(statement.startswith(("INSERT", "UPDATE")) for statement in statements)
    assert statements[-1] == "COMMIT"


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"owner": ""}, "invocations_of_owner"),
        ({"owner": "", "status": "running"}, "invocations_of_owner_by_status"),
        ({"thread_id": "t"}, "invocations_of_thread"),
        ({"thread_id": "t", "before": 9}, "invocations_of_thread"),
    ],
)
async def test_a_page_is_found_by_an_index_however_much_has_ended(
    storage: Storage, asked: dict[str, Any], index: str
) -> None:
    queries: list[str] = []

    def listen(connection: Connection) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.set_trace_callback(queries.append)

    await storage.database.read(listen)
    await storage.store.page(**asked)
    (query,) = [query for query in queries if query.startswith("SELECT")]
    plan = await storage.database.read(
        lambda connection: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    )
    assert len(plan) == 1, plan
    assert re.search(rf"USING INDEX {index} ", plan[0]), plan
