"""Secret files have one line and one reader."""

import os
from pathlib import Path

import pytest

from dray.config.secrets import read_secret
from dray.errors import Denied, UsageError

posix = pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")


def secret(path: Path, text: str = "dray_0123456789abcdef\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_private_secret_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert read_secret(secret(tmp_path / "token")) == "dray_0123456789abcdef"


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Denied, match="chmod 600") as caught:
        read_secret(secret(tmp_path / "token", mode=mode))
    assert "0123456789abcdef" not in str(caught.value)


@posix
def test_credentials_of_systemd_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(secret(tmp_path / "token", mode=0o440)).startswith("dray_")


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "x" * 70_000])
def test_anything_but_one_line_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="exactly one line"):
        read_secret(secret(tmp_path / "token", text))
