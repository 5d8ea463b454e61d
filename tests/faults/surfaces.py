"""Reads what a server shows, over plain HTTP and without Dray's client: the native API's pages, events and verdicts."""

import http.client
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from tests.faults.ledger import Written
from tests.faults.oracle import Shown, Upload

PAGE = 1000
BATCH = 256
TROUBLE = (OSError, http.client.HTTPException, ValueError)
"""What a call raises while the server is down or dying."""


class Refused(ValueError):
    """The server answered with a problem."""


class Happened(NamedTuple):
    """One event of the stream."""

    id: str
    kind: str
    key: str | None
    upload: int | None
    reason: str


def bare(checksum: str | None) -> str | None:
    """Return the hex digits of ``sha256:...``."""
    return checksum.removeprefix("sha256:") if checksum else None


class Surfaces:
    """What one server shows; every question has a connection of its own."""

    def __init__(self, url: str, token: str, timeout: float = 20) -> None:
        self._host = urlsplit(url).netloc
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = timeout

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        """Make one call and return its JSON; a body of bytes is sent as it is. Raises one of TROUBLE."""
        connection = http.client.HTTPConnection(self._host, timeout=self._timeout)
        try:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, f"/api/v1{path}", sent, self._headers | {"Content-Type": kind})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {data[:300].decode(errors='replace')}")
        return json.loads(data)

    def pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Yield the items of all pages."""
        cursor = None
        while True:
            asked = {name: value for name, value in {**query, "limit": PAGE, "cursor": cursor}.items() if value}
            page = self.call("GET", f"{path}?{urlencode(asked)}")
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def files(self) -> list[Shown]:
        """Return every version of every file."""
        return [
            Shown(key_of(f), f["version_number"], f["size"], bare(f["checksum"]), f["state"], f["current"])
            for f in self.pages("/files", version="all")
        ]

    def events(self, after: str | None) -> list[Happened]:
        """Return up to a page of events after a position."""
        asked = {"limit": PAGE} | ({"after": after} if after else {})
        items = self.call("GET", f"/events?{urlencode(asked)}")["items"]
        return [happened(item) for item in items]

    def all_events(self) -> list[Happened]:
        """Return all events from the first one."""
        found: list[Happened] = []
        while page := self.events(found[-1].id if found else None):
            found += page
        return found

    def uploads(self, numbers: Iterable[int]) -> list[Upload]:
        """Return uploads by their numbers."""
        wanted = sorted(set(numbers))
        groups = [wanted[i : i + BATCH] for i in range(0, len(wanted), BATCH)]
        views = [view for group in groups for view in self._uploads(group)]
        return [Upload(v["upload"], key_of(v), v["state"], v["reason"], v["next_try"]) for v in views]

    def _uploads(self, group: Sequence[int]) -> Iterator[dict[str, Any]]:
        items = self.call("GET", f"/uploads?{urlencode([('id', number) for number in group])}")["items"]
        return (item for item in items if "problem" not in item)

    def verified(self, versions: Sequence[Written]) -> list[Written]:
        """Return those versions that the server calls verified: the question behind "safe to delete"."""
        found: list[Written] = []
        for dataset in sorted({version.key.partition("/")[0] for version in versions}):
            mine = [version for version in versions if version.key.startswith(f"{dataset}/")]
            for start in range(0, len(mine), PAGE):
                found += self._verified(dataset, mine[start : start + PAGE])
        return found

    def _verified(self, dataset: str, versions: Sequence[Written]) -> list[Written]:
        items = [{"path": v.key.partition("/")[2], "size": v.size, "checksum": f"sha256:{v.sha256}"} for v in versions]
        answers = self.call("POST", "/files/check", {"dataset": dataset, "items": items})["items"]
        return [v for v, answer in zip(versions, answers, strict=True) if answer.get("state") == "verified"]

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        found: dict[str, Any] = self.call("GET", "/status")
        return found


def key_of(item: dict[str, Any]) -> str:
    """Return ``dataset/path`` of a view."""
    return f"{item['dataset']}/{item['path']}"


def happened(item: dict[str, Any]) -> Happened:
    """Read one event."""
    key = key_of(item) if item.get("dataset") and item.get("path") else None
    return Happened(item["id"], item["kind"], key, item.get("upload"), str(item.get("data", {}).get("reason", "")))
