"""The commands with an address behind ssh, against a real sshd."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dray.cli.context import App
from dray.cli.main import main
from tests.contract.cargo import content
from tests.servers.sshd import HOST, Sshd, sshd

FILES = {"a": b"a", "sub/b": content(5000), "new\nline": b"", "large": content(33 << 20)}


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as found:
        yield found


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, data in FILES.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(data)
    return tmp_path / "run"


def dray(server: Sshd, *words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    app = App(out=out, err=err, environ={"DRAY_SSH_CONFIG_FILE": str(server.config), "DRAY_WATCH_SETTLE": "0.2"})
    return main([str(word) for word in words], app), out.getvalue(), err.getvalue()


def files_in(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and ".dray" not in path.relative_to(root).parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_a_directory_goes_there_and_comes_back(server: Sshd, source: Path, tmp_path: Path) -> None:
    there = f"sftp://{HOST}/{tmp_path}/there"
    assert dray(server, "upload", source, there)[0] == 0
    assert files_in(tmp_path / "there" / "run") == FILES
    code, out, _ = dray(server, "upload", source, there, "--json")
    assert code == 0
    assert json.loads(out)["data"]["already"] == 4
    assert dray(server, "check", source, there)[0] == 0
    assert dray(server, "download", f"{there}/run", tmp_path / "back")[0] == 0
    assert files_in(tmp_path / "back") == {f"run/{name}": data for name, data in FILES.items()}
    assert dray(server, "download", f"{there}/run/", tmp_path / "contents")[0] == 0
    assert files_in(tmp_path / "contents") == FILES
    assert dray(server, "download", f"{there}/run/sub/b", tmp_path / "one")[0] == 0
    assert files_in(tmp_path / "one") == {"b": FILES["sub/b"]}
    assert dray(server, "download", f"{there}/typo", tmp_path / "one")[0] == 3
    (source / "a").write_bytes(b"b")
    code, out, _ = dray(server, "check", source, there, "--different")
    assert (code, out) == (6, "* a\n")


def test_files_are_listed_with_their_digests(server: Sshd, source: Path, tmp_path: Path) -> None:
    there = f"sftp://{HOST}/{source}"
    code, out, _ = dray(server, "ls", there, "--long", "--json", "--name", "sub")
    assert code == 0
    (item,) = json.loads(out)["items"]
    assert (item["path"], item["size"]) == ("sub/b", 5000)
    assert item["checksum"].startswith("sha256:")
    assert "there is no such" in dray(server, "ls", f"{there}/typo")[2]


def test_a_hot_directory_is_emptied_into_an_account_once(server: Sshd, source: Path, tmp_path: Path) -> None:
    there = f"sftp://{HOST}/{tmp_path}/there"
    code, out, err = dray(server, "watch", source, there, "--once", "--json")
    assert code == 0, err
    assert json.loads(out)["data"]["arrived"] == 4
    assert files_in(tmp_path / "there") == FILES
    assert json.loads(dray(server, "watch", source, there, "--once", "--json")[1])["data"]["arrived"] == 0
    (source / "a").write_bytes(b"newer")
    assert dray(server, "watch", source, there, "--once")[0] == 0
    assert (tmp_path / "there" / "a").read_bytes() == b"newer"
    assert not (tmp_path / "there" / ".dray" / "versions").exists()


def test_a_host_that_is_not_trusted_gets_nothing(server: Sshd, source: Path, tmp_path: Path) -> None:
    (server.base / "known_hosts").write_text("")
    try:
        code, _, err = dray(server, "upload", source, f"sftp://{HOST}/{tmp_path}/there")
        assert code == 4
        assert f"dray host trust {HOST}" in err
        code, _, err = dray(server, "watch", source, f"sftp://{HOST}/{tmp_path}/there", "--once")
        assert code != 0
        assert f"dray host trust {HOST}" in err
    finally:
        server.trust()
    assert not (tmp_path / "there").exists()


def test_a_directory_of_this_machine_is_a_place_as_well(server: Sshd, source: Path, tmp_path: Path) -> None:
    assert dray(server, "upload", f"{source}/", f"file://{tmp_path}/there")[0] == 0
    assert files_in(tmp_path / "there") == FILES
    assert dray(server, "ls", f"file://{tmp_path}/nowhere")[0] == 3
