"""Publishing over an older version while somebody writes to what was verified."""

import asyncio
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from dray.errors import Busy, DrayError
from dray.fs import FileRange, Folders
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.parts import Part
from dray.model.values import Claim, Landing, Proof, Ref
from dray.transports.base import Piece
from dray.transports.posix import Posix, PosixSession
from dray.transports.refs import Target

PATH = RemotePath("f")
CLAIM = Checksum("sha256", "0" * 64)


async def verified(session: PosixSession, source: Path, data: bytes) -> Ref:
    """Stage, write and verify a version of the file."""
    source.write_bytes(data)
    (staged,) = await session.stage([Landing(PATH, len(data), data.hex())])
    ref: Ref = cast(Any, staged).ref
    with source.open("rb") as file:
        (receipt,) = await session.write([Piece(ref, 1, 0, FileRange(file.fileno(), 0, len(data)))])
    assert not isinstance(receipt, DrayError)
    await session.verify([Claim(ref, len(data), CLAIM)])
    return ref


def between(session: PosixSession, act: Callable[[], object]) -> None:
    """Do something after the older content was kept and before the newer one gets the name."""
    keep = session.published._keep

    def kept(folders: Folders, target: Target) -> None:
        keep(folders, target)
        act()

    session.published._keep = kept  # type: ignore[method-assign]


@pytest.mark.parametrize("still_writing", [True, False])
def test_what_was_written_again_since_it_was_verified_does_not_get_the_name(
    tmp_path: Path, still_writing: bool
) -> None:
    async def story() -> None:
        async with Posix(tmp_path / "store").connect() as session:
            await session.publish([await verified(session, tmp_path / "source", b"one")])
            ref = await verified(session, tmp_path / "source", b"two")

            def write_again() -> None:
                lent = session.staging.lend(ref, Part(1, 0, 3))
                lent.take(memoryview(b"bad"))
                if not still_writing:
                    lent.close(keep=True)

            between(session, write_again)
            (entry,) = await session.publish([ref])
            assert isinstance(entry, Busy)
            assert (tmp_path / "store" / "f").read_bytes() == b"one"

    asyncio.run(story())


def test_what_replaced_verified_bytes_is_told_from_them_even_with_their_inode_size_and_time(tmp_path: Path) -> None:
    async def story() -> None:
        async with Posix(tmp_path / "store").connect() as session:
            ref = await verified(session, tmp_path / "source", b"one")
            (staged,) = (path for path in (tmp_path / "store" / ".dray" / "staging").rglob("*.staged"))
            seen = staged.stat()
            staged.write_bytes(b"bad")
            os.utime(staged, ns=(seen.st_atime_ns, seen.st_mtime_ns))
            (entry,) = await session.publish([ref])
            assert isinstance(entry, Busy)

    asyncio.run(story())


def test_an_older_content_is_not_taken_for_one_that_never_came_where_a_catalogue_knows_all_versions(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with Posix(tmp_path / "store", compare_final=False).connect() as session:
            for data in (b"one", b"two"):
                await session.publish([await verified(session, tmp_path / "source", data)])
            (staged,) = await session.stage([Landing(PATH, 3, "one again")])
            ref: Ref = cast(Any, staged).ref
            (proof,) = await session.verify([Claim(ref, 3, Checksum("sha256", sha256(b"one").hexdigest()))])
            assert cast(Proof, proof).checksum.hex == sha256(b"two").hexdigest()

    asyncio.run(story())


def test_a_repeated_publish_answers_the_content_that_was_proved(tmp_path: Path) -> None:
    async def story() -> None:
        async with Posix(tmp_path / "store").connect() as session:
            (one,) = await session.publish([ref := await verified(session, tmp_path / "source", b"one")])
            await session.publish([await verified(session, tmp_path / "source", b"two")])
        async with Posix(tmp_path / "store").connect() as session:
            await session.verify([Claim(ref, 3, Checksum("sha256", sha256(b"one").hexdigest()))])
            assert await session.publish([ref]) == [one]

    asyncio.run(story())
