"""A running proxy in front of a server, and the orders it takes."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.own import own_process
from tests.servers.process import LOOPBACK, answers, free_port


class Link:
    """The way to a server, which may be hurt."""

    def __init__(self, base: Path, port: int) -> None:
        self.port, self.control = free_port(), free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        arguments = [str(self.port), str(self.control), LOOPBACK, str(port)]
        self.process = own_process("proxy", arguments, base / "proxy.log")

    def order(self, fault: str | None = None, **members: object) -> dict[str, Any]:
        """Order a fault (none: only ask) and return what was counted so far."""
        with socket.create_connection((LOOPBACK, self.control), timeout=200) as connection:
            connection.sendall(json.dumps({"fault": fault, **members}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
            return answer

    @property
    def fired(self) -> list[str]:
        """Return the faults that happened."""
        fired: list[str] = self.order()["fired"]
        return fired


@contextmanager
def link_to(base: Path, port: int) -> Iterator[Link]:
    """Lend a way to a server's port."""
    link = Link(base, port)
    link.process.start()
    try:
        link.process.wait_ready(lambda: answers(link.control))
        yield link
    finally:
        link.process.kill9()
