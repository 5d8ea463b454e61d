"""HTTP by hand, for those who break its rules: bodies that come in bits, end early or say they are something else."""

import http.client
import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from crc32c import crc32c

from tests.servers.process import LOOPBACK

API = "/api/v1"
PATIENCE = 60.0
GONE = (OSError, http.client.HTTPException)
"""What a request raises when the server cuts it off."""


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 means that the connection ended without an answer."""

    status: int
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem document; empty when it is none."""
        with suppress(ValueError):
            return str(self.json.get("code", ""))
        return ""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The answers of a batch; a call that failed as a whole raises."""
        if self.status != 200:
            raise RuntimeError(f"{self.status} {self.body[:300].decode(errors='replace')}")
        return list(self.json["items"])


def problem(item: Mapping[str, Any]) -> str:
    """Return the code of the problem in the place of an item, or nothing."""
    return str(item.get("problem", {}).get("code", ""))


class Raw:
    """One client with one token; each request has a connection of its own."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port, self.token = port, token

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None, text: bool = True
    ) -> Answer:
        """Make one request; what is not bytes is sent as JSON, an address loses its server."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token and text else {}
        if body is not None and not isinstance(body, bytes):
            body, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        try:
            connection.request(method, target_of(target), body, given | dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        except GONE:
            return Answer(0)
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", API + path)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", API + path, {} if body is None else body, headers)

    # Uploads

    def stage(self, dataset: str, *files: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Stage files; each is at least path, size and version."""
        return self.post("/uploads", {"dataset": dataset, "files": list(files)}).items

    def url(self, upload: int, number: int = 1) -> str:
        """Return where a part is PUT, or nothing when that is refused."""
        (signed,) = self.post("/uploads/parts", {"items": [{"upload": upload, "number": number}]}).items
        return str(signed.get("url", ""))

    def put(self, url: str, data: bytes, crc: int | None = None) -> Answer:
        """PUT one part; its address is the right to do so."""
        return self.ask("PUT", url, data, {"X-Dray-Crc32c": crc_of(data, crc)}, text=False)

    def bundle(self, items: Mapping[int, bytes]) -> Answer:
        """Send whole small files by the numbers of their uploads."""
        told = [{"upload": upload, "size": len(data), "crc32c": crc_of(data)} for upload, data in items.items()]
        return self.raw_bundle(json.dumps({"items": told}).encode(), b"".join(items.values()))

    def raw_bundle(self, manifest: bytes, bodies: bytes) -> Answer:
        """Send a bundle as it is given."""
        body = struct.pack(">I", len(manifest)) + manifest + bodies
        return self.ask("POST", f"{API}/uploads/bundle", body, {"Content-Type": "application/vnd.dray.bundle"})

    def complete(self, claims: Mapping[int, tuple[int, str]], wait: float = 0) -> Answer:
        """Claim size and sha256 of uploads."""
        items = [{"upload": u, "size": size, "checksum": f"sha256:{hexed}"} for u, (size, hexed) in claims.items()]
        return self.post(f"/uploads/complete?wait={wait:g}", {"items": items})

    def cancel(self, *uploads: int) -> Answer:
        return self.post("/uploads/cancel", {"items": [{"upload": upload} for upload in uploads]})

    def verdict(self, upload: int, wait: float = 30) -> dict[str, Any]:
        """Return an upload, after its verdict if that comes in time."""
        return self.get(f"/uploads?id={upload}&wait={wait:g}").items[0]

    def token_with(self, scopes: list[str], datasets: list[str]) -> tuple["Raw", int]:
        """Make a token; return a client that has it, and its number."""
        made = self.post("/tokens", {"name": "guest", "scopes": scopes, "datasets": datasets}).json
        return Raw(self.port, made["secret"]), int(made["token"])


class Slow:
    """A request whose body is sent on order."""

    def __init__(self, port: int, method: str, target: str, headers: Mapping[str, str]) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=PATIENCE)
        lines = [f"{method} {target_of(target)} HTTP/1.1", f"Host: {LOOPBACK}:{port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> bool:
        """Send some more; False when the other side is gone."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def answer(self) -> Answer:
        """Wait for what is answered, and close."""
        answer = http.client.HTTPResponse(self._socket)
        try:
            answer.begin()
            return Answer(answer.status, answer.read())
        except GONE:
            return Answer(0)
        finally:
            self.close()

    def close(self, reset: bool = False) -> None:
        """End the connection, by RST if wanted."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def slow_put(port: int, url: str, data: bytes, length: int | None = None) -> Slow:
    """Begin to PUT a part, of which nothing is sent yet."""
    size = len(data) if length is None else length
    return Slow(port, "PUT", url, {"X-Dray-Crc32c": crc_of(data), "Content-Length": str(size)})


def crc_of(data: bytes, crc: int | None = None) -> str:
    """Return a crc32c as it is announced."""
    return f"{crc32c(data) if crc is None else crc:08x}"


def target_of(address: str) -> str:
    """Return path and query of an address as they are, or the text itself when it is a path."""
    if not address.startswith("http"):
        return address
    parts = urlsplit(address)
    return parts.path + (f"?{parts.query}" if parts.query else "")
