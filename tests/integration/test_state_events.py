"""Events come in one order that never changes, on both databases."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from dray.core.access import Principal
from dray.errors import Denied, UsageError
from dray.model.views import EventPage, TokenRequest
from dray.state import setup
from dray.state.events import Note, tell
from tests.integration.world import World, file, world_at
from tests.servers.postgres import Postgres

Story = Callable[[World], Awaitable[None]]


def play(url: str, story: Story) -> None:
    async def run() -> None:
        async with world_at(url) as world:
            await story(world)

    asyncio.run(run())


async def note(world: World, kind: str) -> None:
    told = Note("job", kind, world.clock.wall(), "test")
    await world.database.write(lambda connection: tell(connection, told, {1: {}}))


def kinds(page: EventPage) -> list[str]:
    return [event.kind for event in page.items]


def test_a_file_leaves_three_events_that_say_all_about_it(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.accept(file("a.dat"))
        page = await world.announcements.events(world.admin)
        assert kinds(page) == ["dataset.created", "upload.pending", "upload.uploaded", "upload.accepted"]
        last = page.items[-1]
        assert (last.dataset, last.path, last.file, last.upload) == ("raw", "a.dat", staged.file, staged.upload)
        assert last.data["size"] == 1
        assert str(last.data["checksum"]).startswith("sha256:ca978112")
        assert page.next == last.id
        about = await world.announcements.events(world.admin, file=staged.file)
        assert kinds(about) == kinds(page)[1:]

    play(database_url, story)


def test_pages_go_on_where_the_last_one_ended(database_url: str) -> None:
    async def story(world: World) -> None:
        for number in range(7):
            await note(world, f"n{number}")
        seen: list[str] = []
        after = None
        while (page := await world.announcements.events(world.admin, after, 3)).items:
            seen += kinds(page)
            after = page.next
        assert seen == [f"n{number}" for number in range(7)]
        assert after == await world.announcements.newest(world.admin)

    play(database_url, story)


def test_nothing_has_happened_in_an_empty_database(database_url: str) -> None:
    async def story(world: World) -> None:
        page = await world.announcements.events(world.admin)
        assert (page.items, page.next) == ([], None)
        assert await world.announcements.newest(world.admin) is None

    play(database_url, story)


@pytest.mark.parametrize("after", ["x", "1", "-1-1", "1-2-3", "1-1\n", "9" * 30 + "-1", "٣-٣"])
def test_what_is_no_id_of_an_event_is_refused(tmp_path: Path, after: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(UsageError):
            await world.announcements.events(world.admin, after)

    play(f"sqlite:///{tmp_path}/database.sqlite", story)


def test_who_waits_is_woken_by_the_next_event(database_url: str) -> None:
    async def story(world: World) -> None:
        waiting = asyncio.create_task(world.announcements.wait_events(world.admin, None, seconds=3600.0))
        await asyncio.sleep(0.05)
        await world.stage(file())
        page = await waiting
        assert page.items

    play(database_url, story)


def test_a_restricted_reader_sees_its_datasets_alone_and_keeps_its_place(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.stage(file(), dataset="lab-1")
        await world.stage(file(), dataset="other")
        await world.access.create_token(world.admin, TokenRequest(name="t", scopes=["read"]))
        reader = Principal(2, "reader", frozenset(["read"]), ("lab-*",))
        page = await world.announcements.events(reader)
        assert {event.dataset for event in page.items} == {"lab-1"}
        assert page.next == await world.announcements.newest(world.admin)
        everybody = Principal(3, "all", frozenset(["read"]))
        assert "token.created" not in kinds(await world.announcements.events(everybody))
        assert "token.created" in kinds(await world.announcements.events(world.admin))
        with pytest.raises(Denied):
            await world.announcements.events(Principal(4, "writer", frozenset(["write"])))

    play(database_url, story)


@pytest.fixture
def other_writer(state_postgres: str, postgres: Postgres) -> Iterator[Connection]:
    """A connection of another process, in a transaction of its own."""
    postgres.execute("TRUNCATE events RESTART IDENTITY", state_postgres.rpartition("/")[2])
    engine = create_engine(make_url(state_postgres).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def test_an_event_that_was_begun_first_is_never_read_second(state_postgres: str, other_writer: Connection) -> None:
    """The slow transaction takes its number and its id, then a quick one commits: its event has to wait."""

    async def story(world: World) -> None:
        await note(world, "before")
        tell(other_writer, Note("job", "slow", 0.0, "test"), {1: {}})
        await note(world, "quick")
        first = await world.announcements.events(world.admin)
        assert kinds(first) == ["before"]
        assert await world.announcements.newest(world.admin) == first.next
        other_writer.commit()
        second = await world.announcements.events(world.admin, first.next)
        assert kinds(second) == ["slow", "quick"]

    play(state_postgres, story)


def test_readers_of_concurrent_writers_see_every_event_once(state_postgres: str, other_writer: Connection) -> None:
    other_writer.close()

    async def story(world: World) -> None:
        done = asyncio.Event()

        async def read() -> list[str]:
            seen: list[str] = []
            after = None
            while True:
                last_look = done.is_set()
                page = await world.announcements.events(world.admin, after, 7)
                seen += [event.id for event in page.items]
                after = page.next
                if last_look and not page.items:
                    return seen
                await asyncio.sleep(0)

        async def write(writer: int) -> None:
            for number in range(10):
                await note(world, f"{writer}.{number}")

        reading = [asyncio.create_task(read()) for _ in range(2)]
        await asyncio.gather(*(write(writer) for writer in range(6)))
        done.set()
        for seen in await asyncio.gather(*reading):
            assert len(seen) == len(set(seen)) == 60

    play(state_postgres, story)


def test_a_database_restored_into_a_younger_cluster_goes_on_behind_its_events(
    state_postgres: str, other_writer: Connection
) -> None:
    """There the numbers of transactions are lower than those that the events carry."""
    other_writer.execute(text("INSERT INTO events (stamp, at, kind, actor) VALUES (1000000000000, 0, 'restored', 't')"))
    other_writer.commit()
    try:

        async def story(world: World) -> None:
            await note(world, "new")
            first = await world.announcements.events(world.admin, None, 1)
            assert kinds(first) == ["restored"]
            assert kinds(await world.announcements.events(world.admin, first.next)) == ["new"]

        play(state_postgres, story)
        play(state_postgres, lambda world: note(world, "newer"))
    finally:
        other_writer.execute(text("UPDATE counters SET value = 0"))
        other_writer.execute(text("DELETE FROM events"))
        other_writer.commit()


def test_processes_that_start_at_once_prepare_the_tables_once(postgres: Postgres) -> None:
    with postgres.fresh_database() as url:
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        failures: list[Exception] = []

        def start() -> None:
            try:
                setup.prepare(engine)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
