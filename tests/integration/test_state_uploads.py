"""Uploads from staged to a verdict, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dray.core.access import Principal
from dray.core.record import Verdict
from dray.core.uploads import Uploads
from dray.errors import Busy, Conflict, Denied, DrayError, NameRefused, NotFound, Refused, SourceBusy
from dray.model.queue import Settlement
from dray.model.views import CancelItem, StageFile, StageRequest
from tests.integration.world import World, checksum, claim, file, good, proof_of, world_at

Story = Callable[[World], Awaitable[None]]


def play(url: str, story: Story) -> None:
    async def run() -> None:
        async with world_at(url) as world:
            await story(world)

    asyncio.run(run())


def test_a_file_goes_from_staged_to_accepted_and_is_counted(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.stage(file(content="hello", mtime_ns=5))
        assert (staged.state, staged.version_number, staged.part_size, staged.done) == ("pending", 1, 64 << 10, False)
        (target,) = [good(one) for one in await world.uploads.targets([staged.upload])]
        assert (target.landing().path, target.landing().version) == ("raw/a.dat", f"upload-{staged.upload}")
        (view,) = await world.complete([staged], "hello")
        assert (view.state, view.reason) == ("uploaded", "waits for a worker to verify it")
        assert view.next_try is not None
        works = await world.claim_verification()
        assert await world.prove(works) == {staged.upload}
        (view,) = [good(one) for one in await world.uploads.views(world.admin, [staged.upload])]
        assert view.state == "accepted"
        assert view.proof is not None
        assert (view.proof.checksum, view.proof.tag, view.proof.level) == (
            checksum("hello"),
            f"tag-{staged.upload}",
            "durable",
        )
        dataset = await world.datasets.get(world.admin, "raw")
        assert (dataset.files, dataset.bytes) == (1, 5)
        detail = await world.datasets.detail(world.admin, staged.file)
        assert (detail.file.state, detail.file.current, detail.file.checksum) == ("verified", True, checksum("hello"))
        assert [copy.store for copy in detail.file.copies] == ["store"]

    play(database_url, story)


def test_staging_the_same_version_again_resumes_the_same_upload(database_url: str) -> None:
    async def story(world: World) -> None:
        first = await world.stage(file(source="s"), file("b.dat", source="s"))
        again = await world.stage(file(source="s"), file("b.dat", source="s"))
        assert again == first

    play(database_url, story)


def test_a_rewritten_source_takes_the_place_of_its_own_unfinished_upload(database_url: str) -> None:
    async def story(world: World) -> None:
        (old,) = await world.stage(file(version="v1", content="old", source="s"))
        (new,) = await world.stage(file(version="v2", content="newer", source="s"))
        assert new.upload != old.upload
        assert (new.file, new.version_number) == (old.file, 1)
        (view,) = [good(one) for one in await world.uploads.views(world.admin, [old.upload])]
        assert (view.state, view.reason) == ("cancelled", "a newer version took its place")
        assert (await world.datasets.detail(world.admin, new.file)).file.size == 5

    play(database_url, story)


def test_another_source_is_refused_until_nothing_came_for_a_quarter_of_an_hour(database_url: str) -> None:
    async def story(world: World) -> None:
        (mine,) = await world.stage(file(source="mine"))
        other = StageRequest(dataset="raw", files=[file(version="x", source="other")])
        (refused,) = await world.uploads.stage(world.admin, other)
        assert isinstance(refused, SourceBusy)
        assert refused.item == "a.dat"
        world.clock.now += 14 * 60
        await world.uploads.touch([mine.upload])
        world.clock.now += 14 * 60
        assert isinstance((await world.uploads.stage(world.admin, other))[0], SourceBusy)
        world.clock.now += 2 * 60
        (taken,) = [good(one) for one in await world.uploads.stage(world.admin, other)]
        assert taken.upload != mine.upload

    play(database_url, story)


def test_content_that_is_published_is_done_by_its_checksum_or_its_version(database_url: str) -> None:
    async def story(world: World) -> None:
        (first,) = await world.accept(file(version="v1", source="s"))
        by_version = await world.stage(file(version="v1", source="s"))
        by_checksum = await world.stage(file(version="v9", source="t", checksum=checksum("a")))
        for (staged,) in (by_version, by_checksum):
            assert (staged.done, staged.state, staged.upload) == (True, "accepted", first.upload)
        (hashed,) = await world.stage(file(version="v2", source="s"))
        assert (hashed.hash_first, hashed.upload) == (True, 0)
        (other,) = await world.stage(file(version="v2", source="s", checksum=checksum("b")))
        assert (other.done, other.hash_first, other.version_number) == (False, False, 2)

    play(database_url, story)


def test_content_whose_copy_is_damaged_is_taken_again(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(file(source="s"))
        await world.execute("UPDATE copies SET state = 'corrupt'")
        (again,) = await world.stage(file(source="s", checksum=checksum("a")))
        assert (again.done, again.version_number) == (False, 2)

    play(database_url, story)


def test_new_content_is_a_new_version_and_the_older_one_stays(database_url: str) -> None:
    async def story(world: World) -> None:
        (old,) = await world.accept(file(version="v1", content="old"), content="old")
        (new,) = await world.accept(file(version="v2", content="newer"), content="newer")
        assert (new.version_number, new.file != old.file) == (2, True)
        dataset = await world.datasets.get(world.admin, "raw")
        assert (dataset.files, dataset.bytes) == (1, 5)
        stored = [good(one) for one in await world.datasets.stored(world.admin, [old.file, new.file])]
        assert [one.current for one in stored] == [False, True]
        assert [one.tag for one in stored] == [f"tag-{old.upload}", f"tag-{new.upload}"]

    play(database_url, story)


def test_a_replaced_version_has_no_copy_any_more(database_url: str) -> None:
    async def story(world: World) -> None:
        (old,) = await world.accept(file(version="v1", content="old"), content="old")
        await world.accept(file(version="v2", content="newer", on_exists="replace"), content="newer")
        assert (await world.datasets.detail(world.admin, old.file)).file.state == "removed"
        assert isinstance((await world.datasets.stored(world.admin, [old.file]))[0], Refused)

    play(database_url, story)


def test_new_content_can_be_refused_at_a_path_that_is_taken(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(file(content="old"), content="old")
        request = StageRequest(dataset="raw", files=[file(version="v2", content="newer", on_exists="fail")])
        (refused,) = await world.uploads.stage(world.admin, request)
        assert isinstance(refused, Conflict)

    play(database_url, story)


def test_a_refused_name_does_not_hold_up_the_others(database_url: str) -> None:
    async def story(world: World) -> None:
        names = [
            "fine.dat",
            "../out",
            ".dray/x",
            "x" * 300,
            "d/" * 509 + "end",
            'naïve \n "name" \'%_\\ 数据.h5',
            "fine.dat",
        ]
        files = [StageFile(path=name, size=1, version="v") for name in names]
        answers = await world.uploads.stage(world.admin, StageRequest(dataset="raw", files=files))
        kinds = [type(one) if isinstance(one, DrayError) else None for one in answers]
        assert kinds == [None, NameRefused, NameRefused, NameRefused, NameRefused, None, Refused]
        found = await world.datasets.detail(world.admin, good(answers[5]).file)
        assert found.file.path == names[5]

    play(database_url, story)


def test_a_dataset_is_made_only_by_those_who_may(database_url: str) -> None:
    async def story(world: World) -> None:
        writer = Principal(2, "writer", frozenset(["write"]))
        maker = Principal(3, "maker", frozenset(["write", "create"]), ("lab-*",))
        with pytest.raises(Denied):
            await world.uploads.stage(writer, StageRequest(dataset="new", files=[file()]))
        with pytest.raises(NotFound):
            await world.uploads.stage(writer, StageRequest(dataset="new", files=[file()], create=False))
        with pytest.raises(Denied):
            await world.uploads.stage(maker, StageRequest(dataset="new", files=[file()]))
        assert (await world.stage(file(), dataset="lab-7", who=maker))[0].state == "pending"

    play(database_url, story)


def test_the_same_claim_again_answers_and_another_one_is_a_conflict(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.stage(file())
        (first,) = await world.complete([staged])
        (again,) = await world.complete([staged])
        assert (again.upload, again.state, again.checksum) == (first.upload, "uploaded", first.checksum)
        (other,) = await world.uploads.complete(world.admin, [claim(staged.upload, "b")])
        assert isinstance(other, Conflict)
        await world.prove(await world.claim_verification())
        assert (await world.complete([staged]))[0].state == "accepted"
        assert await world.execute("SELECT count(*) FROM jobs") == [(1,)]

    play(database_url, story)


def test_wrong_claims_are_refused_in_place(database_url: str) -> None:
    async def story(world: World) -> None:
        staged = await world.stage(file("a"), file("b"), file("c"))
        cancelled = CancelItem(upload=staged[2].upload)
        assert good((await world.uploads.cancel(world.admin, [cancelled]))[0]).state == "cancelled"
        keys = [one.upload for one in staged]
        items = [claim(keys[0]), claim(keys[1], "longer"), claim(keys[2]), claim(999_999), claim(keys[0], "b")]
        answers = await world.uploads.complete(world.admin, items)
        kinds = [type(one) if isinstance(one, DrayError) else None for one in answers]
        assert kinds == [None, Conflict, Conflict, NotFound, Conflict]

    play(database_url, story)


def test_who_may_not_see_a_dataset_does_not_learn_of_its_uploads(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.stage(file())
        reader = Principal(4, "reader", frozenset(["read"]), ("raw",))
        stranger = Principal(5, "stranger", frozenset(["read", "write"]), ("other",))
        assert good((await world.uploads.views(reader, [staged.upload]))[0]).upload == staged.upload
        assert isinstance((await world.uploads.complete(reader, [claim(staged.upload)]))[0], Denied)
        item = CancelItem(upload=staged.upload)
        for refused in (
            await world.uploads.views(stranger, [staged.upload]),
            await world.uploads.complete(stranger, [claim(staged.upload)]),
            await world.uploads.cancel(stranger, [item]),
        ):
            assert isinstance(refused[0], NotFound)

    play(database_url, story)


def test_a_rejected_upload_says_why_and_the_path_is_free_again(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.stage(file())
        await world.complete([staged])
        (work,) = await world.claim_verification()
        await world.records.record([Verdict(staged.upload, work.job, work.attempt, reason="other bytes are stored")])
        (view,) = [good(one) for one in await world.uploads.views(world.admin, [staged.upload])]
        assert (view.state, view.reason) == ("rejected", "other bytes are stored")
        (again,) = await world.stage(file())
        assert (again.upload != staged.upload, again.file, again.version_number) == (True, staged.file, 1)
        assert (await world.datasets.detail(world.admin, staged.file)).file.published is None

    play(database_url, story)


def test_an_upload_that_is_verified_right_now_is_neither_cancelled_nor_replaced(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.stage(file(source="s"))
        await world.complete([staged])
        (work,) = await world.claim_verification()
        newer = StageRequest(dataset="raw", files=[file(version="v2", content="bb", source="s")])
        assert isinstance((await world.uploads.cancel(world.admin, [CancelItem(upload=staged.upload)]))[0], Busy)
        assert isinstance((await world.uploads.stage(world.admin, newer))[0], SourceBusy)
        await world.queue.settle([Settlement(work.job, work.attempt, "waiting", "the disk is full", 60.0, failed=True)])
        (view,) = [good(one) for one in await world.uploads.views(world.admin, [staged.upload])]
        assert (view.reason, view.next_try is not None) == ("the disk is full", True)
        assert good((await world.uploads.stage(world.admin, newer))[0]).upload != staged.upload

    play(database_url, story)


def test_what_was_found_under_a_lost_claim_is_not_recorded(database_url: str) -> None:
    async def story(world: World) -> None:
        (staged,) = await world.stage(file())
        await world.complete([staged])
        (late,) = await world.claim_verification("first")
        await world.queue.settle([Settlement(late.job, late.attempt, "waiting", "given back")])
        (work,) = await world.claim_verification("second")
        assert await world.prove([late]) == set()
        assert await world.prove([work]) == {staged.upload}
        assert await world.prove([work]) == {staged.upload}
        assert await world.execute("SELECT count(*) FROM copies") == [(1,)]

    play(database_url, story)


def test_a_waiter_is_woken_by_the_last_verdict(database_url: str) -> None:
    async def story(world: World) -> None:
        staged = await world.stage(file("a"), file("b"))
        await world.complete(staged)
        keys = [one.upload for one in staged]
        waiting = asyncio.create_task(world.uploads.wait(world.admin, keys, 3600.0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await world.prove(await world.claim_verification())
        assert [good(view).state for view in await waiting] == ["accepted", "accepted"]

    play(database_url, story)


def test_eight_stagers_at_once_open_one_upload_for_each_file(database_url: str) -> None:
    async def story(world: World) -> None:
        files = [file(f"{number}.dat") for number in range(20)]
        answers = await asyncio.gather(
            *(world.stage(*reversed(files)) for _ in range(4)), *(world.stage(*files) for _ in range(4))
        )
        opened = {(one.path, one.upload) for staged in answers for one in staged}
        assert len(opened) == 20
        assert await world.execute("SELECT count(*) FROM uploads") == [(20,)]
        assert await world.execute("SELECT count(*) FROM datasets") == [(1,)]

    play(database_url, story)


def test_of_eight_sources_at_once_one_wins_each_path(database_url: str) -> None:
    async def story(world: World) -> None:
        requests = [
            StageRequest(
                dataset="raw", files=[file(f"{n}.dat", source=f"s{source}", version=f"v{source}") for n in range(10)]
            )
            for source in range(8)
        ]
        answers = await asyncio.gather(*(world.uploads.stage(world.admin, request) for request in requests))
        flat = [one for answer in answers for one in answer]
        assert sum(not isinstance(one, DrayError) for one in flat) == 10
        assert {type(one) for one in flat if isinstance(one, DrayError)} == {SourceBusy}
        live = "SELECT count(*), count(DISTINCT file_id) FROM uploads WHERE state = 'pending'"
        assert await world.execute(live) == [(10, 10)]

    play(database_url, story)


def test_what_is_too_large_is_refused_in_place(database_url: str) -> None:
    async def story(world: World) -> None:
        uploads = Uploads(world.database, world.clock, world.bell, refuse)
        (answer,) = await uploads.stage(world.admin, StageRequest(dataset="raw", files=[file()]))
        assert isinstance(answer, Refused)
        assert answer.item == "a.dat"

    def refuse(size: int) -> int:
        raise Refused("too large")

    play(database_url, story)


def test_the_proof_of_a_batch_is_recorded_together(database_url: str) -> None:
    async def story(world: World) -> None:
        staged = await world.stage(*(file(f"{number}.dat") for number in range(256)))
        await world.complete(staged)
        (work,) = await world.claim_verification()
        targets = [good(one) for one in await world.uploads.targets([one.upload for one in staged])]
        verdicts = [Verdict(one.upload, work.job, work.attempt, proof_of(one)) for one in targets[:-1]]
        verdicts.append(Verdict(targets[-1].upload, work.job, work.attempt, reason="differs"))
        assert len(await world.records.record(verdicts)) == 256
        totals = await world.jobs.totals()
        assert (totals.files, totals.bytes) == (255, 255)
        assert (totals.uploads["accepted"], totals.uploads["rejected"]) == (255, 1)

    play(database_url, story)
