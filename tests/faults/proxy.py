"""A TCP proxy that misbehaves on demand, in a process of its own; needs no privileges.

Faults are ordered over a control port, one JSON document a line, each answered by one. Every fault that fires is a
line of the log, which is the proof that it happened.

| fault | members | what happens |
|---|---|---|
| cut | way, after, how, all | ``after`` bytes from now on, one connection (or ``all``) ends by ``rst`` or ``fin`` |
| flip | way, after, mask, body | the byte ``after`` bytes on is changed; ``body``: count ``files`` or ``documents`` |
| hole | way | nothing passes any more, connections stay open |
| latency | way, seconds | every block waits |
| rate | way, bytes | bytes a second of each connection |
| slice | way, most, seconds | blocks of at most ``most`` bytes, with a pause between |
| slow_close | seconds | the end of a stream is passed on late |
| down | seconds | all connections end by RST, new ones are refused for a while |

``way`` is ``up`` (to the server) or ``down``. A cut or flip fires once; the others stay until ``clear``.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults.bodies import Bodies, Span

BLOCK = 64 << 10
Fault = dict[str, Any]


@dataclass
class State:
    """What is ordered and what was counted; one for all connections."""

    target: tuple[str, int]
    faults: list[Fault] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    files: int = 0
    fired: list[str] = field(default_factory=list)
    pairs: set["Pair"] = field(default_factory=set)
    most: int = 0
    is_down: bool = False

    def fire(self, fault: Fault, text: str) -> None:
        """Log a fault that happens now."""
        self.fired.append(f"{fault['fault']} {text}")
        print(f"{time.monotonic():.3f} {self.fired[-1]}", flush=True)

    def of(self, kind: str, way: str) -> list[Fault]:
        """Return the ordered faults of a kind."""
        return [fault for fault in self.faults if fault["fault"] == kind and fault.get("way", way) == way]

    def stats(self) -> dict[str, Any]:
        """Return what was counted; ``files`` are the file bytes in requests."""
        return {
            **self.passed,
            "files": self.files,
            "fired": self.fired,
            "open": len(self.pairs),
            "most": self.most,
            "left": len(self.faults),
        }


class Pair:
    """One connection through the proxy."""

    def __init__(self, state: State, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.state, self.near, self.far = state, near, far
        self.bodies = Bodies()
        self.answers = Bodies()
        self.ended = False

    async def pump(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction on until it ends."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while data := await reader.read(self.block(way)):
                if self.ended:
                    continue
                await self.delay(way, len(data))
                bodies = self.bodies if way == "up" else self.answers
                spans = bodies.feed(data)
                data = self.damaged(way, data, {"files": spans, "documents": bodies.documents})
                cut = self.due_cut(way, len(data))
                passed = len(data) if cut is None else cut["after"]
                self.state.passed[way] += passed
                self.state.files += sum(min(end, passed) - begin for begin, end in spans if begin < passed)
                writer.write(data[:passed])
                if cut is not None:
                    self.cut(way, cut)
                    continue
                await writer.drain()
            for fault in self.state.of("slow_close", way):
                self.state.fire(fault, f"{fault['seconds']} s")
                await asyncio.sleep(fault["seconds"])
        with suppress(OSError, RuntimeError):
            writer.write_eof()

    def block(self, way: str) -> int:
        return min([BLOCK, *(fault["most"] for fault in self.state.of("slice", way))])

    async def delay(self, way: str, size: int) -> None:
        """Wait as long as the ordered faults say."""
        for kind in ("latency", "slice"):
            for fault in self.state.of(kind, way):
                await asyncio.sleep(fault["seconds"])
        for fault in self.state.of("rate", way):
            await asyncio.sleep(size / fault["bytes"])
        while holes := self.state.of("hole", way):
            if not holes[0].get("seen"):
                holes[0]["seen"] = True
                self.state.fire(holes[0], f"holds back {size} bytes {way} with {len(self.state.pairs)} connections")
            await asyncio.sleep(0.05)

    def damaged(self, way: str, data: bytes, spans: dict[str, list[Span]]) -> bytes:
        """Flip the byte that is due."""
        for fault in self.state.of("flip", way):
            due = spans[fault["body"]] if fault.get("body") else [(0, len(data))]
            for begin, end in due:
                if fault["after"] < end - begin:
                    return self.flipped(fault, data, begin + fault["after"])
                fault["after"] -= end - begin
        return data

    def flipped(self, fault: Fault, data: bytes, at: int) -> bytes:
        self.state.faults.remove(fault)
        self.state.fire(fault, f"byte {at} of a block of {len(data)} xor {fault['mask']:#x}; {self.bodies.where}")
        return data[:at] + bytes([data[at] ^ fault["mask"]]) + data[at + 1 :]

    def due_cut(self, way: str, size: int) -> Fault | None:
        """Return the cut that is due within the next ``size`` bytes, and count them off the others."""
        for fault in self.state.of("cut", way):
            if fault["after"] < size:
                return fault
            fault["after"] -= size
        return None

    def cut(self, way: str, fault: Fault) -> None:
        """End this connection, or all."""
        self.state.faults.remove(fault)
        pairs = list(self.state.pairs) if fault.get("all") else [self]
        where = f"{self.bodies.where}, {self.state.passed[way]} bytes passed {way}"
        self.state.fire(fault, f"{fault['how']} of {len(pairs)} of {len(self.state.pairs)} connections; {where}")
        for pair in pairs:
            pair.end(fault["how"])

    def end(self, how: str) -> None:
        """End both sides: by RST at once, or by FIN after what was written; what still comes is dropped."""
        self.ended = True
        for writer in (self.near, self.far):
            if how == "rst":
                linger = struct.pack("ii", 1, 0)
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            else:
                with suppress(OSError, RuntimeError):
                    writer.write_eof()


class Proxy:
    """Listens for clients and for orders."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.state = State(target)
        self.listener: asyncio.Server | None = None

    async def serve(self, port: int, control: int) -> None:
        """Run until cancelled."""
        orders = await asyncio.start_server(self.obey, "127.0.0.1", control)
        await self.listen(port)
        async with orders:
            await orders.serve_forever()

    async def listen(self, port: int) -> None:
        self.listener = await asyncio.start_server(self.accept, "127.0.0.1", port)

    async def accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """Connect a client with the server and pass both directions on."""
        try:
            back, far = await asyncio.open_connection(*self.state.target)
        except OSError:
            return near.transport.abort()
        pair = Pair(self.state, near, far)
        if self.state.is_down:
            return pair.end("rst")
        self.state.pairs.add(pair)
        self.state.most = max(self.state.most, len(self.state.pairs))
        try:
            await asyncio.gather(pair.pump("up", reader, far), pair.pump("down", back, near))
        finally:
            self.state.pairs.discard(pair)
            near.close()
            far.close()
        return None

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take orders until the connection ends."""
        while line := await reader.readline():
            answer = await self.order(json.loads(line))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def order(self, order: Fault) -> dict[str, Any]:
        """Do one order and answer what was counted."""
        if order.get("fault") == "clear":
            self.state.faults.clear()
        elif order.get("fault") == "down":
            await self.go_down(order)
        elif order.get("fault"):
            self.state.faults.append(order)
        return self.state.stats()

    async def go_down(self, order: Fault) -> None:
        """Refuse connections for a while; answers when the link is up again."""
        assert self.listener is not None
        port = self.listener.sockets[0].getsockname()[1]
        self.listener.close()
        self.state.is_down = True
        self.state.fire(order, f"for {order['seconds']} s with {len(self.state.pairs)} connections")
        for pair in list(self.state.pairs):
            pair.end("rst")
        await asyncio.sleep(order["seconds"])
        self.state.is_down = False
        await self.listen(port)


if __name__ == "__main__":
    listen, control, host, port = sys.argv[1:]
    asyncio.run(Proxy((host, int(port))).serve(int(listen), int(control)))
