"""R9: the broker between agents dies, restarts, loses its queue, is cut off, is not there at the start.

One agent watches a directory and announces, two more share a queue, deliver, and announce what arrived. A consumer that
held an acknowledgement back during a transfer would be thrown out: the broker's patience is shortened.
"""

import asyncio
import hashlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika

from dray.messaging.v03 import Post, decode
from tests.faults.link import Link, link_to
from tests.faults.plan import Plan, Row
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import LOOPBACK, Process
from tests.servers.rabbitmq import ADMIN, LAB, RabbitMQ, rabbitmq

FILES = 60
PATIENCE = 90.0
"""Seconds after which what has not arrived counts as stuck."""

PARTITION = 30.0
SENDERS = ("one", "two")
SETTINGS = """
[hot.{name}]
path = "{hot}"
to = "{to}"
settle = "300ms"

[hot.{name}.broker]
url = "amqp://{user}@{loopback}:{port}/"
password_file = "{password}"
queue = "q_lab_r9"
{more}
"""


def run(plan: Plan) -> None:
    """Make the tries in groups, each with a broker and agents of its own."""
    kinds = list(TRIES) if plan.mode != "slice" else [kind for kind in TRIES if kind != "partition"]
    for number, tries in plan.campaigns(10):
        chance = plan.chance("campaign", number)
        with plan.room(number) as base, farm(base, chance) as agents:
            for _ in range(tries):
                kind = kinds[len(plan.tries) % len(kinds)]
                agents.findings.clear()
                proof = TRIES[kind](agents)
                plan.most("consumers back after s, at most", agents.settled())
                plan.record(kind, proof, agents.findings)
            plan.add("files", len(agents.noted))
            plan.add("announcements redelivered", agents.redelivered())


