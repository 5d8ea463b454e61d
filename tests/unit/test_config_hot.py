"""``[hot.NAME]`` in the settings: three lines do, and every mistake names its file, key and cause."""

from pathlib import Path

import pytest

from dray.config.load import load
from dray.config.settings import Hot
from dray.errors import UsageError

THREE = """
[hot.lab]
path = "~/to_cluster"
to = "sftp://cluster/from_lab"
"""


def hot(tmp_path: Path, text: str, **environ: str) -> dict[str, Hot]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(environ, file=str(file)).settings.hot


def test_three_lines_do(tmp_path: Path) -> None:
    assert hot(tmp_path, THREE) == {"lab": Hot(path="~/to_cluster", to="sftp://cluster/from_lab")}


def test_every_value_is_read_as_people_write_it(tmp_path: Path) -> None:
    text = THREE + (
        'settle = 3\nmax_size = "1G"\nrate = 5\nbwlimit = "08:00,10M 18:00,off"\nevents = ["create", "delete"]\n'
        'accelerate = { above = "2G", command = "scp {source} {target}" }\nretry_for = "2d"\n'
    )
    found = hot(tmp_path, text)["lab"]
    assert (found.settle, found.max_size, found.rate, found.retry_for) == (3, 1 << 30, 5, 172800)
    assert found.bwlimit.rate_at(9 * 60) == 10 << 20
    assert found.events == ["create", "delete"]
    assert found.accelerate is not None
    assert found.accelerate.above == 2 << 30


def test_variables_of_the_environment_are_put_in_everywhere(tmp_path: Path) -> None:
    text = '[hot.a]\npath = "${HOME}/x"\nto = "sftp://${SITE}/y"\nfilter = ["+ ${KIND}"]\n'
    found = hot(tmp_path, text, HOME="/data", SITE="hpfx", KIND="*.h5")["a"]
    assert (found.path, found.to, found.filter) == ("/data/x", "sftp://hpfx/y", ["+ *.h5"])


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("sendrs = 3", "hot.lab.sendrs.*did you mean 'senders'"),
        ("senders = 0", "hot.lab.senders = 0: Expected `int` >= 1"),
        ("rate = 0", "hot.lab.rate = 0: Expected `float` > 0"),
        ('settle = "soon"', "hot.lab.settle = 'soon'.*not a duration"),
        ('events = ["creat"]', "hot.lab.events.*creat"),
        ('accelerate = { abov = "1G" }', "hot.lab.accelerate.*no key 'abov'"),
        ('accelerate = { above = "1G" }', "hot.lab.accelerate.*lacks 'command'"),
        ('vip = "${NOWHERE}"', "hot.lab.vip.*NOWHERE.*is not set"),
    ],
)
def test_a_mistake_names_its_file_its_key_and_its_cause(tmp_path: Path, line: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause) as caught:
        hot(tmp_path, THREE + line)
    assert "config.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('[hot.a]\npath = "x"\n', r"\[hot.a\] has no 'to'"),
        ('[hot]\npath = "x"\n', "stands outside a table"),
        ('[hot."a b"]\npath = "x"\n', "not a name"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        hot(tmp_path, text)
