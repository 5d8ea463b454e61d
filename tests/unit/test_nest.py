"""The folder for Dray's own files in a directory that is filled."""

from pathlib import Path

import pytest

from dray.errors import Conflict
from dray.moving.nest import nest


def test_it_is_there_while_it_is_used_and_gone_afterwards(tmp_path: Path) -> None:
    with nest(str(tmp_path / "new")):
        (tmp_path / "new/.dray/staging/0").mkdir(parents=True)
    assert list((tmp_path / "new").iterdir()) == []


def test_it_stays_while_somebody_else_uses_it(tmp_path: Path) -> None:
    with nest(str(tmp_path)):
        with nest(str(tmp_path)):
            (tmp_path / ".dray/staging").mkdir()
        assert (tmp_path / ".dray/staging").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_is_staged_stays_for_the_next_time(tmp_path: Path) -> None:
    with nest(str(tmp_path)):
        (tmp_path / ".dray/staging/3").mkdir(parents=True)
        (tmp_path / ".dray/staging/4").mkdir()
        (tmp_path / ".dray/staging/3/file").write_text("x")
    assert [path.name for path in (tmp_path / ".dray/staging").iterdir()] == ["3"]
    with nest(str(tmp_path)):
        assert (tmp_path / ".dray/staging/3/file").read_text() == "x"


def test_a_link_of_that_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/empty").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/.dray").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict), nest(str(tmp_path / "here")):
        pass
    assert (tmp_path / "elsewhere/empty").is_dir()
