"""What every place promises, whatever it is made of."""

import asyncio
from pathlib import Path

import pytest

from dray.errors import Conflict, DrayError, IntegrityFailure, NotFound, PieceDamaged, Refused
from dray.fs import FileRange
from dray.model.names import RemotePath
from dray.model.values import Claim, Entry, Ref, Staged
from dray.model.verdict import compare
from dray.transports.base import Piece, Session
from tests.contract.cargo import Cargo, content, entries, good, read_back, sha256
from tests.contract.places import LIMITS, Place

PIECE = LIMITS.piece
LARGE = 3 * PIECE + 17

HOSTILE = [
    "with space", " leading", "trailing ", "new\nline", "tab\there", "car\rriage", "quote'\"`", "back\\slash", "-rf",
    "--help", "~", "~root", "$HOME", "$(reboot)", "`id`", "a;b|c&d", "*?[x]{y}", "#hash", "%2e%2e%2f", "%00", "&amp;",
    "ünïcode", "日本語", "العربية", "\u202ertl", "zero\u200bwidth", "e\u0301 combining", "🧬.h5", "\x01control",
    "\x7fdel",     ".hidden", "..two", "...", "a..b", "CON", "nul.txt", "a:b", "x" * 255, "é" * 127, ".dray2",
    "sub/.dray/x", "a.parts",
    "0123456789abcdef0123456789abcdef.staged", "sub/.. /x", "http://x/y".replace("//", "/"), "/".join("d" * 100),
]  # fmt: skip


async def published(session: Session, cargo: Cargo, staged: Staged) -> Entry | DrayError:
    """Verify and publish one file, whichever of the two says no."""
    proof = (await session.verify([cargo.claim(staged.ref)]))[0]
    return proof if isinstance(proof, DrayError) else (await session.publish([staged.ref]))[0]


def test_a_small_file_arrives(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "run/1.dat", content(1000)) as cargo:
                entry = await cargo.arrive(session)
                assert (entry.path, entry.size) == ("run/1.dat", 1000)
                assert await read_back(session, entry, tmp_path) == cargo.data
            assert [entry.path for entry in await entries(session)] == ["run/1.dat"]

    asyncio.run(story())
    assert place.contents() == {"run/1.dat": content(1000)}
    assert place.leftovers() == []


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, LARGE])
def test_a_file_of_any_size_arrives_whole(place: Place, tmp_path: Path, size: int) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", content(size)) as cargo:
                staged = await cargo.stage(session)
                await cargo.write(session, staged)
                proof = await cargo.verify(session, staged)
                assert compare(cargo.claim(staged.ref), proof) is None
                assert place.judges or place.contents() == {}
                good(await session.publish([staged.ref]))

    asyncio.run(story())
    assert place.contents() == {"file": content(size)}


