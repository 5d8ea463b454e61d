"""The cases with S3: a large file and small ones to and from a real Ceph on loopback, and the usual programs."""

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import servers
from bench.cases import Case, Peers, make_file, make_tree, settled
from bench.measure import Candidate, Run, run
from tests.servers.ceph import Ceph, Reader, ceph

BUCKET = "bench"
ROOM = 4
"""How many times the bytes of a case fit into the cluster: what was deleted is freed some seconds later."""
MIB = 1 << 20


class Service:
    """A cluster with one bucket; each run has a prefix of its own, which is deleted after it."""

    def __init__(self, stack: contextlib.ExitStack, work: Path, amount: int) -> None:
        base = Path(stack.enter_context(TemporaryDirectory(prefix="ceph-")))
        self.ceph: Ceph = stack.enter_context(ceph(base / "c", max(1 << 30, ROOM * amount)))
        self.reader: Reader = self.ceph.reader(BUCKET)
        self._warm()
        self.pids = [self.ceph.gateway.pid, self.ceph.store.pid]
        self.work = work
        self.into = work / "into"
        self._numbers: Iterator[int] = itertools.count(1)

    def _warm(self) -> None:
        """Let the gateway make its pools, which takes seconds at the first upload of each kind."""
        client, name = self.reader.client, {"Bucket": BUCKET, "Key": "warm"}
        client.put_object(**name, Body=b"x" * MIB)
        client.abort_multipart_upload(**name, UploadId=client.create_multipart_upload(**name)["UploadId"])
        client.delete_object(**name)

    def env(self) -> dict[str, str]:
        """Return where every program finds the service, and a home of its own."""
        home = self.work / "home"
        home.mkdir(parents=True, exist_ok=True)
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
        rclone = {"TYPE": "s3", "PROVIDER": "Ceph", "ENV_AUTH": "true", "ENDPOINT": self.ceph.url}
        return {
            **self.ceph.env(),
            **{name: str(home) for name in names},
            **{f"RCLONE_CONFIG_S_{name}": value for name, value in rclone.items()},
            "AWS_CONFIG_FILE": "/dev/null",
            "RCLONE_CONFIG": "/dev/null",
        }

    def up(self, command: Callable[[str], list[str]]) -> Callable[[], Run]:
        """Return a run that sends to a new prefix; what it sent is deleted."""

        def once() -> Run:
            prefix = f"run{next(self._numbers)}"
            settled()
            try:
                return run(command(prefix), servers=self.pids, env=self.env())
            finally:
                self.delete(f"{prefix}/")

        return once

    def down(self, command: Callable[[str], list[str]]) -> Callable[[], Run]:
        """Return a run that fetches into an empty directory."""

        def once() -> Run:
            shutil.rmtree(self.into, ignore_errors=True)
            self.into.mkdir(parents=True)
            settled()
            return run(command(str(self.into)), servers=self.pids, env=self.env())

        return once

    def delete(self, prefix: str) -> None:
        """Delete what is below a prefix, so that there is room for the next run."""
        for page in self.reader.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            keys = [{"Key": one["Key"]} for one in page.get("Contents", ())]
            if keys:
                self.reader.client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys, "Quiet": True})


def sent(service: Service, source: Path, amount: float, peers: Peers) -> list[Candidate]:
    """Return the programs that send a file, or the contents of a directory."""
    aws = str(Path(peers.python).with_name("aws"))
    folder = source.is_dir()
    copy = [aws, "s3", "cp", "--only-show-errors", *(["--recursive"] if folder else []), str(source)]
    dray = [*servers.DRAY, "upload", "-q", f"{source}/" if folder else str(source)]
    s3cmd = ["s3cmd", "--no-ssl", f"--host={service.ceph.url[7:]}", f"--host-bucket={service.ceph.url[7:]}"]
    s3cmd += ["--quiet", "put", *(["--recursive", f"{source}/"] if folder else [str(source)])]
    return [
        Candidate("dray upload", amount, service.up(lambda to: [*dray, f"s3://{BUCKET}/{to}"])),
        Candidate(
            "rclone copy", amount, service.up(lambda to: [peers.rclone, "copy", str(source), f"S:{BUCKET}/{to}"])
        ),
        Candidate("aws s3 cp", amount, service.up(lambda to: [*copy, f"s3://{BUCKET}/{to}/"])),
        Candidate("s3cmd put", amount, service.up(lambda to: [*s3cmd, f"s3://{BUCKET}/{to}/"])),
    ]


def up(name: str, title: str, source: Callable[[Path], Path], unit: tuple[str, float, int]) -> Case:
    kind, amount, size = unit

    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        return sent(Service(stack, work, size), source(work / "source"), amount, peers)

    return Case(name, title, kind, candidates)


def down(size: int) -> Case:
    def candidates(work: Path, peers: Peers, stack: contextlib.ExitStack) -> list[Candidate]:
        source = make_file(work / "source" / "large.bin", size)
        service = Service(stack, work, size)
        where = f"s3://{BUCKET}/fetched"
        run([*servers.DRAY, "upload", "-q", str(source), where], env=service.env())
        aws = [str(Path(peers.python).with_name("aws")), "s3", "cp", "--only-show-errors", f"{where}/large.bin"]
        dray = [*servers.DRAY, "download", "-q", f"{where}/large.bin"]
        rclone = [peers.rclone, "copy", f"S:{BUCKET}/fetched/large.bin"]
        return [
            Candidate("dray download", size, service.down(lambda to: [*dray, to])),
            Candidate("rclone copy", size, service.down(lambda to: [*rclone, to])),
            Candidate("aws s3 cp", size, service.down(lambda to: [*aws, f"{to}/large.bin"])),
        ]

    return Case("s3-down", f"{size / (1 << 30):g} GiB from Ceph, one file", "MB", candidates)


def all_cases(size: int, files: int) -> list[Case]:
    """Return the cases: ``size`` bytes in one file, and a fifth of ``files`` with 1 MiB each at most 2,000."""
    count = min(2_000, files // 5)
    return [
        up(
            "s3-up",
            f"{size / (1 << 30):g} GiB to Ceph, one file",
            lambda base: make_file(base / "large.bin", size),
            ("MB", size, size),
        ),
        down(size),
        up(
            "s3-small",
            f"{count:,} files of 1 MiB to Ceph",
            lambda base: make_tree(base / f"small-{count}-{MIB}", count, MIB),
            ("files", count, count * MIB),
        ),
    ]
