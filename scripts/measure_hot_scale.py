"""Measures an agent that watches very many files: rescan after a restart, memory, idle CPU. Outside the tests.

``python scripts/measure_hot_scale.py [FILES [FOLDERS]]`` makes a tree below a temporary directory and a journal in
which everything is delivered already, starts the agent on it, and prints what it took.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from dray.agent.journal import Journal
from dray.agent.scan import Scan
from dray.clock import SystemClock
from dray.config.load import load
from dray.fs import Root
from dray.model.settle import Policy
from dray.wiring.hot import configured

IDLE = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    files, folders = (
        int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 1_000_000), (2, 10_000))
    )
    base = Path(tempfile.mkdtemp(prefix="dray-scale-"))
    try:
        measure(base, files, folders)
    finally:
        shutil.rmtree(base)


def measure(base: Path, files: int, folders: int) -> None:
    hot = base / "hot"
    began = time.monotonic()
    fill(hot, files, folders)
    print(f"made {files:,} files in {folders:,} folders: {time.monotonic() - began:.0f} s", flush=True)
    config = base / "config.toml"
    config.write_text(f'[hot.scale]\npath = "{hot}"\nto = "file://{base}/there"\n')
    env = {**os.environ, "XDG_STATE_HOME": str(base / "state"), "DRAY_CONFIG": str(config)}
    os.environ.update(env)
    began = time.monotonic()
    deliver(config)
    print(f"made the journal: {time.monotonic() - began:.0f} s", flush=True)
    for turn in ("first start", "restart"):
        run(env, turn)


def fill(hot: Path, files: int, folders: int) -> None:
    for folder in range(folders):
        path = hot / f"run{folder // 100:03}" / f"part{folder % 100:02}"
        path.mkdir(parents=True)
        for number in range(files // folders):
            (path / f"scan-{number:06}.dat").touch()


def deliver(config: Path) -> None:
    """Write a journal in which everything that is there was delivered."""
    (one,) = configured(load({}, file=str(config))).values()
    one.hot.journal.parent.mkdir(parents=True)
    with closing(Journal(one.hot.journal)) as journal, Root(one.hot.root) as root:
        looker = one.hot.looker(root, SystemClock())
        scan = Scan(looker, lambda folder: None)
        object.__setattr__(looker, "policy", Policy(0.0))
        done = False
        while not done:
            with journal.transaction():
                done = scan.step(journal)
        with journal.transaction():
            journal._sql.execute("UPDATE file SET state = 'sending'")
            journal._sql.execute("UPDATE file SET state = 'delivered', checksum = 'sha256:' || hex(zeroblob(32))")


def run(env: dict[str, str], turn: str) -> None:
    command = [sys.executable, "-m", "dray.cli.main", "start", "--foreground"]
    began = time.monotonic()
    agent = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    status = Path(env["XDG_STATE_HOME"]) / "dray" / "agent" / "status.json"
    while not (
        status.exists() and f'"pid":{agent.pid},' in status.read_text() and '"state":"idle"' in status.read_text()
    ):
        time.sleep(0.2)
    took, busy = time.monotonic() - began, cpu(agent.pid)
    print(f"{turn}: looked through in {took:.1f} s ({busy:.1f} s CPU), RSS {memory(agent.pid)}", flush=True)
    time.sleep(5)
    before = cpu(agent.pid)
    time.sleep(IDLE)
    print(f"{turn}: idle CPU {100 * (cpu(agent.pid) - before) / IDLE:.2f} %, RSS {memory(agent.pid)}", flush=True)
    agent.terminate()
    agent.wait()


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return f"{found['VmRSS']} MiB (at most {found['VmHWM']})"


if __name__ == "__main__":
    main()
