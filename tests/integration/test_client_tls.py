"""Certificates are always checked: against the authorities of the machine, or those that are named."""

import asyncio
import os
import ssl
import subprocess
from pathlib import Path

import pytest

from dray.client.http import Http, HttpSettings, Request, Response
from dray.errors import Denied, Unreachable, UsageError
from dray.fs import FileRange
from tests.servers.process import find_command
from tests.servers.scripted import Answer, scripted


class Authority:
    """A certificate for an address that nobody trusts yet."""

    def __init__(self, base: Path, name: str) -> None:
        self.file, key = base / f"{name}.pem", base / f"{name}.key"
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
        names = ["-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(self.file)]
        command = [find_command("openssl", "openssl"), *make.split(), *names]
        subprocess.run(command, check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "IP:127.0.0.1")


def send(request: Request, ca_file: Path | None = None, times: int = 1) -> Response:
    async def story() -> Response:
        async with Http(HttpSettings(ca_file=str(ca_file) if ca_file else None)) as http:
            for _ in range(times - 1):
                await http.send(request)
            return await http.send(request)

    return asyncio.run(story())


def test_a_server_whose_authority_is_named_is_spoken_to(authority: Authority, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(os.urandom(1_000_000))
    with (
        content.open("rb") as file,
        scripted(lambda request: Answer(200, request.body), tls=authority.context) as server,
    ):
        request = Request("PUT", server.url, (), (FileRange(file.fileno(), 0, 1_000_000),))
        assert send(request, authority.file, times=3).body == content.read_bytes()
    assert {request.connection for request in server.requests} == {1}


def test_an_unknown_authority_is_not_trusted_and_nothing_is_sent(authority: Authority) -> None:
    with scripted(lambda request: Answer(), tls=authority.context) as server:
        with pytest.raises(Denied) as denied:
            send(Request("POST", server.url, (("Authorization", "Bearer secret"),), (b"body",)))
        assert server.requests == []
    assert "ca_file" in denied.value.hint
    assert "secret" not in str(denied.value)


def test_a_certificate_of_another_name_is_not_trusted(tmp_path: Path) -> None:
    other = Authority(tmp_path, "DNS:elsewhere.example")
    with scripted(lambda request: Answer(), tls=other.context) as server, pytest.raises(Denied):
        send(Request("GET", server.url), other.file)


def test_a_file_without_certificates_is_a_mistake(authority: Authority, tmp_path: Path) -> None:
    with scripted(lambda request: Answer(), tls=authority.context) as server, pytest.raises(UsageError):
        send(Request("GET", server.url), tmp_path / "absent.pem")


def test_a_server_without_encryption_is_told_apart() -> None:
    with scripted(lambda request: Answer()) as server, pytest.raises(Unreachable, match="secure"):
        send(Request("GET", server.url.replace("http:", "https:")))
