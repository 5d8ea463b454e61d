"""The frame of the command line: quick help, exit codes, errors that say what to do, secrets that stay secret."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dray import errors
from dray.cli import exits, failure, main
from dray.cli.command import DrayCommand, DrayGroup, define
from dray.cli.context import App
from dray.cli.group import LazyGroup
from dray.cli.interrupt import Interrupted
from dray.cli.table import SECTIONS
from dray.errors import DrayError

HEAVY = {"rich", "pycurl", "msgspec", "asyncio", "logging", "sqlalchemy", "starlette", "ssl", "socket", "tomllib"}


class Ran:
    """What a run of the command line left."""

    def __init__(self, code: int, out: io.StringIO, err: io.StringIO) -> None:
        self.code, self.out, self.err = code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def run(*args: str, env: dict[str, str] | None = None) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    return Ran(main.main(args, App(env or {}, out, err)), out, err)


def run_failing(error: BaseException, *args: str, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Run a command that ends with ``error``."""

    @define("fail", examples=("dray fail",), needs_settings=False)
    def command(app: App) -> None:
        raise error

    group = click.Group("dray", commands=[command])
    monkeypatch.setattr(main, "root", lambda: group)
    return run("fail", *args)


def test_help_loads_nothing_heavy() -> None:
    code = "import sys\nfrom dray.cli.main import main\nmain(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "Usage: dray" in done.stdout
    assert loaded & HEAVY == set()
    assert len(done.stderr.split()) < 200


def test_help_names_every_command_by_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help").code == 0
    text = capsys.readouterr().out
    for section in SECTIONS:
        assert f"{section.title}:" in text
        assert all(f"  {entry.name} " in text for entry in section.entries)
    assert text.index("Move data:") < text.index("Examples:") < text.index("Options")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version").code == 0
    assert capsys.readouterr().out.startswith("dray ")


def test_an_unknown_command_suggests_one() -> None:
    ran = run("statsu")
    assert ran.code == exits.USAGE
    assert "Did you mean 'status'?" in ran.err


def test_an_unknown_option_is_a_usage_error() -> None:
    assert run("version", "--colour").code == exits.USAGE


def test_common_options_count_before_and_after_the_command() -> None:
    before, after = run("--json", "version"), run("version", "--json")
    assert before.code == after.code == 0
    assert json.loads(before.out) == json.loads(after.out)


@pytest.mark.parametrize("cls", sorted(set(errors.error_classes().values()), key=lambda cls: cls.code))
def test_every_failure_ends_with_its_exit_code_and_says_file_cause_and_next_step(
    cls: type[DrayError], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run_failing(cls("it went wrong", item="a.h5", hint="do this"), monkeypatch=monkeypatch)
    assert ran.code == cls.exit_code
    assert cls.exit_code in exits.MEANINGS
    assert "dray: a.h5: it went wrong\n" in ran.err
    assert "next step: do this" in ran.err
    assert f"code: {cls.code}, exit {cls.exit_code}" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("cls", sorted(set(errors.error_classes().values()), key=lambda cls: cls.code))
def test_a_failure_without_a_hint_has_a_next_step_all_the_same(cls: type[DrayError]) -> None:
    assert any(line.startswith("  next step: ") for line in failure.as_text(cls("it went wrong")))


def test_an_interrupt_is_told_to_programs_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run_failing(KeyboardInterrupt(), "--jsonl", monkeypatch=monkeypatch)
    assert json.loads(ran.err)["event"] == "interrupted"


def test_programs_get_the_failure_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run_failing(errors.Busy("held", item="x", after=3.0), "--json", monkeypatch=monkeypatch)
    document = json.loads(ran.err)
    assert (document["v"], document["event"], document["code"], document["exit"]) == (1, "error", "busy", 5)
    assert (document["item"], document["retry"], document["after"]) == ("x", "later", 3.0)


def test_a_hostile_name_in_a_failure_stays_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run_failing(errors.NotFound("gone", item="a\nb\x1b[31m\u202ec\udcff"), monkeypatch=monkeypatch)
    assert ran.err.splitlines()[0] == r"dray: a\nb\x1b[31m\u202ec\udcff: gone"


def test_failures_in_a_group_of_tasks_are_found() -> None:
    group = BaseExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("inner", [errors.Busy("held")])])
    found = failure.translate(group)
    assert isinstance(found, errors.Busy)


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOENT, exits.NOT_FOUND), (errno.EACCES, exits.PERMANENT), (errno.ENOSPC, exits.TEMPORARY)],
)
def test_what_the_operating_system_refuses_is_no_crash(number: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run_failing(OSError(number, "no", "file.h5"), monkeypatch=monkeypatch)
    assert ran.code == code
    assert "file.h5" in ran.err


def test_a_defect_says_where_its_details_are_and_hides_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "dray_" + "s3cr3t" * 4
    ran = run_failing(RuntimeError(f"boom {secret}"), monkeypatch=monkeypatch)
    log = tmp_path / "xdg_state_home" / "dray" / "crash.log"
    assert ran.code == exits.UNEXPECTED
    assert str(log) in ran.err
    assert "Traceback" not in ran.err
    assert "RuntimeError" in log.read_text()
    assert secret not in ran.err + log.read_text()


def test_a_defect_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run_failing(RuntimeError("boom"), "-vv", monkeypatch=monkeypatch)
    assert "Traceback" in ran.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort(), Interrupted()])
def test_an_interrupted_command_ends_with_130(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run_failing(error, monkeypatch=monkeypatch)
    assert ran.code == exits.INTERRUPTED
    assert "interrupted" in ran.err


def test_a_closed_pipe_is_no_crash() -> None:
    command = f"{sys.executable} -m dray.cli.main config show --jsonl | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert int(done.stdout) in (0, exits.INTERRUPTED)
    assert done.stderr == ""


def test_the_group_loads_commands_and_refuses_what_is_none() -> None:
    group = main.root()
    assert isinstance(group, LazyGroup)
    context = click.Context(group)
    assert isinstance(group.get_command(context, "version"), DrayCommand)
    assert isinstance(group.get_command(context, "token"), DrayGroup)
    assert group.get_command(context, "nothing") is None


def test_there_are_thirteen_exit_codes() -> None:
    assert sorted(exits.MEANINGS) == [*range(12), 130]
    assert {cls.exit_code for cls in errors.error_classes().values()} <= set(exits.MEANINGS)
