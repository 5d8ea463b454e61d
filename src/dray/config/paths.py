"""Where settings, state and secrets of this user and this machine live."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs


def user_config_dir() -> Path:
    """Return the directory of the user's settings."""
    return Path(platformdirs.user_config_dir("dray", appauthor=False))


def user_state_dir() -> Path:
    """Return the directory of journals, logs and what else must survive a reboot."""
    return Path(platformdirs.user_state_dir("dray", appauthor=False))


def user_cache_dir() -> Path:
    """Return the directory of what can be made again."""
    return Path(platformdirs.user_cache_dir("dray", appauthor=False))


def system_config_file() -> Path:
    """Return the settings file of the machine."""
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "dray" / "config.toml"
    return Path("/etc/dray/config.toml")


def user_config_file(environ: Mapping[str, str], named: str | None = None) -> Path:
    """Return the settings file of the user; ``named`` (--config), then DRAY_CONFIG name another one."""
    named = named or environ.get("DRAY_CONFIG")
    return Path(named).expanduser() if named else user_config_dir() / "config.toml"
