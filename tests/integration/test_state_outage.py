"""PostgreSQL goes away in the middle of things, and comes back."""

import asyncio

import pytest
from sqlalchemy import Connection, event, text

from dray.errors import Unreachable
from dray.state.postgres import PostgresDatabase
from tests.integration.world import file, world_at
from tests.servers.postgres import Postgres


def test_after_a_restart_everything_goes_on_by_itself(durable_postgres: Postgres) -> None:
    async def run(url: str) -> None:
        async with world_at(url) as world:
            staged = await world.accept(file("before"))
            await asyncio.to_thread(durable_postgres.kill9)
            with pytest.raises(Unreachable):
                await world.stage(file("while"))
            await asyncio.to_thread(durable_postgres.start)
            assert (await world.stage(file("before")))[0].upload == staged[0].upload
            await world.accept(file("after"))
            assert (await world.jobs.totals()).files == 2

    with durable_postgres.fresh_database() as url:
        asyncio.run(run(url))


class Cut:
    """Ends the connection once, just after a COMMIT that counted."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.left = 1
        engine = database._writing
        event.listen(engine, "commit", self)

    def __call__(self, connection: Connection) -> None:
        if self.left:
            self.left -= 1
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.commit()
            driver.close()


def test_when_nobody_knows_whether_a_commit_counted_nothing_is_done_twice(state_postgres: str) -> None:
    async def run() -> None:
        async with world_at(state_postgres) as world:
            database = world.database
            assert isinstance(database, PostgresDatabase)
            for table in ("copies", "uploads", "files", "jobs", "events", "datasets"):
                await world.execute(f"DELETE FROM {table}")
            cut = Cut(database)
            staged = await world.stage(file("a"), file("b"))
            assert cut.left == 0
            cut.left = 1
            await world.complete(staged)
            works = await world.claim_verification()
            cut.left = 1
            assert await world.prove(works) == {one.upload for one in staged}
            assert cut.left == 0
            counts = "SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM copies), (SELECT count(*) FROM jobs)"
            assert await world.execute(counts) == [(2, 2, 1)]
            kinds = "SELECT kind, count(*) FROM events WHERE upload_id IS NOT NULL GROUP BY kind ORDER BY kind"
            assert await world.execute(kinds) == [("upload.accepted", 2), ("upload.pending", 2), ("upload.uploaded", 2)]

    asyncio.run(run())


def test_a_transaction_that_lost_against_another_is_run_again(state_postgres: str) -> None:
    async def run() -> None:
        async with world_at(state_postgres) as world:
            tries: list[int] = []

            def collide(connection: Connection) -> str:
                tries.append(1)
                if len(tries) < 3:
                    connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"))
                return "done"

            assert await world.database.write(collide) == "done"
            assert len(tries) == 3

    asyncio.run(run())
