"""The parts of the transport sftp that need no server: words, arguments, frames, names."""

import struct
from collections.abc import Iterator

import pytest

from dray.errors import (
    Disconnected,
    DrayError,
    HostKeyRefused,
    NotFound,
    Permanent,
    Unauthenticated,
    Unreachable,
    UsageError,
)
from dray.model.names import RemotePath
from dray.transports.sftp import shell, ssh, wire
from dray.transports.sftp.connection import Running, Script
from dray.transports.sftp.layout import Layout, seconds
from dray.transports.sftp.scripts import InOrder
from dray.transports.sftp.settings import SftpSettings
from dray.transports.sftp.trust import HostKey, Trust
from dray.transports.sftp.wire import Reply, Request

PLAIN = {"ciphers": f"a,{ssh.FAST},b", "serveraliveinterval": "0", "connecttimeout": "none"}


def test_a_fast_cipher_and_signs_of_life_are_asked_for_where_nobody_chose() -> None:
    words = ssh.arguments(SftpSettings("h", user="u", port=22, config_file="c"), PLAIN, PLAIN)
    assert words[:7] == ["ssh", "-F", "c", "-p", "22", "-l", "u"]
    assert f"Ciphers={ssh.FAST},a,b" in words
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ServerAliveInterval=15", "ConnectTimeout=30"} <= set(words)


def test_what_the_configuration_of_ssh_says_counts() -> None:
    config = {"ciphers": "b", "serveraliveinterval": "5", "connecttimeout": "7", "remotecommand": "tmux"}
    words = ssh.arguments(SftpSettings("h"), config, PLAIN)
    assert "RemoteCommand=none" in words
    assert not any(word.startswith(("Ciphers", "ServerAlive", "ConnectTimeout")) for word in words)
    assert "StrictHostKeyChecking=yes" in words


KEY = "debug1: Server host key: ssh-ed25519 SHA256:abc\n"


@pytest.mark.parametrize(
    ("said", "cls", "words"),
    [
        ("ssh: Could not resolve hostname x: Name or service not known\n", Unreachable, "resolve"),
        ("ssh: connect to host x port 22: Connection refused\n", Unreachable, "refused"),
        ("Connection to x closed by remote host.\n", Unreachable, "closed"),
        ("me@x: Permission denied (publickey).\n", Unauthenticated, "ssh-copy-id"),
        ("Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures\n", Unauthenticated, "Too many"),
        ("subsystem request failed on channel 0\n", Permanent, "no SFTP"),
        ("c: line 1: Bad configuration option: nonsense\nc: terminating\n", UsageError, "nonsense"),
        (KEY + "No ED25519 host key is known for x and you asked for strict checking.\nHost key verification failed.",
         HostKeyRefused, "SHA256:abc is not trusted yet"),
        (KEY + "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nHost key verification failed.",
         HostKeyRefused, "SHA256:abc is another one"),
        ("debug1: nothing of interest\n", Unreachable, "without a word"),
    ],
)  # fmt: skip
def test_the_last_words_of_ssh_are_understood(said: str, cls: type[DrayError], words: str) -> None:
    error = ssh.diagnosis(said.replace("\n", "\r\n"), "x")
    assert type(error) is cls
    assert words in str(error)
    assert "debug1" not in str(error)


def test_names_are_quoted_for_the_shell_and_read_again() -> None:
    assert shell.quoted(b"it's\n$x") == b"'it'\\''s\n$x'"
    assert shell._unescaped(b"a\\\\b\\nc\\rd") == b"a\\b\nc\rd"
    groups = list(shell._groups([b"x" * 1000] * 200))
    assert sum(map(len, groups)) == 200
    assert max(len(b" ".join(group)) for group in groups) <= shell.MOST


