"""One SFTP connection, and scripts on it: many questions on their way at once, with little work for each."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from dray import fs
from dray.errors import DrayError, SourceChanged
from dray.fs import FileRange
from dray.model.values import Value
from dray.transports.sftp import wire
from dray.transports.sftp.pipe import pipe_of
from dray.transports.sftp.ssh import Child
from dray.transports.sftp.wire import Reply, Request

R = TypeVar("R")

Script: TypeAlias = Generator[Iterable[Request], Sequence[Reply], R]
"""What is to be done for one item: yields questions that may be on their way together, is given all their answers."""

WINDOW = 96
"""Scripts that run at once."""

GATHER = 1 << 17
"""Bytes of questions that are gathered for one write to the pipe."""

VERSION = 3
_PLAIN = 32768


class Powers(Value, frozen=True):
    """What the server offers: its extensions, the longest READ and WRITE in bytes, how many scripts may have a file."""

    extensions: frozenset[bytes]
    read: int = _PLAIN
    write: int = _PLAIN
    window: int = WINDOW

    def has(self, name: str) -> bool:
        """Say whether OpenSSH's extension of this name is there."""
        return f"{name}@openssh.com".encode() in self.extensions


class Connection:
    """An ssh child that speaks SFTP; calls block, and one thread at a time makes them.

    Raises what ``Child.failure`` says when the connection ends: it is worth nothing then.
    """

    def __init__(self, child: Child, stall: float) -> None:
        self._child = child
        self._pipe = pipe_of(child.to, child.out, stall)
        self._number = 0
        self._waiting: dict[int, tuple[Running[Any], int]] = {}
        self._out: list[bytes] = []
        self._size = 0
        self._rest = b""
        self.powers = Powers(frozenset())
        self.powers = self._greet()

    def close(self) -> None:
        """Hang up."""
        self._child.close()

    def kill(self) -> None:
        """Break off whatever runs, from any thread."""
        self._child.kill()

    def _greet(self) -> Powers:
        try:
            self._pipe.send(wire.LENGTH.pack(5) + bytes([wire.INIT]) + wire.LENGTH.pack(VERSION))
            body = self._hear()
        except OSError:
            raise self._child.failure() from None
        found = wire.strings(body, 5)
        powers = Powers(frozenset(found[::2]))
        return self._measured(powers) if powers.has("limits") else powers

    def _hear(self) -> bytes:
        """Return the body of the VERSION message."""
        said = b""
        while len(said) < 4 or len(said) < 4 + wire.LENGTH.unpack_from(said)[0]:
            data = self._pipe.receive()
            if not data:
                raise self._child.failure()
            said += data
            if len(said) >= 4 and wire.LENGTH.unpack_from(said)[0] > wire.LONGEST:
                raise wire.damaged(repr(said[:60])[2:-1])
        if said[4] != wire.VERSION:
            raise wire.damaged(f"message {said[4]} instead of a version")
        return said[4:]

    def _measured(self, powers: Powers) -> Powers:
        reply = self.ask(wire.limits())
        if reply.kind != wire.EXTENDED_REPLY:
            return powers
        reading, writing, handles = wire.limits_of(reply)
        window = min(WINDOW, max(handles // 4, 1)) if handles else WINDOW
        return Powers(powers.extensions, reading or _PLAIN, writing or _PLAIN, window)

    def ask(self, request: Request) -> Reply:
        """Ask one question and wait for its answer."""
        return self.do(_single(request))

    def do(self, script: Script[R]) -> R:
        """Run one script, and raise its failure."""
        answer = self.run([script])[0]
        if isinstance(answer, DrayError):
            raise answer
        return answer

    def run(self, scripts: Iterable[Script[R]]) -> list[R | DrayError]:
        """Run scripts side by side; what one raises is its answer. Answers come in the order of the scripts.

        When this raises, the connection is worth nothing any more.
        """
        answers: dict[int, R | DrayError] = {}
        coming = (Running(index, script, answers) for index, script in enumerate(scripts))
        try:
            active = self._start(coming, self.powers.window)
            while active:
                self._flush()
                active -= sum(map(self._ended, self._take(self._pipe.receive())))
                # Many at a time: questions and answers that travel alone cost the server most of its time.
                if active <= self.powers.window // 2:
                    active += self._start(coming, self.powers.window - active)
        except OSError:
            raise self._child.failure() from None
        return [answers[index] for index in range(len(answers))]

    def _start(self, coming: "Iterator[Running[R]]", most: int) -> int:
        """Begin scripts until so many more of them wait for answers; return how many do."""
        waiting = 0
        for running in coming:
            waiting += not self._ended(running)
            if waiting == most:
                break
        return waiting

    def _ended(self, running: "Running[R]") -> bool:
        """Go on with a script until it has ended, or has asked something."""
        while not running.left:
            requests = running.go_on()
            if requests is None:
                return True
            try:
                for request in requests:
                    self._send(request, running)
            except DrayError as error:
                running.failed = error
        return False

    def _send(self, request: Request, running: "Running[R]") -> None:
        kind, body, data, sink = request
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        self._waiting[number] = (running, running.expect(sink))
        length = 0 if data is None else data.length if isinstance(data, FileRange) else len(data)
        self._out.append(wire.HEAD.pack(5 + len(body) + length, kind, number) + body)
        self._size += len(body) + 9
        if isinstance(data, FileRange):
            self._flush()
            sent = self._pipe.send_file(data)
            if sent < length:
                # The message has to be as long as was said; nobody is told that it arrived.
                self._pipe.send(bytes(length - sent))
                raise SourceChanged("the file became shorter while it was sent")
        elif data is not None:
            self._out.append(data)
            self._size += length
        if self._size > GATHER:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            data, self._out, self._size = b"".join(self._out), [], 0
            self._pipe.send(data)

    def _take(self, data: bytes) -> "Iterator[Running[Any]]":
        """Sort answers to whom they belong, and yield the scripts that have all of theirs."""
        if not data:
            raise self._child.failure()
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= 9:
            length, kind, number = wire.HEAD.unpack_from(data, at)
            if length > wire.LONGEST or number not in self._waiting:
                raise wire.damaged(repr(data[at : at + 40])[2:-1])
            if end - at - 4 < length:
                break
            running, position = self._waiting.pop(number)
            running.answer(position, Reply(kind, data[at + 9 : at + 4 + length]))
            at += 4 + length
            if not running.left:
                yield running
        self._rest = data[at:]


class Running(Generic[R]):
    """A script, and the answers that it waits for."""

    __slots__ = ("_answers", "_index", "_replies", "_script", "_sinks", "failed", "left")

    def __init__(self, index: int, script: Script[R], answers: dict[int, R | DrayError]) -> None:
        self._index = index
        self._script = script
        self._answers = answers
        self._replies: list[Reply] | None = None
        self._sinks: dict[int, wire.Sink] = {}
        self.left = 0
        self.failed: DrayError | None = None

    def go_on(self) -> Iterable[Request] | None:
        """Give the script its answers and return what it asks next; None when it has ended."""
        replies, self._replies = self._replies, []
        failed, self.failed = self.failed, None
        try:
            return self._script.throw(failed) if failed else self._script.send(replies)  # type: ignore[arg-type]
        except StopIteration as end:
            self._answers[self._index] = end.value
        except DrayError as error:
            self._answers[self._index] = error
        return None

    def expect(self, sink: wire.Sink | None) -> int:
        """Count a question and return its place among the answers."""
        replies = self._replies = self._replies or []
        self.left += 1
        replies.append(_NONE)
        if sink is not None:
            self._sinks[len(replies) - 1] = sink
        return len(replies) - 1

    def answer(self, position: int, reply: Reply) -> None:
        """Keep an answer; the bytes of one with a sink go there instead."""
        self.left -= 1
        sink = self._sinks.pop(position, None)
        if sink is not None and reply.kind == wire.DATA and self.failed is None:
            try:
                sink(reply.body[4:])
            except OSError as error:
                self.failed = fs.failure(error)
            except DrayError as error:
                self.failed = error
            reply = Reply(reply.kind, reply.body[:4])
        if self._replies is not None:
            self._replies[position] = reply


_NONE = Reply(0, b"")


def _single(request: Request) -> Script[Reply]:
    """Ask one question."""
    (reply,) = yield [request]
    return reply
