"""Uploads by hand: the calls of docs/api.md in a fixed order, one at a time, so that every run makes the same calls.

What the server says on the way (an accepted view) is kept with what the own reader found at that moment.
"""

import hashlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from crc32c import crc32c

from tests.faults.oracle import Said
from tests.faults.store import Store
from tests.faults.surfaces import Surfaces

WAIT = 25


class Content(NamedTuple):
    """A file to upload: ``token`` is its source version."""

    path: str
    data: bytes
    token: str = "1"

    @property
    def checksum(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


Small = tuple[Content, dict[str, Any]]


def loads(small: Sequence[Small]) -> Iterator[list[Small]]:
    """Yield files in bundles of at most one part's bytes."""
    load: list[Small] = []
    for one in small:
        if load and sum(len(content.data) for content, _ in [*load, one]) > one[1]["part_size"]:
            yield load
            load = []
        load.append(one)
    if load:
        yield load


class Hand:
    """Speaks to one server about one dataset. Every call raises one of TROUBLE when the server dies in it."""

    def __init__(self, surfaces: Surfaces, store: Store, dataset: str) -> None:
        self.surfaces, self.store, self.dataset = surfaces, store, dataset
        self.said: list[Said] = []
        self.problems: list[str] = []

    def upload(self, contents: Sequence[Content], claims: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Bring files in, as one batch; ``claims`` are wrong checksums by path. Returns the views of the uploads."""
        staged = self.stage(contents)
        todo = [(c, s) for c, s in zip(contents, staged, strict=True) if not s.get("done") and "problem" not in s]
        small = [(c, s) for c, s in todo if len(c.data) <= s["part_size"]]
        for load in loads(small):
            self.bundle(load)
        for content, upload in todo:
            if len(content.data) > upload["part_size"]:
                self.parts(content, upload)
        return self.complete([(c, s, (claims or {}).get(c.path, c.checksum)) for c, s in todo])

    def stage(self, contents: Sequence[Content]) -> list[dict[str, Any]]:
        """Register files; what is done already is said to be there."""
        files = [{"path": c.path, "size": len(c.data), "version": c.token, "checksum": c.checksum} for c in contents]
        staged = self.items("/uploads", {"dataset": self.dataset, "create": True, "files": files})
        for content, upload in zip(contents, staged, strict=True):
            if upload.get("done"):
                self.hear("stage says done", content.path, content.checksum)
        return staged

    def note(self, answers: Sequence[dict[str, Any]]) -> None:
        """Keep the problems among the answers, as ``code: detail``."""
        told = [item["problem"] for item in answers if "problem" in item]
        self.problems += [f"{problem['code']}: {problem['detail']}" for problem in told]

    def items(self, path: str, body: object) -> list[dict[str, Any]]:
        """Make a batch call and return one answer an item."""
        answer = self.surfaces.call("POST", path, body)["items"]
        self.note(answer)
        found: list[dict[str, Any]] = answer
        return found

    def bundle(self, small: Sequence[Small]) -> None:
        """Send small files in one request."""
        items = [{"upload": s["upload"], "size": len(c.data), "crc32c": f"{crc32c(c.data):08x}"} for c, s in small]
        manifest = json.dumps({"items": items}).encode()
        body = len(manifest).to_bytes(4, "big") + manifest + b"".join(content.data for content, _ in small)
        answer = self.surfaces.call("POST", "/uploads/bundle", body, "application/vnd.dray.bundle")
        self.note(answer["items"])

    def parts(self, content: Content, upload: dict[str, Any]) -> None:
        """Send the parts that are not held, one after another."""
        size = upload["part_size"]
        held = {part["number"] for part in upload["held"]}
        numbers = [n for n in range(1, -(-len(content.data) // size) + 1) if n not in held]
        wanted = [{"upload": upload["upload"], "number": number} for number in numbers]
        urls = self.items("/uploads/parts", {"items": wanted}) if wanted else []
        for number, url in zip(numbers, urls, strict=True):
            if "problem" not in url:
                self.put(url, content.data[(number - 1) * size : number * size])

    def put(self, url: dict[str, Any], data: bytes) -> None:
        """Send one part."""
        split = urlsplit(url["url"])
        headers = {**url["headers"], "X-Dray-Crc32c": f"{crc32c(data):08x}"}
        connection = http.client.HTTPConnection(split.netloc, timeout=60)
        try:
            connection.request("PUT", f"{split.path}?{split.query}", data, headers)
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            self.note([{"problem": json.loads(told)}])

    def complete(self, claims: Sequence[tuple[Content, dict[str, Any], str]]) -> list[dict[str, Any]]:
        """Claim what was sent and wait for the verdicts."""
        items = [{"upload": s["upload"], "size": len(c.data), "checksum": claim} for c, s, claim in claims]
        views = self.items(f"/uploads/complete?wait={WAIT}", {"items": items}) if items else []
        for view, (content, _, claim) in zip(views, claims, strict=True):
            if view.get("state") == "accepted":
                self.hear("complete", content.path, claim)
            elif "problem" not in view and view["reason"]:
                self.problems.append(view["reason"])
        return views

    def hear(self, surface: str, path: str, checksum: str) -> None:
        """Note that a content was called done, and look at once."""
        key, sha256 = f"{self.dataset}/{path}", checksum.removeprefix("sha256:")
        self.said.append(Said(surface, key, sha256, time.monotonic(), self.store.holds(key, frozenset({sha256}))))

    def cancel(self, contents: Sequence[Content]) -> None:
        """Stage files, send their first bytes, then give them up."""
        staged = [s for s in self.stage(contents) if "problem" not in s]
        for content, upload in zip(contents, staged, strict=True):
            if len(content.data) <= upload["part_size"]:
                self.bundle([(content, upload)])
            else:
                self.parts(content, upload)
        self.items("/uploads/cancel", {"items": [{"upload": upload["upload"]} for upload in staged]})
