"""The agent as its owner uses it: started, asked, paused, killed, mended and stopped, and every file arrives once."""

import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dray.cli import daemon
from dray.cli.context import App
from dray.cli.main import main
from tests.e2e.test_cli import check_shape
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import find_command

PATIENCE = 60.0


class Owner:
    """Somebody with hot directories of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = clean_environment(home, {})
        self.settings = Path(json.loads(self.run("config", "path", "--json").stdout)["items"][1]["path"])
        self.settings.parent.mkdir(parents=True, exist_ok=True)
        self.configure("lab")

    def configure(self, *names: str, more: str = "") -> None:
        """Write the settings: three lines a hot directory."""
        text = ""
        for name in names:
            (self.home / name).mkdir(exist_ok=True)
            text += f'[hot.{name}]\npath = "{self.home}/{name}"\nto = "file://{self.home}/{name}.there"\n{more}\n'
        part = self.settings.with_suffix(".part")
        part.write_text(text)
        part.replace(self.settings)

    def run(self, *args: str, code: int | None = 0, **env: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [DRAY, *args], env=self.env | env, cwd=self.home, capture_output=True, text=True, check=False
        )
        assert code in (None, done.returncode), f"dray {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def status(self) -> dict[str, Any]:
        """Return the document of `dray status`, checked against its published shape."""
        document: dict[str, Any] = json.loads(self.run("status", "--json", code=None).stdout)
        for one in document["items"]:
            check_shape("hot.status", one)
        check_shape("hot.status.summary", document["data"])
        return document

    def state(self, name: str = "lab") -> str:
        return str(next(one["state"] for one in self.status()["items"] if one["name"] == name))

    @property
    def pid(self) -> int:
        return int(self.status()["data"]["pid"])

    def drop(self, count: int, name: str = "lab", prefix: str = "f") -> None:
        for index in range(count):
            (self.home / name / f"{prefix}{index}").write_bytes(b"%d" % index)

    def arrived(self, name: str = "lab") -> dict[str, bytes]:
        there = self.home / f"{name}.there"
        return {path.name: path.read_bytes() for path in there.glob("*") if path.is_file()}

    def complete(self, count: int, name: str = "lab") -> None:
        until(lambda: len(self.arrived(name)) == count)
        assert self.arrived(name) == {path.name: path.read_bytes() for path in (self.home / name).iterdir()}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path)
    yield made
    made.run("stop", "--timeout", "5s", code=None)


def test_three_lines_and_a_start_send_what_is_dropped_and_status_tells_of_it(owner: Owner) -> None:
    assert owner.state() == "ended"
    owner.run("start")
    owner.drop(3)
    owner.complete(3)
    until(lambda: owner.status()["items"][0]["sent"] == 3)
    found = owner.status()
    (one,) = found["items"]
    assert (one["queued"], one["trouble"], one["retrying"]) == (0, 0, None)
    assert one["lag"]["max"] >= one["lag"]["mean"] > 0
    assert one["last_file"] in ("f0", "f1", "f2")
    assert found["data"]["running"] is found["data"]["wanted"] is True
    assert "delivered f0, 1 bytes, sha256:" in owner.run("log", "lab").stdout
    assert owner.run("start", "--foreground", code=5).stderr.count("an agent is running already") == 1
    here, there = owner.home / "lab", f"file://{owner.home}/lab.there"
    assert "another agent looks after" in owner.run("watch", str(here), there, "--once", code=5).stderr
    owner.run("stop")
    assert owner.status()["data"]["running"] is False
    assert owner.run("stop").stderr.count("no agent was running") == 1


def test_a_killed_agent_is_started_by_sanity_and_goes_on_where_it_was(owner: Owner) -> None:
    owner.run("start")
    owner.drop(300)
    first = owner.pid
    os.kill(first, signal.SIGKILL)
    owner.drop(300, prefix="g")
    until(lambda: not owner.status()["data"]["running"])
    assert owner.run("status", code=5)
    assert json.loads(owner.run("sanity", "--json").stdout)["data"]["agent"] == "started"
    assert owner.pid != first
    owner.complete(600)
    assert json.loads(owner.run("sanity", "--json").stdout)["data"]["agent"] == "fine"
    owner.run("stop")
    assert json.loads(owner.run("sanity", "--json").stdout)["data"]["agent"] == "not wanted"


def test_a_stop_within_a_second_of_a_drop_of_2000_files_loses_none(owner: Owner) -> None:
    owner.run("start")
    owner.drop(2000)
    owner.run("stop")
    assert len(owner.arrived()) < 2000
    owner.run("start")
    owner.complete(2000)


def test_a_pause_outlasts_a_restart_and_ends_when_it_is_told_to(owner: Owner) -> None:
    owner.run("start")
    owner.run("pause", "--for", "2h", "lab")
    assert owner.state() == "paused"
    owner.drop(2)
    owner.run("restart")
    assert owner.state() == "paused"
    assert owner.status()["items"][0]["until"] > time.time() + 7000
    assert owner.arrived() == {}
    owner.run("resume")
    owner.complete(2)


def test_changed_settings_are_taken_while_it_runs_and_wrong_ones_are_not(owner: Owner) -> None:
    owner.run("start")
    pid = owner.pid
    owner.configure("lab", "other")
    owner.drop(1, "other")
    owner.complete(1, "other")
    good = owner.settings.read_text()
    owner.settings.write_text(f"{good}senders = 0\n")
    until(lambda: "hot.other.senders = 0" in next(owner.home.rglob("agent.log")).read_text())
    owner.settings.write_text(good)
    owner.drop(1)
    owner.complete(1)
    assert owner.pid == pid


def test_a_hot_directory_that_is_stopped_stays_stopped_and_the_others_go_on(owner: Owner) -> None:
    owner.configure("lab", "other")
    owner.run("start")
    owner.run("stop", "other")
    owner.drop(1)
    owner.drop(1, "other")
    owner.complete(1)
    owner.run("restart")
    assert (owner.state("other"), owner.arrived("other")) == ("stopped", {})
    owner.run("start", "other")
    owner.complete(1, "other")


def test_what_cannot_be_watched_is_told_and_watched_once_it_can_be(owner: Owner) -> None:
    (owner.home / "lab").rmdir()
    owner.run("start")
    assert owner.state() in ("broken", "waiting")
    owner.run("status", code=11)
    (owner.home / "lab").mkdir()
    owner.drop(1)
    owner.complete(1)


def test_a_number_that_belongs_to_somebody_else_by_now_is_never_signalled(owner: Owner) -> None:
    owner.run("start")
    record = next(owner.home.rglob("agent.json"))
    pid = owner.pid
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        told = json.loads(record.read_text())
        record.write_text(json.dumps({**told, "pid": bystander.pid}))
        owner.run("stop", "--timeout", "1s", code=None)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        os.kill(pid, signal.SIGTERM)
    until(lambda: not owner.status()["data"]["running"])


def test_a_name_that_is_not_configured_is_refused_with_those_that_are(owner: Owner) -> None:
    for command in ("start", "stop", "restart", "pause", "resume", "log", "show", "status"):
        assert "there are: lab" in owner.run(command, "labb", code=3).stderr


def test_a_service_manager_hears_that_it_is_ready_alive_and_ending(owner: Owner) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(owner.home / "notify"))
        manager.settimeout(PATIENCE)
        env = {**owner.env, "NOTIFY_SOCKET": str(owner.home / "notify"), "WATCHDOG_USEC": "30000000"}
        agent = subprocess.Popen([DRAY, "start", "--foreground"], env=env, stderr=subprocess.PIPE)
        told = heard(manager, "READY=1")
        assert any("1 hot directories, 0 files delivered" in one for one in told)
        heard(manager, "WATCHDOG=1")
        agent.send_signal(signal.SIGHUP)
        heard(manager, "RELOADING=1")
        heard(manager, "READY=1")
        assert json.loads(next(owner.home.rglob("agent.json")).read_text())["service"] is True
        agent.send_signal(signal.SIGTERM)
        heard(manager, "STOPPING=1")
        agent.communicate()
        assert agent.returncode == 0


def heard(manager: socket.socket, line: str) -> list[str]:
    """Read what is told until this line comes."""
    lines: list[str] = []
    while line not in lines:
        lines += manager.recv(4096).decode().split("\n")
    return lines


def test_the_unit_is_one_that_systemd_takes(owner: Owner) -> None:
    for scope in ("--user", "--system"):
        unit = owner.home / "dray-agent.service"
        unit.write_text(owner.run("service", "show", scope, "--as", "root").stdout)
        text = unit.read_text()
        assert "Type=notify\n" in text
        assert "Restart=always\n" in text
        assert "start --foreground\n" in text
        find_command("systemd-analyze", "systemd")
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_unit_is_not_written_where_no_systemd_answers(owner: Owner) -> None:
    refused = owner.run("service", "install", code=None, DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere")
    assert refused.returncode in (3, 5)
    assert list(owner.home.rglob("*.service")) == []


def test_show_tells_settings_and_states_and_cleanup_forgets_them(owner: Owner) -> None:
    owner.run("start")
    owner.drop(2)
    (owner.home / "lab" / "link").symlink_to("f0")
    until(lambda: len(owner.arrived()) == 2)
    until(lambda: "refused" in owner.run("show").stdout)
    shown = json.loads(owner.run("show", "lab", "--json").stdout)
    assert {one["state"]: one["files"] for one in shown["items"]} == {"delivered": 2, "refused": 1}
    assert shown["data"]["settings"]["lab"]["senders"] == "5"
    assert "another agent looks after" in owner.run("cleanup", "lab", "--yes", code=5).stderr
    owner.run("stop")
    assert "add --yes" in owner.run("cleanup", "lab").stderr
    assert list(owner.home.rglob("*.sqlite"))
    owner.run("cleanup", "lab", "--yes")
    assert not list(owner.home.rglob("*.sqlite"))
    owner.run("features")


def test_installing_the_service_says_when_linger_is_off_and_what_mends_it(owner: Owner) -> None:
    tools = owner.home / "tools"
    tools.mkdir()
    for name in ("systemctl", "loginctl"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $@" >> "{owner.home}/asked"\n')
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    said = owner.run("service", "install", PATH=path, XDG_STATE_HOME="/srv/state", DRAY_TOKEN="secret").stderr
    assert "sudo loginctl enable-linger" in said
    unit = next(owner.home.rglob("dray-agent.service"))
    assert "Environment=XDG_STATE_HOME=/srv/state\n" in unit.read_text()
    assert "secret" not in unit.read_text()
    owner.run("start", PATH=path)
    owner.run("service", "uninstall", PATH=path)
    assert not unit.exists()
    asked = (owner.home / "asked").read_text().splitlines()
    verbs = [line.split()[2] for line in asked]
    assert verbs == ["daemon-reload", "daemon-reload", "enable", "restart", "start", "disable", "daemon-reload"]
    assert all(line.startswith("systemctl --user ") for line in asked)


def test_an_agent_that_hangs_is_replaced_by_sanity(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.run("start")
    first = owner.pid
    os.kill(first, signal.SIGSTOP)
    owner.drop(3)
    for name, value in owner.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(daemon, "HANGS", 3.0)
    time.sleep(4.0)
    said = io.StringIO()
    assert main(["sanity", "--json"], App(owner.env, said, io.StringIO())) == 0
    assert json.loads(said.getvalue())["data"]["agent"] == "restarted"
    assert owner.pid != first
    owner.complete(3)
