"""``dray host trust`` against a real sshd."""

import io
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dray.cli.context import App
from dray.cli.main import main
from tests.servers.sshd import HOST, Sshd, make_key, sshd


@pytest.fixture
def server() -> Iterator[Sshd]:
    with TemporaryDirectory(prefix="sshd-") as base, sshd(Path(base)) as found:
        yield found


def dray(server: Sshd, *words: str) -> tuple[int, str]:
    """Run the command line as somebody who cannot be asked; return its code and all it printed."""
    out = io.StringIO()
    app = App(out=out, err=out, environ={"DRAY_SSH_CONFIG_FILE": str(server.config)})
    return main(["host", "trust", *words], app), out.getvalue()


def known(server: Sshd) -> str:
    return (server.base / "known_hosts").read_text()


def test_a_new_host_is_trusted_when_somebody_says_so(server: Sshd) -> None:
    (server.base / "known_hosts").write_text("# mine, without a line end")
    code, said = dray(server, HOST)
    assert code == 2
    assert server.fingerprint() in said
    assert "not confirmed" in said
    assert "ssh-ed25519" not in known(server)
    code, said = dray(server, HOST, "--yes")
    assert code == 0
    assert "new" in said
    before = known(server)
    assert before.startswith(f"# mine, without a line end\n[127.0.0.1]:{server.port} ssh-ed25519 ")
    code, said = dray(server, f"sftp://{HOST}/any", "--yes")
    assert code == 0
    assert "trusted already" in said
    assert known(server) == before


def test_only_the_named_fingerprint_is_trusted(server: Sshd) -> None:
    (server.base / "known_hosts").unlink()
    code, said = dray(server, HOST, "--fingerprint", "SHA256:somethingelse")
    assert code == 4
    assert "no key of this fingerprint" in said
    assert not (server.base / "known_hosts").exists()
    assert dray(server, HOST, "--fingerprint", server.fingerprint())[0] == 0
    assert "ssh-ed25519" in known(server)


def test_a_changed_key_needs_more_than_yes(server: Sshd) -> None:
    before = known(server)
    server.change_key()
    code, said = dray(server, HOST, "--yes")
    assert code == 2
    assert "changed" in said
    assert "another key before" in said
    assert known(server) == before
    assert dray(server, HOST, "--fingerprint", server.fingerprint())[0] == 0
    assert known(server).count("ssh-ed25519") == 1
    assert known(server) != before
    assert "trusted already" in dray(server, HOST)[1]


def test_a_host_that_is_away_is_told(server: Sshd) -> None:
    server.stop()
    code, said = dray(server, HOST, "--yes")
    assert code == 5
    assert "refused" in said


def test_a_further_key_of_a_trusted_host_is_new_and_none_is_forgotten(server: Sshd) -> None:
    with (server.base / "sshd_config").open("a") as config:
        config.write(f"HostKey {server.base}/second\n")
    make_key(server.base / "second", kind="ecdsa")
    server.stop()
    server.start()
    before = known(server)
    code, said = dray(server, HOST, "--yes")
    assert code == 0
    assert "changed" not in said
    assert known(server).startswith(before)
    assert known(server).count(f"[127.0.0.1]:{server.port}") == 2
