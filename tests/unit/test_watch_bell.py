"""Bells tell what happened, say when they missed something, and know which folder a watch belongs to."""

import asyncio
import os
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

import pytest

from dray.agent import bell as bells
from dray.agent.bell import Bell, Rings, Silence
from dray.agent.bell_linux import IN_CLOSE_WRITE, Event, Inotify, Watches, events
from dray.agent.bell_watchfiles import Watchfiles
from dray.agent.journal import Key
from dray.fs import Root
from dray.moving.writers import is_local, kind_of, open_for_writing

PATIENCE = 30.0
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify, leases and mountinfo are of Linux")


def heard(
    bell: Callable[[], Bell], act: Callable[[Bell], Awaitable[None] | None], enough: Callable[[Rings], object]
) -> Rings:
    """Do something beside a bell and return what it told until that is enough."""

    async def story() -> Rings:
        listening = bell()
        try:
            acting = act(listening)
            if acting is not None:
                await acting
            told = Rings()
            while not enough(told):
                more = await asyncio.wait_for(listening.rings(), PATIENCE)
                told.names.update(more.names)
                told.folders.update(more.folders)
                told.lost = told.lost or more.lost
            return told
        finally:
            listening.close()

    return asyncio.run(story())


def inotify(root: Path, created: float = 0.05) -> Callable[[], Bell]:
    def make() -> Bell:
        bell = Inotify(str(root), created, lambda text: None)
        bell.watch("")
        return bell

    return make


def test_events_are_taken_apart_whatever_the_names() -> None:
    raw = [(3, IN_CLOSE_WRITE, b"a\nb"), (4, 0x4000, b""), (5, 0x80, b"\xff" * 200)]
    data = b""
    for watch, mask, name in raw:
        padded = name + b"\0" * (16 - len(name) % 16) if name else b""
        data += struct.pack("iIII", watch, mask, 0, len(padded)) + padded
    assert list(events(data)) == [Event(watch, mask, os.fsdecode(name)) for watch, mask, name in raw]


@linux
def test_a_file_that_was_closed_or_renamed_in_is_told_so(tmp_path: Path) -> None:
    def act(bell: Bell) -> None:
        (tmp_path / "closed").write_bytes(b"x")
        (tmp_path / ".x").write_bytes(b"x")
        (tmp_path / ".x").rename(tmp_path / "renamed")

    told = heard(inotify(tmp_path), act, lambda rings: len(rings.names) >= 3)
    assert told.names == {Key("", "closed"): "closed", Key("", ".x"): "closed", Key("", "renamed"): "renamed"}


@linux
def test_a_file_that_stays_open_and_a_link_are_told_after_a_while(tmp_path: Path) -> None:
    (tmp_path.parent / "other").write_bytes(b"x")

    left_open: list[IO[bytes]] = []

    def act(bell: Bell) -> None:
        os.link(tmp_path.parent / "other", tmp_path / "link")
        left_open.append((tmp_path / "open").open("wb"))

    told = heard(inotify(tmp_path), act, lambda rings: len(rings.names) == 2)
    assert told.names == {Key("", "link"): "found", Key("", "open"): "found"}
    left_open[0].close()


@linux
def test_new_folders_are_told_with_how_they_came(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()

    def act(bell: Bell) -> None:
        (root / "made").mkdir()
        (tmp_path / "outside").rename(root / "moved")

    told = heard(inotify(root), act, lambda rings: len(rings.folders) == 2)
    assert told.folders == {"made": "found", "moved": "renamed"}


@linux
def test_a_folder_that_moved_is_heard_under_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "old" / "sub").mkdir(parents=True)

    async def act(bell: Bell) -> None:
        bell.watch("old")
        bell.watch("old/sub")
        (tmp_path / "old").rename(tmp_path / "new")
        assert "new" in (await bell.rings()).folders
        bell.watch("new")
        bell.watch("new/sub")
        (tmp_path / "new" / "sub" / "f").write_bytes(b"x")

    assert Key("new/sub", "f") in heard(inotify(tmp_path), act, lambda rings: rings.names).names


