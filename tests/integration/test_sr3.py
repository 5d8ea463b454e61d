"""Real Sarracenia on the same real RabbitMQ: each side takes what the other one announces, and delivers it."""

import asyncio
import hashlib
import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dray.messaging.v03 import Identity, decode
from dray.model.checksum import Checksum
from dray.transports.sftp.session import Sftp
from tests.integration.brokered import Ear, Site, Station, bound
from tests.integration.hot import until
from tests.integration.test_broker import contents, fill
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import LOOPBACK, Process
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.sr3 import Sr3, sr3
from tests.servers.sshd import Sshd, sshd


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sshd]:
    """The account that files go to."""
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as server:
        yield server


@pytest.fixture
def site(broker: RabbitMQ, tmp_path: Path) -> Site:
    return Site(broker, tmp_path)


@pytest.fixture
def peer(site: Site, cluster: Sshd, tmp_path: Path) -> Iterator[Sr3]:
    account = f"{address(cluster)}/ ssh_keyfile={cluster.base / 'id'}"
    with sr3(tmp_path / "sr3", site.broker, (account,)) as user:
        yield user


def address(cluster: Sshd) -> str:
    return f"sftp://{pwd.getpwuid(os.getuid()).pw_name}@{LOOPBACK}:{cluster.port}"


def there(folder: Path) -> dict[str, bytes]:
    """What a folder holds, without what is on its way."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = ((path.relative_to(folder), path) for path in files)
    return {str(name): path.read_bytes() for name, path in named if name.parts[0] != ".dray" and path.suffix != ".tmp"}


def to_cluster(site: Site, cluster: Sshd, name: str, root: Path, far: Path) -> Station:
    """A sender of ours to the account, which announces what it verified there."""
    station = site.sender(name, root, far)
    section = site.section(
        exchange=site.files, queue=site.queue, post_exchange=site.arrivals, post_url=f"{address(cluster)}{far}"
    )
    return replace(station, section=section, store=None, place=Sftp(cluster.settings(far)))


def test_a_real_sender_delivers_what_we_announce_and_announces_it_with_our_digest(
    site: Site, peer: Sr3, cluster: Sshd, tmp_path: Path
) -> None:
    root, far = tmp_path / "hot", tmp_path / "far"
    root.mkdir()
    far.mkdir()
    files = contents(4)
    ear = Ear(site, site.files, site.arrivals)
    asyncio.run(ear.declare())
    peer.start(
        "sender",
        "ours",
        {
            "broker": peer.url,
            "exchange": site.files,
            "sendTo": address(cluster),
            "baseDir": root,
            "directory": far,
            "inflight": ".tmp",
            "post_broker": peer.url,
            "post_exchange": site.arrivals,
            "post_baseUrl": f"{address(cluster)}{far}",
            "post_baseDir": far,
            "accept": ".*",
        },
    )

    async def story() -> None:
        fill(root, files)
        await until(lambda: there(far) == files)
        await ear.until(lambda: len(ear.messages) == 8)

    with watch_command(site, root):
        asyncio.run(story())
    for path, data in files.items():
        ours, theirs = (
            next(m for m in ear.messages if m.exchange == exchange and decode(m.body).path == path)
            for exchange in (site.files, site.arrivals)
        )
        assert ours.routing_key == theirs.routing_key
        assert ours.content_type == theirs.content_type == "application/json"
        announced, repeated = json.loads(ours.body), json.loads(theirs.body)
        assert announced.keys() - repeated.keys() <= {"mtime"}
        assert announced["identity"] == repeated["identity"]
        assert announced["size"] == repeated["size"] == len(data)
        assert {key: type(value) for key, value in announced.items()}.items() <= {
            **{key: type(value) for key, value in repeated.items()},
            "mtime": str,
        }.items()


@contextmanager
def watch_command(site: Site, root: Path) -> Iterator[None]:
    """Run `dray watch` for a directory whose files are only announced."""
    home = site.base / "ours"
    home.mkdir()
    table = {"url": site.broker.url(password=None), "password_file": site.password, "post_exchange": site.files}
    broker = "".join(f'{key} = "{value}"\n' for key, value in table.items())
    (home / "config.toml").write_text(f'[hot.lab]\npath = "{root}"\nto = "broker"\n[hot.lab.broker]\n{broker}')
    environment = clean_environment(home, {"DRAY_CONFIG": str(home / "config.toml")})
    process = Process([str(DRAY), "watch", "lab"], home / "watch.log", environment)
    process.start()
    try:
        yield
        assert process.running, process.tail()
    finally:
        process.stop()


def test_what_a_real_watch_announces_is_delivered_once_by_senders_of_ours(
    site: Site, peer: Sr3, cluster: Sshd, tmp_path: Path
) -> None:
    root, far = tmp_path / "hot", tmp_path / "far"
    root.mkdir()
    far.mkdir()
    plain = {"a.txt": b"first", "sub/dir/b.txt": os.urandom(5000), "c": b""}
    renamed = {"dropped.txt": b"by rename", "a.txt": b"saved over what was delivered"}

    async def story() -> Ear:
        ear = Ear(site, site.arrivals)
        await ear.declare()
        one, two = (to_cluster(site, cluster, name, root, far) for name in ("one", "two"))
        async with one.running(), two.running():
            await bound(site)
            await asyncio.to_thread(watching, peer, site, root)
            for path, data in plain.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
            await until(lambda: there(far) == plain)
            for path, data in renamed.items():
                part = root / f".{path}.tmp"
                part.write_bytes(data)
                part.rename(root / path)
            await until(lambda: there(far) == plain | renamed)
            await ear.until(lambda: len(ear.messages) >= 5)
        return ear

    ear = asyncio.run(story())
    told = [(post.path, post.identity) for post in ear.posts]
    expected = [(path, identity(data)) for path, data in [*plain.items(), *renamed.items()]]
    assert sorted(told, key=repr) == sorted(expected, key=repr)
    assert {post.content_type for post in ear.posts if post.path == "a.txt"} == {"text/plain"}
    assert {post.base_url for post in ear.posts} == {f"{address(cluster)}{far}"}


def watching(peer: Sr3, site: Site, root: Path) -> None:
    peer.start(
        "watch",
        "theirs",
        {
            "post_broker": peer.url,
            "post_exchange": site.files,
            "post_baseUrl": f"file:{root}",
            "path": root,
            "fileEvents": "-delete,rmdir",
            "nodupe_ttl": "on",
            "sleep": "0.2",
            "reject": r".*\.tmp$",
            "accept": ".*",
        },
    )


def identity(data: bytes) -> Identity:
    return Identity.of(Checksum("sha256", hashlib.sha256(data).hexdigest()))


def test_a_real_subscriber_fetches_what_we_announce_at_the_destination(
    site: Site, peer: Sr3, cluster: Sshd, tmp_path: Path
) -> None:
    root, far, home = tmp_path / "hot", tmp_path / "far", tmp_path / "subscriber"
    for folder in (root, far, home):
        folder.mkdir()
    files = contents(4)
    asyncio.run(Ear(site, site.arrivals).declare())
    options = {"broker": peer.url, "exchange": site.arrivals, "directory": home, "mirror": "on", "accept": ".*"}
    peer.start("subscribe", "theirs", options)

    async def story() -> None:
        async with to_cluster(site, cluster, "one", root, far).running(), site.watcher(root).running():
            fill(root, files)
            await until(lambda: there(home) == files)
        assert there(far) == files

    asyncio.run(story())
