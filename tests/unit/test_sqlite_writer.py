"""The one writer of SQLite: many functions a commit, none harmed by another."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from dray.errors import Busy, Conflict, Forbidden, NoSpace, Permanent, Temporary, Unreachable
from dray.state.sqlite import SqliteDatabase
from dray.state.trouble import disconnected, translate

Story = Callable[[SqliteDatabase], Awaitable[None]]


def play(folder: Path, story: Story) -> None:
    async def run() -> None:
        database = SqliteDatabase(f"{folder}/database.sqlite")
        try:
            await story(database)
        finally:
            await database.close()

    asyncio.run(run())


def store(name: str) -> Callable[[Connection], int]:
    """Add a store and return how many there are."""

    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO stores (name) VALUES (:name)"), {"name": name})
        return int(connection.execute(text("SELECT count(*) FROM stores")).scalar_one())

    return work


def names(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT name FROM stores ORDER BY id")).scalars())


async def held_up(database: SqliteDatabase, works: list[Callable[[Connection], Any]]) -> list[Any]:
    """Hand in works while the writer is busy, so that they wait together."""
    entered, release = threading.Event(), threading.Event()

    def block(connection: Connection) -> None:
        entered.set()
        release.wait(10)

    blocking = asyncio.ensure_future(database.write(block))
    await asyncio.to_thread(entered.wait, 10)
    waiting = asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    await asyncio.sleep(0)
    release.set()
    await blocking
    return list(await waiting)


def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    commits: list[int] = []

    @event.listens_for(Engine, "commit")
    def count(connection: Connection) -> None:
        commits.append(1)

    async def story(database: SqliteDatabase) -> None:
        commits.clear()
        assert await held_up(database, [store(f"s{n}") for n in range(20)]) == list(range(1, 21))
        assert len(commits) == 2

    try:
        play(tmp_path, story)
    finally:
        event.remove(Engine, "commit", count)


def test_one_that_refuses_undoes_only_itself(tmp_path: Path) -> None:
    def refuse(connection: Connection) -> None:
        store("refused")(connection)
        raise Conflict("no")

    async def story(database: SqliteDatabase) -> None:
        answers = await held_up(database, [store("a"), refuse, store("b")])
        assert [type(answer) for answer in answers] == [int, Conflict, int]
        assert await database.read(names) == ["a", "b"]
        with pytest.raises(Conflict):
            await database.write(refuse)
        assert await database.read(names) == ["a", "b"]

    play(tmp_path, story)


def test_one_that_breaks_the_transaction_harms_no_other(tmp_path: Path) -> None:
    """Where SQLite itself undoes everything, nobody is told that its part was done."""

    def rollback(connection: Connection) -> None:
        store("lost")(connection)
        connection.exec_driver_sql("ROLLBACK")
        raise sqlite3.OperationalError("the whole transaction is gone")

    async def story(database: SqliteDatabase) -> None:
        answers = await held_up(database, [store("a"), rollback, store("a2"), store("a")])
        assert isinstance(answers[1], sqlite3.OperationalError)
        assert isinstance(answers[3], IntegrityError)
        assert [answers[0], answers[2]] == [1, 2]
        assert await database.read(names) == ["a", "a2"]

    play(tmp_path, story)


def test_an_answer_comes_only_after_the_commit(tmp_path: Path) -> None:
    async def story(database: SqliteDatabase) -> None:
        await database.write(store("a"))
        with sqlite3.connect(tmp_path / "database.sqlite") as other:
            assert other.execute("SELECT name FROM stores").fetchall() == [("a",)]
        other.close()

    play(tmp_path, story)


def test_a_full_disk_is_told_and_nothing_of_the_batch_is_there(tmp_path: Path) -> None:
    def fill(connection: Connection) -> None:
        store("x" * 3_000_000)(connection)

    async def story(database: SqliteDatabase) -> None:
        await database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 200"))
        with pytest.raises(NoSpace):
            await database.write(fill)
        answers = await held_up(database, [store("a"), fill, store("b")])
        assert [type(answer) for answer in answers] == [int, NoSpace, int]
        assert await database.read(names) == ["a", "b"]

    play(tmp_path, story)


def test_a_reader_sees_one_state_however_long_it_reads(tmp_path: Path) -> None:
    async def story(database: SqliteDatabase) -> None:
        looked, wrote = threading.Event(), threading.Event()

        def read_twice(connection: Connection) -> tuple[list[str], list[str]]:
            before = names(connection)
            looked.set()
            wrote.wait(10)
            return before, names(connection)

        reading = asyncio.ensure_future(database.read(read_twice))
        await asyncio.to_thread(looked.wait, 10)
        await database.write(store("a"))
        wrote.set()
        assert await reading == ([], [])
        assert await database.read(names) == ["a"]

    play(tmp_path, story)


def test_readers_cannot_write(tmp_path: Path) -> None:
    async def story(database: SqliteDatabase) -> None:
        with pytest.raises(Forbidden):
            await database.read(store("a"))

    play(tmp_path, story)


def test_what_was_handed_in_before_the_end_is_done(tmp_path: Path) -> None:
    async def run() -> None:
        database = SqliteDatabase(f"{tmp_path}/database.sqlite")
        writing = [asyncio.ensure_future(database.write(store(f"s{n}"))) for n in range(5)]
        await asyncio.sleep(0)
        await database.close()
        assert await asyncio.gather(*writing) == [1, 2, 3, 4, 5]
        with pytest.raises(Temporary, match="closed"):
            await database.write(store("late"))
        await database.close()

    asyncio.run(run())


def test_a_killed_process_leaves_the_lock_and_all_that_was_answered(tmp_path: Path) -> None:
    code = """
