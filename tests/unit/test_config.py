"""Settings come from their layers, each value knows its origin, and every mistake names its place."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from dray.config import load as loading
from dray.config import paths
from dray.config.load import Loaded, load
from dray.config.parse import Seconds, Size
from dray.errors import NotFound, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own system file and user directory."""
    monkeypatch.setattr(paths, "system_config_file", lambda: tmp_path / "etc.toml")
    monkeypatch.setattr(paths, "user_config_dir", lambda: tmp_path)
    return tmp_path


def loaded(
    home: Path, *, system: str = "", user: str = "", env: Mapping[str, str] | None = None, flags: Mapping[str, str] = {}
) -> Loaded:
    (home / "etc.toml").write_text(system)
    (home / "config.toml").write_text(user)
    return load(env or {}, flags=flags)


def test_everything_has_a_default(home: Path) -> None:
    found = load({})
    assert found.settings.server.listen == "127.0.0.1:8080"
    assert found.files == ()
    assert str(found.origin("server.listen")) == "default"


def test_a_flag_beats_the_environment_beats_the_user_beats_the_system(home: Path) -> None:
    key, parallel = "client.parallel", "[client]\nparallel = "
    layers = {"system": parallel + "1", "user": parallel + "2"}
    env, flags = {"DRAY_CLIENT_PARALLEL": "3"}, {key: "4"}
    assert loaded(home, system=parallel + "1").settings.client.parallel == 1
    assert loaded(home, **layers).settings.client.parallel == 2
    assert loaded(home, **layers, env=env).settings.client.parallel == 3
    assert loaded(home, **layers, env=env, flags=flags).settings.client.parallel == 4


def test_every_value_tells_where_it_comes_from(home: Path) -> None:
    found = loaded(
        home,
        system="[log]\nformat = 'json'",
        user="[watch]\nsettle = '5s'",
        env={"DRAY_URL": "http://here"},
        flags={"log.level": "debug"},
    )
    origins = [str(found.origin(key)) for key in ("log.format", "watch.settle", "client.url", "log.level")]
    assert origins == [
        f"file {home / 'etc.toml'}",
        f"file {home / 'config.toml'}",
        "environment DRAY_URL",
        "option log.level",
    ]


SAMPLES = {"ssh.file_mode": "660", "ssh.folder_mode": "2770"}
"""Settings without a default that take no word."""


@pytest.mark.parametrize("key", sorted(loading.keys()))
def test_every_setting_can_be_given_by_its_environment_name(key: str) -> None:
    value = loading.plain(loading.value_of(load({}).settings, key))
    text = "; ".join(value) if isinstance(value, list) else str(value if value is not None else SAMPLES.get(key, "x"))
    assert loaded_from_environment(key, text) == f"environment {loading.variable(key)}"


def loaded_from_environment(key: str, text: str) -> str:
    return str(load({loading.variable(key): text or "x"}).origin(key))


@pytest.mark.parametrize("key", sorted(loading.keys()))
def test_every_setting_says_what_it_means(key: str) -> None:
    assert len(loading.meaning(loading.keys()[key])) > 20


def test_values_have_their_types(home: Path) -> None:
    watch = "[watch]\nsettle = '1m30s'\nfilter = ['+ *.h5', '- **']"
    user = f"[limits]\npart_size = '8MiB'\n{watch}\n[client]\nbwlimit = '10M'"
    settings = loaded(home, user=user).settings
    assert settings.limits.part_size == 8 << 20
    assert isinstance(settings.limits.part_size, Size)
    assert settings.watch.settle == 90
    assert isinstance(settings.watch.settle, Seconds)
    assert settings.watch.filter == ["+ *.h5", "- **"]
    assert settings.client.bwlimit.rate_at(0) == 10 << 20


def test_a_list_in_the_environment_is_split_at_semicolons() -> None:
    found = load({"DRAY_WATCH_FILTER": "+ *.h5; - tmp/**"})
    assert found.settings.watch.filter == ["+ *.h5", "- tmp/**"]


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("[client]\nparalel = 3", "did you mean 'client.parallel'?"),
        ("[clients]\nparallel = 3", "did you mean 'client.parallel'?"),
        ("parallel = 3", "write it below [client]"),
        ("[client]\nparallel = 'many'", "Expected `int`, got `str`"),
        ("[client]\nparallel = 0", "`int` >= 1"),
        ("[limits]\npart_size = '8 elephants'", "is not a size"),
        ("[watch]\nsettle = 'soon'", "is not a duration"),
        ("[log]\nlevel = 'loud'", "Invalid enum value"),
        ("[client", "not valid TOML"),
        ("[database]\nurl = 'postgresql://me:secret@host/db'", "database.url_file"),
    ],
)
def test_a_mistake_in_a_file_names_file_key_and_what_was_expected(home: Path, user: str, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(home, user=user)
    assert str(home / "config.toml") in str(caught.value)
    assert wanted in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    with pytest.raises(UsageError, match=r"environment DRAY_CLIENT_PARALLEL: client\.parallel = 'x'"):
        load({"DRAY_CLIENT_PARALLEL": "x"})


def test_an_environment_name_that_is_no_setting_is_warned_of() -> None:
    assert load({"DRAY_CLEINT_URL": "x", "DRAY_TOKEN": "y"}).warnings == (
        "DRAY_CLEINT_URL is not a setting; did you mean DRAY_CLIENT_URL?",
    )


def test_a_settings_file_that_is_named_has_to_exist(home: Path) -> None:
    with pytest.raises(NotFound, match="no such settings file"):
        load({}, file=str(home / "missing.toml"))
    with pytest.raises(NotFound, match="no such settings file"):
        load({"DRAY_CONFIG": str(home / "missing.toml")})


def test_the_named_file_stands_for_the_users_own(home: Path) -> None:
    (home / "config.toml").write_text("[client]\nparallel = 2")
    (home / "other.toml").write_text("[client]\nparallel = 3")
    assert load({}, file=str(home / "other.toml")).settings.client.parallel == 3
    assert load({"DRAY_CONFIG": str(home / "other.toml")}).settings.client.parallel == 3
