"""One pass through the whole commit protocol of the server, small, the same every time."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from tests.faults.gather import shown, stored
from tests.faults.hand import Content, Hand
from tests.faults.ledger import Ledger
from tests.faults.oracle import Evidence, Finding, Said, judge
from tests.faults.store import Store
from tests.faults.surfaces import TROUBLE, Surfaces

DATASET, WARM = "run", "warm"
PART = 64 << 10
SETTINGS = {"DRAY_LIMITS_PART_SIZE": "64KiB", "DRAY_LIMITS_FREE_PERCENT": "0", "DRAY_LOG_LEVEL": "info"}
PATIENCE = 60.0
WRONG = "sha256:" + "0" * 64


class Scenario:
    """Small files in one bundle, a file of parts, a new version, a wrong claim, one given up, and a larger batch."""

    def __init__(self, chance: Random) -> None:
        make = chance.randbytes
        self.few = [Content("a/one.bin", make(1000)), Content("a/b/two.bin", make(40_000)), Content("empty", b"")]
        self.large = Content("large.bin", make(2 * PART + 777))
        self.again = Content("a/one.bin", make(1234), "2")
        self.larger = Content("large.bin", make(PART + 1), "2")
        self.bad = [Content("bad.bin", make(500)), Content("bad-large.bin", make(PART + 5))]
        self.dropped = [Content("dropped.bin", make(300)), Content("dropped-large.bin", make(PART + 9))]
        self.many = [Content(f"many/{number:02}.bin", make(200 + number)) for number in range(12)]

    def contents(self) -> list[Content]:
        """Return everything that is sent, in order."""
        return [*self.few, self.large, self.again, self.larger, *self.bad, *self.dropped, *self.many]

    def newest(self) -> list[Content]:
        """Return what has to be there in the end."""
        return [*self.few[1:], self.again, self.larger, *self.many]

    def play(self, hand: Hand) -> None:
        """Go through all of it once."""
        hand.upload(self.few)
        hand.upload([self.large])
        hand.upload([self.again])
        hand.upload([self.larger])
        self.refuse(hand)
        hand.upload(self.many)

    def refuse(self, hand: Hand) -> None:
        """Claim what is not true, and give up."""
        hand.upload(self.bad, {content.path: WRONG for content in self.bad})
        hand.cancel(self.dropped)

    def finish(self, hand: Hand, seconds: float = PATIENCE) -> None:
        """Send again, as a client does, until everything newest is accepted or the time is up."""
        deadline = time.monotonic() + seconds
        left: Sequence[Content] = self.newest()
        while left and time.monotonic() < deadline:
            hand.upload(left)
            left = [content for content in left if not self.arrived(hand, content)]
            if left:
                time.sleep(0.2)
        self.refuse(hand)

    def arrived(self, hand: Hand, content: Content) -> bool:
        key, sha256 = f"{hand.dataset}/{content.path}", content.checksum.removeprefix("sha256:")
        return any((said.key, said.sha256) == (key, sha256) for said in hand.said)


class Bench:
    """A data directory with its ledger and what was said about it, over several lives of a server."""

    def __init__(self, base: Path, data: Path, scenario: Scenario) -> None:
        self.ledger = Ledger(base / "ledger" / "ledger.sqlite")
        self.store, self.scenario = Store(data), scenario
        self.said: list[Said] = []
        self.problems: list[str] = []
        self.note(DATASET, scenario.contents())

    def note(self, dataset: str, contents: Sequence[Content]) -> None:
        """Note contents in the ledger."""
        self.ledger.note_all((f"{dataset}/{c.path}", len(c.data), c.checksum.removeprefix("sha256:")) for c in contents)

    def hand(self, url: str, token: str, dataset: str = DATASET) -> Hand:
        """Return a hand whose hearings are kept here."""
        hand = Hand(Surfaces(url, token, timeout=90), self.store, dataset)
        hand.said, hand.problems = self.said, self.problems
        return hand

    def warm(self, url: str, token: str, chance: Random) -> None:
        """Upload a little to another dataset, so that every thread is there before a fault is armed."""
        contents = [Content("small.bin", chance.randbytes(9)), Content("large.bin", chance.randbytes(PART + 1))]
        self.note(WARM, contents)
        self.hand(url, token, WARM).upload(contents)

    def play(self, url: str, token: str) -> bool:
        """Go through the scenario; False when it came to no end because a call failed."""
        try:
            self.scenario.play(self.hand(url, token))
        except TROUBLE as error:
            self.problems.append(str(error))
            return False
        return True

    def newest(self) -> list[str]:
        """Return the keys of what has to be there after the scenario."""
        return [f"{DATASET}/{content.path}" for content in self.scenario.newest()]

    def warmed(self) -> list[str]:
        """Return the keys of what has to be there after warming up."""
        return [version.key for version in self.ledger.versions() if version.key.startswith(f"{WARM}/")]

    def shown(self, url: str, token: str, wanted: Iterable[str]) -> Evidence:
        """Gather what a running server, at rest, shows; ``wanted`` are the keys that have to be there."""
        return shown(self.ledger, Surfaces(url, token), self.said, wanted)

    def judge(self, evidence: Evidence) -> list[Finding]:
        """Compare what was shown with what is stored now."""
        return judge(stored(evidence, self.store))
