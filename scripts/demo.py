"""Show Dray at work: an instrument writes, the server is killed in the middle, every file ends up verified.

Run by `make demo`. Everything happens below .demo/ in the project and on 127.0.0.1. KEEP=1 leaves it running.
"""

import contextlib
import filecmp
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / ".demo"
DRAY = str(Path(sys.executable).with_name("dray"))
DATASET = "beamtime-2026-11"
MIB = 1 << 20
LARGE = int(os.environ.get("DEMO_LARGE_MIB", "1024")) * MIB
PATIENCE = 600.0


def say(text: str) -> None:
    print(
        f"\033[1m==\033[0m {text}" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else f"== {text}", flush=True
    )


@dataclass
class Demo:
    """The processes of the demonstration and where they live."""

    port: int
    env: dict[str, str]
    server: "subprocess.Popen[bytes] | None" = None
    watcher: "subprocess.Popen[bytes] | None" = None
    kills: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_server(self) -> None:
        """Start `dray up` and wait until it answers."""
        command = [DRAY, "up", "--data", str(ROOT / "server"), "--listen", f"127.0.0.1:{self.port}"]
        self.server = self.spawn(command, "server.log")
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return
            if self.server.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"the server did not start, see {ROOT / 'server.log'}")

    def spawn(self, command: list[str], log: str) -> "subprocess.Popen[bytes]":
        with (ROOT / log).open("ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env,
                                    start_new_session=True)  # fmt: skip

    def kill_server(self) -> None:
        """Kill the server the hard way."""
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        self.kills += 1

    def dray(self, *arguments: str, quiet: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run a command as a user would, and show it."""
        if not quiet:
            print(f"   $ dray {' '.join(arguments)}", flush=True)
        return subprocess.run([DRAY, *arguments], env=self.env, capture_output=True, text=True, check=False)

    def ask(self, path: str) -> dict[str, object]:
        """GET one JSON document of the native API."""
        request = urllib.request.Request(
            f"{self.url}{path}", headers={"Authorization": f"Bearer {self.env['DRAY_TOKEN']}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def running(self) -> "list[subprocess.Popen[bytes]]":
        return [child for child in (self.watcher, self.server) if child is not None and child.poll() is None]

    def stop(self) -> None:
        """Ask the processes to end, then insist."""
        children = self.running()
        for child in children:
            child.terminate()
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()


def environment(port: int) -> dict[str, str]:
    """Return an environment whose configuration and state lie inside the demonstration."""
    home = ROOT / "home"
    home.mkdir()
    inside = {name: str(home / name.lower()) for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRAY_")}
    return {**kept, **inside, "HOME": str(home), "DRAY_URL": f"http://127.0.0.1:{port}"}


def free_port() -> int:
    """Return 8080 if nobody has it, else any free port."""
    for wanted in (8080, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise SystemExit("no free port on 127.0.0.1")


class Instrument(threading.Thread):
    """Writes a run the way instruments do: nested folders, slow appends, temporary names renamed in, odd names."""

    def __init__(self, root: Path) -> None:
        super().__init__(name="instrument", daemon=True)
        self.root = root
        self.chance = random.Random(2026)
        self.written: list[Path] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for step in self.steps():
                self.written.append(step)
        except BaseException as failure:
            self.failure = failure

    def steps(self) -> Iterator[Path]:
        yield self.slowly("logbook/Übersicht – Messung 1.txt", 4_000)
        yield self.renamed("calibration/dark frame (long).tif", 3 * MIB)
        for scan in range(1, 6):
            yield self.slowly(f"scans/scan {scan:02}/parameters.json", 900)
            for frame in range(60):
                yield self.renamed(
                    f"scans/scan {scan:02}/frames/frame_{frame:04}.cbf", self.chance.randrange(2_000, 400_000)
                )
            if scan == 2:
                yield self.large("tomography/volume α.h5")
        yield self.renamed("results/データ summary.csv", 60_000)
        yield self.slowly("logbook/notes; final 'v2'.md", 1_500)

    def renamed(self, name: str, size: int) -> Path:
        """Write under a temporary name, then rename in."""
        final = self.root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.part")
        temporary.write_bytes(self.chance.randbytes(size))
        return temporary.rename(final)

    def slowly(self, name: str, size: int) -> Path:
        """Append in small pieces with pauses."""
        final = self.root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        with final.open("wb") as out:
            for _ in range(5):
                out.write(self.chance.randbytes(size // 5))
                out.flush()
                time.sleep(0.2)
        return final

    def large(self, name: str) -> Path:
        """Write one large file in place, piece by piece."""
        final = self.root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        block = bytearray(self.chance.randbytes(8 * MIB))
        with final.open("wb") as out:
            for number in range(max(1, LARGE // len(block))):
                block[:8] = number.to_bytes(8, "big")
                out.write(block)
        return final


def wait_until(what: str, ready: "object", patience: float = PATIENCE) -> None:
    """Wait for a condition, saying what for; give up loudly."""
    deadline = time.monotonic() + patience
    told = 0.0
    assert callable(ready)
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting: {what}")
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"   ... {what}", flush=True)
        time.sleep(0.2)


def received(demo: Demo) -> int:
    with contextlib.suppress(OSError, urllib.error.HTTPError):
        return int(str(demo.ask("/api/v1/status")["bytes_received"]))
    return 0


def crash_in_the_middle(demo: Demo, instrument: Instrument) -> None:
    """Kill the server while the large file is on its way, wait a moment, start it again."""
    wait_until("the large file on its way", lambda: received(demo) > LARGE // 4 or not instrument.is_alive())
    before = received(demo)
    say(f"killing the server with kill -9 after it received {before / MIB:.0f} MiB")
    demo.kill_server()
    time.sleep(1)
    say("starting it again")
    demo.start_server()


def everything_safe(demo: Demo, source: Path) -> bool:
    return demo.dray("safe", str(source), quiet=True).returncode == 0


def fetch_back(demo: Demo, source: Path) -> None:
    """Download the large file and compare it byte by byte."""
    back = ROOT / "back"
    back.mkdir()
    name = "tomography/volume α.h5"
    result = demo.dray("download", f"{demo.url}/{DATASET}/{name}", str(back))
    fetched = next(iter(back.rglob("volume α.h5")), None)
    if result.returncode or fetched is None:
        raise SystemExit(f"the download failed with {result.returncode}:\n{result.stderr}")
    if not filecmp.cmp(source / name, fetched, shallow=False):
        raise SystemExit("the file that came back differs")


def report(demo: Demo, instrument: Instrument, source: Path) -> None:
    """Print the short table at the end."""
    total = sum(path.stat().st_size for path in instrument.written)
    status = demo.ask("/api/v1/status")
    twice = int(str(status["bytes"])) - total
    rows = [
        ("files written by the instrument", f"{len(instrument.written)}, {total / MIB:.0f} MiB"),
        ("verified in the store, by re-reading", f"{status['files']}, {int(str(status['bytes'])) / MIB:.0f} MiB"),
        ("safe to delete", "all of them" if everything_safe(demo, source) else "NOT ALL"),
        ("server killed with -9 meanwhile", f"{demo.kills} time"),
        ("fetched back and compared", "equal"),
        ("time", f"{time.monotonic() - demo.started:.0f} s"),
    ]
    print()
    for name, value in rows:
        print(f"   {name:38} {value}")
    print()
    if twice or status["files"] != len(instrument.written):
        raise SystemExit("the catalogue does not hold exactly what the instrument wrote")


def play(demo: Demo) -> None:
    """Tell the story from start to end."""
    source = ROOT / "instrument"
    source.mkdir()
    say("starting the server: dray up")
    demo.start_server()
    demo.env["DRAY_TOKEN"] = (ROOT / "server" / "admin.token").read_text().strip()
    say(f"starting a hot directory: dray watch {source.name} {demo.url}/{DATASET}")
    demo.watcher = demo.spawn([DRAY, "watch", str(source), f"{demo.url}/{DATASET}"], "watch.log")
    say("the instrument writes a run: a few hundred files, one of 1 GiB, slowly, renamed in, nested, odd names")
    instrument = Instrument(source)
    instrument.start()
    crash_in_the_middle(demo, instrument)
    wait_until("the instrument to finish writing", lambda: not instrument.is_alive())
    if instrument.failure:
        raise instrument.failure
    wait_until("every file verified and safe to delete (dray safe)", lambda: everything_safe(demo, source))
    print(demo.dray("safe", str(source)).stdout.rstrip()[-1500:])
    say("fetching one back")
    fetch_back(demo, source)
    report(demo, instrument, source)


def main() -> int:
    keep = os.environ.get("KEEP", "") not in ("", "0")
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    port = free_port()
    demo = Demo(port, environment(port))
    try:
        play(demo)
        if keep:
            print(f"   look at    {demo.url}/")
            print(f"   log in by  the token in {ROOT.name}/server/admin.token")
            print(f"   stop with  kill {' '.join(str(child.pid) for child in demo.running())}")
        else:
            print(f"   It ran at {demo.url}/ ; `make demo KEEP=1` leaves it running to look at.")
    except BaseException:
        keep = False
        print(f"   logs: {ROOT.name}/server.log {ROOT.name}/watch.log", file=sys.stderr)
        raise
    finally:
        if not keep:
            demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
