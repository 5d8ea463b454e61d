"""Finds file bytes and documents in a stream of HTTP/1.1 requests or answers, so that a fault can be aimed at them."""

import re
from dataclasses import dataclass

Span = tuple[int, int]
BUNDLE = b"/uploads/bundle"
LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass
class Body:
    """What is left of one body: ``document`` bytes that say something, then ``files`` bytes that belong to files."""

    document: int
    files: int


class Bodies:
    """Follows one direction of a connection; ``feed`` returns where in the block just given file bytes lie.

    File bytes are the bodies of PUT requests, and of a bundle what follows its manifest. All other bodies are
    documents; ``documents`` tells where they lay in that block.
    """

    def __init__(self) -> None:
        self.documents: list[Span] = []
        self.where = "before the first request"
        self._head = bytearray()
        self._prefix: bytearray | None = None
        self._body: Body | None = None

    def feed(self, data: bytes) -> list[Span]:
        """Take the next block of the stream."""
        spans: list[Span] = []
        self.documents = []
        at = 0
        while at < len(data):
            at = self._step(data, at, spans)
        return spans

    def _step(self, data: bytes, at: int, spans: list[Span]) -> int:
        if self._body is None:
            return self._take_head(data, at)
        if self._prefix is not None:
            return self._take_prefix(data, at)
        if self._body.document:
            taken = min(self._body.document, len(data) - at)
            self._body.document -= taken
            self.documents.append((at, at + taken))
        else:
            taken = min(self._body.files, len(data) - at)
            self._body.files -= taken
            spans.append((at, at + taken))
        self._end_body()
        return at + taken

    def _take_head(self, data: bytes, at: int) -> int:
        begin = len(self._head)
        self._head += data[at:]
        end = self._head.find(b"\r\n\r\n", max(0, begin - 3))
        if end < 0:
            return len(data)
        used = end + 4 - begin
        self._begin_body(bytes(self._head[: end + 2]))
        self._head.clear()
        return at + used

    def _begin_body(self, head: bytes) -> None:
        line = head.partition(b"\r\n")[0]
        self.where = line.partition(b"?")[0].decode(errors="replace")
        found = LENGTH.search(head.replace(b"\r", b""))
        length = int(found[1]) if found else 0
        self._prefix = bytearray() if BUNDLE in line and length >= 4 else None
        is_file = line.startswith(b"PUT ") or self._prefix is not None
        self._body = Body(0, length) if is_file else Body(length, 0)
        self._end_body()

    def _take_prefix(self, data: bytes, at: int) -> int:
        """Read the length of a bundle's manifest, then skip the manifest."""
        assert self._prefix is not None
        assert self._body is not None
        missing = 4 - len(self._prefix)
        self._prefix += data[at : at + missing]
        taken = min(missing, len(data) - at)
        if len(self._prefix) == 4:
            manifest = int.from_bytes(self._prefix, "big")
            self._body = Body(manifest, max(0, self._body.files - 4 - manifest))
            self._prefix = None
        return at + taken

    def _end_body(self) -> None:
        if self._body is not None and self._prefix is None and not self._body.document and not self._body.files:
            self._body = None
