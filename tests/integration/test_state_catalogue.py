"""Finding and checking files, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dray.core.access import Principal
from dray.core.datasets import FileQuery
from dray.errors import Denied, NotFound, UsageError
from dray.model.checksum import Checksum
from dray.model.views import CheckItem, CheckRequest, DatasetRequest
from tests.integration.world import World, checksum, file, good, world_at

Story = Callable[[World], Awaitable[None]]
HARD = [
    "a b",
    "a%b",
    "a_b",
    "a\\b",
    "a'b",
    'a"b',
    "a\nb",
    "aä",
    "aé",
    "a\u0301",
    "数据",
    "a\U0010ffff",
    "a\U0010ffffb",
    "A",
]


def play(url: str, story: Story) -> None:
    async def run() -> None:
        async with world_at(url) as world:
            await story(world)

    asyncio.run(run())


async def paths(world: World, query: FileQuery) -> list[str]:
    """The paths of all pages of a query."""
    found: list[str] = []
    while True:
        page = await world.datasets.find(world.admin, query)
        found += [one.path for one in page.items]
        if page.next is None:
            return found
        query = FileQuery(**{name: getattr(query, name) for name in query.__struct_fields__} | {"cursor": page.next})


def test_names_come_in_the_order_of_their_bytes_on_every_page(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(*(file(name) for name in HARD))
        await world.accept(*(file(f"d/{name}") for name in HARD), dataset="second")
        expected = sorted(HARD, key=str.encode) + sorted((f"d/{name}" for name in HARD), key=str.encode)
        for limit in (1, 4, 100):
            assert await paths(world, FileQuery(limit=limit)) == expected
        for prefix in ("a", "a%", "a_", "a\U0010ffff", "d/a", "d/", "\U0010ffff", "z"):
            assert await paths(world, FileQuery(prefix=prefix, limit=3)) == [
                n for n in expected if n.startswith(prefix)
            ]
        for part in ("%", "_", "\\", "'", "b", "\u0301", "数"):
            assert await paths(world, FileQuery(name=part, limit=3)) == [n for n in expected if part in n]

    play(database_url, story)


def test_a_cursor_stays_right_while_files_come(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(*(file(f"{number:02}") for number in range(0, 20, 2)))
        first = await world.datasets.find(world.admin, FileQuery(dataset="raw", limit=5))
        await world.accept(*(file(f"{number:02}") for number in range(1, 20, 2)))
        rest = await paths(world, FileQuery(dataset="raw", limit=5, cursor=first.next))
        assert [one.path for one in first.items] == ["00", "02", "04", "06", "08"]
        assert rest == [f"{number:02}" for number in range(9, 20)]

    play(database_url, story)


def test_files_are_found_by_state_checksum_and_version(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(file("two", content="old"), content="old")
        await world.accept(file("two", "v2", "newer"), content="newer")
        await world.accept(file("gone"), file("hurt"))
        await world.stage(file("moving"))
        await world.stage(file("failed"))
        await world.execute(
            "UPDATE uploads SET state = 'failed' WHERE file_id = (SELECT id FROM files WHERE path = 'failed')"
        )
        for name, state in (("gone", "removed"), ("hurt", "corrupt")):
            await world.execute(
                f"UPDATE copies SET state = '{state}' WHERE file_id = (SELECT id FROM files WHERE path = '{name}')"
            )
        assert await paths(world, FileQuery()) == ["gone", "hurt", "two"]
        assert await paths(world, FileQuery(version="all")) == ["failed", "gone", "hurt", "moving", "two", "two"]
        for state, expected in {
            "verified": ["two", "two"],
            "damaged": ["hurt"],
            "removed": ["gone"],
            "moving": ["moving"],
            "failed": ["failed"],
        }.items():
            query = FileQuery(state=state, version="all")  # type: ignore[arg-type]
            assert await paths(world, query) == expected
            page = await world.datasets.find(world.admin, query)
            assert {one.state for one in page.items} == {state}
        assert await paths(world, FileQuery(state="moving")) == ["moving"]
        old = FileQuery(checksum=Checksum.parse(checksum("old")), version="all")
        assert await paths(world, old) == ["two"]
        assert await paths(world, FileQuery(checksum=old.checksum)) == []

    play(database_url, story)


def test_nobody_sees_datasets_beyond_their_own(database_url: str) -> None:
    async def story(world: World) -> None:
        (hidden,) = await world.accept(file("x"), dataset="other")
        (mine,) = await world.accept(file("x"), dataset="lab-1")
        lab = Principal(2, "lab", frozenset(["read"]), ("lab-*",))
        assert [one.name for one in (await world.datasets.page(lab)).items] == ["lab-1"]
        assert [one.dataset for one in (await world.datasets.find(lab, FileQuery())).items] == ["lab-1"]
        assert (await world.datasets.get(lab, "lab-1")).files == 1
        for call in (
            world.datasets.get(lab, "other"),
            world.datasets.detail(lab, hidden.file),
            world.datasets.get(lab, "no"),
        ):
            with pytest.raises(NotFound):
                await call
        answers = await world.datasets.stored(lab, [hidden.file, mine.file, 999_999])
        assert [type(one) for one in answers] == [NotFound, type(answers[1]), NotFound]
        writer = Principal(3, "writer", frozenset(["write"]), ("lab-*",))
        assert isinstance((await world.datasets.stored(writer, [mine.file]))[0], Denied)
        with pytest.raises(Denied):
            await world.datasets.page(Principal(4, "nobody", frozenset()))
        with pytest.raises(Denied):
            await world.datasets.create(writer, DatasetRequest(name="lab-2"))

    play(database_url, story)


def test_datasets_come_in_pages_and_are_made_once(database_url: str) -> None:
    async def story(world: World) -> None:
        for name in ("c", "A", "b", "a", "a"):
            await world.datasets.create(world.admin, DatasetRequest(name=name))
        first = await world.datasets.page(world.admin, None, 3)
        second = await world.datasets.page(world.admin, first.next, 3)
        assert [one.name for one in first.items + second.items] == ["A", "a", "b", "c"]
        assert second.next is None

    play(database_url, story)


def test_the_verdict_on_a_file_says_what_is_true_now(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(file("two", content="old"), content="old")
        await world.accept(file("two", "v2", "newer"), content="newer")
        await world.accept(file("hurt"))
        await world.execute(
            "UPDATE copies SET state = 'lost' WHERE file_id = (SELECT id FROM files WHERE path = 'hurt')"
        )
        moving = await world.stage(file("moving"), file("queued"), file("rejected"))
        await world.complete(moving[1:2])
        await world.execute(
            f"UPDATE uploads SET state = 'rejected', reason = 'it differs' WHERE id = {moving[2].upload}"
        )
        asked = {
            ("two", "newer"): ("verified", ""),
            ("two", "old"): ("verified", "an older version; the path shows newer content by now"),
            ("two", "other"): ("differs", "version 2 has other content"),
            ("hurt", "a"): ("damaged", "its stored copy was found damaged or lost"),
            ("moving", "a"): ("moving", "is sent"),
            ("queued", "a"): ("moving", "waits for a worker to verify it"),
            ("queued", "b"): ("unknown", "other content is on its way to this path"),
            ("rejected", "a"): ("unknown", "the last upload was rejected: it differs"),
            ("nothing", "a"): ("unknown", "nothing was ever sent to this path"),
        }
        items = [CheckItem(path=path, size=len(text), checksum=checksum(text)) for path, text in asked]
        answers = await world.datasets.check(world.admin, CheckRequest(dataset="raw", items=items))
        assert {
            (one.path, text): (one.state, one.reason) for one, (_, text) in zip(answers, asked, strict=True)
        } == asked
        assert (answers[0].level, answers[0].version_number, answers[0].size) == ("durable", 2, 5)

    play(database_url, story)


def test_nothing_is_called_verified_without_a_checksum(database_url: str) -> None:
    async def story(world: World) -> None:
        await world.accept(file("a"))
        items = [CheckItem(path="a", size=1), CheckItem(path="a", size=2), CheckItem(path="a\0b", size=1)]
        answers = await world.datasets.check(world.admin, CheckRequest(dataset="raw", items=items))
        assert [one.state for one in answers] == ["unknown", "differs", "unknown"]
        assert (answers[0].size, answers[0].checksum) == (1, checksum("a"))
        elsewhere = await world.datasets.check(world.admin, CheckRequest(dataset="none", items=items[:1]))
        assert elsewhere[0].state == "unknown"
        stranger = Principal(2, "s", frozenset(["read"]), ("other",))
        hidden = await world.datasets.check(stranger, CheckRequest(dataset="raw", items=items[:1]))
        assert (hidden[0].state, hidden[0].size) == ("unknown", None)

    play(database_url, story)


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIiwiYiIsLTFd", "WyJhXHUwMDAwIiwiYiIsMV0", "W1wiYVwiLDEsMV0"])
def test_what_is_no_cursor_is_refused(database_url: str, cursor: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(UsageError):
            await world.datasets.find(world.admin, FileQuery(cursor=cursor))

    play(database_url, story)


@pytest.mark.parametrize("text", ["a\0", "\udcff"])
def test_what_no_name_can_hold_is_refused(database_url: str, text: str) -> None:
    async def story(world: World) -> None:
        for query in (FileQuery(prefix=text), FileQuery(name=text), FileQuery(dataset=text)):
            with pytest.raises(UsageError):
                await world.datasets.find(world.admin, query)
        with pytest.raises(UsageError):
            await world.datasets.get(world.admin, text)

    play(database_url, story)


def test_a_file_shows_all_its_attempts(database_url: str) -> None:
    async def story(world: World) -> None:
        (first,) = await world.stage(file(version="v1", source="s"))
        (second,) = await world.stage(file(version="v2", source="s"))
        await world.complete([second])
        await world.prove(await world.claim_verification())
        detail = await world.datasets.detail(world.admin, second.file)
        assert [(one.upload, one.state) for one in detail.uploads] == [
            (first.upload, "cancelled"),
            (second.upload, "accepted"),
        ]
        stored = good((await world.datasets.stored(world.admin, [second.file]))[0])
        assert (stored.location, stored.version, str(stored.checksum)) == (
            "raw/a.dat",
            f"upload-{second.upload}",
            checksum("a"),
        )

    play(database_url, story)
