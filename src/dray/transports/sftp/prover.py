"""Says what a place behind ssh holds: digests computed there, else read back from there."""

from collections.abc import Sequence

from dray.errors import DrayError, NotFound, Refused
from dray.model.checksum import Checksum
from dray.model.values import Claim, Level, Proof, Value
from dray.transports.published import attempt
from dray.transports.refs import Target, published_of, target_of
from dray.transports.sftp import scripts, wire
from dray.transports.sftp.arriving import gone
from dray.transports.sftp.connection import Script
from dray.transports.sftp.layout import seconds, tag_of, tag_of_attrs
from dray.transports.sftp.site import Site
from dray.transports.sftp.wire import Attrs


class Found(Value, frozen=True):
    """What a file is: its sha256 (empty: not read), its attributes where they were asked for, and who says so."""

    hex: str
    seen: Attrs | None
    by: str
    level: Level


Places = list[bytes]


class Prover:
    """Proves staged and published files. Calls block."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def verify(self, claims: Sequence[Claim]) -> list[Proof | DrayError]:
        """Make the files of all claims durable in as few calls as possible, then prove each."""
        self._finish(claims)
        places = self._site.run(self._place(claim) for claim in claims)
        size = sum(claim.size for claim in claims)
        found = self.contents([place for place in places if isinstance(place, bytes)], size)
        missing = [index for index, place in enumerate(places) if isinstance(place, bytes) and place not in found]
        older = self._site.run(self._elsewhere(claims[index]) for index in missing) if missing else []
        found.update(self.contents([path for some in older if isinstance(some, list) for path in some], size))
        choices: list[Places | DrayError] = [place if isinstance(place, DrayError) else [place] for place in places]
        for index, some in zip(missing, older, strict=True):
            choices[index] = some
        return self._prove(claims, choices, found)

    def _finish(self, claims: Sequence[Claim]) -> None:
        """Give larger files their times and modes, which those of one piece got when they were written."""
        site = self._site
        answers = [attempt(target_of, claim.ref) for claim in claims if claim.ref[:1] != "@"]
        targets = [target for target in answers if isinstance(target, Target)]
        large = [one for one in targets if one.size > site.settings.limits.piece]
        if large:
            arriving = site.staged
            site.run(_change(site.layout.staged(one), *arriving.attributes(one)) for one in large)

    def _place(self, claim: Claim) -> Script[bytes]:
        """Return where the file of a claim should be."""
        if claim.checksum.algorithm != "sha256":
            raise Refused(f"{claim.checksum.algorithm} is not recomputed here", hint="claim a sha256")
        known = published_of(claim.ref)
        if known is None:
            return self._site.layout.staged(target_of(claim.ref))
        path, _ = yield from self._site.final.find(*known)
        return path

    def _elsewhere(self, claim: Claim) -> Script[Places]:
        """Return where a file may be that is not staged any more."""
        if published_of(claim.ref) is not None:
            raise NotFound("there is no such file")
        return (yield from self._site.final.candidates(target_of(claim.ref).path, claim.size))

    def contents(self, places: Sequence[bytes], size: int) -> dict[bytes, Found]:
        """Look at files all at once, about ``size`` bytes together; those that are not there are left out."""
        paths = list(dict.fromkeys(places))
        computed = self._site.digests(paths, size) if paths else ({}, self._site.level)
        if computed is None:
            return self._read_back(paths)
        digests, level = computed
        found = {
            path: Found(hex, None, f"sha256 at {self._site.settings.name}", level) for path, hex in digests.items()
        }
        left = [path for path in paths if path not in found]
        return found | self._read_back(left) if left else found

    def _read_back(self, paths: Sequence[bytes]) -> dict[bytes, Found]:
        """Read files that no shell there has read."""
        site = self._site
        whole = site.settings.verify != "size"
        by = f"read back from {site.settings.name}" if whole else f"size at {site.settings.name}, not read"
        answers = site.run(scripts.read_back(path, site.powers, sync=site.syncs, whole=whole) for path in paths)
        found: dict[bytes, Found] = {}
        for path, answer in zip(paths, answers, strict=True):
            if isinstance(answer, DrayError):
                raise answer
            if answer is not None:
                found[path] = Found(answer[1], answer[0], by, site.level)
        return found

    def _prove(
        self, claims: Sequence[Claim], choices: Sequence[Places | DrayError], found: dict[bytes, Found]
    ) -> list[Proof | DrayError]:
        picked = [self._pick(claim, choice, found) for claim, choice in zip(claims, choices, strict=True)]
        unseen = [path for path, claim in zip(picked, claims, strict=True) if self._must_look(path, claim, found)]
        paths = [path for path in unseen if isinstance(path, bytes)]
        seen = dict(zip(paths, self._site.run(scripts.look(path) for path in paths), strict=True)) if paths else {}
        return [
            path if isinstance(path, DrayError) else self._proof(claim, found[path], seen.get(path))
            for claim, path in zip(claims, picked, strict=True)
        ]

    def _pick(self, claim: Claim, choice: Places | DrayError, found: dict[bytes, Found]) -> bytes | DrayError:
        """Return the file that has the claimed digest, else the first."""
        if isinstance(choice, DrayError):
            return choice
        there = [path for path in choice if path in found]
        if not there:
            return gone()
        return next((path for path in there if found[path].hex == claim.checksum.hex), there[0])

    def _must_look(self, path: bytes | DrayError, claim: Claim, found: dict[bytes, Found]) -> bool:
        """Say whether size and time are not known: equal digests have equal sizes, and times were set."""
        if isinstance(path, DrayError) or found[path].seen is not None:
            return False
        known = published_of(claim.ref) is None and target_of(claim.ref).mtime_ns is not None
        return not known or found[path].hex != claim.checksum.hex

    def _proof(self, claim: Claim, found: Found, looked: Attrs | DrayError | None) -> Proof | DrayError:
        seen = found.seen or looked
        if isinstance(seen, DrayError):
            return seen
        if seen is None:
            time = target_of(claim.ref).mtime_ns or 0
            size, tag = claim.size, tag_of(claim.size, seconds(time))
        else:
            size, tag = seen.size, tag_of_attrs(seen)
        checksum = Checksum("sha256", found.hex) if found.hex else claim.checksum
        return Proof(claim.ref, size, checksum, tag, found.by, found.level)


def _change(path: bytes, times: tuple[int, int] | None, mode: int | None) -> Script[None]:
    (reply,) = yield [wire.change(path, times, mode)]
    if reply.code != wire.NO_SUCH_FILE:
        wire.check(reply, "set time and mode of a file")
