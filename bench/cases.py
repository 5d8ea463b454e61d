"""The cases: what is moved, by which candidates."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.measure import Candidate, Run, run

HERE = Path(__file__).resolve().parent
MIB = 1 << 20


@dataclass(frozen=True)
class Peers:
    """Where the programs are that Dray is compared with."""

    rclone: str
    python: str


@dataclass(frozen=True)
class Case:
    """A named comparison; ``unit`` is what the rate counts."""

    name: str
    title: str
    unit: str
    candidates: "Callable[[Path, Peers, contextlib.ExitStack], list[Candidate]]"


def make_file(path: Path, size: int) -> Path:
    """Write a file of random bytes once; the block repeats with a counter, so that nothing compresses or dedupes."""
    if not path.exists() or path.stat().st_size != size:
        path.parent.mkdir(parents=True, exist_ok=True)
        block = bytearray(os.urandom(MIB))
        with path.open("wb") as out:
            for number in range(size // MIB):
                block[:8] = number.to_bytes(8, "big")
                out.write(block)
            out.write(block[: size % MIB])
    return path


def make_tree(root: Path, files: int, size: int) -> Path:
    """Write ``files`` files of ``size`` bytes in folders of 500 once."""
    marker = root.with_suffix(".made")
    if marker.exists():
        return root
    payload = bytearray(os.urandom(size))
    for number in range(files):
        folder = root / f"run{number // 500:03}"
        if number % 500 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        payload[:8] = number.to_bytes(8, "big")
        (folder / f"frame {number:06}.dat").write_bytes(payload)
    marker.touch()
    return root


def count_files(root: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(root))


def count_bytes(root: Path) -> int:
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, files in os.walk(root) for name in files)


def empty(root: Path) -> None:
    """Remove what an earlier run left below ``root``, but not ``root``."""
    for child in root.iterdir():
        if child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
        else:
            child.unlink()


def settled() -> None:
    """Let the disk finish what the run before left to it, so that nobody pays for somebody else's writes."""
    os.sync()


class DrayRuns:
    """Uploads to and downloads from one Dray server; every run takes a new dataset, so nothing is there."""

    def __init__(self, stack: contextlib.ExitStack, root: Path, *, without_fsync: bool = False) -> None:
        self.server = stack.enter_context(servers.dray(root, without_fsync=without_fsync))
        self.env = servers.dray_client_env(self.server)
        self.number = 0

    def upload(self, source: str, *options: str) -> Run:
        self.number += 1
        settled()
        target = f"{self.server.url}/bench{self.number}"
        command = [*servers.DRAY, "upload", "-q", *options, source, target]
        return run(command, servers=[self.server.pid], env=self.env)

    def download(self, path: str, target: Path) -> Run:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        settled()
        command = [*servers.DRAY, "download", "-q", f"{self.server.url}/bench{self.number}/{path}", str(target)]
        return run(command, servers=[self.server.pid], env=self.env)


def limit(source: Path, target: Path) -> Run:
    """Copy with cp and hash both sides: the least that must be done with the same bytes."""
    shutil.rmtree(target, ignore_errors=True)
    settled()
    script = (
        'cp -r --reflink=never "$0" "$1" && for s in "$0" "$1"; do find "$s" -type f -print0; done | xargs -0 sha256sum'
    )
    return run(["sh", "-c", script, str(source), str(target)])


def peer(server: servers.Server, command: list[str], source: Path, unit: str) -> Callable[[], Run]:
    """Return a run of a peer's command that empties the destination first and tells how much was done if stopped."""
    count, whole = (count_files, count_files(source)) if unit == "files" else (count_bytes, source.stat().st_size)

    def once() -> Run:
        empty(server.root)
        settled()
        return run(command, servers=[server.pid], done=lambda: min(1.0, count(server.root) / whole))

    return once


def curl_list(source: Path, url: str, at: Path) -> Path:
    """Write a curl configuration that uploads every file below ``source``."""
    lines = []
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        target = f"{url}{file.relative_to(source)}".replace(" ", "%20")
        lines.append(f'upload-file = "{file}"\nurl = "{target}"\noutput = "/dev/null"\n')
    at.write_text("".join(lines))
    return at


def dray_variants(stack: contextlib.ExitStack, work: Path, source: str, amount: float) -> list[Candidate]:
    """Return Dray as it is, and with fsync and the verification separated."""
    full = DrayRuns(stack, work / "dray")
    bare = DrayRuns(stack, work / "dray-nosync", without_fsync=True)
    return [
        Candidate("dray", amount, lambda: full.upload(source)),
        Candidate("dray, before the verdict (--no-wait)", amount, lambda: full.upload(source, "--no-wait")),
        Candidate("dray, server without fsync", amount, lambda: bare.upload(source)),
        Candidate("dray, no fsync, before the verdict", amount, lambda: bare.upload(source, "--no-wait")),
    ]