@dataclass
class Farm:
    """Agents, the broker between them, and what they were given."""

    base: Path
    broker: RabbitMQ
    link: Link
    chance: random.Random
    noted: dict[str, list[str]] = field(default_factory=dict)
    agents: dict[str, Process] = field(default_factory=dict)
    heard: list[tuple[str, Post]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    rounds: int = 0

    @property
    def hot(self) -> Path:
        return self.base / "hot"

    @property
    def store(self) -> Path:
        return self.base / "store"

    def prepare(self) -> None:
        self.hot.mkdir()
        self.agent("watch", "broker", 'post_exchange = "xs_lab_files"')
        for name in SENDERS:
            more = 'exchange = "xs_lab_files"\npost_exchange = "xs_lab_arrived"'
            self.agent(name, f"file://{self.store}", more)

    def agent(self, name: str, to: str, more: str) -> None:
        home = self.base / name
        home.mkdir()
        password = self.broker.password_file(home)
        values = {"hot": self.hot, "to": to, "user": LAB, "loopback": LOOPBACK, "port": self.link.port}
        text = SETTINGS.format(name=name, password=password, more=more, **values)
        (home / "config.toml").write_text(text)
        env = clean_environment(home, {"DRAY_CONFIG": str(home / "config.toml")})
        self.agents[name] = Process([str(DRAY), "start", "--foreground"], home / "agent.log", env)

    def start(self) -> None:
        for agent in self.agents.values():
            agent.start()

    def kill_agents(self) -> None:
        for agent in self.agents.values():
            agent.kill9()

    def drop(self, share: float = 1.0) -> None:
        """Note new files, and new versions of old ones, and rename them into the directory."""
        self.rounds += 1
        old = self.chance.sample(sorted(self.noted), min(len(self.noted), FILES // 6))
        new = [f"r{self.rounds}/d{number % 4}/f{number}" for number in range(FILES)]
        for path in [*new, *old][: round(share * FILES) or None]:
            data = f"{path} in round {self.rounds} ".encode() * self.chance.randrange(1, 200)
            self.noted.setdefault(path, []).append(hashlib.sha256(data).hexdigest())
            (self.hot / path).parent.mkdir(parents=True, exist_ok=True)
            part = self.hot / ".part.tmp"
            part.write_bytes(data)
            part.rename(self.hot / path)

    def settled(self) -> float:
        """Wait until everything has arrived and was announced; return how long that took, and note what is wrong."""
        began = time.monotonic()
        while (missing := self.missing()) and time.monotonic() < began + PATIENCE:
            time.sleep(0.2)
        took = time.monotonic() - began
        self.findings += [f"S {path} is {what}" for path, what in sorted(missing.items())[:10]]
        self.findings += [f"C {path} holds what was never written" for path in self.strange()]
        self.findings += [f"D {path} was announced {times} times" for path, times in self.doubles()]
        self.findings += [f"S {name} ended" for name, agent in self.agents.items() if not agent.running]
        return took

    def missing(self) -> dict[str, str]:
        """Return what has not arrived in its newest version, or was not announced."""
        self.hear()
        told = {(post.path, digest(post)) for _, post in self.heard}
        found: dict[str, str] = {}
        for path, versions in self.noted.items():
            if self.stored(path) != versions[-1]:
                found[path] = "not delivered"
            elif (path, versions[-1]) not in told:
                found[path] = "not announced"
        return found

    def stored(self, path: str) -> str | None:
        try:
            return hashlib.sha256((self.store / path).read_bytes()).hexdigest()
        except FileNotFoundError:
            return None

    def strange(self) -> list[str]:
        """Return names in the store that hold nothing that was ever written there."""
        files = (p.relative_to(self.store).as_posix() for p in self.store.rglob("*") if p.is_file())
        return [path for path in files if not path.startswith(".dray/") and self.unknown(path)]

    def unknown(self, path: str) -> bool:
        return self.stored(path) not in self.noted.get(path, [])

    def doubles(self) -> list[tuple[str, int]]:
        """Return versions that were announced under several ids."""
        ids = {(post.path, digest(post), identity) for identity, post in self.heard}
        counts = Counter((path, sum_) for path, sum_, _ in ids)
        return [(path, times) for (path, _), times in counts.items() if times > 1]

    def redelivered(self) -> int:
        """Return how many announcements came more than once, under one id."""
        return len(self.heard) - len({identity for identity, _ in self.heard})

    def hear(self) -> None:
        """Take what was announced since the last time."""
        asyncio.run(self._hear())

    async def _hear(self) -> None:
        async with await aio_pika.connect(self.broker.url(ADMIN)) as connection:
            channel = await connection.channel()
            await channel.declare_exchange("xs_lab_arrived", aio_pika.ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue("tap", durable=True)
            await queue.bind("xs_lab_arrived", "#")
            while (message := await queue.get(fail=False, no_ack=True)) is not None:
                self.heard.append((str(message.message_id), decode(message.body)))

    def delete(self) -> int:
        """Delete the queue that the senders share; return how many messages were in it."""

        async def story() -> int:
            async with await aio_pika.connect(self.broker.url(ADMIN)) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("q_lab_r9", passive=True)
                found = await queue.delete(if_unused=False, if_empty=False)
                return found.message_count or 0

        return asyncio.run(story())

    def soon(self) -> None:
        """Let a random moment pass in which things are under way."""
        time.sleep(self.chance.uniform(0, 0.4))

    def said(self, name: str, text: str, since: int) -> bool:
        """Tell whether an agent wrote something after so many bytes of its log."""
        return text in self.agents[name].log.read_text(errors="replace")[since:]


def digest(post: Post) -> str:
    checksum = post.identity.checksum() if post.identity else None
    return checksum.hex if checksum else ""


def kill(farm: Farm) -> str | None:
    """The broker is killed while files come, and started again after a while."""
    farm.drop(0.5)
    farm.soon()
    farm.broker.kill9()
    code = farm.broker.process.wait()
    farm.drop()
    time.sleep(farm.chance.uniform(0, 2))
    farm.broker.start()
    return f"exit {code}" if code == -9 else None


def kill_agent(farm: Farm) -> str | None:
    """One of the agents is killed while files come, and started again after a while."""
    name = farm.chance.choice(sorted(farm.agents))
    farm.drop(0.5)
    farm.soon()
    farm.agents[name].kill9()
    code = farm.agents[name].wait()
    farm.drop()
    time.sleep(farm.chance.uniform(0, 1))
    farm.agents[name].start()
    return f"{name}: exit {code}" if code == -9 else None


def restart(farm: Farm) -> str | None:
    """The broker is stopped in order while files come, and started again."""
    farm.drop()
    farm.soon()
    before = farm.broker.process.pid
    farm.broker.restart()
    return f"process {before}, then {farm.broker.process.pid}" if farm.broker.process.pid != before else None


def delete(farm: Farm) -> str | None:
    """The queue is deleted while senders work, stand still, or are dead, so that messages are in it."""
    how = farm.chance.choice(["work", "stand still", "are dead"])
    senders = [farm.agents[name] for name in SENDERS]
    for sender in senders:
        if how == "stand still":
            sender.signal(signal.SIGSTOP)
        elif how == "are dead":
            sender.kill9()
    farm.drop()
    farm.soon()
    lost = farm.delete()
    farm.drop(0.5)
    for sender in senders:
        if how == "stand still":
            sender.signal(signal.SIGCONT)
        elif how == "are dead":
            sender.start()
    return f"deleted with {lost} messages in it while senders {how}"


def partition(farm: Farm) -> str | None:
    """Nothing passes between agents and broker for a while, connections stay open."""
    farm.drop(0.5)
    farm.soon()
    for way in ("up", "down"):
        farm.link.order("hole", way=way)
    farm.drop()
    time.sleep(PARTITION)
    farm.link.order("clear")
    return "; ".join(farm.link.fired[-2:]) or None


def absent(farm: Farm) -> str | None:
    """Agents start before their broker, which comes later."""
    farm.kill_agents()
    farm.broker.kill9()
    since = {name: agent.log.stat().st_size for name, agent in farm.agents.items()}
    farm.drop()
    farm.start()
    reason = "cannot be reached"
    end = time.monotonic() + PATIENCE
    while not all(farm.said(name, reason, since[name]) for name in farm.agents) and time.monotonic() < end:
        time.sleep(0.1)
    told = [name for name in farm.agents if farm.said(name, reason, since[name])]
    farm.broker.start()
    return f"{', '.join(told)} told that it {reason}" if len(told) == len(farm.agents) else None


TRIES: dict[str, Callable[[Farm], str | None]] = {
    "killed": kill,
    "queue deleted": delete,
    "agent killed": kill_agent,
    "absent at the start": absent,
    "restarted": restart,
    "partition": partition,
}


@contextmanager
def farm(base: Path, chance: random.Random) -> Iterator[Farm]:
    """Lend running agents before a broker that is reached through a link."""
    with ExitStack() as stack:
        broker = stack.enter_context(rabbitmq(more="consumer_timeout = 1000\n"))
        link = stack.enter_context(link_to(base, broker.port))
        made = Farm(base, broker, link, chance)
        made.prepare()
        made.hear()
        stack.callback(made.kill_agents)
        made.start()
        yield made


ROW = Row(
    "R9",
    "broker or agent killed; broker restarted, absent at the start, cut off for 30 s; its queue deleted",
    "nothing lost, nothing twice, nothing stuck; consumers back within 30 s",
    run,
    30,
    300,
    5,
)
