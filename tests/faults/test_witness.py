"""The witness notices what it is there for: half files, claims that are not true, deliveries that come twice."""

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dray.agent.journal import Ended, Journal, Key, Seen, Sighting
from tests.faults.witness import Witness, rows


@dataclass
class Place:
    """A destination, with what an agent without scruples says of it."""

    base: Path
    noted: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen_at, self.state = self.base / "there", self.base / "state"
        self.seen_at.mkdir()
        (self.state / "hot").mkdir(parents=True)

    def write(self, data: bytes) -> str:
        """Note a version of the one file."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.noted.setdefault("f", []).append(sha256)
        return sha256

    def log(self, sha256: str, times: int = 1) -> None:
        with (self.base / "agent.log").open("a") as log:
            log.write(f"2026-11-20 12:00:00,000 INFO    [lab] delivered f, 4 bytes, sha256:{sha256}\n" * times)

    def journal(self, sha256: str) -> None:
        with closing(Journal(self.state / "hot" / "one.sqlite")) as journal, journal.transaction():
            journal.put([Sighting(Key("", "f"), Seen(4, 1, 1, 1), "queued", "found", 0.0, 0.0, "")])
            journal.send({Key("", "f"): None})
            journal.end([Ended(Key("", "f"), "delivered", checksum=f"sha256:{sha256}")], 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_truth_is_no_finding(place: Place) -> None:
    sha256 = place.write(b"whole")
    (place.seen_at / "f").write_bytes(b"whole")
    place.log(sha256)
    place.journal(sha256)
    witness = Witness(place)
    witness.look()
    assert [said.surface for said in witness.said] == ["log", "journal"]
    assert [said.wrong for said in witness.said] == [None, None]
    assert witness.findings == witness.doubles() == []


def test_half_a_file_under_its_name_is_noticed(place: Place) -> None:
    place.write(b"whole")
    (place.seen_at / "f").write_bytes(b"who")
    witness = Witness(place)
    witness.look()
    assert witness.findings == ["C: f held what was never written as a whole"]


def test_what_log_or_journal_call_delivered_and_is_not_there_is_noticed(place: Place) -> None:
    sha256 = place.write(b"whole")
    place.log(sha256)
    place.journal(sha256)
    witness = Witness(place)
    witness.look()
    assert [(said.surface, said.wrong) for said in witness.said] == [
        ("log", "found nothing"),
        ("journal", "found nothing"),
    ]


def test_an_older_content_does_for_no_newer_claim(place: Place) -> None:
    place.write(b"old")
    new = place.write(b"new")
    (place.seen_at / "f").write_bytes(b"old")
    place.journal(new)
    witness = Witness(place)
    witness.look()
    assert [bool(said.wrong) for said in witness.said] == [True]
    assert [row.shown.state for row in rows(place.state)] == ["verified"]


def test_what_is_delivered_twice_is_noticed(place: Place) -> None:
    sha256 = place.write(b"whole")
    (place.seen_at / "f").write_bytes(b"whole")
    place.log(sha256, times=2)
    witness = Witness(place)
    witness.look()
    assert witness.doubles() == ["D: f was delivered 2 times in one version"]