def test_parts_are_taken_in_any_order_and_at_once(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", content(LARGE)) as cargo:
                staged = await cargo.stage(session)
                receipts = good(await session.write(cargo.pieces(staged)[::-1]))
                assert [receipt.number for receipt in receipts] == [4, 3, 2, 1]
                assert {receipt.level for receipt in receipts} == {place.level}
                await cargo.verify(session, staged)
                good(await session.publish([staged.ref]))

    asyncio.run(story())
    assert place.contents() == {"file": content(LARGE)}


def test_another_process_resumes_from_the_held_parts(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        with Cargo(tmp_path / "src", "file", content(LARGE)) as cargo:
            async with place.connect() as session:
                staged = await cargo.stage(session)
                assert staged.held == ()
                good(await session.write([cargo.piece(staged, 3), cargo.piece(staged, 1)]))
            place.crash()
            async with place.connect() as session:
                again = await cargo.stage(session)
                assert [held.number for held in again.held] == [1, 3]
                assert [held.crc32c for held in again.held] == [cargo.piece(staged, n).crc32c for n in (1, 3)]
                assert again.part_size == staged.part_size
                await cargo.write(session, again)
                await cargo.verify(session, again)
                good(await session.publish([again.ref]))

    asyncio.run(story())
    assert place.contents() == {"file": content(LARGE)}
    assert place.leftovers() == []


def test_a_ref_is_good_in_another_process(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        with Cargo(tmp_path / "src", "file", content(LARGE)) as cargo:
            async with place.connect() as session:
                staged = await cargo.stage(session)
                await cargo.write(session, staged)
            async with place.connect() as session:
                proof = await cargo.verify(session, staged)
                assert proof.checksum == sha256(cargo.data)
            async with place.connect() as session:
                good(await session.publish([staged.ref]))

    asyncio.run(story())
    assert place.contents() == {"file": content(LARGE)}


def test_a_receipted_part_is_immutable(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "file", content(LARGE), version="v") as cargo,
                Cargo(tmp_path / "src", "file", content(LARGE, 1), version="v") as other,
            ):
                staged = await cargo.stage(session)
                first = good(await session.write([cargo.piece(staged, 2)]))
                assert good(await session.write([cargo.piece(staged, 2)])) == first
                assert isinstance((await session.write([other.piece(staged, 2)]))[0], Conflict)
                await cargo.write(session, await cargo.stage(session))
                assert (await cargo.verify(session, staged)).checksum == sha256(cargo.data)

    asyncio.run(story())


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_damaged_piece_is_refused_and_taken_when_sent_again(place: Place, tmp_path: Path, size: int) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", content(size)) as cargo:
                staged = await cargo.stage(session)
                piece = cargo.piece(staged)
                damaged = Piece(piece.ref, piece.number, piece.offset, piece.at, (piece.crc32c or 0) ^ 1)
                assert isinstance((await session.write([damaged]))[0], PieceDamaged)
                assert (await cargo.stage(session)).held == ()
                await cargo.write(session, staged)
                await cargo.verify(session, staged)
                good(await session.publish([staged.ref]))

    asyncio.run(story())
    assert place.contents() == {"file": content(size)}


def test_there_are_no_other_parts_than_planned(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", content(LARGE)) as cargo:
                staged = await cargo.stage(session)
                piece = cargo.piece(staged, 2)
                wrong = [
                    Piece(staged.ref, 9, piece.offset, piece.at, piece.crc32c),
                    Piece(staged.ref, 2, piece.offset + 1, piece.at, piece.crc32c),
                    Piece(staged.ref, 1, piece.offset, piece.at, piece.crc32c),
                    Piece(staged.ref, 2, piece.offset, FileRange(piece.at.file, 0, 5), piece.crc32c),
                ]
                answers = await session.write(wrong)
                assert all(isinstance(answer, DrayError) for answer in answers)
                assert (await cargo.stage(session)).held == ()

    asyncio.run(story())


def test_one_failing_item_does_not_disturb_the_others(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "a", content(10)) as first,
                Cargo(tmp_path / "src", "a/below", content(11)) as second,
                Cargo(tmp_path / "src", "b", content(12)) as third,
            ):
                await first.arrive(session)
                staged = await session.stage([second.landing(), third.landing(), first.landing()])
                assert [isinstance(answer, DrayError) for answer in staged] == [not place.judges, False, False]
                with pytest.raises(DrayError):
                    await second.arrive(session)
                await third.arrive(session)

    asyncio.run(story())
    assert place.contents() == {"a": content(10), "b": content(12)}


def test_a_folder_is_not_replaced_by_a_file(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "a/b", content(10)) as below,
                Cargo(tmp_path / "src", "a", content(11)) as above,
            ):
                await below.arrive(session)
                with pytest.raises(DrayError):
                    await above.arrive(session)

    asyncio.run(story())
    assert place.contents() == {"a/b": content(10)}


def test_publishing_again_answers_the_same(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", content(LARGE)) as cargo:
                entry = await cargo.arrive(session)
                staged = await cargo.stage(session)
                assert good(await session.publish([staged.ref])) == [entry]

    asyncio.run(story())
    assert place.contents() == {"file": content(LARGE)}


@pytest.mark.parametrize("size", [1000, LARGE])
def test_what_is_final_is_done_already_and_can_be_verified_again(place: Place, tmp_path: Path, size: int) -> None:
    async def story() -> None:
        with Cargo(tmp_path / "src", "file", content(size)) as cargo:
            async with place.connect() as session:
                await cargo.arrive(session)
            async with place.connect() as session:
                staged = await cargo.stage(session)
                assert staged.done
                assert compare(cargo.claim(staged.ref), await cargo.verify(session, staged)) is None

    asyncio.run(story())
    assert place.leftovers() == []


def test_the_same_size_without_a_checksum_asks_for_one(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "file", content(LARGE)) as cargo,
                Cargo(tmp_path / "src", "file", content(LARGE, 1)) as other,
            ):
                await cargo.arrive(session)
                assert good(await session.stage([other.landing(known=False)]))[0].hash_first
                staged = await other.stage(session)
                assert not staged.hash_first
                assert not staged.done

    asyncio.run(story())


def test_new_content_keeps_the_old_one_as_a_version(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "file", content(1000)) as old,
                Cargo(tmp_path / "src", "file", content(LARGE, 1)) as new,
                Cargo(tmp_path / "src", "file", content(77, 2)) as newest,
            ):
                kept = [await cargo.arrive(session) for cargo in (old, new, newest)]
                for entry, cargo in zip(kept, (old, new, newest), strict=True):
                    assert await read_back(session, entry, tmp_path) == cargo.data
                assert len({entry.tag for entry in kept}) == 3

    asyncio.run(story())
    assert place.contents() == {"file": content(77, 2)}


