"""A real one-node Ceph with an object gateway (radosgw) on free loopback ports; its bytes are kept in memory."""

import os
import random
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dray.clock import SystemClock
from dray.model.values import Limits
from dray.transports.s3.session import S3
from dray.transports.s3.settings import S3Settings
from tests.servers.process import LOOPBACK, Process, ServerTrouble, answers, find_command, free_port

ACCESS, SECRET = "drayaccess", "draysecret"
USER = "dray"

CONF = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = {low}
ms bind port max = {high}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {base}/keyring
run dir = {base}
admin socket = {base}/$name.asok
pid file = {base}/$name.pid
log file = {base}/$name.log
mon data = {base}/mon
osd data = {base}/osd
osd objectstore = memstore
memstore device bytes = {memory}
osd crush chooseleaf type = 0
osd max object name len = 2048
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
mon allow pool size one = true
mon max pg per osd = 1000
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw thread pool size = 64
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
rgw dynamic resharding = false
rgw multipart min part size = 65536
rgw crypt require ssl = false
rgw lc debug interval = 10
"""


class Reader:
    """Looks into a bucket with a client that shares no code with the product."""

    def __init__(self, url: str, bucket: str) -> None:
        import boto3
        from botocore.config import Config

        config = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        keys = {"aws_access_key_id": ACCESS, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        self.client = boto3.session.Session().client("s3", endpoint_url=url, config=config, **keys)
        self.bucket = bucket
        self.client.create_bucket(Bucket=bucket)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Return all objects below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {key.removeprefix(prefix): self.read(key) for key in keys}

    def read(self, key: str) -> bytes:
        """Return the bytes of an object."""
        with self.client.get_object(Bucket=self.bucket, Key=key)["Body"] as body:
            return body.read()

    def uploads(self, prefix: str = "") -> list[str]:
        """Return the keys of multipart uploads in progress."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Uploads", ())]


class Ceph:
    """One monitor, one object store, one gateway. Kill the gateway as you like; the store forgets when it dies."""

    def __init__(self, base: Path, memory: int = 2 << 30) -> None:
        self.base = base
        base.mkdir(parents=True, exist_ok=True)
        self.port, self.monitor_port = free_port(), free_port()
        low = random.randrange(20_000, 31_000)
        (base / "ceph.conf").write_text(
            CONF.format(
                fsid=uuid.uuid4(),
                mon=self.monitor_port,
                gateway=self.port,
                base=base,
                low=low,
                high=low + 60,
                memory=memory,
            )
        )
        self._conf = ["-c", str(base / "ceph.conf")]
        self.monitor = Process([find_command("ceph-mon", "ceph-mon"), *self._conf, "-f", "-i", "a"], base / "mon.out")
        self.store = Process([find_command("ceph-osd", "ceph-osd"), *self._conf, "-f", "-i", "0"], base / "osd.out")
        gateway = [find_command("radosgw", "radosgw"), *self._conf, "-f", "-n", "client.rgw.a"]
        self.gateway = Process(gateway, base / "rgw.out")

    @property
    def url(self) -> str:
        """Return the endpoint."""
        return f"http://{LOOPBACK}:{self.port}"

    def env(self, endpoint: str | None = None) -> dict[str, str]:
        """Return what a client finds the gateway by; ``endpoint`` when something stands before it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": endpoint or self.url,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Bring it up from nothing."""
        self._start_monitor()
        self._start_store()
        self._add_key("client.rgw.a", "mon", "allow rwx", "osd", "allow rwx")
        self.start_gateway()
        self.add_user(USER, ACCESS, SECRET)

    def start_gateway(self) -> None:
        """Start the gateway, again after it was killed."""
        self.gateway.start()
        self.gateway.wait_ready(lambda: answers(self.port, "/"), 60)

    def _start_monitor(self) -> None:
        ring, base = str(self.base / "keyring"), self.base
        every = ["--cap", "mon", "allow *"]
        self._run("ceph-authtool", "--create-keyring", ring, "--gen-key", "-n", "mon.", *every)
        admin = [*every, "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
        self._run("ceph-authtool", ring, "--gen-key", "-n", "client.admin", *admin)
        address = f"v2:{LOOPBACK}:{self.monitor_port}"
        fsid = re.findall(r"fsid = (\S+)", (base / "ceph.conf").read_text())[0]
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, f"{base}/monmap")
        (base / "mon").mkdir()
        made = ["--mkfs", "-i", "a", "--monmap", f"{base}/monmap", "--keyring", ring]
        self._run("ceph-mon", *self._conf, *made)
        self.monitor.start()
        self.monitor.wait_ready(lambda: self._answers("mon", "stat"), 30)

    def _start_store(self) -> None:
        number = str(uuid.uuid4())
        key = self._run("ceph-authtool", "--gen-print-key").strip()
        self._ceph("osd", "new", number, "-i", "-", given=f'{{"cephx_secret": "{key}"}}')
        (self.base / "osd").mkdir()
        self._run("ceph-authtool", str(self.base / "keyring"), "-n", "osd.0", "--add-key", key)
        self._run("ceph-osd", *self._conf, "-i", "0", "--mkfs", "--osd-uuid", number)
        self.store.start()
        self.store.wait_ready(lambda: "1 up" in self._ceph("osd", "stat"), 30)

    def _add_key(self, name: str, *caps: str) -> None:
        with (self.base / "keyring").open("a") as ring:
            ring.write(self._ceph("auth", "get-or-create", name, *caps))

    def _answers(self, *words: str) -> bool:
        try:
            return bool(self._ceph(*words))
        except (ServerTrouble, subprocess.TimeoutExpired):
            return False

    def _ceph(self, *words: str, given: str = "") -> str:
        return self._run("ceph", *self._conf, "--connect-timeout", "10", *words, given=given)

    def _run(self, *words: str, given: str = "") -> str:
        command = [find_command(words[0], "ceph-common"), *words[1:]]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, cwd=self.base)
        if done.returncode:
            raise ServerTrouble(f"{words[0]} said: {done.stderr[-2000:]}")
        return done.stdout

    def add_user(self, name: str, access: str, secret: str) -> None:
        """Make another user."""
        words = ("user", "create", f"--uid={name}", f"--display-name={name}", f"--access-key={access}")
        self._run("radosgw-admin", *self._conf, *words, f"--secret-key={secret}")

    # What tests use it by

    def transport(self, prefix: str, limits: Limits, endpoint: str | None = None, bucket: str = "dray") -> S3:
        """Return a place; its bucket is made where it is missing."""
        self.reader(bucket)
        return S3(S3Settings(bucket, prefix, limits=limits), SystemClock(), environ=self.env(endpoint))

    def reader(self, bucket: str = "dray") -> "Reader":
        """Return what looks into a bucket."""
        return Reader(self.url, bucket)

    def stop(self) -> None:
        """End it, the gateway first; what it held is gone."""
        for process in (self.gateway, self.store, self.monitor):
            process.kill9()


@contextmanager
def ceph(base: Path, memory: int = 2 << 30) -> Iterator[Ceph]:
    """Run a cluster; ``base`` has a short path, since sockets lie in it."""
    os.environ.setdefault("CEPH_ARGS", "")
    with ExitStack() as stack:
        found = Ceph(base, memory)
        stack.callback(found.stop)
        found.start()
        yield found
