"""Configurations of Sarracenia become hot directories that do the same, and what does not is listed."""

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dray.config.load import load
from dray.config.sr3.convert import convert
from dray.config.sr3.read import read
from dray.config.sr3.rules import patterns
from dray.config.sr3.write import toml
from dray.errors import NotFound
from dray.model.filters import Filters
from dray.wiring.hot import configured

WATCH = """
post_broker amqps://${ME}:secret@broker.example/
post_exchange xs_${ME}_from_lab
path /data/to_hpfx
fileEvents -delete,rmdir
nodupe_ttl on   # not needed
reject .*\\.tmp$
accept .*
"""
SENDER = """
include shared.inc
broker amqps://${ME}:secret@broker.example/
exchange xs_${ME}_from_lab
sendTo sftp://hpfx
baseDir /data/to_hpfx
inflight .tmp
accelThreshold 1M
accelScpCommand /usr/bin/scp %s %d
directory /on_hpfx
accept .*
"""


def imported(tmp_path: Path, watch: str = WATCH, sender: str = SENDER) -> tuple[dict[str, Any], list[str], str]:
    """Return the tables, the options that were missed, and the text, which the settings take as it is."""
    base = tmp_path / "sr3"
    for name, text in (("watch/lab.conf", watch), ("sender/lab.conf", sender)):
        if text:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text(text)
    (base / "default.conf").write_text("declare env ME=pas037\n")
    (base / "shared.inc").write_text("instances 7\n")
    found = convert(read(base))
    text = "\n".join(toml(found))
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert "secret" not in text
    configured(load({}, file=str(file)))
    return tomllib.loads(text)["hot"], [one.option for one in found.missed], text


def test_a_watch_and_its_sender_become_one_hot_directory_without_a_broker(tmp_path: Path) -> None:
    hot, missed, _ = imported(tmp_path)
    assert hot == {
        "lab": {
            "path": "/data/to_hpfx",
            "to": "sftp://hpfx//on_hpfx",
            "senders": 7,
            "filter": ["- *.tmp"],
            "events": ["create", "modify", "symlink", "mkdir"],
        }
    }
    assert missed == []


def test_a_broker_stays_where_others_listen_to_it(tmp_path: Path) -> None:
    hot, _, _ = imported(tmp_path, WATCH, SENDER + "post_exchange xs_pas037_on_hpfx\n")
    assert hot["lab"]["broker"] == {"url": "amqps://pas037@broker.example/", "post_exchange": "xs_pas037_on_hpfx"}


def test_a_watch_alone_announces_and_a_sender_alone_listens(tmp_path: Path) -> None:
    watch, _, _ = imported(tmp_path / "w", WATCH, "")
    assert watch["lab"]["to"] == "broker"
    assert watch["lab"]["broker"]["post_exchange"] == "xs_pas037_from_lab"
    sender, _, _ = imported(tmp_path / "s", "", SENDER)
    assert sender["lab"]["path"] == "/data/to_hpfx"
    assert sender["lab"]["broker"]["exchange"] == "xs_pas037_from_lab"


def test_everything_that_is_not_understood_is_listed_with_its_place(tmp_path: Path) -> None:
    odd = "callback my.plugin\naccept ^sftp://[a-z]+/(?!x).*\nflatten _\nfrobnicate 3\n"
    _, missed, text = imported(tmp_path, WATCH, SENDER + odd)
    assert {one.split()[0] for one in missed} == {"callback", "accept", "flatten", "frobnicate"}
    assert "# not taken over: sender/lab.conf:15 frobnicate 3 (unknown here)" in text


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("mirror off", "layout", "flatten"),
        ("strip 2", "layout", "strip 2"),
        ("delete on", "after", "delete"),
        ("messageRateMax 20", "rate", 20.0),
        ("byteRateMax 10M", "bwlimit", "10M"),
        ("fileAgeMax 3600", "max_age", "3600s"),
        ("inflight 30", "settle", "30s"),
        ("vip 192.0.2.7", "vip", "192.0.2.7"),
        ("directory /x/${%Y%m%d}", "layout", "{mtime:%Y%m%d}/{path}"),
        ("accelScpCommand /opt/f %s %d", "accelerate", {"above": "1M", "command": "/opt/f {source} {target}"}),
    ],
)
def test_what_both_have_is_taken_over(tmp_path: Path, line: str, key: str, value: object) -> None:
    hot, _, _ = imported(tmp_path, WATCH, SENDER + line + "\n")
    assert hot["lab"][key] == value


NAMES = ("a.tmp", "x.h5", "x.h5.tmp", ".hidden", "scan-01.nc", "tmpfile", "data")
PATHS = [*NAMES, *(f"{folder}/{name}" for folder, name in itertools.product(("tmp", "a/scratch", "b"), NAMES))]


@pytest.mark.parametrize(
    "regex",
    [
        ".*",
        r".*\.tmp$",
        r"^.*\.(h5|nc)$",
        ".*/scratch/.*",
        ".*/tmp/.*",
        r".*/\..*",
        r".*\.h5.*",
        r".*/scan-\d\d\.nc$",
        ".*/[a-d]/.*",
        ".*/data$",
    ],
)
def test_rules_take_the_very_files_that_the_expressions_took(regex: str) -> None:
    found = patterns(regex)
    assert found is not None
    rules = Filters.parse([*(f"+ {pattern}" for pattern in found), "- **"])
    taken = [path for path in PATHS if rules.takes(path)]
    assert taken == [path for path in PATHS if re.match(regex, f"file:/srv/hot/{path}")]


@pytest.mark.parametrize("regex", ["sftp://.*", r".*(?!x)y", ".*a+", ".*a{3}", r".*\w+", ".*a|b"])
def test_expressions_that_no_rule_can_say_are_not_guessed(regex: str) -> None:
    assert patterns(regex) is None


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "nothing")
