"""A small HTTP client for tests of the API: the standard library alone, so that nothing of ours is on both sides."""

import http.client
import json
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from crc32c import crc32c

from tests.servers.dray import DrayServer

API = "/api/v1"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def items(self) -> list[Any]:
        assert self.status == 200, self.body
        return list(self.json["items"])

    @property
    def code(self) -> str:
        """The code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        assert self.json["status"] == self.status
        return str(self.json["code"])


class Rest:
    """Talks to one server with one token."""

    def __init__(self, server: DrayServer, token: str | None = None) -> None:
        self.server = server
        self.token = server.token if token is None else token

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Make one request; what is not bytes is sent as JSON. A path that is a whole URL loses its server."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None and not isinstance(body, bytes):
            body, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        parts = urlsplit(path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, target, body, given | (headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", API + path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", API + path, body if body is not None else {}, headers)

    def token_with(self, *scopes: str, datasets: tuple[str, ...] = ()) -> tuple["Rest", int]:
        """Make a token with these rights; return a client that uses it, and its number."""
        made = self.post("/tokens", {"name": "t", "scopes": list(scopes), "datasets": list(datasets)}).json
        return Rest(self.server, made["secret"]), made["token"]

    # One upload

    def stage(self, dataset: str, files: dict[str, int], **more: Any) -> list[Any]:
        """Stage files of these sizes."""
        asked = [
            {"path": path, "size": size, "version": secrets.token_hex(4), "source": "test", **more}
            for path, size in files.items()
        ]
        return self.post("/uploads", {"dataset": dataset, "files": asked}).items

    def url(self, upload: int, number: int = 1) -> str:
        (signed,) = self.post("/uploads/parts", {"items": [{"upload": upload, "number": number}]}).items
        return str(signed["url"])

    def put(self, url: str, data: bytes, crc: int | None = None, **headers: str) -> Answer:
        """PUT a part without a token: the URL is the right."""
        given = {"X-Dray-Crc32c": f"{crc32c(data) if crc is None else crc:08x}"}
        return Rest(self.server, "").ask("PUT", url, data, given | headers)

    def bundle(self, items: list[tuple[int, bytes]], **headers: str) -> Answer:
        manifest = json.dumps(
            {"items": [{"upload": u, "size": len(d), "crc32c": f"{crc32c(d):08x}"} for u, d in items]}
        ).encode()
        body = len(manifest).to_bytes(4, "big") + manifest + b"".join(data for _, data in items)
        return self.ask(
            "POST", f"{API}/uploads/bundle", body, {"Content-Type": "application/vnd.dray.bundle"} | headers
        )

    def complete(self, items: list[tuple[int, bytes]], wait: float = 30) -> list[Any]:
        claims = [{"upload": u, "size": len(d), "checksum": digest(d)} for u, d in items]
        return self.post(f"/uploads/complete?wait={wait}", {"items": claims}).items

    def upload(self, dataset: str, files: dict[str, bytes]) -> list[Any]:
        """Bring small files in and return their verdicts."""
        staged = self.stage(dataset, {path: len(data) for path, data in files.items()})
        sent = [(one["upload"], data) for one, data in zip(staged, files.values(), strict=True)]
        assert all("problem" not in receipt for receipt in self.bundle(sent).items)
        return self.complete(sent)


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
