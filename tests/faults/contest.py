"""Several clients who want the same thing at the same time, and what has to be true of the path afterwards."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from tests.faults.raw import Answer, Raw, Slow, slow_put
from tests.faults.rig import Rig
from tests.faults.store import Store

T = TypeVar("T")
R = TypeVar("R")
PART = 64 << 10
LATE = (0.0, 0.0, 0.1, 0.4)
"""Most seconds by which one comes later than another: what they meet then is already being verified."""
LOST = (409, 423)
"""What somebody who came too late is told."""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Contest:
    """One path that is fought for; ``name`` is a path nobody else uses."""

    rig: Rig
    chance: Random
    name: str
    dataset: str
    findings: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    most: int = 0

    def __post_init__(self) -> None:
        self.port = self.rig.server.port
        self.admin = Raw(self.port, self.rig.server.token)
        self.store = Store(self.rig.server.data)
        self.uploads: list[int] = []

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.name}"

    def content(self, size: int) -> bytes:
        """Make a content that somebody offers, noted before anybody sees it."""
        data = self.chance.randbytes(size)
        self.rig.ledger.note(self.key, size, sha(data))
        return data

    def stage(
        self, content: bytes | int, version: str, source: str = "one", who: Raw | None = None
    ) -> dict[str, object]:
        """Stage the path and return the answer; of a mere size no checksum is told."""
        size = content if isinstance(content, int) else len(content)
        asked = {"path": self.name, "size": size, "version": version, "source": source}
        told = {} if isinstance(content, int) else {"checksum": f"sha256:{sha(content)}"}
        (answer,) = (who or self.admin).stage(self.dataset, asked | told)
        upload = answer.get("upload")
        if isinstance(upload, int) and upload not in self.uploads:
            self.uploads.append(upload)
        return answer

    def opened(self, content: bytes | int, version: str = "v", source: str = "one") -> int:
        """Stage the path, which must succeed, and return the upload."""
        return int(str(self.stage(content, version, source)["upload"]))

    def together(self, things: Sequence[T], work: Callable[[T], R]) -> list[R]:
        """Do the work for all things at the same moment, or nearly; notes how many were at it at once."""
        gate = threading.Barrier(len(things))
        spans: list[tuple[float, float]] = []
        late = self.chance.choice(LATE)
        delays = [self.chance.uniform(0, late) for _ in things]

        def one(thing: T, delay: float) -> R:
            gate.wait()
            begun = time.monotonic()
            try:
                time.sleep(delay)
                return work(thing)
            finally:
                spans.append((begun, time.monotonic()))

        with ThreadPoolExecutor(len(things)) as pool:
            found = list(pool.map(one, things, delays))
        self.most = max(self.most, *(sum(b <= at < e for b, e in spans) for at, _ in spans))
        return found

    def put_slowly(self, url: str, data: bytes, gate: threading.Barrier) -> Answer:
        """PUT one half, wait for all others to have got as far, then the rest."""
        slow = slow_put(self.port, url, data)
        slow.send(data[: len(data) // 2])
        gate.wait()
        return self.finish(slow, data[len(data) // 2 :])

    def finish(self, slow: Slow, rest: bytes) -> Answer:
        """Send what is missing; a server that has cut the connection has told why before, or says nothing."""
        slow.send(rest)
        return slow.answer()

    def tell(self, what: str, answers: Sequence[Answer], allowed: Sequence[int]) -> None:
        """Note what was answered; anything but ``allowed`` is a finding."""
        self.told.append(f"{what} {' '.join(str(answer.status) for answer in answers)}")
        for answer in answers:
            if answer.status not in allowed:
                self.findings.append(
                    f"{what} was answered {answer.status} {answer.body[:200].decode(errors='replace')}"
                )

    def expect(self, holds: bool, breach: str) -> None:
        """Note a breach unless something holds."""
        if not holds:
            self.findings.append(breach)

    def verdicts(self) -> dict[int, str]:
        """Wait for all uploads and return how they ended."""
        return {upload: str(self.admin.verdict(upload).get("state")) for upload in self.uploads}

    def shown(self) -> list[dict[str, object]]:
        """Return all versions of the path that the catalogue shows."""
        found = self.admin.get(f"/files?dataset={self.dataset}&prefix={self.name}&version=all&limit=1000").json["items"]
        return [one for one in found if one["path"] == self.name]

    def learn(self) -> None:
        """Note the uploads of the path that others opened."""
        for one in self.shown():
            views = self.admin.get(f"/files/{one['file']}").json["uploads"]
            self.uploads += [int(view["upload"]) for view in views if view["upload"] not in self.uploads]

    def accepted(self) -> list[str]:
        """Return the contents (sha256) that are published, after looking whether they are there."""
        rows = [one for one in self.shown() if one["state"] == "verified"]
        contents = [str(one["checksum"]).removeprefix("sha256:") for one in rows]
        for content in contents:
            wrong = self.store.holds(self.key, frozenset({content}))
            self.expect(wrong is None, f"C: {self.key} is verified as {content[:12]}, {wrong}")
        current = [content for content, one in zip(contents, rows, strict=True) if one["current"]]
        self.expect(len(current) <= 1, f"D: {self.key} has several current versions")
        for content in current:
            found = sha((self.store.root / self.key).read_bytes())
            self.expect(found == content, f"C: {self.key} is {content[:12]}, {found[:12]} has its name")
        return contents

    def one_winner(self, offered: Sequence[bytes], most: int = 1) -> list[str]:
        """Check that what is published is exactly what one client offered, and return it."""
        states = self.verdicts()
        contents = self.accepted()
        self.expect(len(contents) <= most, f"{len(contents)} contents won, {most} may: {states}")
        self.expect(set(contents) <= {sha(one) for one in offered}, f"C: nobody offered what won: {contents}")
        won = sum(state == "accepted" for state in states.values())
        self.expect(won == len(contents), f"F: {won} uploads are accepted, {len(contents)} contents published")
        return contents

    def goes_on(self) -> None:
        """Check that the path can be used afterwards: whatever is open is given up, new content is taken."""
        open_ = [upload for upload, state in self.verdicts().items() if state in ("pending", "uploaded")]
        if open_:
            self.admin.cancel(*open_)
        data = self.content(100)
        upload = self.opened(data, "last")
        self.admin.bundle({upload: data})
        (view,) = self.admin.complete({upload: (len(data), sha(data))}, wait=30).items
        self.expect(view.get("state") == "accepted", f"S: the path takes nothing afterwards: {view}")
        self.expect((self.store.root / self.key).read_bytes() == data, "C: what was accepted last has not got the name")

    def proof(self) -> str | None:
        """Say how many were at it at once and what they were told."""
        return f"{self.most} at once; {', '.join(self.told)}" if self.most > 1 else None