def test_attributes_are_read_whatever_comes_with_them() -> None:
    body = struct.pack(">IQIIIII", 0x80000000 | 15, 5, 1, 2, 0o100644, 7, 8) + struct.pack(">I", 1)
    body += wire.text(b"x@y") + wire.text(b"z")
    attrs, end = wire.attrs_of(body)
    assert (attrs.size, attrs.mtime, attrs.atime, attrs.is_file, attrs.is_folder) == (5, 8, 7, True, False)
    assert end == len(body)
    name = wire.names_of(Reply(wire.NAME, struct.pack(">I", 1) + wire.text(b"n") + wire.text(b"long") + body))
    assert name == [(b"n", attrs)]


@pytest.mark.parametrize(
    ("code", "code_of_error"), [(2, "not-found"), (3, "os-permission"), (7, "unreachable"), (99, "permanent")]
)
def test_a_status_is_a_failure_of_ours(code: int, code_of_error: str) -> None:
    assert wire.failure(Reply(wire.STATUS, struct.pack(">I", code)), "x").code == code_of_error


def test_paths_stay_bytes() -> None:
    layout = Layout(b"/data/\xff")
    path = RemotePath("a/é")
    assert layout.final(path) == b"/data/\xff/a/\xc3\xa9"
    assert layout.below(layout.final(path)) == b"a/\xc3\xa9"
    assert Layout(b"/").final(path) == b"/a/\xc3\xa9"
    assert Layout(b"/").below(b"/a/\xc3\xa9") == b"a/\xc3\xa9"
    assert layout.folder(RemotePath("x")) == b"/data/\xff"


def test_times_fit_into_what_sftp_has() -> None:
    assert [seconds(ns) for ns in (1_999_999_999, -5, 1 << 80)] == [1, 0, 0xFFFFFFFF]


def test_bytes_that_come_out_of_order_are_hashed_in_order() -> None:
    found: list[bytes] = []
    in_order = InOrder(found.append, 10)
    for offset, data in ((14, b"c"), (10, b"ab"), (12, b"xy"), (15, b"d")):
        in_order.take(offset, data)
    assert b"".join(found) == b"abxycd"


def running(script: Script[str], answers: dict[int, object]) -> Running[str]:
    return Running(0, script, answers)  # type: ignore[arg-type]


def test_a_script_is_told_of_a_failed_sink_once_all_its_answers_are_there() -> None:
    def failing(data: bytes) -> None:
        raise OSError(28, "full")

    def script() -> Script[str]:
        try:
            yield [Request(wire.READ, b"", None, failing), Request(wire.READ, b"")]
        except DrayError as error:
            yield [Request(wire.CLOSE, b"")]
            return error.code
        return "no failure"

    answers: dict[int, object] = {}
    one = running(script(), answers)
    for request in one.go_on() or ():
        one.expect(request.sink)
    one.answer(0, Reply(wire.DATA, wire.text(b"x")))
    assert one.left == 1
    one.answer(1, Reply(wire.DATA, wire.text(b"x")))
    assert [request.kind for request in one.go_on() or ()] == [wire.CLOSE]
    assert one.go_on() is None
    assert answers == {0: "no-space"}


def test_a_script_that_asks_nothing_ends_at_once() -> None:
    def script() -> Iterator[Request]:
        raise NotFound("x")
        yield Request(0, b"")

    answers: dict[int, object] = {}
    assert running(script(), answers).go_on() is None  # type: ignore[arg-type]
    assert isinstance(answers[0], NotFound)


def test_what_is_no_sftp_is_shown() -> None:
    assert isinstance(wire.damaged("Welcome"), Disconnected)


def test_fingerprints_are_those_that_ssh_shows() -> None:
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAIA=="
    assert HostKey("h", "ssh-ed25519", blob).fingerprint == "SHA256:xGib3+FptS+cITct2V7iFK9qKkm/QSPPdJstK0JtCps"


def test_a_user_without_any_known_hosts_file_gets_one() -> None:
    assert Trust({"userknownhostsfile": "/dev/null", "globalknownhostsfile": "none"}).file.name == "known_hosts"
