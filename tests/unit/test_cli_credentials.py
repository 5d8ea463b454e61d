"""Stored tokens: one file, one reader, one change after another, each for its own server."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.cli import credentials as module
from dray.cli.choices import Choices
from dray.cli.context import App
from dray.cli.credentials import Credential, Credentials, normal
from dray.cli.reach import token
from dray.errors import Busy, Denied, Unauthenticated, UsageError

HERE, THERE = "http://127.0.0.1:8080", "https://there.example/dray"


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Credentials:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = Credentials()
    found.put(HERE, Credential("dray_here", "me"))
    return found


def app(env: dict[str, str] | None = None, **choices: str) -> App:
    made = App(env or {})
    made.choices = Choices()
    for name, value in choices.items():
        made.choices.set(name, value)
    return made


def test_a_token_is_found_under_its_server_alone(stored: Credentials) -> None:
    stored.put(THERE, Credential("dray_there", "you"))
    assert stored.get(HERE) == Credential("dray_here", "me")
    assert stored.get("HTTPS://There.Example:443/dray/") == Credential("dray_there", "you")
    assert stored.get("https://there.example/other") is None


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_the_file_is_its_owners_alone(stored: Credentials) -> None:
    assert stored.path.stat().st_mode & 0o777 == 0o600
    stored.path.chmod(0o640)
    with pytest.raises(Denied, match="chmod 600"):
        stored.all()


def test_forgetting_leaves_the_others(stored: Credentials) -> None:
    stored.put(THERE, Credential("dray_there"))
    assert stored.remove(HERE)
    assert not stored.remove(HERE)
    assert list(stored.all()) == [THERE]


def test_a_change_waits_for_nobody_but_says_who_is_there(stored: Credentials) -> None:
    new = stored.path.with_name("credentials.toml.new")
    new.touch()
    with pytest.raises(Busy, match="another dray login"):
        stored.put(THERE, Credential("x"))
    assert list(stored.all()) == [HERE]


def test_what_a_killed_process_left_is_cleared(stored: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    new = stored.path.with_name("credentials.toml.new")
    new.touch()
    os.utime(new, (0, 0))
    stored.put(THERE, Credential("x"))
    assert set(stored.all()) == {HERE, THERE}
    assert not new.exists()


def test_a_failed_write_changes_nothing_and_leaves_nothing(
    stored: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        def write(self, file: int, data: bytes) -> None:
            raise OSError(28, "no space")

    monkeypatch.setattr(module, "DISK", FullDisk())
    with pytest.raises(OSError, match="no space"):
        stored.put(THERE, Credential("x"))
    assert list(stored.all()) == [HERE]
    assert [path.name for path in stored.path.parent.iterdir()] == ["credentials.toml"]


def test_a_damaged_file_is_a_usage_error(stored: Credentials) -> None:
    stored.path.write_text("[broken")
    stored.path.chmod(0o600)
    with pytest.raises(UsageError, match="dray login again"):
        stored.all()


@given(st.text(st.characters(codec="ascii"), max_size=30), st.text(max_size=30))
def test_any_text_is_read_as_it_was_stored(secret: str, name: str) -> None:
    import tomllib

    text = module._toml({HERE: Credential(secret, name)}).decode()
    assert tomllib.loads(text) == {HERE: {"token": secret, "name": name}}


def test_addresses_have_one_form() -> None:
    forms = ["http://Host:80/dray/", "http://host/dray", "http://host:80/dray"]
    assert {normal(form) for form in forms} == {"http://host/dray"}
    assert normal("http://[::1]:8080/") == "http://[::1]:8080"


def test_a_token_goes_to_its_own_server_alone(stored: Credentials) -> None:
    env = {"DRAY_URL": THERE, "DRAY_TOKEN": "dray_for_there"}
    assert token(app(env), THERE) == "dray_for_there"
    assert token(app(env), HERE) == "dray_here"
    with pytest.raises(Unauthenticated, match="dray login http://evil"):
        token(app(env), "http://evil")


def test_without_a_server_of_the_settings_the_token_is_for_the_one_that_is_named(stored: Credentials) -> None:
    assert token(app({"DRAY_TOKEN": "dray_x"}), "http://named") == "dray_x"


def test_a_token_file_that_is_named_comes_first(stored: Credentials, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("dray_from_file\n")
    file.chmod(0o600)
    assert token(app({"DRAY_TOKEN": "dray_x"}, token_file=str(file)), HERE) == "dray_from_file"
    env = {"DRAY_TOKEN": "dray_x", "DRAY_CLIENT_TOKEN_FILE": str(file)}
    assert token(app(env), HERE) == "dray_x"
    assert token(app({"DRAY_CLIENT_TOKEN_FILE": str(file)}), HERE) == "dray_from_file"
