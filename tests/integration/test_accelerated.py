"""A program may bring large files; whatever it does, what is published was verified."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dray.agent.send import Lane
from dray.agent.watch import watch_once
from dray.model.values import Limits
from dray.transports.accelerated import Accelerating, Program
from dray.transports.posix import Posix
from dray.transports.sftp.session import Sftp
from tests.integration.hot import Hot
from tests.servers.sshd import Sshd

LARGE = os.urandom(5 << 20)
SMALL = b"small"
COPY = "import shutil, sys; shutil.copyfile(*sys.argv[2:]); open(sys.argv[1], 'a').write('x')"
LIE = "import sys; open(sys.argv[3], 'r+b').write(b'wrong'); open(sys.argv[1], 'a').write('x')"
FAIL = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit('no network')"


@dataclass
class Fast(Hot):
    script: str = COPY

    def lane(self) -> Lane:
        command = (sys.executable, "-c", self.script, str(self.base / "ran"), "{source}", "{target}")
        place = Posix(self.store, limits=Limits(piece=1 << 20))
        lane = super().lane()
        return Lane(Accelerating(place, Program(2 << 20, command)), 2, lane.arrived)

    def ran(self) -> int:
        return (self.base / "ran").stat().st_size if (self.base / "ran").exists() else 0


@pytest.mark.parametrize("script", [COPY, LIE, FAIL])
def test_what_arrives_is_right_whatever_the_program_does(tmp_path: Path, script: str) -> None:
    hot = Fast(tmp_path, script=script)
    hot.root.mkdir()
    (hot.root / "-large one; $(rm) 'x'").write_bytes(LARGE)
    (hot.root / "small").write_bytes(SMALL)
    for _ in range(3):
        hot.once()
    assert hot.stored() == {"-large one; $(rm) 'x'": LARGE, "small": SMALL}
    assert 1 <= hot.ran() <= 3
    assert set(hot.states().values()) == {"delivered"}


def test_a_program_that_does_not_exist_only_costs_a_line_in_the_log(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    hot.root.mkdir()
    (hot.root / "large").write_bytes(LARGE)
    place = Posix(hot.store, limits=Limits(piece=1 << 20))

    program = Program(1, ("no-such-program", "{source}", "{target}"))
    asyncio.run(once(hot, Lane(Accelerating(place, program))))
    assert hot.stored() == {"large": LARGE}


def test_scp_brings_a_large_file_to_an_account_behind_ssh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sshd = Sshd(tmp_path / "sshd")
    sshd.start()
    try:
        hot = Hot(tmp_path)
        hot.root.mkdir()
        (hot.root / "large").write_bytes(LARGE)
        words = ("scp", "-q", "-F", str(sshd.config), "{source}", "{target}")
        place = Sftp(sshd.settings(hot.store, limits=Limits(piece=1 << 20)))
        asyncio.run(once(hot, Lane(Accelerating(place, Program(1, words)))))
    finally:
        sshd.stop()
    assert hot.stored() == {"large": LARGE}
    assert "so it is sent" not in caplog.text


async def once(hot: Hot, lane: Lane) -> None:
    await watch_once(hot.directory(), lane, hot.told, asyncio.Event(), hot.clock)
