"""What an agent makes of announcements, and how it announces itself; the broker is played by the tests."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from dray.agent.announce import HOLD, TRIES, Announcer, Voice
from dray.agent.journal import Key
from dray.agent.outbox import Announcement
from dray.agent.posting import Posting
from dray.agent.told import Ear, Told
from dray.errors import DrayError, Unheard, Unreachable
from dray.messaging.broker import Arrival, Message
from dray.messaging.receiver import Received
from dray.messaging.v03 import Operation, decode
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Arrived, Change, Claim, Landing, Proof, Ref

VOICE = Voice("xs_lab", "sftp://far/data", "lab")
CHECKSUM = "sha256:" + "0f" * 32


class Receiver:
    """Gives out what a test wrote, and remembers what was acknowledged."""

    def __init__(self, *received: Received) -> None:
        self.received = list(received)
        self.acknowledged: list[tuple[Received, list[int]]] = []

    async def next(self) -> Received:
        return self.received.pop(0)

    async def acknowledge(self, received: Received, refused: Sequence[int] = ()) -> None:
        self.acknowledged.append((received, list(refused)))


class Publisher:
    """Takes messages; ``answers`` says why some are not taken."""

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.answers: list[dict[str, DrayError]] = []

    async def publish(self, messages: Sequence[Message]) -> list[DrayError | None]:
        problems = self.answers.pop(0) if self.answers else {}
        self.published += messages
        return [problems.get(decode(message.body).path) for message in messages]


class Clock:
    now = 1_800_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def arrival(number: int, by: str = "", **fields: object) -> Arrival:
    body = {"pubTime": "20261120T000000", "baseUrl": "file:/hot", "relPath": "d/f", **fields}
    return Arrival(number, "v03", json.dumps(body).encode(), by)


def told(receiver: Receiver, words: list[str] | None = None) -> Told:
    return Told(receiver, Ear("lab", "/data/hot"), (words if words is not None else []).append)  # type: ignore[arg-type]


def test_names_are_looked_at_and_what_we_announced_was_finished() -> None:
    received = Received(
        (
            arrival(1, "dray", relPath="a"),
            arrival(2, relPath="d/b", to_clusters="x"),
            arrival(3, relPath="d/new", fileOp={"rename": "/hot/d/old"}),
            arrival(4, relPath="d/gone", fileOp={"remove": ""}),
            arrival(5, relPath="link", fileOp={"link": "a"}),
        )
    )
    fed = asyncio.run(told(Receiver(received)).next())
    assert fed.names == {
        Key("", "a"): "closed",
        Key("d", "b"): "found",
        Key("d", "new"): "found",
        Key("", "link"): "found",
    }
    assert list(fed.gone) == [Key("d", "gone")]
    assert fed.carried[Key("d", "b")] == '{"to_clusters": "x"}'
    assert not fed.lost


@pytest.mark.parametrize(
    ("base", "path", "found"),
    [
        ("file:/", "data/hot/d/f", "d/f"),
        ("file:/data/", "hot/f", "f"),
        ("file:/data/hot", "d/f", "d/f"),
        ("file:///data/hot", "d/f", "d/f"),
        ("file:/elsewhere", "d/f", "d/f"),
        ("sftp://host/data/hot2", "f", "f"),
    ],
)
def test_a_message_may_begin_its_paths_above_the_directory(base: str, path: str, found: str) -> None:
    received = Received((arrival(1, baseUrl=base, relPath=path),))
    fed = asyncio.run(told(Receiver(received)).next())
    assert [key.path for key in fed.names] == [found]


def test_what_is_no_message_is_refused_with_a_word_and_does_not_harm_the_others() -> None:
    received = Received((arrival(1, relPath="../x"), Arrival(2, "v02", b"2015 http://x y"), arrival(3, relPath="ok")))
    receiver, words = Receiver(received), list[str]()

    async def story() -> None:
        feed = told(receiver, words)
        fed = await feed.next()
        assert list(fed.names) == [Key("", "ok")]
        await feed.recorded(fed)

    asyncio.run(story())
    assert receiver.acknowledged == [(received, [1, 2])]
    assert ["leads out" in words[0], "not a v03 message" in words[1]] == [True, True]


def test_what_could_not_be_recorded_is_given_again_and_not_acknowledged() -> None:
    receiver = Receiver(Received((arrival(1),)), Received((), lost=True))

    async def story() -> list[bool]:
        feed = told(receiver)
        first, again = await feed.next(), await feed.next()
        assert first == again
        assert receiver.acknowledged == []
        await feed.recorded(again)
        return [(await feed.next()).lost]

    assert asyncio.run(story()) == [True]
    assert len(receiver.acknowledged) == 1


def stored(path: str, **more: object) -> Arrived:
    return Arrived(path, path, 5, CHECKSUM, 7_000, 0o640, **more)  # type: ignore[arg-type]


def announcer(publisher: Publisher, clock: Clock, words: list[str]) -> Announcer:
    return Announcer(publisher, VOICE, clock, words.append)  # type: ignore[arg-type]


def announce(one: Announcer, *arrived: Arrived) -> None:
    asyncio.run(one.announce([Announcement(number, each) for number, each in enumerate(arrived, 1)]))


def test_what_happened_to_names_is_announced_and_a_rename_as_a_new_file() -> None:
    publisher = Publisher()
    changes = [
        Arrived("d/gone", "d/gone", 0, what="removed"),
        Arrived("d", "d", 0, what="folder"),
        Arrived("l", "l", 0, what="linked", target="d/a"),
        Arrived("new", "new", 0, what="renamed", target="old"),
    ]
    announce(announcer(publisher, Clock(), []), stored("d/a"), *changes)
    posts = [decode(message.body) for message in publisher.published]
    assert [(post.path, post.operation) for post in posts] == [
        ("d/a", None),
        ("d/gone", Operation(remove=True)),
        ("d", Operation(directory=True)),
        ("l", Operation(link="d/a")),
        ("new", None),
        ("old", Operation(remove=True)),
    ]
    assert posts[4].size is None
    assert [message.topic for message in publisher.published[:2]] == ["v03.d", "v03.d"]


def test_the_id_of_an_announcement_is_made_of_what_it_says() -> None:
    publisher, clock = Publisher(), Clock()
    announce(announcer(publisher, clock, []), stored("a"))
    clock.now += 100
    announce(announcer(publisher, clock, []), stored("a"), stored("b"), Arrived("a", "a", 6, CHECKSUM, 8_000))
    ids = [message.id for message in publisher.published]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_what_is_not_taken_is_raised_and_only_that_is_published_again() -> None:
    publisher, words = Publisher(), list[str]()
    publisher.answers = [{"b": Unreachable("away")}, {}]
    one = announcer(publisher, Clock(), words)
    with pytest.raises(Unreachable):
        announce(one, stored("a"), stored("b"))
    announce(one, stored("a"), stored("b"))
    assert [decode(message.body).path for message in publisher.published] == ["a", "b", "b"]
    assert words == []


def test_what_only_some_listen_to_is_let_go_after_a_few_tries() -> None:
    publisher, words = Publisher(), list[str]()
    publisher.answers = [{"b": Unheard("no queue takes it")} for _ in range(TRIES)]
    one = announcer(publisher, Clock(), words)
    for _ in range(TRIES - 1):
        with pytest.raises(Unheard):
            announce(one, stored("a"), stored("b"))
    announce(one, stored("a"), stored("b"))
    assert len(words) == 1
    announce(one, stored("c"))
    assert decode(publisher.published[-1].body).path == "c"


def test_what_nobody_listens_to_is_kept_for_a_while() -> None:
    publisher, clock, words = Publisher(), Clock(), list[str]()
    publisher.answers = [{"a": Unheard("no queue takes it")} for _ in range(3)]
    one = announcer(publisher, clock, words)
    for _ in range(2):
        with pytest.raises(Unheard):
            announce(one, stored("a"))
        clock.now += HOLD / 2
    announce(one, stored("a"))
    assert len(words) == 1


def test_a_broker_as_destination_announces_files_where_they_are() -> None:
    publisher = Publisher()
    publisher.answers = [{"b": Unheard("no queue takes it")}, {}]
    posting = Posting(publisher, VOICE, "/nowhere", Clock())  # type: ignore[arg-type]
    landings = [Landing(RemotePath(name), 5, "v", mtime_ns=7_000) for name in ("a", "b")]
    checksum = Checksum.parse(CHECKSUM)

    async def story() -> list[Proof | DrayError | None]:
        async with posting.connect() as session:
            staged = await session.stage(landings)
            assert [one.done for one in staged if not isinstance(one, DrayError)] == [True, True]
            found = await session.verify([Claim(Ref(name), 5, checksum) for name in ("a", "b")])
            changed = await session.change([Change("remove", RemotePath("a"))])  # type: ignore[attr-defined]
            return [*found, *changed]

    proof, unheard, removed = asyncio.run(story())
    assert proof == Proof(Ref("a"), 5, checksum, "", "broker", "service")
    assert isinstance(unheard, Unheard)
    assert removed is None
    assert [decode(message.body).path for message in publisher.published] == ["a", "b", "a"]
