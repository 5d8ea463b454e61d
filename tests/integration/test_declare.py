"""`dray declare` makes what hot directories need at a real broker, and says what it could not."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from dray.messaging.amqp import Amqp
from dray.messaging.broker import Address
from tests.servers.dray import DRAY, clean_environment
from tests.servers.rabbitmq import RabbitMQ

HOT = """
[hot.{name}]
path = "{base}/hot"
to = "{to}"

[hot.{name}.broker]
url = "{url}"
password_file = "{password}"
{more}
"""


class Lab:
    """Settings with hot directories that use one broker."""

    def __init__(self, broker: RabbitMQ, base: Path) -> None:
        self.broker, self.base = broker, base
        self.password = broker.password_file(base)
        self.config = base / "config.toml"
        (base / "hot").mkdir()

    def hot(self, name: str, to: str, *more: str, before: str = "") -> None:
        url = self.broker.url(password=None)
        text = HOT.format(name=name, base=self.base, to=to, url=url, password=self.password, more="\n".join(more))
        with self.config.open("a") as file:
            file.write(text.replace("\n\n", f"\n{before}\n\n", 1) if before else text)

    def dray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = clean_environment(self.base, {"DRAY_CONFIG": str(self.config)})
        return subprocess.run([DRAY, *arguments], env=env, capture_output=True, text=True, check=False)

    def declared(self, *names: str) -> tuple[int, dict[str, str]]:
        """Return the exit code, and the state of each thing by its name."""
        done = self.dray("declare", *names, "--json")
        items = json.loads(done.stdout)["items"] if done.stdout else []
        return done.returncode, {f"{one['kind']} {one['name']}": one["state"] for one in items}


@pytest.fixture
def lab(broker: RabbitMQ, tmp_path: Path) -> Lab:
    return Lab(broker, tmp_path)


def test_everything_is_made_once(lab: Lab) -> None:
    files, queue = lab.broker.unique("xs"), lab.broker.unique("q")
    lab.hot("watch", "broker", f'post_exchange = "{files}"', f'queue = "{queue}"')
    lab.hot("send", f"file://{lab.base}/store", f'exchange = "{files}"')
    code, made = lab.declared()
    own = next(name for name in made if name.startswith("queue q_lab.dray.send."))
    assert code == 0
    assert made[f"queue {queue}"] == made[own] == "made"
    assert lab.declared("send") == (
        0,
        {f"exchange {files}": "there", own: "there", f"binding {own.removeprefix('queue ')} <- {files}": "made"},
    )


def test_what_the_broker_does_not_allow_is_told_and_the_rest_is_made(lab: Lab) -> None:
    files = lab.broker.unique("xs")
    lab.hot("send", f"file://{lab.base}/store", f'exchange = "{files}"', 'post_exchange = "somebody_elses"')
    code, made = lab.declared()
    assert code == 11
    assert (made[f"exchange {files}"], made["exchange somebody_elses"]) == ("made", "missing")
    done = lab.dray("declare")
    assert "names begin with q_USER and xs_USER" in done.stderr


def test_a_broker_that_cannot_be_used_is_told_with_its_code(lab: Lab) -> None:
    lab.hot("send", f"file://{lab.base}/store", f'exchange = "{lab.broker.unique("xs")}"')
    lab.password.write_text("wrong\n")
    assert lab.declared()[0] == 4
    lab.password.chmod(0o644)
    assert lab.dray("declare").returncode == 4
    lab.broker.kill9()
    lab.password.chmod(0o600)
    assert lab.declared()[0] == 5


def test_cleaning_up_deletes_the_queue_that_nobody_else_uses(lab: Lab) -> None:
    files, shared = lab.broker.unique("xs"), lab.broker.unique("q")
    lab.hot("own", f"file://{lab.base}/store", f'exchange = "{files}"')
    lab.hot("shared", f"file://{lab.base}/other", f'exchange = "{files}"', f'queue = "{shared}"')
    made = lab.declared()[1]
    own = next(name for name in made if name.startswith("queue q_lab.dray.own."))
    assert own in lab.dray("cleanup", "own", "shared").stdout
    assert lab.dray("cleanup", "own", "shared", "--yes").returncode == 0
    again = lab.declared()[1]
    assert own not in again
    assert again[f"queue {shared}"] == "there"
    assert not asyncio.run(there(lab.broker, lab.password, own.removeprefix("queue ")))


async def there(broker: RabbitMQ, password: Path, queue: str) -> bool:
    async with Amqp(Address(broker.url(password=None), str(password))).connect("test") as link:
        return await link.has_queue(queue)


def test_names_without_a_broker_are_not_found(lab: Lab) -> None:
    lab.config.write_text(f'[hot.plain]\npath = "{lab.base}/hot"\nto = "file://{lab.base}/store"\n')
    assert lab.dray("declare").returncode == 3
    assert lab.dray("declare", "plain").returncode == 3


@pytest.mark.parametrize(
    ("before", "cause"),
    [('after = "delete"', "are nowhere else"), ('layout = "flatten"', "keeps its name")],
)
def test_files_that_are_only_announced_stay_where_they_are(lab: Lab, before: str, cause: str) -> None:
    lab.hot("watch", "broker", 'post_exchange = "xs_lab_x"', before=before)
    done = lab.dray("declare")
    assert (done.returncode, cause in done.stderr) == (2, True), done.stderr
