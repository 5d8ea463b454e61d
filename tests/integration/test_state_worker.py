"""The worker on real queues and databases, with bytes in a place in memory."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from crc32c import crc32c

from dray.clock import SystemClock
from dray.errors import DrayError, Forbidden, NoSpace, NotFound
from dray.fs import FileRange
from dray.model.parts import Part, parts
from dray.model.values import Claim, Entry, Limits, Proof, Ref, Staged
from dray.model.views import CancelItem, JobView, ScrubRequest, StagedUpload, UploadView
from dray.moving.spool import Spool
from dray.transports.base import Failure, Piece, Session
from dray.transports.memory import Memory, MemorySession
from dray.transports.posix import Posix
from dray.transports.refs import published
from dray.work import verify
from dray.work.loop import Loop, Pace, Tools
from dray.work.scrub import ScrubHandler
from dray.work.steps import Claim as Held
from dray.work.steps import Place
from dray.work.sweep import SweepHandler
from dray.work.verify import Verify
from tests.integration.world import LIMITS, STORE, World, claim, file, good, until, world_at

QUICK = Pace(poll=0.05)


class Killed(BaseException):
    """The process ends here."""


class Faulty(MemorySession):
    """A session that fails as it is told, once."""

    def __init__(self, place: Memory) -> None:
        super().__init__(place)
        self.verify_fails: dict[str, DrayError] = {}
        self.killed_after_publish = False
        self.verified = 0

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        self.verified += len(claims)
        proofs = await super().verify(claims)
        return [self.verify_fails.pop(c.ref.rpartition("/")[2], None) or p for c, p in zip(claims, proofs, strict=True)]

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        entries = await super().publish(staged)
        if self.killed_after_publish:
            raise Killed
        return entries


@dataclass
class Site:
    """A world with a store and what a worker needs."""

    world: World
    memory: Memory = field(default_factory=lambda: Memory(LIMITS, STORE))

    def __post_init__(self) -> None:
        self.faulty = Faulty(self.memory)
        self.use(self.faulty)

    def use(self, session: Session) -> None:
        self.session = session
        self.place = Place(STORE, session, published)
        self.places = [self.place]

    def loop(self, pace: Pace = QUICK) -> Loop:
        world = self.world
        handlers = {
            "verify": Verify(self.place, world.uploads, world.records),
            "scrub": ScrubHandler(self.places, world.scrubs),
            "sweep": SweepHandler(self.place, world.sweep, world.clock),
        }
        return Loop(Tools(world.queue, handlers, SystemClock(), world.bell, "worker"), pace)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run a worker beside the test and let it end in order."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.loop().run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

    async def send(self, staged: Sequence[StagedUpload], content: str) -> None:
        """Bring the bytes of uploads into the store."""
        data = content.encode()
        targets = [good(one) for one in await self.world.uploads.targets([one.upload for one in staged])]
        places = [good(one) for one in await self.session.stage([target.landing() for target in targets])]
        with Spool() as spool:
            at = spool.reserve(len(data))
            os.pwrite(at.file, data, at.offset)
            for one in places:
                for receipt in await self.session.write(
                    [piece_of(one.ref, part, at, data) for part in split(one, data)]
                ):
                    good(receipt)

    async def upload(
        self, *names: str, content: str = "hello", sent: str | None = None, version: str = "v"
    ) -> list[int]:
        """Stage, send and claim files; ``sent`` is what arrives in truth."""
        staged = await self.world.stage(*(file(name, version, content) for name in names))
        await self.send(staged, content if sent is None else sent)
        await self.world.complete(staged, content)
        return [one.upload for one in staged]

    async def verdicts(self, uploads: Sequence[int]) -> list[UploadView]:
        """Wait until all have their verdict, whatever the hand clock says."""
        keys = ", ".join(map(str, uploads))
        moving = f"SELECT 1 FROM uploads WHERE id IN ({keys}) AND state IN ('pending', 'uploaded')"
        await until(lambda: self.world.execute(f"SELECT 1 WHERE NOT EXISTS ({moving})"))
        return [good(one) for one in await self.world.uploads.views(self.world.admin, uploads)]

    async def ended(self, job: int) -> JobView:
        """Wait until a job is done."""
        await until(lambda: self.world.execute(f"SELECT 1 FROM jobs WHERE id = {job} AND state = 'done'"))
        return await self.world.jobs.job(self.world.admin, job)


def split(staged: Staged, data: bytes) -> Sequence[Part]:
    return parts(len(data), staged.part_size)


def piece_of(ref: Ref, part: Part, at: FileRange, data: bytes) -> Piece:
    here = FileRange(at.file, at.offset + part.offset, part.length)
    return Piece(ref, part.number, part.offset, here, crc32c(data[part.offset : part.offset + part.length]))


Story = Callable[[Site], Awaitable[None]]


def play(url: str, story: Story) -> None:
    async def run() -> None:
        async with world_at(url) as world:
            await story(Site(world))

    asyncio.run(run())


def test_what_was_sent_is_verified_published_and_recorded(database_url: str) -> None:
    async def story(site: Site) -> None:
        async with site.working():
            uploads = await site.upload("a", "b/c")
            views = await site.verdicts(uploads)
        assert [view.state for view in views] == ["accepted", "accepted"]
        assert {path: kept.data for path, kept in site.memory.files.items()} == {"raw/a": b"hello", "raw/b/c": b"hello"}
        tags = [view.proof.tag for view in views if view.proof]
        assert tags == [site.memory.files[f"raw/{view.path}"].tag for view in views]
        assert await site.world.execute("SELECT state FROM jobs") == [("done",)]
        assert site.memory.staged == {}

    play(database_url, story)


def test_other_bytes_than_were_claimed_are_rejected_and_leave_nothing(database_url: str) -> None:
    async def story(site: Site) -> None:
        async with site.working():
            good_one = await site.upload("good")
            bad_one = await site.upload("bad", sent="hellO")
            views = await site.verdicts(good_one + bad_one)
        assert [view.state for view in views] == ["accepted", "rejected"]
        assert "the source had" in views[1].reason
        assert list(site.memory.files) == ["raw/good"]
        assert site.memory.staged == {}
        assert await site.world.execute("SELECT count(*) FROM uploads WHERE leftover") == [(0,)]

    play(database_url, story)


def test_bytes_that_a_power_cut_took_are_rejected_with_the_advice_to_send_again(database_url: str) -> None:
    async def story(site: Site) -> None:
        uploads = await site.upload("a")
        site.memory.staged.clear()
        site.faulty.verify_fails = {"a": NotFound("nothing is staged under this ref")}
        async with site.working():
            (view,) = await site.verdicts(uploads)
        assert view.state == "rejected"
        assert "run the same command again" in view.reason

    play(database_url, story)


def test_a_full_disk_leaves_its_file_waiting_and_the_others_accepted(database_url: str) -> None:
    async def story(site: Site) -> None:
        site.faulty.verify_fails = {"b": NoSpace("the disk is full", after=3600.0)}
        async with site.working():
            uploads = await site.upload("a", "b", "c")
            await site.verdicts([uploads[0], uploads[2]])
            await until_settled(site)
        views = [good(one) for one in await site.world.uploads.views(site.world.admin, uploads)]
        assert [view.state for view in views] == ["accepted", "uploaded", "accepted"]
        assert views[1].reason == "the disk is full"
        assert views[1].next_try is not None
        (task,) = await site.world.execute("SELECT task FROM jobs")
        assert str(uploads[1]) in str(task[0])
        await site.world.execute("UPDATE jobs SET run_at = 0")
        async with site.working():
            assert (await site.verdicts(uploads))[1].state == "accepted"
        assert site.faulty.verified == 4

    play(database_url, story)


async def until_settled(site: Site) -> None:
    await until(lambda: site.world.execute("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running')"))


def test_killed_between_publish_and_record_the_next_worker_only_records(database_url: str) -> None:
    async def story(site: Site) -> None:
        uploads = await site.upload("a", "b")
        site.faulty.killed_after_publish = True
        (work,) = await site.world.claim_verification("killed")
        handler = Verify(site.place, site.world.uploads, site.world.records)
        with pytest.raises(Killed):
            await handler.step(Held([work], float("inf"), site.world.clock.monotonic))
        assert sorted(site.memory.files) == ["raw/a", "raw/b"]
        views = [good(one) for one in await site.world.uploads.views(site.world.admin, uploads)]
        assert {view.state for view in views} == {"uploaded"}
        site.faulty.killed_after_publish = False
        await site.world.execute("UPDATE jobs SET lease_until = 0")
        await site.world.queue.start()
        async with site.working():
            assert [view.state for view in await site.verdicts(uploads)] == ["accepted", "accepted"]
        assert await site.world.execute("SELECT count(*) FROM copies") == [(2,)]
        assert len(site.memory.files) == 2
        assert site.memory.older == {}

    play(database_url, story)


def test_a_permanent_failure_rejects_with_its_reason(database_url: str) -> None:
    async def story(site: Site) -> None:
        site.faulty.verify_fails = {"a": Forbidden("the operating system refuses access")}
        async with site.working():
            (view,) = await site.verdicts(await site.upload("a"))
        assert (view.state, view.reason) == ("rejected", "the operating system refuses access")

    play(database_url, story)


def test_a_store_that_is_never_there_again_ends_in_a_reason_not_in_silence(database_url: str) -> None:
    async def story(site: Site) -> None:
        async def fail(*args: object) -> Sequence[Proof | Failure]:
            raise Forbidden("the store cannot be entered")

        site.session.verify = fail  # type: ignore[method-assign]
        async with site.working():
            (view,) = await site.verdicts(await site.upload("a"))
        assert view.state == "rejected"
        assert "the store cannot be entered" in view.reason
        assert await site.world.execute("SELECT state FROM jobs") == [("dead",)]

    play(database_url, story)


def test_many_small_completions_are_verified_together(database_url: str) -> None:
    async def story(site: Site) -> None:
        uploads = [key for number in range(30) for key in await site.upload(f"{number}.dat")]
        calls: list[int] = []
        verify = site.session.verify

        async def count(claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
            calls.append(len(claims))
            return await verify(claims)

        site.session.verify = count  # type: ignore[method-assign]
        async with site.working():
            await site.verdicts(uploads)
        assert sum(calls) == 30
        assert len(calls) <= 3

    play(database_url, story)


def test_a_scrub_finds_what_was_flipped_cut_and_deleted_and_nothing_else(database_url: str) -> None:
    async def story(site: Site) -> None:
        async with site.working():
            await site.verdicts(await site.upload("fine", "flipped", "cut", "deleted"))
            site.memory.files["raw/flipped"].data = b"hellO"
            site.memory.files["raw/cut"].data = b"hell"
            del site.memory.files["raw/deleted"]
            job = await site.world.jobs.scrub(site.world.admin, ScrubRequest(dataset="raw"))
            view = await site.ended(job.job)
        assert (view.result["checked"], view.result["repaired"]) == (4, 0)
        assert int(str(view.result["corrupt"])) + int(str(view.result["lost"])) == 3
        rows = await site.world.execute(
            "SELECT f.path, c.state FROM copies c JOIN files f ON f.id = c.file_id ORDER BY 1"
        )
        assert {str(path): state == "verified" for path, state in rows} == {
            "cut": False,
            "deleted": False,
            "fine": True,
            "flipped": False,
        }
        kinds = await site.world.execute("SELECT count(*) FROM events WHERE kind IN ('copy.corrupt', 'copy.lost')")
        assert kinds == [(3,)]

    play(database_url, story)


def test_a_damaged_copy_is_repaired_from_a_second_store(database_url: str) -> None:
    async def story(site: Site) -> None:
        second = Memory(LIMITS, "second")
        site.places.append(Place("second", MemorySession(second), published))
        async with site.working():
            content = "hello" * 40_000
            await site.verdicts(await site.upload("large", content=content))
            await copy_to(site, second)
            site.memory.files["raw/large"].data = b"X" + content.encode()[1:]
            job = await site.world.jobs.scrub(site.world.admin, ScrubRequest())
            view = await site.ended(job.job)
        assert (view.result["corrupt"], view.result["repaired"]) == (1, 1)
        assert site.memory.files["raw/large"].data == content.encode()
        states = await site.world.execute("SELECT state FROM copies")
        assert states == [("verified",), ("verified",)]
        kinds = [
            row[0] for row in await site.world.execute("SELECT kind FROM events WHERE kind LIKE 'copy.%' ORDER BY id")
        ]
        assert kinds == ["copy.corrupt", "copy.arriving", "copy.verified"]

    play(database_url, story)


async def copy_to(site: Site, second: Memory) -> None:
    """Put everything of the first store into a second one, and tell the catalogue."""
    second.files.update({path: type(kept)(kept.path, kept.data, 0, "t") for path, kept in site.memory.files.items()})
    await site.world.execute("INSERT INTO stores (name) VALUES ('second')")
    columns = "file_id, upload_id, state, size, checksum, level, tag, verified_by, verified_at, reason, updated"
    chosen = columns.replace(" tag,", " 't',")
    store = "(SELECT id FROM stores WHERE name = 'second')"
    await site.world.execute(f"INSERT INTO copies (store_id, {columns}) SELECT {store}, {chosen} FROM copies")


def test_cancelled_and_abandoned_uploads_leave_nothing_staged(database_url: str) -> None:
    async def story(site: Site) -> None:
        world = site.world
        staged = await world.stage(file("cancelled", content="hello"), file("abandoned", content="hello"))
        await site.send(staged, "hello")
        await world.uploads.cancel(world.admin, [CancelItem(upload=staged[0].upload)])
        world.clock.now += 8 * 86400
        (live,) = await world.stage(file("live", content="hello"))
        await site.send([live], "hello")
        await world.queue.start()
        async with site.working():
            await until_swept(site)
        views = [good(one) for one in await world.uploads.views(world.admin, [one.upload for one in staged])]
        assert [(view.state, view.reason) for view in views] == [
            ("cancelled", "cancelled by admin"),
            ("failed", "nothing came for 7 days"),
        ]
        assert [ref.rpartition("/")[2] for ref in site.memory.staged] == ["live"]

    play(database_url, story)


async def until_swept(site: Site) -> None:
    swept = "SELECT 1 FROM jobs WHERE kind = 'sweep' AND attempt > 0 AND state = 'waiting'"
    await until(lambda: site.world.execute(swept))


def test_an_upload_whose_job_died_is_verified_by_another(database_url: str) -> None:
    async def story(site: Site) -> None:
        uploads = await site.upload("a")
        await site.world.execute("UPDATE jobs SET state = 'dead'")
        await site.world.queue.start()
        async with site.working():
            assert (await site.verdicts(uploads))[0].state == "accepted"

    play(database_url, story)


def test_a_worker_that_is_told_to_stop_finishes_what_it_began(database_url: str) -> None:
    async def story(site: Site) -> None:
        uploads = await site.upload("a")
        entered, release = asyncio.Event(), asyncio.Event()
        verify = site.session.verify

        async def slow(claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
            entered.set()
            await release.wait()
            return await verify(claims)

        site.session.verify = slow  # type: ignore[method-assign]
        stop = asyncio.Event()
        running = asyncio.create_task(site.loop().run(stop))
        await entered.wait()
        stop.set()
        await asyncio.sleep(0.05)
        assert not running.done()
        release.set()
        await running
        (view,) = [good(one) for one in await site.world.uploads.views(site.world.admin, uploads)]
        assert view.state == "accepted"
        assert await site.world.execute("SELECT state FROM jobs") == [("done",)]

    play(database_url, story)


def test_on_a_real_disk_files_of_any_number_of_parts_survive_the_kill_after_publish(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        place = Posix(tmp_path / "store", name="store", limits=LIMITS, compare_final=False)
        async with place.connect() as first:
            site.use(first.comparing())
            uploads = await site.upload("small") + await site.upload("large", content="hello" * 40_000)
            works = await site.world.claim_verification("killed")
            publish = first.publish

            async def killed(refs: Sequence[Ref]) -> Sequence[Entry | Failure]:
                await publish(refs)
                raise Killed

            site.session.publish = killed  # type: ignore[method-assign]
            handler = Verify(site.place, site.world.uploads, site.world.records)
            with pytest.raises(Killed):
                await handler.step(Held(works, float("inf"), site.world.clock.monotonic))
        await site.world.queue.start()
        async with place.connect() as second:
            site.use(second.comparing())
            async with site.working():
                assert [view.state for view in await site.verdicts(uploads)] == ["accepted", "accepted"]
        names = [path.relative_to(tmp_path / "store") for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert sorted(str(name) for name in names if name.parts[0] != ".dray") == ["raw/large", "raw/small"]
        assert [name for name in names if name.parts[0] == ".dray" and name.name != "lock"] == []

    play(f"sqlite:///{tmp_path}/database.sqlite", story)


def test_small_files_get_their_verdict_before_a_large_one_of_the_same_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "TOGETHER", Limits(piece=1000, batch_files=512))

    async def story(site: Site) -> None:
        staged = await site.world.stage(file("large", content="x" * 5000), file("small", content="small"))
        await site.send(staged[:1], "x" * 5000)
        await site.send(staged[1:], "small")
        await site.world.uploads.complete(
            site.world.admin, [claim(staged[0].upload, "x" * 5000), claim(staged[1].upload, "small")]
        )
        site.faulty.verify_fails = {"large": NoSpace("the disk is full", after=3600.0)}
        async with site.working():
            await site.verdicts([staged[1].upload])
            await until_settled(site)
        (task,) = await site.world.execute("SELECT task FROM jobs")
        assert f'"uploads":[{staged[0].upload}],"bytes":5000' in str(task[0])

    play(f"sqlite:///{tmp_path}/database.sqlite", story)


def test_on_a_real_disk_nothing_stays_of_an_upload_that_was_given_up(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        world = site.world
        async with Posix(tmp_path / "store", name="store", limits=LIMITS, compare_final=False).connect() as session:
            site.use(session.comparing())
            content = "hello" * 40_000
            given_up = await world.stage(file("a", "v1", content, on_exists="fail", source="s"))
            await site.send(given_up, content)
            await world.uploads.cancel(world.admin, [CancelItem(upload=given_up[0].upload)])
            async with site.working():
                await site.verdicts(await site.upload("a", content=content, version="v2"))
                await world.queue.start()
                await until_swept(site)
        names = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.name != "lock"]
        assert names == [tmp_path / "store" / "raw" / "a"]

    play(f"sqlite:///{tmp_path}/database.sqlite", story)
