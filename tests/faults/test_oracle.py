"""The oracle is tested first: every lie that a broken product could tell turns its letter on."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.ledger import Ledger, Writer
from tests.faults.oracle import LETTERS, Evidence, Said, Shown, Upload, judge, summary
from tests.faults.store import Store, hashed, staged_name

ONE, TWO, BAD = b"first content", b"second content", b"first_content"
KEY = "run/a.bin"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def letters(evidence: Evidence) -> str:
    found = {finding.letter for finding in judge(evidence)}
    return "".join(letter for letter in LETTERS if letter in found)


def shown(data: bytes, number: int = 1, current: bool = True, state: str = "verified") -> Shown:
    return Shown(KEY, number, len(data), sha(data), state, current)


class Product:
    """A data directory that holds what a right (or a broken) product would have left."""

    def __init__(self, base: Path, *versions: bytes) -> None:
        self.data = base / "data"
        self.ledger = Ledger(base / "elsewhere" / "ledger.sqlite")
        writer = Writer(self.ledger, base / "source", "run")
        for version in versions:
            writer.write("a.bin", version)

    def put(self, name: str, data: bytes) -> None:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def keep(self, data: bytes, key: str = KEY) -> None:
        self.put(f"store/.dray/versions/{hashed(key)[:2]}/{hashed(key)}/1-2-3", data)

    def evidence(self, *rows: Shown) -> Evidence:
        store = Store(self.data)
        written = self.ledger.versions()
        return Evidence(written, store.stored(), list(rows), staged=store.staged(), wanted=frozenset({KEY}))


@pytest.fixture
def good(tmp_path: Path) -> Evidence:
    """One file, written once, stored, shown and said."""
    product = Product(tmp_path, ONE)
    product.put(f"store/{KEY}", ONE)
    said = [Said("files", KEY, sha(ONE), 1.0, None), Said("events", KEY, None, 1.0, None)]
    return replace(
        product.evidence(shown(ONE)), said=said, accepted=[1], uploads=[Upload(1, KEY, "accepted", "", None)]
    )


def test_a_right_product_has_no_findings(good: Evidence) -> None:
    assert judge(good) == []
    assert summary(judge(good)) == "L0 C0 D0 F0 S0 O0"


def test_two_versions_of_a_right_product_have_no_findings(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE, TWO)
    product.put(f"store/{KEY}", TWO)
    product.keep(ONE)
    assert judge(product.evidence(shown(ONE, 1, False), shown(TWO, 2))) == []


def test_the_same_content_written_twice_may_be_two_versions(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE, TWO, ONE)
    product.put(f"store/{KEY}", ONE)
    product.keep(TWO)
    assert judge(product.evidence(shown(ONE, 1, False), shown(TWO, 2, False), shown(ONE, 3))) == []


def test_a_verified_file_that_is_not_stored_is_lost(tmp_path: Path) -> None:
    assert letters(Product(tmp_path, ONE).evidence(shown(ONE))) == "L"


def test_a_file_that_was_said_to_be_there_and_vanished_is_lost(good: Evidence) -> None:
    gone = replace(good, stored=[], shown=[], wanted=frozenset())
    assert letters(gone) == "L"


def test_an_older_version_whose_bytes_were_overwritten_is_corrupt(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE, TWO)
    product.put(f"store/{KEY}", TWO)
    assert letters(product.evidence(shown(ONE, 1, False), shown(TWO, 2))) == "C"


def test_stored_bytes_that_differ_are_corrupt(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE)
    product.put(f"store/{KEY}", BAD)
    assert letters(product.evidence(shown(ONE))) == "C"


def test_a_row_that_verifies_what_nobody_wrote_is_corrupt(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE)
    product.put(f"store/{KEY}", ONE)
    assert letters(replace(product.evidence(shown(BAD)), wanted=frozenset())) == "C"


def test_half_a_file_under_a_final_name_is_corrupt_whatever_is_said(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE)
    product.put(f"store/{KEY}", ONE[:4])
    evidence = replace(product.evidence(shown(ONE, state="moving")), wanted=frozenset())
    assert letters(evidence) == "C"


def test_another_version_under_the_final_name_than_is_shown_is_corrupt(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE, TWO)
    product.put(f"store/{KEY}", ONE)
    product.keep(TWO)
    assert letters(product.evidence(shown(ONE, 1, False), shown(TWO, 2))) == "C"


def test_two_current_rows_are_a_duplicate(good: Evidence) -> None:
    assert letters(replace(good, shown=[*good.shown, shown(ONE, 2)])) == "D"


def test_two_versions_of_a_content_written_once_are_a_duplicate(good: Evidence) -> None:
    assert letters(replace(good, shown=[*good.shown, shown(ONE, 2, False)])) == "D"


def test_two_announcements_of_an_upload_are_a_duplicate(good: Evidence) -> None:
    assert letters(replace(good, accepted=[1, 1])) == "D"


def test_done_said_before_it_was_true_is_false(good: Evidence) -> None:
    early = Said("check", KEY, sha(ONE), 0.5, "found nothing")
    assert letters(replace(good, said=[early])) == "F"


def test_a_wanted_file_that_never_came_is_stuck(tmp_path: Path) -> None:
    assert letters(Product(tmp_path, ONE).evidence()) == "S"


def test_a_wanted_new_version_that_never_came_is_stuck(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE, TWO)
    product.put(f"store/{KEY}", ONE)
    assert letters(product.evidence(shown(ONE))) == "S"


@pytest.mark.parametrize(("reason", "next_try"), [("", None), ("no space", None), ("", 5.0)])
def test_an_open_upload_that_does_not_say_why_and_when_is_stuck(
    good: Evidence, reason: str, next_try: float | None
) -> None:
    assert letters(replace(good, uploads=[Upload(2, KEY, "uploaded", reason, next_try)])) == "S"


def test_an_open_upload_that_says_why_and_when_is_not_stuck(good: Evidence) -> None:
    assert judge(replace(good, uploads=[Upload(2, KEY, "uploaded", "no space", 5.0)])) == []


def test_staged_bytes_of_no_upload_are_an_orphan(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE)
    product.put(f"store/{KEY}", ONE)
    product.put(f"inbox/3/{staged_name(KEY, 7)}", b"half")
    product.put(f"inbox/3/{staged_name(KEY, 7)}.parts", b"size")
    left = product.evidence(shown(ONE))
    assert letters(left) == "O"
    assert letters(replace(left, uploads=[Upload(7, KEY, "pending", "waits", 9.0)])) == ""


def test_stored_bytes_without_a_row_are_an_orphan(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE)
    product.put(f"store/{KEY}", ONE)
    product.put("store/run/b.bin", TWO)
    product.keep(TWO, "run/c.bin")
    assert [str(finding) for finding in judge(product.evidence(shown(ONE)))] == [
        "O: run/b.bin is stored without a record",
        f"O: older content {hashed('run/c.bin')} is kept without a record",
    ]


def test_the_own_reader_tells_whether_a_content_is_there_now(tmp_path: Path) -> None:
    product = Product(tmp_path, ONE, TWO)
    store = Store(product.data)
    assert store.holds(KEY, frozenset({sha(ONE)})) == "found nothing"
    product.put(f"store/{KEY}", TWO)
    assert store.holds(KEY, frozenset({sha(ONE)})) == f"found {sha(TWO)[:12]}"
    assert store.holds(KEY, frozenset({sha(TWO)})) is None
    product.keep(ONE)
    assert store.holds(KEY, frozenset({sha(ONE)})) is None


def test_the_ledger_numbers_the_versions_of_a_file(tmp_path: Path) -> None:
    versions = Product(tmp_path, ONE, TWO).ledger.versions()
    assert [(v.key, v.number, v.size, v.sha256) for v in versions] == [
        (KEY, 1, len(ONE), sha(ONE)),
        (KEY, 2, len(TWO), sha(TWO)),
    ]
