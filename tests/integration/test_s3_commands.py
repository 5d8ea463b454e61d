"""The commands with the address of a bucket, against a real Ceph."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dray.cli.context import App
from dray.cli.main import main
from tests.contract.cargo import content
from tests.faults.link import Link, link_to
from tests.servers.ceph import SECRET, Ceph

FILES = {"a": b"a", "sub/b": content(5000), "new\nline \x01%+ü": b"", "large": content(33 << 20)}
MIB = 1 << 20
SLOW = 16 * MIB


@pytest.fixture
def ceph(ceph_server: Ceph) -> Ceph:
    if not ceph_server.gateway.running:
        ceph_server.start_gateway()
    return ceph_server


@pytest.fixture
def source(ceph: Ceph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in ceph.env().items():
        monkeypatch.setenv(name, value)
    for name, data in FILES.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(data)
    return tmp_path / "run"


def dray(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    app = App(out=out, err=err, environ={"DRAY_WATCH_SETTLE": "0.2"})
    return main([str(word) for word in words], app), out.getvalue(), err.getvalue()


def files_in(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and ".dray" not in path.relative_to(root).parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_a_directory_goes_there_and_comes_back(ceph: Ceph, source: Path, tmp_path: Path) -> None:
    there = "s3://dray/there"
    ceph.reader()
    assert dray("upload", source, there)[0] == 0
    assert ceph.reader().contents("there/run/") == FILES
    code, out, _ = dray("upload", source, there, "--json")
    assert code == 0
    assert json.loads(out)["data"]["already"] == 4
    assert dray("check", source, there)[0] == 0
    assert dray("download", f"{there}/run", tmp_path / "back")[0] == 0
    assert files_in(tmp_path / "back") == {f"run/{name}": data for name, data in FILES.items()}
    assert (tmp_path / "back/run/a").stat().st_mtime_ns == (source / "a").stat().st_mtime_ns
    assert dray("download", f"{there}/run/sub/b", tmp_path / "one")[0] == 0
    assert files_in(tmp_path / "one") == {"b": FILES["sub/b"]}
    assert dray("download", f"{there}/typo", tmp_path / "one")[0] == 3
    (source / "a").write_bytes(b"b")
    assert dray("check", source, there)[0] == 6
    assert dray("upload", source, there, "--on-exists", "fail")[0] != 0
    assert dray("upload", source, there)[0] == 0
    found = ceph.reader().contents("there/")
    assert found["run/a"] == b"b"
    assert [data for path, data in found.items() if path.startswith(".dray/")] == [b"a"]


def test_a_listing_tells_sizes_and_with_long_digests(ceph: Ceph, source: Path) -> None:
    ceph.reader()
    assert dray("upload", f"{source}/sub", "s3://dray/listed/")[0] == 0
    code, out, _ = dray("ls", "s3://dray/listed", "--long", "--json")
    assert code == 0
    (file,) = json.loads(out)["items"]
    assert (file["path"], file["size"]) == ("sub/b", 5000)
    assert file["checksum"].startswith("sha256:")


def test_a_check_reads_the_bytes_and_not_what_was_noted(ceph: Ceph, source: Path) -> None:
    reader = ceph.reader()
    assert dray("upload", f"{source}/sub/", "s3://dray/checked")[0] == 0
    seen = reader.client.head_object(Bucket="dray", Key="checked/b")
    reader.client.put_object(Bucket="dray", Key="checked/b", Body=content(5000, 1), Metadata=seen["Metadata"])
    assert dray("check", f"{source}/sub/", "s3://dray/checked")[0] == 6
    code, out, _ = dray("download", "s3://dray/checked/b", source.parent / "broken")
    assert code == 6
    assert "sha256" in out
    assert not (source.parent / "broken" / "b").exists()


def test_what_appears_is_sent(ceph: Ceph, source: Path) -> None:
    ceph.reader()
    assert dray("watch", source, "s3://dray/watched", "--once")[0] == 0
    assert ceph.reader().contents("watched/") == FILES
    (source / "a").write_bytes(b"newer")
    assert dray("watch", source, "s3://dray/watched", "--once")[0] == 0
    assert ceph.reader().contents("watched/") == {**FILES, "a": b"newer"}


def test_a_rate_is_kept_to(ceph: Ceph, source: Path) -> None:
    ceph.reader()
    begin = time.monotonic()
    assert dray("upload", source / "large", "s3://dray/slowly", "--bwlimit", "20MiB")[0] == 0
    assert time.monotonic() - begin > 1.0


@pytest.mark.parametrize("address", ["s3://", "s3://a b/x", "s3://dray/../x", "s3://dray/.dray/staging", "s3:///x"])
def test_what_is_no_address_is_refused(source: Path, address: str) -> None:
    assert dray("upload", source, address)[0] == 2


def command(link: Link, ceph: Ceph, *words: object) -> subprocess.Popen[bytes]:
    env = {**os.environ, **ceph.env(link.url), "DRAY_S3_PART_SIZE": "5MiB"}
    line = [sys.executable, "-m", "dray.cli.main", *map(str, words)]
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(link: Link, ceph: Ceph, *words: object) -> bytes:
    with command(link, ceph, *words) as child:
        said, _ = child.communicate(timeout=120)
        assert child.returncode == 0, said
    return said


def test_killed_commands_send_a_part_of_each_connection_again(ceph: Ceph, source: Path, tmp_path: Path) -> None:
    ceph.reader()
    size = 64 * MIB
    (source / "huge").write_bytes(content(size, 9))
    with link_to(tmp_path, ceph.port) as link:
        link.order("rate", way="up", bytes=SLOW)
        words = ("upload", source / "huge", "s3://dray/killed", "--parallel", "2")
        for share in (24 * MIB, 44 * MIB):
            with command(link, ceph, *words) as child:
                while link.order()["files"] < share:
                    assert child.poll() is None
                    time.sleep(0.02)
                child.kill()
            assert ceph.reader().contents("killed/huge") == {}
        link.order("clear")
        said = run(link, ceph, *words)
        assert link.order()["files"] <= size + 2 * 2 * 5 * MIB
    assert SECRET.encode() not in said
    assert ceph.reader().contents("killed/") == {"huge": content(size, 9)}
    assert ceph.reader().uploads("killed/") == []


def test_a_killed_download_goes_on(ceph: Ceph, source: Path, tmp_path: Path) -> None:
    ceph.reader()
    size = 64 * MIB
    (source / "huge").write_bytes(content(size, 9))
    assert dray("upload", source / "huge", "s3://dray/fetched")[0] == 0
    with link_to(tmp_path, ceph.port) as link:
        link.order("rate", way="down", bytes=SLOW)
        words = ("download", "s3://dray/fetched/huge", tmp_path / "into", "--parallel", "2")
        with command(link, ceph, *words) as child:
            while link.order()["down"] < 44 * MIB:
                assert child.poll() is None
                time.sleep(0.02)
            child.kill()
        link.order("clear")
        run(link, ceph, *words)
        assert link.order()["down"] <= size + 3 * 32 * MIB
    assert files_in(tmp_path / "into") == {"huge": content(size, 9)}