def large_up(size: int) -> Case:
    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        source = make_file(work / "source" / "large.bin", size)
        web = stack.enter_context(servers.nginx(work / "nginx"))
        dav = stack.enter_context(servers.rclone(work / "rclone", peers.rclone))
        tus = stack.enter_context(servers.tus(work / "tus"))
        rclone = [
            peers.rclone,
            "--config",
            "/dev/null",
            "copyto",
            "--ignore-times",
            str(source),
            f":webdav,url='{dav.url}':large.bin",
        ]
        tuspy = [peers.python, str(HERE / "tus_client.py"), tus.url, str(64 * MIB), str(source)]
        curl = ["curl", "-sSf", "-T", str(source), f"{web.url}large.bin"]
        return [
            *dray_variants(stack, work, str(source), size),
            Candidate("curl -T to nginx WebDAV", size, peer(web, curl, source, "bytes")),
            Candidate("rclone to rclone serve webdav", size, peer(dav, rclone, source, "bytes")),
            Candidate("tuspy to @tus/server", size, peer(tus, tuspy, source, "bytes")),
            Candidate("limit: cp + sha256sum of both", size, lambda: limit(source, work / "limit")),
        ]

    return Case("large-up", f"{size / (1 << 30):g} GiB up, one file", "MB", candidates)


def large_down(size: int) -> Case:
    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        source = make_file(work / "source" / "large.bin", size)
        for stored in (work / "nginx" / "data", work / "rclone"):  # before the servers look at their directories
            stored.mkdir(parents=True)
            shutil.copyfile(source, stored / "large.bin")
        web = stack.enter_context(servers.nginx(work / "nginx"))
        dav = stack.enter_context(servers.rclone(work / "rclone", peers.rclone))
        runs = DrayRuns(stack, work / "dray")
        runs.upload(str(source))
        down = work / "down"

        def fresh(command: list[str]) -> Callable[[], Run]:
            def once() -> Run:
                shutil.rmtree(down, ignore_errors=True)
                down.mkdir()
                settled()
                return run(command, servers=[], done=lambda: count_bytes(down) / size)

            return once

        curl = ["curl", "-sSf", "-o", str(down / "large.bin"), f"{web.url}large.bin"]
        rclone = [
            peers.rclone,
            "--config",
            "/dev/null",
            "copyto",
            f":webdav,url='{dav.url}':large.bin",
            str(down / "l"),
        ]
        return [
            Candidate("dray", size, lambda: runs.download("large.bin", down)),
            Candidate("curl from nginx", size, fresh(curl)),
            Candidate("rclone from rclone serve webdav", size, fresh(rclone)),
            Candidate("limit: cp + sha256sum of both", size, lambda: limit(source, work / "limit")),
        ]

    return Case("large-down", f"{size / (1 << 30):g} GiB down, one file", "MB", candidates)


def small_up(files: int, size: int) -> Case:
    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        source = make_tree(work / "source" / f"small-{files}-{size}", files, size)
        web = stack.enter_context(servers.nginx(work / "nginx"))
        dav = stack.enter_context(servers.rclone(work / "rclone", peers.rclone))
        tus = stack.enter_context(servers.tus(work / "tus"))
        one = curl_list(source, web.url, work / "curl.list")
        curl = ["curl", "-sSf", "-K", str(one)]
        parallel = [*curl, "-Z", "--parallel-max", "16"]
        remote = f":webdav,url='{dav.url}':"
        rclone = [
            peers.rclone,
            "--config",
            "/dev/null",
            "copy",
            "--transfers",
            "16",
            "--no-check-dest",
            str(source),
            remote,
        ]
        tuspy = [peers.python, str(HERE / "tus_client.py"), tus.url, str(MIB), str(source)]
        return [
            *dray_variants(stack, work, f"{source}/", files),
            Candidate("curl -T to nginx WebDAV, one connection", files, peer(web, curl, source, "files")),
            Candidate("curl -Z to nginx WebDAV, 16 parallel", files, peer(web, parallel, source, "files")),
            Candidate("rclone to rclone serve webdav, 16 parallel", files, peer(dav, rclone, source, "files")),
            Candidate("tuspy to @tus/server", files, peer(tus, tuspy, source, "files")),
            Candidate("limit: cp + sha256sum of both", files, lambda: limit(source, work / "limit")),
        ]

    return Case("small-up", f"{files:,} files of {size // 1024} KiB up", "files", candidates)


def versions(peers: Peers) -> dict[str, str]:
    """Return the first line that each program says of its version."""
    asked = {
        "dray": [*servers.DRAY, "--version"],
        "curl": ["curl", "--version"],
        "nginx": ["sh", "-c", "nginx -v 2>&1"],
        "rclone": [peers.rclone, "--version"],
        "node": ["node", "--version"],
        "openssh": ["sh", "-c", "ssh -V 2>&1"],
        "rsync": ["rsync", "--version"],
        "lftp": ["lftp", "--version"],
        "python": [sys.executable, "--version"],
    }
    said = {
        name: subprocess.run(command, capture_output=True, text=True, check=False) for name, command in asked.items()
    }
    return {name: (result.stdout.strip().splitlines() or ["not found"])[0] for name, result in said.items()}


@contextlib.contextmanager
def prepared(case: Case, work: Path, peers: Peers) -> Iterator[list[Candidate]]:
    """Start the servers of a case, give its candidates, stop the servers and remove what they stored."""
    place = work / case.name
    try:
        with contextlib.ExitStack() as stack:
            yield case.candidates(place, peers, stack)
    finally:
        shutil.rmtree(place, ignore_errors=True)