def test_new_content_fails_where_nothing_may_be_replaced(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "file", content(1000)) as old,
                Cargo(tmp_path / "src", "file", content(1000, 1), on_exists="fail") as new,
            ):
                staged = await new.stage(session)
                await new.write(session, staged)
                if not place.judges:
                    await new.verify(session, staged)
                await old.arrive(session)
                assert isinstance(await published(session, new, staged), DrayError)
                assert isinstance((await session.stage([new.landing()]))[0], Conflict)

    asyncio.run(story())
    assert place.contents() == {"file": content(1000)}


def test_new_content_replaces_where_that_is_asked_for(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "file", content(1000)) as old,
                Cargo(tmp_path / "src", "file", content(999, 1), on_exists="replace") as new,
            ):
                await old.arrive(session)
                await new.arrive(session)

    asyncio.run(story())
    assert place.contents() == {"file": content(999, 1)}


def test_a_proof_says_what_is_there_and_not_what_is_claimed(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", content(1000)) as cargo:
                staged = await cargo.stage(session)
                await cargo.write(session, staged)
                lie = Claim(staged.ref, 1000, sha256(b"something else"))
                proof = (await session.verify([lie]))[0]
                if place.judges:
                    assert isinstance(proof, IntegrityFailure)
                else:
                    assert good([proof])[0].checksum == sha256(cargo.data)
                    assert compare(lie, good([proof])[0]) is not None

    asyncio.run(story())
    assert place.contents() == {}


def test_what_is_not_there_is_not_found(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (
                Cargo(tmp_path / "src", "file", content(LARGE)) as cargo,
                Cargo(tmp_path / "src", "no", b"x") as never_written,
            ):
                entry = await cargo.arrive(session)
                staged = await never_written.stage(session)
                assert isinstance((await session.verify([never_written.claim(staged.ref)]))[0], DrayError)
                assert isinstance((await session.publish([staged.ref]))[0], DrayError)
                if place.removes_published:
                    good(await session.remove([entry.ref]))
                    with pytest.raises((NotFound, Refused)):
                        await read_back(session, entry, tmp_path)

    asyncio.run(story())


def test_removing_leaves_nothing_and_may_be_repeated(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            for size in (1000, LARGE):
                with Cargo(tmp_path / "src", f"file{size}", content(size)) as cargo:
                    staged = await cargo.stage(session)
                    good(await session.write([cargo.piece(staged)]))
                    for _ in range(2):
                        good(await session.remove([staged.ref]))

    asyncio.run(story())
    assert place.contents() == {}
    assert place.leftovers() == []


def test_ranges_are_read_where_they_are_asked_for(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        data = content(LARGE)
        async with place.connect() as session:
            with Cargo(tmp_path / "src", "file", data) as cargo:
                entry = await cargo.arrive(session)
            with (tmp_path / "into").open("w+b", buffering=0) as into:
                pieces = [
                    Piece(entry.ref, 1, 10, FileRange(into.fileno(), 3, 20)),
                    Piece(entry.ref, 2, PIECE, FileRange(into.fileno(), 100, PIECE)),
                ]
                receipts = good(await session.read(pieces))
                into.seek(0)
                found = into.read()
            assert found[3:23] == data[10:30]
            assert found[100 : 100 + PIECE] == data[PIECE : 2 * PIECE]
            assert [receipt.length for receipt in receipts] == [20, PIECE]

    asyncio.run(story())


def test_any_name_round_trips(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            cargoes = [Cargo(tmp_path / "src", name, name.encode()) for name in HOSTILE]
            staged = good(await session.stage([cargo.landing() for cargo in cargoes]))
            good(await session.write([cargo.piece(one) for cargo, one in zip(cargoes, staged, strict=True)]))
            good(await session.verify([cargo.claim(one.ref) for cargo, one in zip(cargoes, staged, strict=True)]))
            good(await session.publish([one.ref for one in staged]))
            found = await entries(session)
            assert {entry.path for entry in found} == set(HOSTILE)
            for entry in found:
                assert await read_back(session, entry, tmp_path) == entry.path.encode()
            for cargo in cargoes:
                cargo.__exit__()

    asyncio.run(story())
    assert place.contents() == {name: name.encode() for name in HOSTILE}


def test_listing_is_in_path_order_and_below_a_prefix(place: Place, tmp_path: Path) -> None:
    names = ["a", "a.b/c", "a0", "b/1", "b/2/x", "b/2/y/z", "b/3", "b.x", "bb/1"]

    async def story() -> None:
        async with place.connect() as session:
            for name in names:
                with Cargo(tmp_path / "src", name, name.encode()) as cargo:
                    await cargo.arrive(session)
            assert [entry.path for entry in await entries(session)] == sorted(names)
            assert [entry.path for entry in await entries(session, "b")] == ["b/1", "b/2/x", "b/2/y/z", "b/3"]
            assert [entry.path for entry in await entries(session, "b/2")] == ["b/2/x", "b/2/y/z"]
            assert await entries(session, "nothing") == []

    asyncio.run(story())


def test_a_published_file_keeps_its_time(place: Place, tmp_path: Path) -> None:
    kept = 1_700_000_000_123_456_789 // place.tick_ns * place.tick_ns

    async def story() -> None:
        async with place.connect() as session:
            for size in (1000, LARGE):
                with Cargo(tmp_path / "src", f"file{size}", content(size)) as cargo:
                    assert (await cargo.arrive(session)).mtime_ns == kept
            assert all(entry.mtime_ns == kept for entry in await entries(session))

    asyncio.run(story())


def test_many_small_files_are_one_batch(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            cargoes = [Cargo(tmp_path / "src", f"d{n % 7}/f{n}", content(n, n)) for n in range(256)]
            staged = good(await session.stage([cargo.landing() for cargo in cargoes]))
            good(await session.write([cargo.piece(one) for cargo, one in zip(cargoes, staged, strict=True)]))
            claims = [cargo.claim(one.ref) for cargo, one in zip(cargoes, staged, strict=True)]
            proofs = good(await session.verify(claims))
            assert all(compare(claim, proof) is None for claim, proof in zip(claims, proofs, strict=True))
            found = good(await session.publish([one.ref for one in staged]))
            assert [entry.path for entry in found] == [cargo.path for cargo in cargoes]
            for cargo in cargoes:
                cargo.__exit__()

    asyncio.run(story())
    assert place.contents() == {f"d{n % 7}/f{n}": content(n, n) for n in range(256)}


def test_a_ref_of_something_else_is_refused(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as session:
            with (tmp_path / "x").open("w+b") as file:
                at = FileRange(file.fileno(), 0, 0)
                for answer in (
                    await session.read([Piece(Ref("../../etc/passwd"), 1, 0, at)]),
                    await session.write([Piece(Ref("@/../x"), 1, 0, at)]),
                ):
                    assert isinstance(answer[0], DrayError)

    asyncio.run(story())
    assert place.contents() == {}


def test_two_writers_of_one_part_do_not_mix(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with place.connect() as one, place.connect() as two:
            with Cargo(tmp_path / "src", "file", content(LARGE)) as cargo:
                staged = await cargo.stage(one)
                piece = cargo.piece(staged, 1)
                answers = await asyncio.gather(*(session.write([piece]) for session in (one, two) * 4))
                assert any(not isinstance(answer[0], DrayError) for answer in answers)
                assert all(getattr(answer[0], "retry", "later") == "later" for answer in answers)
                await cargo.write(one, await cargo.stage(one))
                assert (await cargo.verify(two, staged)).checksum == sha256(cargo.data)

    asyncio.run(story())


def test_paths_that_lead_out_are_not_even_paths() -> None:
    for path in ("../x", "/etc/passwd", "a/../../x", "a//b", "", ".", "a/.", "\0", "\ud800", ".dray/staging/x"):
        with pytest.raises(DrayError):
            RemotePath(path)
