"""Commands that are killed, interrupted or lose their server go on where they were."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.client import content, tree
from tests.servers.dray import DRAY, DrayServer, dray_server
from tests.servers.process import wait_until

PART = 1 << 20
SIZE = 24 * PART + 17
PARALLEL = 2
SLOW = ("--bwlimit", "6M", "--parallel", str(PARALLEL))


class Run:
    """A command in a process of its own; left running it is killed."""

    def __init__(self, server: DrayServer, home: Path, *args: str) -> None:
        self._log = home / "err.txt"
        environment = server.client_environment | {"HOME": str(home)}
        with self._log.open("w") as err:
            self.child = subprocess.Popen(
                [DRAY, *args], env=environment, cwd=home, stdout=subprocess.PIPE, stderr=err, text=True
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        def trouble() -> str | None:
            return None if self.child.poll() is None else f"ended with {self.child.returncode}: {self.said()}"

        wait_until(ready, 60, "the command", trouble)

    def end(self) -> tuple[int, str]:
        out, _ = self.child.communicate(timeout=120)
        return self.child.returncode, out

    def said(self) -> str:
        return self._log.read_text()


def run(server: DrayServer, home: Path, *args: str) -> tuple[int, str]:
    with Run(server, home, *args) as command:
        return command.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    with dray_server(tmp_path_factory.mktemp("resume"), env={"DRAY_LIMITS_PART_SIZE": "1MiB"}) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "large.h5").write_bytes(content(SIZE))
    return tmp_path


def received(server: DrayServer) -> int:
    """Ask the server, as a program would, how many bytes of bodies came in since it started."""
    done = subprocess.run([DRAY, "status", "--json"], env=server.client_environment, capture_output=True, check=True)
    return int(json.loads(done.stdout)["data"]["bytes_received"])


def parts(folder: Path, pattern: str) -> int:
    """Count, from outside, the parts that side files call durable."""
    found = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            found += path.read_bytes().count(b"\npart ")
    return found


def held(server: DrayServer) -> int:
    return parts(server.data / "inbox", "*/*.parts")


def test_an_upload_killed_in_the_middle_sends_at_most_one_part_a_connection_again(
    server: DrayServer, home: Path
) -> None:
    before = received(server)
    with Run(server, home, "upload", "large.h5", f"{server.url}/killed", *SLOW) as first:
        first.wait_for(lambda: held(server) >= 6)
        first.child.kill()
    code, out = run(server, home, "upload", "large.h5", f"{server.url}/killed", "--json")
    assert (code, json.loads(out)["data"]["moved"]) == (0, 1)
    assert received(server) - before <= SIZE + PARALLEL * PART
    assert tree(server.data / "store/killed") == {"large.h5": content(SIZE)}


def test_an_interrupted_upload_says_how_to_go_on_and_does(server: DrayServer, home: Path) -> None:
    small = {f"part{n}.dat": content(PART // 2, n) for n in range(12)}
    for name, data in small.items():
        (home / name).write_bytes(data)
    line = ("upload", *small, "large.h5", f"{server.url}/interrupted")
    with Run(server, home, *line, *SLOW) as first:
        first.wait_for(lambda: held(server) >= 2)
        first.child.send_signal(signal.SIGINT)
        first.child.send_signal(signal.SIGINT)
        assert first.end()[0] == 130
        assert "run the same command again" in first.said()
    assert run(server, home, *line)[0] == 0
    assert tree(server.data / "store/interrupted") == {"large.h5": content(SIZE), **small}


def test_the_first_interrupt_lets_the_running_batch_arrive(server: DrayServer, home: Path) -> None:
    names = [f"{n:02}.dat" for n in range(40)]
    for name in names:
        (home / name).write_bytes(content(PART // 2))
    with Run(server, home, "upload", *names, f"{server.url}/first", "--jsonl", *SLOW) as first:
        first.wait_for(lambda: any(server.data.glob("store/first/*.dat")))
        first.child.send_signal(signal.SIGINT)
        code, out = first.end()
    events = [json.loads(line) for line in out.splitlines()]
    ended = [event["path"] for event in events if event["event"] == "file.outcome"]
    assert code == 130
    assert 0 < len(ended) < len(names)
    assert sorted(ended) == sorted(tree(server.data / "store/first"))


def test_an_upload_outlives_a_server_that_is_killed_and_started_again(server: DrayServer, home: Path) -> None:
    with Run(server, home, "upload", "large.h5", f"{server.url}/restarted", "--json", *SLOW) as command:
        command.wait_for(lambda: held(server) >= 6)
        server.kill9()
        server.start()
        code, out = command.end()
        assert (code, json.loads(out)["data"]["moved"]) == (0, 1), command.said()
    assert received(server) <= SIZE - 6 * PART + PARALLEL * PART
    assert tree(server.data / "store/restarted") == {"large.h5": content(SIZE)}


def test_a_download_killed_in_the_middle_goes_on(server: DrayServer, home: Path) -> None:
    assert run(server, home, "upload", "large.h5", f"{server.url}/fetched")[0] == 0
    back = home / "back"
    with Run(server, home, "download", f"{server.url}/fetched", str(back), *SLOW) as first:
        first.wait_for(lambda: parts(back / ".dray", "staging/*/*.parts") >= 6)
        first.child.kill()
    assert os.listdir(back) == [".dray"]
    assert run(server, home, "download", f"{server.url}/fetched", str(back))[0] == 0
    assert tree(back) == {"large.h5": content(SIZE)}
    assert os.listdir(back) == ["large.h5"]
