"""Names at the destination, the order of sending, what is forwarded besides new files, and what is sent no more."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from dray.agent.send import Lane
from dray.agent.watch import watch
from dray.clock import SystemClock
from dray.model.layout import parse_layout
from dray.model.manner import Manner
from dray.transports.posix import Posix
from dray.transports.sftp.session import Sftp
from tests.integration.hot import Hot, until
from tests.integration.test_watch_feed import Broker
from tests.servers.sshd import Sshd

ALL = Manner(events=frozenset(("create", "modify", "delete", "rename", "mkdir", "symlink")), on_exists="replace")


def fill(hot: Hot, **files: bytes) -> None:
    for name, content in files.items():
        path = hot.root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def there(hot: Hot) -> set[str]:
    """Return every name at the destination, folders and links too."""
    found = {path.relative_to(hot.store).as_posix() for path in hot.store.rglob("*")}
    return {path for path in found if not path.startswith(".dray")}


def test_a_layout_names_the_files_at_the_destination(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=Manner(layout=parse_layout("in/{stem}_{folder}{suffix}")))
    fill(hot, run__a_h5=b"1")
    (hot.root / "run" / "a_h5").rename(hot.root / "run" / "a.h5")
    hot.once()
    assert hot.stored() == {"in/a_run.h5": b"1"}


def test_two_files_that_would_get_one_name_are_reported_and_never_merged(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=Manner(layout=parse_layout("flatten")))
    fill(hot, a__x=b"first", b__x=b"second")
    hot.once()
    assert sorted(hot.states().values()) == ["delivered", "refused"]
    assert "its name at the destination: " in hot.reason("b/x" if hot.states()["b/x"] == "refused" else "a/x")
    assert len(hot.stored()) == 1
    hot.once()
    assert sorted(hot.states().values()) == ["delivered", "refused"]


def test_a_name_is_free_again_when_the_file_that_had_it_is_gone(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=Manner(layout=parse_layout("flatten"), on_exists="replace"))
    fill(hot, a__x=b"first")
    hot.once()
    (hot.root / "a" / "x").unlink()
    fill(hot, b__x=b"second")
    hot.once()
    assert hot.stored() == {"x": b"second"}


@pytest.mark.parametrize(
    ("order", "expected"),
    [("oldest", ["a", "b", "c"]), ("newest", ["c", "b", "a"]), ("smallest", ["b", "c", "a"])],
)
def test_the_order_says_which_file_goes_first(tmp_path: Path, order: str, expected: list[str]) -> None:
    hot = Hot(tmp_path, manner=Manner(order=order, rate=1000.0), parallel=1)  # type: ignore[arg-type]
    fill(hot, a=b"333", b=b"1", c=b"22")
    for index, name in enumerate("abc"):
        os.utime(hot.root / name, (1e9 + index, 1e9 + index))
    hot.once()
    assert [str(one.path) for one in hot.arrived] == expected


@dataclass
class Behind(Hot):
    """A hot directory whose destination is reached by ssh."""

    sshd: Sshd | None = None

    def lane(self) -> Lane:
        place = Sftp(self.sshd.settings(self.store, keep_older=False)) if self.sshd else Posix(self.store)
        return Lane(place, self.parallel, super().lane().arrived)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    made = Sshd(tmp_path / "sshd")
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("ssh", [False, True])
def test_deletions_renames_folders_and_links_are_forwarded_when_asked(tmp_path: Path, sshd: Sshd, ssh: bool) -> None:
    hot = Behind(tmp_path, manner=ALL, sshd=sshd if ssh else None)
    fill(hot, d__keep=b"keep", d__old=b"renamed", gone=b"gone")
    (hot.root / "empty").mkdir()
    (hot.root / "link").symlink_to("d/keep")

    async def story() -> None:
        async with hot.running():
            await until(lambda: there(hot) == {"d", "d/keep", "d/old", "empty", "link", "gone"})
            assert os.readlink(hot.store / "link") == "d/keep"
            (hot.root / "gone").unlink()
            (hot.root / "link").unlink()
            (hot.root / "empty").rmdir()
            (hot.root / "d" / "old").rename(hot.root / "d" / "new")
            (hot.root / "made").mkdir()
            await until(lambda: there(hot) == {"d", "d/keep", "d/new", "made"})

    asyncio.run(story())
    assert hot.stored()["d/new"] == b"renamed"


def test_nothing_but_files_is_forwarded_unless_asked(tmp_path: Path) -> None:
    hot = Hot(tmp_path, ["- link"])
    fill(hot, a=b"a", b=b"b")
    hot.once()
    (hot.root / "a").unlink()
    (hot.root / "b").rename(hot.root / "c")
    (hot.root / "empty").mkdir()
    (hot.root / "link").symlink_to("c")
    hot.once()
    assert there(hot) == {"a", "b", "c"}


def test_what_was_deleted_while_nobody_watched_is_deleted_there_too(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=ALL)
    fill(hot, d__a=b"a", d__b=b"b", c=b"c")
    hot.once()
    (hot.root / "d" / "a").unlink()
    (hot.root / "d" / "b").unlink()
    (hot.root / "d").rmdir()
    hot.once()
    assert there(hot) == {"c"}
    assert hot.states() == {"d": "gone", "d/a": "gone", "d/b": "gone", "c": "delivered"}


def test_more_deletions_than_allowed_wait_until_somebody_allows_them(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=msgspec.structs.replace(ALL, max_delete=2))
    fill(hot, d__a=b"a", d__b=b"b", c=b"c")
    hot.once()
    for path in (hot.root / "d" / "a", hot.root / "d" / "b", hot.root / "c"):
        path.unlink()
    hot.once()
    assert there(hot) == {"d", "d/a", "d/b", "c"}
    assert hot.reason("c") == "3 deletions wait, more than max_delete = 2"
    hot.manner = ALL
    later(hot)
    assert there(hot) == {"d"}


def later(hot: Hot) -> None:
    """Run once, as if a while had passed."""
    before, hot.clock = hot.clock, Later()
    hot.once()
    hot.clock = before


def test_a_file_that_comes_back_is_not_deleted(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=ALL)
    fill(hot, a=b"first")
    hot.once()
    (hot.root / "a").unlink()
    fill(hot, a=b"again")
    hot.once()
    assert hot.stored() == {"a": b"again"}


def test_a_file_that_never_arrived_is_not_deleted_there(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=ALL)
    hot.store.mkdir()
    (hot.store / "theirs").write_bytes(b"theirs")
    fill(hot, theirs=b"")
    (hot.root / "theirs").unlink()
    hot.once()
    assert hot.stored() == {"theirs": b"theirs"}


def test_a_rename_is_announced_with_its_old_name_and_sends_no_bytes(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=ALL)
    fill(hot, old=b"content")
    broker = Broker(hot)

    async def story() -> None:
        stop = asyncio.Event()
        agent = asyncio.create_task(watch(hot.directory(), broker.lane(), hot.told, stop, hot.clock))
        await until(lambda: broker.announced)
        (hot.root / "old").rename(hot.root / "new")
        await until(lambda: len(broker.announced) > 1)
        stop.set()
        await agent

    asyncio.run(story())
    assert [(one.arrived.what, one.arrived.path) for one in broker.announced][:2] == [
        ("stored", "old"),
        ("renamed", "new"),
    ]
    assert broker.announced[1].arrived.target == "old"
    assert [one.kind for one in hot.arrived] == ["moved", "already"]


def test_changes_of_delivered_files_are_left_alone_when_they_are_not_asked_for(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=Manner(events=frozenset(("create",))))
    fill(hot, a=b"first")
    hot.once()
    fill(hot, a=b"second")
    hot.once()
    assert hot.stored() == {"a": b"first"}
    assert "not forwarded" in hot.reason("a")


class Later(SystemClock):
    """A clock that is a day ahead."""

    def wall(self) -> float:
        return super().wall() + 86400


def test_what_waited_for_too_long_is_sent_no_more_and_says_so(tmp_path: Path) -> None:
    hot = Hot(tmp_path, manner=Manner(expire=3600.0), clock=Later())
    fill(hot, a=b"stale")
    hot.once()
    assert hot.states() == {"a": "skipped"}
    assert hot.reason("a") == "could not be sent within 3600 s"


def test_deletions_that_were_announced_are_made_even_of_files_that_others_delivered(tmp_path: Path) -> None:
    from dray.agent.feed import Fed
    from dray.agent.journal import Key

    hot = Hot(tmp_path, manner=ALL)
    hot.root.mkdir()
    hot.store.mkdir()
    (hot.store / "theirs").write_bytes(b"by another agent")
    broker = Broker(hot, Fed({}, [Key("", "theirs")]))

    async def story() -> None:
        stop = asyncio.Event()
        agent = asyncio.create_task(watch(hot.directory(), replace(hot.lane()), hot.told, stop, hot.clock, broker))
        await until(lambda: there(hot) == set())
        stop.set()
        await agent

    assert there(hot) == {"theirs"}
    asyncio.run(story())
    assert there(hot) == set()