@linux
def test_a_queue_that_overflows_is_told_as_loss(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = (tmp_path / "one", tmp_path / "two")
    names[0].touch()

    def act(bell: Bell) -> None:
        for number in range(most):
            os.rename(names[number % 2], names[1 - number % 2])

    assert heard(inotify(tmp_path), act, lambda rings: rings.lost).lost


@linux
def test_a_root_that_is_deleted_is_told_as_loss(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert heard(inotify(root), lambda bell: root.rmdir(), lambda rings: rings.lost).lost


@linux
def test_a_folder_that_vanished_before_it_was_watched_is_no_error(tmp_path: Path) -> None:
    def act(bell: Bell) -> None:
        bell.watch("nowhere")
        (tmp_path / "f").write_bytes(b"x")

    assert heard(inotify(tmp_path), act, lambda rings: rings.names).names


def test_watches_follow_folders_that_are_renamed_or_leave() -> None:
    given, removed = {"a": 1, "a/x": 2, "b": 1, "b/x": 2, "c": 3}, []
    watches = Watches(given.__getitem__, removed.append)
    for folder in ("a", "a/x", "b", "b/x", "c"):
        watches.add(folder)
    assert [watches.folder(watch) for watch in (1, 2, 3)] == ["b", "b/x", "c"]
    watches.leave("a")
    assert removed == []
    watches.leave("b")
    assert (sorted(removed), len(watches), watches.folder(1)) == ([1, 2], 1, None)
    watches.drop(3)
    watches.drop(3)
    assert len(watches) == 0


def test_more_names_than_make_sense_are_told_as_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "MOST", 3)
    rings = Rings()
    for number in range(5):
        rings.hear(Key("", str(number)), "found")
    assert rings.lost
    assert len(rings.names) <= 3


def test_what_tells_more_about_the_end_of_a_file_wins() -> None:
    rings = Rings()
    for notice in ("found", "renamed", "closed"):
        rings.hear(Key("", "a"), notice)
    assert rings.names == {Key("", "a"): "renamed"}


def test_watchfiles_tells_what_was_made_below(tmp_path: Path) -> None:
    async def act(bell: Bell) -> None:
        # Its thread needs a moment to begin, so the file is made again until it is heard.
        for number in range(100):
            (tmp_path / f"f{number}").write_bytes(b"x")
            if bell._heard.rings:
                return
            await asyncio.sleep(0.1)

    told = heard(lambda: Watchfiles(str(tmp_path), lambda text: None), act, lambda rings: rings.names)
    assert set(told.names.values()) == {"found"}


def test_silence_never_rings() -> None:
    async def story() -> None:
        bell = Silence()
        bell.watch("x")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(bell.rings(), 0.05)
        bell.close()

    asyncio.run(story())


MOUNTS = """22 1 8:1 / / rw - ext4 /dev/a rw
23 22 0:5 / /share rw shared:1 - nfs4 server:/x rw
24 22 0:6 / /share/with\\040space rw - xfs /dev/b rw
25 22 0:7 / /share rw - tmpfs tmpfs rw
""".splitlines()


def test_the_file_system_of_a_path_is_that_of_the_nearest_and_latest_mount() -> None:
    assert kind_of("/home/x", MOUNTS) == "ext4"
    assert kind_of("/share", MOUNTS[:2]) == "nfs4"
    assert kind_of("/share/data", MOUNTS) == "tmpfs"
    assert kind_of("/share/with space/x", MOUNTS) == "xfs"
    assert kind_of("/sharex", MOUNTS) == "ext4"


@linux
def test_a_share_is_not_local_and_neither_is_what_nobody_tells(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("\n".join(MOUNTS[:2]))
    assert is_local("/home", str(tmp_path / "mounts"))
    assert not is_local("/share/x", str(tmp_path / "mounts"))
    assert not is_local("/", str(tmp_path / "nowhere"))


@linux
def test_a_writer_is_seen_while_it_has_the_file_open(tmp_path: Path) -> None:
    with Root(tmp_path) as root, root.folder() as folder:
        with (tmp_path / "f").open("wb"):
            assert open_for_writing(folder, "f") is True
        assert open_for_writing(folder, "f") is False
        with (tmp_path / "f").open("rb"):
            assert open_for_writing(folder, "f") is False
        assert open_for_writing(folder, "nowhere") is None
