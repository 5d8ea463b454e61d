"""Processes, what people want of an agent, and what it tells a service manager."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dray.agent import process, standby
from dray.agent.control import Control
from dray.agent.notify import Notifier
from dray.errors import Busy, Temporary
from dray.model.agent import AgentStatus, Pause, Record, Wanted


def record(pid: int) -> Record:
    return Record(pid, process.boot(), process.began(pid), 0.0)


def test_a_process_is_known_by_its_number_its_beginning_and_the_boot() -> None:
    mine = record(os.getpid())
    assert process.is_alive(mine)
    assert not process.is_alive(msgspec.structs.replace(mine, began="1"))
    assert not process.is_alive(msgspec.structs.replace(mine, boot="another boot"))
    assert process.began(2**22 - 1) == ""


def test_only_the_very_process_is_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        his = record(child.pid)
        assert not process.send(msgspec.structs.replace(his, began="1"), signal.SIGTERM)
        assert child.poll() is None
        assert process.send(his, signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
    assert not process.send(his, signal.SIGTERM)


def test_strays_are_those_whose_agent_is_dead() -> None:
    folder = Path("/state/agent")
    found = [(10, f"{folder}:1"), (11, f"{folder}:2"), (12, "/elsewhere:1"), (os.getpid(), f"{folder}:1")]
    assert process.strays(folder, 2, lambda: iter(found)) == [10]


def test_children_carry_the_mark_of_their_agent(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, process.MARK: f"{tmp_path}:1"}) as child:
        assert process.strays(tmp_path, 2) == [child.pid]
        assert process.strays(tmp_path, 1) == []
        process.end(child.pid)
        child.wait()


def test_one_agent_at_a_time_and_the_kernel_knows_whether_there_is_one(tmp_path: Path) -> None:
    control = Control(tmp_path / "agent")
    assert not control.is_held()
    with control.held():
        assert control.is_held()
        with pytest.raises(Busy, match="an agent is running already"), Control(tmp_path / "agent").held():
            pass
    assert not control.is_held()


def test_an_agent_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom dray.agent.control import Control\n"
        "with Control(Path(sys.argv[1])).held():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    control = Control(tmp_path)
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert control.is_held()
        child.kill()
    assert not control.is_held()


def test_what_is_wanted_survives_and_commands_do_not_overwrite_each_other(tmp_path: Path) -> None:
    control = Control(tmp_path)
    assert control.wanted() == Wanted()
    before = control.stamp()

    def add(number: int) -> None:
        control.change(lambda wanted: msgspec.structs.replace(wanted, stopped=(*wanted.stopped, f"n{number}")))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Control(tmp_path).wanted().stopped) == ["n0", "n1", "n2", "n3", "n4"]
    assert control.stamp() != before
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.json"))


def test_a_pause_ends_by_itself() -> None:
    wanted = Wanted(paused={"a": Pause(0.0, 10.0), "b": Pause(0.0)})
    assert wanted.pause_of("a", 9.0) is not None
    assert wanted.pause_of("a", 10.0) is None
    assert wanted.pause_of("b", 1e12) is not None
    assert wanted.pause_of("c", 0.0) is None


def test_a_damaged_file_is_told_as_such(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.tell(AgentStatus(1, "1", 0.0, 0.0))
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(Temporary, match="not readable"):
        control.status()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5.0)
        yield listening


def test_a_service_manager_is_told_the_truth_in_its_order(tmp_path: Path, manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "120000000"})
    assert notifier.watchdog == 120.0
    notifier.alive("looking", ready=False)
    notifier.alive("watching", ready=True)
    notifier.alive("watching", ready=True)
    notifier.reloading(1.5)
    notifier.alive("watching", ready=True)
    notifier.stopping("ending")
    told = [manager.recv(4096).decode().split("\n") for _ in range(6)]
    assert told == [
        ["STATUS=looking", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=60000000"],
        ["STATUS=watching", "WATCHDOG=1", "READY=1"],
        ["STATUS=watching", "WATCHDOG=1"],
        ["RELOADING=1", "MONOTONIC_USEC=1500000"],
        ["STATUS=watching", "WATCHDOG=1", "READY=1"],
        ["STOPPING=1", "STATUS=ending"],
    ]


def test_nobody_is_told_where_nobody_listens(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}, {"NOTIFY_SOCKET": "@nobody"}):
        Notifier(environ).alive("watching", ready=True)
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog is None


def test_an_address_is_on_this_machine_or_not() -> None:
    assert standby.has_address("127.0.0.1")
    assert not standby.has_address("192.0.2.7")
    assert not standby.has_address("2001:db8::7")


def test_where_the_system_keeps_no_list_of_addresses_they_are_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(standby, "ROUTES", tmp_path / "none")
    assert standby.has_address("127.0.0.1")
    assert not standby.has_address("192.0.2.7")
