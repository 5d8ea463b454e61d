"""What the settings of a broker mean, and the names that are chosen for them."""

import asyncio
import sys
from pathlib import Path

import pytest

from dray.config.settings import Broker
from dray.errors import UsageError
from dray.messaging.broker import Address, Binding, Topology
from dray.wiring.broker import Brokered, amqp, public_url


def brokered(tmp_path: Path, to: str = "file:///far", **settings: object) -> Brokered:
    section = Broker(url="amqps://lab@broker.example/", **settings)  # type: ignore[arg-type]
    return Brokered("hot1", "/hot", to, tmp_path / "state" / "journal.sqlite", "here", section)


def test_a_queue_gets_a_name_of_the_account_once_and_keeps_it(tmp_path: Path) -> None:
    name = brokered(tmp_path, exchange="xs_lab_files").binding().queue
    assert name.startswith("q_lab.dray.hot1.")
    assert brokered(tmp_path, exchange="xs_lab_files").binding() == Binding(name, "xs_lab_files", ("v03.#",))
    assert brokered(tmp_path / "other", exchange="xs_lab_files").binding().queue != name


def test_that_a_queue_was_lost_is_remembered_until_it_was_made_up_for(tmp_path: Path) -> None:
    def lost(queue: str) -> bool:
        return asyncio.run(brokered(tmp_path, exchange="xs_lab_files", queue=queue).notes.is_lost())

    one = brokered(tmp_path, exchange="xs_lab_files", queue="q_lab_shared")
    assert not lost("q_lab_shared")
    asyncio.run(one.notes.missing())
    assert not lost("q_lab_shared"), "it never was there"
    asyncio.run(one.notes.there())
    asyncio.run(one.notes.missing())
    asyncio.run(one.notes.missing())
    assert [lost("q_lab_shared"), lost("q_lab_other")] == [True, False]
    asyncio.run(one.notes.found())
    asyncio.run(one.notes.found())
    assert not lost("q_lab_shared")


def test_what_is_only_announced_waits_in_the_queue_that_is_named(tmp_path: Path) -> None:
    one = brokered(tmp_path, "broker", post_exchange="xs_lab_files", queue="q_lab_shared")
    assert one.topology() == Topology(("xs_lab_files",), (Binding("q_lab_shared", "xs_lab_files", ("v03.#",)),))
    asyncio.run(one.notes.there())
    assert one.topology() == Topology(("xs_lab_files",))
    both = brokered(tmp_path, exchange="xs_lab_in", post_exchange="xs_lab_out", queue="q_lab_x", topics=["v03.a.#"])
    assert both.topology() == Topology(("xs_lab_in", "xs_lab_out"), (Binding("q_lab_x", "xs_lab_in", ("v03.a.#",)),))


@pytest.mark.parametrize(
    ("to", "settings", "cause"),
    [
        ("file:///far", {}, "neither exchange nor post_exchange"),
        ("broker", {"exchange": "x"}, "announces and takes nothing"),
        ("broker", {"exchange": "x", "post_exchange": "y"}, "announces and takes nothing"),
        ("sftp://far/relative", {"post_exchange": "x"}, "could not find files"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(
    tmp_path: Path, to: str, settings: dict[str, str], cause: str
) -> None:
    with pytest.raises(UsageError, match=cause):
        brokered(tmp_path, to, **settings).checked()


@pytest.mark.parametrize(
    ("to", "url"),
    [
        ("file:///far/away/", "file:/far/away"),
        ("sftp://me@far:2222//data/x/", "sftp://me@far:2222/data/x"),
        ("http://server:8080/run7", "http://server:8080/run7"),
    ],
)
def test_announcements_name_the_absolute_directory(to: str, url: str) -> None:
    assert public_url(to, "here") == url


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dray.messaging.amqp", raising=False)
    monkeypatch.setitem(sys.modules, "aio_pika", None)
    with pytest.raises(UsageError, match=r"aio_pika is not installed.*dray\[amqp\]"):
        amqp(Address("amqp://lab@broker.example/"))


def test_an_address_tells_its_account_and_shows_no_secret() -> None:
    address = Address("amqps://lab%40site@broker.example/site")
    assert (address.user, str(address)) == ("lab@site", "amqps://broker.example:5671")
    assert Address("amqp://broker.example").user == "guest"
