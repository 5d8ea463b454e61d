"""`dray watch` as users run it, against a running server: exit codes, output, crashes, bandwidth."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.dray import DRAY, DrayServer

PATIENCE = 120


@dataclass
class Lab:
    """A hot directory beside a server."""

    server: DrayServer
    root: Path

    def command(self, *options: str) -> list[str]:
        return [str(DRAY), "watch", str(self.root), f"{self.server.url}/run7", *options]

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*options), env=self.server.client_environment, capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip

    def start(self, log: Path, *options: str) -> "subprocess.Popen[bytes]":
        with log.open("ab") as out:
            return subprocess.Popen(self.command(*options), env=self.server.client_environment, stdout=out, stderr=out)

    def safe(self) -> int:
        command = [str(DRAY), "safe", str(self.root)]
        return subprocess.run(command, env=self.server.client_environment, capture_output=True, check=False).returncode

    def drop(self, files: Sequence[str], size: int = 1000) -> None:
        for name in files:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / f".{path.name}").write_bytes(os.urandom(size))
            (path.parent / f".{path.name}").rename(path)


@pytest.fixture
def lab(dray_server: DrayServer, tmp_path: Path) -> Lab:
    root = tmp_path / "hot"
    root.mkdir()
    return Lab(dray_server, root)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def document(text: str) -> tuple[dict[str, int], dict[str, int]]:
    shown = json.loads(text)
    assert shown["kind"] == "hot.files"
    return {item["state"]: item["files"] for item in shown["items"]}, shown["data"]


def test_everything_that_is_there_is_delivered_and_safe(lab: Lab) -> None:
    lab.drop(["a.h5", "sub/ü b.h5", "x\ny.h5"])
    lab.drop(["large.bin"], 40 << 20)
    first, second = lab.run("--once", "--json"), lab.run("--once", "--json")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert document(first.stdout)[1]["arrived"] == 4
    assert document(second.stdout) == ({"delivered": 4}, {"arrived": 0, "bytes": 0, "failed": 0, "attention": 0})
    assert lab.safe() == 0


def test_a_name_that_cannot_be_sent_is_listed_and_makes_the_run_partial(lab: Lab) -> None:
    lab.drop(["a.h5"])
    (lab.root / os.fsdecode(b"bad\xff")).write_bytes(b"x")
    done = lab.run("--once", "--json")
    assert done.returncode == 11
    assert document(done.stdout)[0] == {"delivered": 1, "refused": 1}
    assert lab.run("--once", "--filter", "- bad*").returncode == 0


def test_a_dry_run_prints_the_plan_and_sends_nothing(lab: Lab) -> None:
    lab.drop(["a.h5", "b.log"])
    done = lab.run("--dry-run", "--json", "--filter", "- *.log")
    assert done.returncode == 0
    planned = json.loads(done.stdout)["items"]
    assert [(item["action"], item["path"], item["to"]) for item in planned] == [
        ("send", "a.h5", "a.h5"),
        ("skip", "b.log", ""),
    ]
    assert lab.safe() == 3


def test_a_server_that_is_away_ends_a_single_run_with_temporary(lab: Lab) -> None:
    lab.drop(["a.h5"])
    lab.server.terminate()
    assert lab.run("--once", "--retry-for", "1s").returncode == 5


def test_a_wrong_option_is_told_before_anything_is_looked_at(lab: Lab) -> None:
    assert lab.run("--filter", "*.h5").returncode == 2
    assert lab.run("--done-file", "a/b").returncode == 2
    assert lab.run("--settle", "soon").returncode == 2


def test_kills_of_agent_and_server_lose_nothing_and_double_nothing(lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "watch.log"
    lab.drop([f"before/{number}.h5" for number in range(50)])
    agent = lab.start(log)
    lab.drop(["large.bin"], 100 << 20)
    until(lambda: "bundle" in lab.server.log or (lab.server.data / "inbox").exists())
    time.sleep(2)
    agent.kill()
    agent.wait()
    lab.drop([f"meanwhile/{number}.h5" for number in range(50)])
    lab.server.kill9()
    agent = lab.start(log)
    lab.drop([f"after/{number}.h5" for number in range(50)])
    lab.server.start()
    until(lambda: lab.safe() == 0)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE) == 0, log.read_text()
    done = lab.run("--once", "--json")
    assert document(done.stdout) == ({"delivered": 151}, {"arrived": 0, "bytes": 0, "failed": 0, "attention": 0})
    versions = subprocess.run(
        [str(DRAY), "ls", f"{lab.server.url}/run7", "--versions", "--json"],
        env=lab.server.client_environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    accepted = [item for item in json.loads(versions.stdout)["items"] if item["state"] == "verified"]
    assert len(accepted) == len({item["path"] for item in accepted}) == 151


def test_a_second_press_stops_at_once_and_the_next_run_goes_on(lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "watch.log"
    lab.drop(["large.bin"], 64 << 20)
    agent = lab.start(log, "--bwlimit", "1M")
    until(lambda: "large" in log.read_text() or "sending" in log.read_text())
    agent.send_signal(signal.SIGINT)
    until(lambda: "press Ctrl-C again" in log.read_text())
    assert agent.poll() is None
    agent.send_signal(signal.SIGINT)
    assert agent.wait(PATIENCE) == 130
    assert lab.run("--once").returncode == 0
    assert lab.safe() == 0
