"""The command line as users run it, against a real server."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.servers.dray import DRAY, DrayServer, clean_environment, dray_server

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "output.schema.json").read_text("utf-8"))
HOSTILE = "new\nline \u202e \x1b[31m ü.txt"


class User:
    """Somebody with a home of their own and a server."""

    def __init__(self, server: DrayServer, home: Path) -> None:
        self.server, self.home = server, home
        self.env = clean_environment(home, {"DRAY_URL": server.url})

    def run(self, *args: str, code: int = 0, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command, which has to end with ``code``."""
        done = subprocess.run(
            [DRAY, *args], env=self.env | env, cwd=self.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"dray {args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, code: int = 0) -> dict[str, Any]:
        """Run a command with --json, check its document against the published schema, and return it."""
        document: dict[str, Any] = json.loads(self.run(*args, "--json", code=code).stdout)
        assert document["v"] == 1
        for value in document.get("items", []):
            check_shape(document["kind"], value)
        if "data" in document:
            check_shape(document["kind"] + (".summary" if "items" in document else ""), document["data"])
        return document


def check_shape(kind: str, value: object) -> None:
    jsonschema_rs.validate({"$defs": SCHEMA["$defs"], **SCHEMA["kinds"][kind]}, value)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user who is signed in and has a run to send."""
    base = tmp_path_factory.mktemp("cli")
    with dray_server(base / "server") as server:
        home = base / "user"
        (home / "run7" / "deep").mkdir(parents=True)
        (home / "run7" / "scan.h5").write_bytes(os.urandom(200_000))
        (home / "run7" / "deep" / HOSTILE).write_bytes(b"hostile\n")
        made = User(server, home)
        made.run("login", server.url, "--token-file", str(server.data / "admin.token"))
        made.run("upload", "run7", f"{server.url}/beam")
        yield made


def test_the_quick_start_ends_with_everything_safe(user: User) -> None:
    assert "safe to delete: 2 files" in user.run("safe", "run7").stdout
    user.run("download", "beam/run7", "back")
    assert (user.home / "back/run7/deep" / HOSTILE).read_bytes() == b"hostile\n"
    assert "2 same" in user.run("check", "back/run7", "beam").stderr


def test_what_is_listed_has_its_state_and_stays_on_its_line(user: User) -> None:
    lines = user.run("ls", "beam", "--long").stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("verified") for line in lines[1:])
    assert r"new\nline \u202e \x1b[31m ü.txt" in user.run("ls", f"{user.server.url}/beam/run7/deep").stdout


@pytest.mark.parametrize(
    "command",
    [
        "version",
        "config show",
        "config path",
        "config check",
        "ls",
        "ls beam --long",
        "status",
        "doctor",
        "token list",
        "token create shape --scope read",
        "safe run7",
        "check run7 beam",
        "upload run7 beam",
        "upload run7 beam --dry-run",
        "download beam again",
        "scrub beam",
        "logout http://127.0.0.1:1 --all",
    ],
)
def test_json_has_the_published_shape(user: User, command: str, tmp_path: Path) -> None:
    if command.startswith("logout"):
        user = User(user.server, tmp_path)
    user.json(*command.split())


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (2, "ls --nonsense"),
        (2, "upload run7"),
        (3, "ls nowhere"),
        (3, "safe nothing-here"),
        (3, "upload missing beam"),
        (4, "ls --url http://localhost:{port}"),
        (5, "ls http://127.0.0.1:9/beam"),
        (6, "check run7/deep beam"),
        (10, "scrub --wait 0s"),
    ],
)
def test_exit_codes_are_those_of_the_table(user: User, code: int, command: str) -> None:
    done = user.run(*command.format(port=user.server.port).split(), code=code)
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


def test_what_was_never_sent_is_not_safe(user: User) -> None:
    fresh = user.home / "fresh"
    fresh.mkdir()
    (fresh / "x").write_text("new")
    user.run("safe", "fresh", code=3)
    user.run("safe", "run7", "fresh", code=11)


def test_a_token_does_what_it_may_until_it_is_revoked(user: User) -> None:
    made = user.run("token", "create", "reader", "--scope", "read", "--dataset", "beam", "--save", "reader.token")
    secret = (user.home / "reader.token").read_text().strip()
    assert secret not in made.stdout + made.stderr
    assert "run7/scan.h5" in user.run("ls", "beam", DRAY_TOKEN=secret).stdout
    user.run("upload", "run7", "other", DRAY_TOKEN=secret, code=4)
    (number,) = (one["token"] for one in user.json("token", "list")["items"] if one["name"] == "reader")
    user.run("token", "revoke", str(number), code=2)
    user.run("token", "revoke", str(number), "--yes")
    user.run("ls", "beam", DRAY_TOKEN=secret, code=4)


def test_scrub_finds_a_byte_that_flipped_at_rest(user: User) -> None:
    (user.home / "rot").mkdir()
    (user.home / "rot" / "file").write_bytes(b"0" * 100)
    user.run("upload", "rot/", "rotten")
    user.json("scrub", "rotten")
    stored = user.server.data / "store" / "rotten" / "file"
    stored.write_bytes(b"1" + b"0" * 99)
    found = user.json("scrub", "rotten", code=6)
    assert (found["data"]["corrupt"], [item["path"] for item in found["items"]]) == (1, ["file"])
    user.run("safe", "rot", code=6)


def test_ctrl_c_ends_a_status_that_is_watched(user: User) -> None:
    command = [DRAY, "status", "--watch", "--every", "100ms", "--jsonl"]
    with subprocess.Popen(command, env=user.env, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        events = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=60)
    assert [event["event"] for event in events] == ["status", "status"]
    assert watching.returncode == 0


def test_no_secret_is_shown_or_logged(user: User, tmp_path: Path) -> None:
    token, log = user.server.token, tmp_path / "all.log"
    commands = ("doctor", "ls beam", "status", "token list", "upload run7 beam", "download beam out")
    said = [user.run(*command.split(), "-vv", "--log-file", str(log)) for command in commands]
    text = "".join(done.stdout + done.stderr for done in said) + log.read_text() + user.server.log
    assert token not in text
    assert "signature=" not in text.replace("signature=[redacted]", "")


def test_the_stored_token_is_the_users_alone(user: User) -> None:
    stored = user.home / ".config" / "dray" / "credentials.toml"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert user.server.token in stored.read_text()
