"""From ``[hot.NAME]`` in the settings to a hot directory that can be watched; every mistake names its key and file."""

import os
import platform
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from dray.agent.leave import After
from dray.agent.watch import HotDirectory
from dray.client.elsewhere import is_elsewhere, parse
from dray.config.load import Loaded
from dray.config.settings import Hot
from dray.errors import UsageError
from dray.model.filters import HOT_DIRECTORY, Filters, SizeAndAge
from dray.model.layout import parse_layout
from dray.model.manner import Manner
from dray.model.retry import Persistence
from dray.model.settle import Policy
from dray.transports.accelerated import Program
from dray.wiring.broker import BROKER, Brokered
from dray.wiring.watch import journal_of

T = TypeVar("T")

SERVERS = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Configured:
    """One hot directory of the settings, checked. Nothing of it is opened."""

    name: str
    settings: Hot
    hot: HotDirectory

    @property
    def serves(self) -> bool:
        """Say whether its files go to a Dray server."""
        return self.settings.to.startswith(SERVERS)

    @property
    def program(self) -> Program | None:
        """Return what brings large files, if anything, or raise UsageError."""
        wanted = self.settings.accelerate
        if wanted is None:
            return None
        try:
            words = tuple(shlex.split(wanted.command))
        except ValueError as error:
            raise UsageError(f"{wanted.command!r}: {error}", hint="close every quote") from None
        if not all(any(name in word for word in words) for name in ("{source}", "{target}")):
            raise UsageError(f"{wanted.command!r} names no files", hint="use {source} and {target} as words of it")
        if self.serves:
            raise UsageError("a Dray server takes bytes from Dray alone", hint="leave it out")
        return Program(wanted.above, words)

    @property
    def brokered(self) -> Brokered | None:
        """Return how it uses a broker, None when it does not."""
        if self.settings.broker is None:
            return None
        return Brokered(
            self.name, self.hot.root, self.settings.to, self.hot.journal, self.hot.host, self.settings.broker
        )


def configured(loaded: Loaded) -> dict[str, Configured]:
    """Return every hot directory of the settings, or raise UsageError for the first that makes no sense. Blocks."""
    found = {name: _Reader(loaded, name, hot).read() for name, hot in loaded.settings.hot.items()}
    journals: dict[Path, str] = {}
    for name, one in found.items():
        other = journals.setdefault(one.hot.journal, name)
        if other != name:
            where = f"[hot.{name}]"
            raise UsageError(f"{where} and [hot.{other}] send the same directory to the same place", item=where)
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    loaded: Loaded
    name: str
    settings: Hot

    def read(self) -> Configured:
        settings = self.settings
        root = os.path.realpath(os.path.expanduser(settings.path))
        found = HotDirectory(
            root,
            journal_of(root, self._key("to", self._place)),
            platform.node(),
            self._key("filter", self._filters),
            self._key("done_file", self._policy),
            rescan=settings.rescan,
            manner=self._manner(),
            after=self._key("after", self._after),
        )
        made = Configured(self.name, settings, found)
        self._key("vip", self._check_vip)
        self._key("accelerate", lambda: made.program)
        self._key("broker", lambda: self._check_broker(made))
        return made

    def _key(self, key: str, work: Callable[[], T]) -> T:
        with about(self.loaded, f"hot.{self.name}.{key}"):
            return work()

    def _place(self) -> str:
        """Return the destination as the name of the journal needs it."""
        to = self.settings.to
        if to == BROKER or to.startswith(SERVERS):
            return to.rstrip("/")
        if is_elsewhere(to):
            return str(parse(to))
        hint = "write sftp://host/path, s3://bucket/prefix, http://server/DATASET, file:///directory or broker"
        raise UsageError(f"{to!r} is no destination", hint=hint)

    def _filters(self) -> Filters:
        bounds = SizeAndAge(max_size=self.settings.max_size, max_age=self.settings.max_age)
        return Filters.parse(self.settings.filter, HOT_DIRECTORY, bounds)

    def _policy(self) -> Policy:
        done_file = self.settings.done_file or ""
        if done_file == "{name}" or "/" in done_file:
            raise UsageError(
                f"{done_file!r} is not a name of a done-file", hint='write "{name}.done" or "RUN_COMPLETE"'
            )
        return Policy(self.settings.settle, not self.settings.reopened, done_file)

    def _manner(self) -> Manner:
        settings = self.settings
        return Manner(
            layout=self._key("layout", lambda: parse_layout(settings.layout)),
            order=settings.order,
            rate=settings.rate,
            persistence=Persistence(give_up_after=settings.retry_for),
            expire=settings.expire,
            events=self._key("events", self._events),
            on_exists="version" if settings.to.startswith(SERVERS) else "replace",
            max_delete=settings.max_delete,
        )

    def _events(self) -> frozenset[str]:
        events: frozenset[str] = frozenset(self.settings.events)
        if "create" not in events:
            raise UsageError("nothing would ever be sent", hint="add create")
        if "delete" in events and self.settings.after.strip() != "keep":
            raise UsageError(
                f'with after = "{self.settings.after}" everything that arrived would be deleted there, too',
                hint="leave delete out, or keep delivered files",
            )
        if self.settings.to.startswith(SERVERS) and events - {"create", "modify"}:
            raise UsageError("a Dray server keeps what arrived and takes files alone", hint="only create and modify")
        return events

    def _after(self) -> After | None:
        what, _, to = self.settings.after.strip().partition(" ")
        if what == "keep" and not to:
            return None
        if what == "delete" and not to:
            self._check_proof()
            return After("delete", self.settings.grace)
        if what == "move" and to.strip():
            return After("move", self.settings.grace, os.path.expanduser(to.strip()))
        raise UsageError(f"{self.settings.after!r} says nothing", hint='write "keep", "delete" or "move DIRECTORY"')

    def _check_proof(self) -> None:
        """Raise UsageError where files would be deleted whose copies were not read again, or not flushed."""
        ssh = self.loaded.settings.ssh
        if self.settings.to == BROKER:
            raise UsageError("files that are only announced are nowhere else", hint='after = "keep"')
        if self.settings.to.startswith("sftp://") and (ssh.verify == "size" or not ssh.durable):
            hint = 'ssh.verify = "auto" and ssh.durable = true, or after = "keep"'
            raise UsageError("files are deleted only when their copy was flushed and read again there", hint=hint)

    def _check_vip(self) -> None:
        try:
            if self.settings.vip:
                ip_address(self.settings.vip)
        except ValueError as error:
            raise UsageError(str(error), hint="write an address such as 192.0.2.7") from None

    def _check_broker(self, made: Configured) -> None:
        brokered, where = made.brokered, f"[hot.{self.name}]"
        if self.settings.to == BROKER and self.settings.layout != "mirror":
            raise UsageError("what is only announced keeps its name", item=where, hint='layout = "mirror"')
        if brokered is not None:
            brokered.checked()
        elif self.settings.to == BROKER:
            raise UsageError('to = "broker" needs a broker', hint=f"add a table [hot.{self.name}.broker]")


@contextmanager
def about(loaded: Loaded, key: str) -> Iterator[None]:
    """Let a mistake name its key, and the file that the key, or else its table, comes from."""
    try:
        yield
    except UsageError as error:
        origin = str(loaded.origins.get(key) or loaded.origin(f"{key.rpartition('.')[0]}.path"))
        what = f"{error.item}: {error.message}" if error.item else error.message
        raise UsageError(f"{key}: {what}", item=origin, hint=error.hint) from error
