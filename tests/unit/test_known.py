"""What the machine remembers of its own moves."""

import os
from pathlib import Path

import pytest

from dray.errors import Permanent
from dray.model.checksum import Checksum
from dray.model.values import SourceVersion
from dray.moving import known
from dray.moving.known import Known, Sent, rested, with_folders

ONE = Checksum("sha256", "1" * 64)


def token(seconds: float) -> str:
    return SourceVersion(1, 2, 3, 0, int(seconds * 1e9)).token()


def test_where_something_was_sent_is_known_in_another_process_the_latest_first(tmp_path):
    with Known(tmp_path / "state" / "known.sqlite") as first:
        first.remember([Sent("/data/run", "http://a", "d", "run", 1.0), Sent("/data/run", "http://b", "d", "", 2.0)])
        first.remember([Sent("/data/run", "http://a", "d", "run", 3.0)])
    with Known(tmp_path / "state" / "known.sqlite") as second:
        assert [(sent.server, sent.at) for sent in second.destinations("/data/run")] == [
            ("http://a", 3.0),
            ("http://b", 2.0),
        ]
        assert second.destinations("/data") == []


def test_names_that_are_not_utf8_are_kept_apart(tmp_path):
    strange = os.fsdecode(b"/data/\xff")
    with Known(tmp_path / "known.sqlite") as notes:
        notes.remember([Sent(strange, "http://a", "d", "x", 1.0)])
        assert notes.destinations(strange)[0].path == "x"
        assert notes.destinations(os.fsdecode(b"/data/\xfe")) == []


def test_a_digest_is_known_for_its_version_alone(tmp_path):
    with Known(tmp_path / "known.sqlite") as notes:
        notes.keep({token(100): ONE}, now=200)
        assert notes.digest(token(100)) == ONE
        assert notes.digest(token(101)) is None


def test_no_digest_is_kept_of_a_file_that_changed_a_moment_ago(tmp_path):
    with Known(tmp_path / "known.sqlite") as notes:
        notes.keep({token(100): ONE}, now=101)
        assert notes.digest(token(100)) is None


def test_a_file_from_the_future_has_not_rested():
    assert not rested(token(500), now=100)
    assert rested(SourceVersion(1, 2, 3, -5_000_000_000, 10).token(), now=100)


def test_the_oldest_digests_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "MOST_DIGESTS", 2)
    with Known(tmp_path / "known.sqlite") as notes:
        for second in range(4):
            notes.keep({token(second): ONE}, now=100)
        assert [notes.digest(token(second)) for second in range(4)] == [None, None, ONE, ONE]


def test_a_damaged_file_is_told_with_what_to_do(tmp_path):
    path = tmp_path / "known.sqlite"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(Permanent) as error:
        Known(path)
    assert "remove" in error.value.hint


def test_a_path_lies_in_its_folders():
    assert with_folders(str(Path("/a/b/c"))) == [str(Path(p)) for p in ("/a/b/c", "/a/b", "/a", "/")]
