"""Watches what a server says while faults happen, in a process of its own: ``python -m tests.faults.sampler CONFIG``.

Every 200 ms it asks all surfaces. The first time one of them calls a content done, the store is read at once; what was
said and what was found go to a journal, one JSON document a line, with a monotonic stamp. A server that is
down says nothing. SIGTERM ends it after one more look.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.ledger import Ledger, Written
from tests.faults.oracle import Said
from tests.faults.own import own_process
from tests.faults.store import Store
from tests.faults.surfaces import TROUBLE, Surfaces

PERIOD = 0.2


@dataclass(frozen=True)
class Watched:
    """What a sampler looks at."""

    url: str
    data: str
    ledger: str
    journal: str


class Sampler:
    """Asks, reads, writes down."""

    def __init__(self, watched: Watched) -> None:
        self.store = Store(Path(watched.data))
        self.ledger = Ledger(Path(watched.ledger))
        self.token = Path(watched.data) / "admin.token"
        self.url = watched.url
        self.journal = Path(watched.journal).open("a", buffering=1)  # noqa: SIM115
        self.surfaces: Surfaces | None = None
        self.after: str | None = None
        self.known: set[tuple[str, str, str | None]] = set()
        self.looks = self.failed = 0

    def look(self) -> None:
        """Ask every surface once; a server that is down says nothing."""
        self.looks += 1
        try:
            for surface, key, sha256 in self.claims():
                self.check(surface, key, sha256)
        except TROUBLE:
            self.failed += 1

    def claims(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield what is called done."""
        if self.surfaces is None:
            self.surfaces = Surfaces(self.url, self.token.read_text().strip(), timeout=5)
        yield from self.announced(self.surfaces)
        yield from (("files", row.key, row.sha256) for row in self.surfaces.files() if row.state == "verified")
        asked = [v for v in self.ledger.versions() if ("check", v.key, v.sha256) not in self.known]
        yield from (("check", v.key, v.sha256) for v in self.surfaces.verified(asked))

    def announced(self, surfaces: Surfaces) -> Iterator[tuple[str, str, str | None]]:
        while page := surfaces.events(self.after):
            for event in page:
                if event.kind == "upload.accepted" and event.key:
                    yield f"event {event.id}", event.key, None
            self.after = page[-1].id

    def check(self, surface: str, key: str, sha256: str | None) -> None:
        """Compare something said for the first time with the store, right now."""
        if (surface, key, sha256) in self.known:
            return
        self.known.add((surface, key, sha256))
        at = time.monotonic()
        contents = {sha256} if sha256 else {v.sha256 for v in self.versions(key)}
        said = Said(surface, key, sha256, at, self.store.holds(key, frozenset(contents)))
        print(json.dumps(said._asdict()), file=self.journal)

    def versions(self, key: str) -> list[Written]:
        return [version for version in self.ledger.versions() if version.key == key]

    def run(self) -> None:
        """Look every 200 ms until a signal comes, then once more."""
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
        while not ended:
            begun = time.monotonic()
            self.look()
            time.sleep(max(0.0, begun + PERIOD - time.monotonic()))
        self.look()
        print(json.dumps({"looks": self.looks, "failed": self.failed}), file=self.journal)


class Journal:
    """A running sampler and what it wrote down."""

    def __init__(self, base: Path, url: str, data: Path, ledger: Path) -> None:
        self.file = base / "said.jsonl"
        config = base / "sampler.json"
        config.write_text(json.dumps(asdict(Watched(url, str(data), str(ledger), str(self.file)))))
        self.process = own_process("sampler", [str(config)], base / "sampler.log")

    def __enter__(self) -> "Journal":
        self.process.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.process.kill9()

    def stop(self) -> list[Said]:
        """End the sampler in order and return what was said."""
        code = self.process.terminate()
        assert code == 0, f"the sampler failed: {self.process.tail()}"
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        assert lines[-1]["looks"] > lines[-1]["failed"], f"the sampler saw nothing: {self.process.tail()}"
        return [Said(**line) for line in lines[:-1]]


if __name__ == "__main__":
    Sampler(Watched(**json.loads(Path(sys.argv[1]).read_text()))).run()
