"""The pages made from the code are fresh, and everything in them can be followed."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dray.cli import reference
from dray.cli.command import DrayCommand, DrayGroup
from dray.cli.group import load
from dray.cli.table import ENTRIES
from dray.config import load as loading

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def family(name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command with its whole name, and those below it."""
    command = load(ENTRIES[name])
    yield name, command
    if isinstance(command, DrayGroup):
        yield from ((f"{name} {sub}", found) for sub, found in command.commands.items())


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "output.schema.json"])
def test_the_page_is_fresh(name: str) -> None:
    kept = (ROOT / "docs" / name).read_text("utf-8")
    assert kept == reference.pages()[name], "stale; run: python -m dray.cli.reference docs"


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_every_command_has_help_with_an_example(entry: str) -> None:
    for name, command in family(entry):
        assert isinstance(command, DrayCommand | DrayGroup)
        assert command.help
        shown = CliRunner().invoke(command, ["--help"], prog_name=f"dray {name}").output
        assert f"dray {name}" in shown.partition("Examples:")[2]


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_no_option_of_a_command_hides_a_common_one(entry: str) -> None:
    for _, command in family(entry):
        flags = [flag for param in command.params if isinstance(param, click.Option) for flag in param.opts]
        assert sorted(flags) == sorted(set(flags))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    local = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("key", sorted(loading.keys()))
def test_every_setting_is_used(key: str) -> None:
    code = [path for path in (ROOT / "src" / "dray").rglob("*.py") if path.parent.name != "config"]
    attribute = re.compile(rf"\.{key.partition('.')[2]}\b")
    assert any(attribute.search(path.read_text("utf-8")) for path in code)


def test_commands_named_in_the_pages_exist() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|[`|(;] ?|if )dray ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert named - set(ENTRIES) == set()