import asyncio, os, sys
from sqlalchemy import text
from dray.state.sqlite import SqliteDatabase
async def main():
    database = SqliteDatabase(sys.argv[1])
    for number in range(3):
        await database.write(lambda c: c.execute(text(f"INSERT INTO stores (name) VALUES ('s{number}')")) and None)
    print("answered", flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/database.sqlite"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("answered\n", -9)

    async def story(database: SqliteDatabase) -> None:
        assert await database.read(names) == ["s0", "s1", "s2"]

    play(tmp_path, story)


def test_a_caller_that_goes_away_does_not_stop_the_writer(tmp_path: Path) -> None:
    async def story(database: SqliteDatabase) -> None:
        writing = asyncio.ensure_future(database.write(store("a")))
        await asyncio.sleep(0)
        writing.cancel()
        assert await database.write(store("b")) == 2

    play(tmp_path, story)


def test_what_is_no_database_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "database.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(Permanent, match="not a database file"):
        SqliteDatabase(f"{tmp_path}/database.sqlite")
    # The lock is free again.
    (tmp_path / "database.sqlite").unlink()
    play(tmp_path, lambda database: asyncio.sleep(0))


class FakePostgresError(Exception):
    """What psycopg raises, as far as the translation looks at it."""

    def __init__(self, state: str | None) -> None:
        super().__init__("server says no")
        self.sqlstate = state


@pytest.mark.parametrize(
    ("state", "kind", "gone"),
    [
        ("53100", NoSpace, False),
        ("53300", Busy, False),
        ("40001", Busy, False),
        ("57P01", Unreachable, True),
        ("57014", Temporary, False),
        ("08006", Unreachable, True),
        (None, Unreachable, True),
        ("28P01", Permanent, False),
        ("55P03", Busy, False),
    ],
)
def test_each_failure_of_postgresql_has_its_meaning(state: str | None, kind: type[Exception], gone: bool) -> None:
    error = OperationalError("SELECT 1", {}, FakePostgresError(state))
    assert type(translate(error)) is kind
    assert disconnected(error) is gone


def test_a_fault_of_ours_is_not_called_a_failure_of_the_database() -> None:
    fault = DBAPIError("SELECT nonsense", {}, FakePostgresError("42703"))
    assert translate(fault) is fault
    plain = ValueError("x")
    assert translate(plain) is plain
