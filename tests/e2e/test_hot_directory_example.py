"""The files of examples/hot-directory, as they are, bring what is dropped to an account behind ssh."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_agent import Owner, until
from tests.integration.brokered import Ear, Site
from tests.servers.process import LOOPBACK
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.sshd import Sshd

EXAMPLE = Path(__file__).parents[2] / "examples" / "hot-directory"

# ssh takes the first value it finds, so that the example itself can be read behind these.
HERE = """
Host cluster
  HostName {loopback}
  Port {port}
  User {user}
  IdentityFile {base}/id
  UserKnownHostsFile {base}/known_hosts
  GlobalKnownHostsFile none
Include {example}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Sshd]:
    made = Sshd(tmp_path / "cluster", only_sftp=True)
    key = " ".join((made.base / "id.pub").read_text().split()[:2])
    line = (EXAMPLE / "cluster" / "authorized_keys").read_text().replace("ssh-ed25519 THE-PUBLIC-KEY-OF-THE-LAB", key)
    (made.base / "id.pub").write_text(line)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def lab(tmp_path: Path, cluster: Sshd) -> Iterator[Owner]:
    home = tmp_path / "home"
    (home / "to_cluster").mkdir(parents=True)
    made = Owner(home)
    config = home / "ssh_config"
    user = os.environ.get("USER") or "root"
    example = EXAMPLE / "lab" / "ssh_config"
    config.write_text(HERE.format(loopback=LOOPBACK, port=cluster.port, user=user, base=cluster.base, example=example))
    made.env["DRAY_SSH_CONFIG_FILE"] = str(config)
    made.settings.write_bytes((EXAMPLE / "lab" / "config.toml").read_bytes())
    yield made
    made.run("stop", "--timeout", "5s", code=None)


def there(cluster: Sshd) -> dict[str, bytes]:
    found = (cluster.home / "from_lab").rglob("*")
    return {path.name: path.read_bytes() for path in found if path.is_file() and ".dray" not in path.parts}


def test_what_is_dropped_is_on_the_cluster_and_a_restart_of_everything_goes_on_by_itself(
    lab: Owner, cluster: Sshd
) -> None:
    lab.run("start")
    hot = lab.home / "to_cluster"
    content = os.urandom(300_000)
    (hot / ".scan.part").write_bytes(content)
    (hot / ".scan.part").rename(hot / "scan.h5")
    until(lambda: there(cluster) == {"scan.h5": content})
    until(lambda: lab.status()["items"][0]["sent"] == 1)
    (one,) = lab.status()["items"]
    assert (one["state"], one["to"]) == ("idle", "sftp://cluster/from_lab")
    assert "read by" in one["proof"]
    os.kill(lab.pid, signal.SIGKILL)
    cluster.stop()
    for index in range(50):
        (hot / f"more{index}").write_bytes(b"%d" % index)
    cluster.start()
    assert json.loads(lab.run("sanity", "--json").stdout)["data"]["agent"] == "started"
    until(lambda: len(there(cluster)) == 51)
    assert there(cluster) == {path.name: path.read_bytes() for path in hot.iterdir()}


def test_the_unit_of_the_example_is_what_is_installed(lab: Owner) -> None:
    example = (EXAMPLE / "lab" / "dray-agent.service").read_text()
    lines = [line for line in lab.run("service", "show").stdout.splitlines() if not line.startswith("Environment=")]
    made = [
        line if not line.startswith("ExecStart=") else "ExecStart=/opt/dray/bin/dray start --foreground"
        for line in lines
    ]
    assert example.splitlines() == made


def test_what_arrived_is_announced_at_the_broker(lab: Owner, cluster: Sshd, broker: RabbitMQ) -> None:
    lab.settings.write_bytes((EXAMPLE / "lab" / "config-with-broker.toml").read_bytes())
    lab.env["BROKER"] = broker.url(password=None)
    broker.password_file(lab.home).rename(lab.settings.parent / "broker.password")
    heard = Ear(Site(broker, lab.home), "xs_lab_on_cluster")
    asyncio.run(heard.declare())
    lab.run("declare")
    lab.run("start")
    (lab.home / "to_cluster" / "scan.h5").write_bytes(b"content")
    asyncio.run(heard.until(lambda: heard.posts))
    (post,) = heard.posts
    assert (post.base_url, post.path, post.size) == ("sftp://cluster/home/lab/from_lab", "scan.h5", 7)
    assert there(cluster) == {"scan.h5": b"content"}
