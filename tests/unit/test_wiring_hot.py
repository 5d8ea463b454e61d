"""From ``[hot.NAME]`` to a hot directory that can be watched: every mistake names its key and its file."""

from pathlib import Path

import pytest

from dray.agent.leave import After
from dray.config.load import load
from dray.errors import UsageError
from dray.wiring.hot import Configured, configured


def read(tmp_path: Path, more: str = "", to: str = "sftp://cluster/in") -> Configured:
    file = tmp_path / "config.toml"
    file.write_text(f'[hot.lab]\npath = "{tmp_path}"\nto = "{to}"\n{more}')
    return configured(load({}, file=str(file)))["lab"]


def test_everything_finds_its_way(tmp_path: Path) -> None:
    more = (
        'layout = "strip 1"\norder = "newest"\nrate = 3\nretry_for = "1d"\nexpire = "2d"\nafter = "move /done"\n'
        'grace = "5m"\nsettle = "9s"\nreopened = true\ndone_file = "{name}.ok"\nfilter = ["- x"]\nmax_size = "1G"\n'
        'accelerate = { above = "2G", command = "fast -x \'{source}\' host:{target}" }\nevents = ["create", "mkdir"]\n'
    )
    one = read(tmp_path, more)
    hot = one.hot
    assert (hot.manner.layout.text, hot.manner.order, hot.manner.rate, hot.manner.expire) == (
        "strip 1",
        "newest",
        3,
        172800,
    )
    assert hot.manner.persistence.give_up_after == 86400
    assert hot.manner.events == {"create", "mkdir"}
    assert hot.manner.on_exists == "replace"
    assert hot.after == After("move", 300.0, "/done")
    assert (hot.policy.settle, hot.policy.closed_at_once, hot.policy.done_file) == (9.0, False, "{name}.ok")
    assert not hot.rules.takes("x")
    assert hot.rules.bounds.max_size == 1 << 30
    assert one.program is not None
    assert one.program.command("/a b", "c d") == ["fast", "-x", "/a b", "host:c d"]


def test_a_server_keeps_versions(tmp_path: Path) -> None:
    assert read(tmp_path, to="http://127.0.0.1:8080/run7").hot.manner.on_exists == "version"


@pytest.mark.parametrize(
    ("more", "key", "cause"),
    [
        ('layout = "flat"', "layout", "not a layout"),
        ('filter = ["x"]', "filter", "not a filter rule"),
        ('done_file = "a/b"', "done_file", "not a name"),
        ('events = ["delete"]', "events", "nothing would ever be sent"),
        ('events = ["create", "delete"]\nafter = "delete"', "events", "deleted there, too"),
        ('after = "delete"\n[ssh]\nverify = "size"', "after", "flushed and read again"),
        ('after = "delete"\n[ssh]\ndurable = false', "after", "flushed and read again"),
        ('after = "remove"', "after", "says nothing"),
        ('after = "move"', "after", "says nothing"),
        ('vip = "host"', "vip", "does not appear to be"),
        ('accelerate = { command = "fast {source}" }', "accelerate", "names no files"),
        ('accelerate = { command = "fast \'{source}" }', "accelerate", "quot"),
    ],
)
def test_a_mistake_names_its_key_and_its_file(tmp_path: Path, more: str, key: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause) as caught:
        read(tmp_path, more)
    assert f"hot.lab.{key}: " in str(caught.value)
    assert "config.toml" in str(caught.value)


@pytest.mark.parametrize("to", ["ftp://x/y", "cluster:/x", "broker", "sftp://user:secret@host/x"])
def test_what_is_no_destination_is_refused(tmp_path: Path, to: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, to=to)
    assert "secret" not in str(caught.value).partition("hot.lab")[0]


def test_one_directory_is_not_sent_twice_to_one_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[hot.b\] and \[hot.lab\] send the same directory"):
        read(tmp_path, f'[hot.b]\npath = "{tmp_path}/."\nto = "sftp://cluster/in/"\n')


def test_what_is_only_announced_is_never_deleted(tmp_path: Path) -> None:
    more = 'after = "delete"\n[hot.lab.broker]\nurl = "amqp://lab@localhost/"\npost_exchange = "xs_lab"\n'
    with pytest.raises(UsageError, match="nowhere else"):
        read(tmp_path, more, to="broker")
