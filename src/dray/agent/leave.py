"""What becomes of delivered files here: they are deleted or moved away once that is safe.

Safe means: after the grace time the file is read again, its bytes have the digest that was verified at the destination,
nobody has it open for writing, and what is then taken out of the directory is that very version.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dray import fs
from dray.agent.journal import Journal, Key, Queued, Seen
from dray.agent.ledger import Ledger
from dray.agent.look import Looker
from dray.errors import DrayError, UsageError
from dray.model.names import RemotePath
from dray.model.values import Value
from dray.moving.report import NullReport
from dray.moving.reread import Asked, Now, Reader

INTENT = "leaving"
"""The note that says which files were about to be taken out when a run was cut off."""

BATCH = 64
AGAIN = 3600.0
"""Seconds after which a file that was not safe is looked at again."""

UNSHOWN = RemotePath("file")
"""Stands for names in a report that nobody sees; what is read here need not be a name that travels."""

LEAST, MOST = 1.0, 60.0
"""Bounds of the seconds between two looks."""


class After(Value, frozen=True):
    """What is done with delivered files, ``grace`` seconds later; ``to`` is where they are moved."""

    what: Literal["delete", "move"]
    grace: float
    to: str = ""


@dataclass(frozen=True, slots=True)
class Leaver:
    """Takes delivered files out of one hot directory."""

    ledger: Ledger
    looker: Looker
    after: After

    def check(self) -> None:
        """Raise UsageError where files could not be moved in one step. Blocks."""
        if self.after.what == "delete":
            return
        top, to = self.looker.root.path, os.path.realpath(self.after.to)
        if to == top or to.startswith(top + os.sep):
            raise UsageError(
                "moved files would be found again", item=to, hint="name a directory outside of the hot one"
            )
        with fs.made_root(to) as root:
            if os.stat(root.path).st_dev != os.stat(top).st_dev:
                hint = "choose one on the same disk, or delete"
                raise UsageError("files cannot be moved to another disk", item=to, hint=hint)

    async def step(self) -> None:
        """Take out what is due, or wait."""
        clock = self.looker.clock
        due = clock.wall() - self.after.grace
        found = await self.ledger.run(lambda journal: journal.delivered(due, BATCH))
        if found:
            await self._leave(found)
            return
        first = await self.ledger.run(Journal.first_delivered)
        rest = self.after.grace / 2 if first is None else first - due
        await asyncio.sleep(min(MOST, max(LEAST, rest)))

    async def _leave(self, found: Sequence[Queued]) -> None:
        good = await self._safe(found)
        rest = [one.key for one in found if one.key not in good]
        later = self.looker.clock.wall() - self.after.grace + AGAIN
        plan = {key: f".dray-{secrets.token_hex(8)}" for key in good}
        # The intent is durable before anything is renamed, so that nothing stays hidden after a crash.
        await self.ledger.run(lambda journal: _intend(journal, plan, rest, later))
        await self.ledger.run(lambda journal: self._take(journal, plan, good))

    async def _safe(self, found: Sequence[Queued]) -> dict[Key, Seen]:
        """Return those whose bytes are now what was verified; names without bytes are never taken out."""
        reader = Reader(self.looker.root, None, self.looker.clock, NullReport(), asyncio.Event())
        files = [one for one in found if one.checksum is not None and ":" in one.checksum]
        asked = [Asked(one.key.path, UNSHOWN, one.seen.size) for one in files]
        nows: list[Now | DrayError] = await reader.read(asked)
        return {
            one.key: one.seen
            for one, now in zip(files, nows, strict=True)
            if isinstance(now, Now) and str(now.checksum) == one.checksum
        }

    def _take(self, journal: Journal, plan: dict[Key, str], good: dict[Key, Seen]) -> None:
        with fs.Folders(self.looker.root) as folders:
            taken = [key for key, hidden in plan.items() if self._taken(folders, key, hidden, good[key])]
        said = "deleted here after it was delivered" if self.after.what == "delete" else f"moved to {self.after.to}"
        journal.left(taken, self.looker.clock.wall(), said)
        journal.note(INTENT, "")

    def _taken(self, folders: fs.Folders, key: Key, hidden: str, seen: Seen) -> bool:
        """Take one file out; another version that got the name in the last moment gets it back."""
        disk = self.looker.root.disk
        try:
            folder = folders.at(key.folder)
            disk.rename(folder.at(key.name), folder.at(hidden))
        except OSError:
            return False
        found = folder.stat(hidden)
        # Renaming changes the ctime, everything else must be as it was verified.
        if found is None or Seen.of(found)._replace(ctime_ns=seen.ctime_ns) != seen:
            restore(self.looker.root, key, hidden)
            return False
        try:
            disk.unlink(folder.at(hidden)) if self.after.what == "delete" else self._move(folder, hidden, key)
        except OSError:
            restore(self.looker.root, key, hidden)
            return False
        return True

    def _move(self, folder: fs.Folder, hidden: str, key: Key) -> None:
        with fs.Root(self.after.to) as root, fs.Folders(root) as places:
            place = places.made(key.folder)
            for name in _free(key.name):
                try:
                    root.disk.rename(folder.at(hidden), place.at(name))
                    break
                except FileExistsError:
                    continue


def recover(journal: Journal, root: fs.Root) -> None:
    """Give files their names back that a crash left hidden. Blocks."""
    for folder, name, hidden in json.loads(journal.recall(INTENT) or "[]"):
        restore(root, Key(folder, name), hidden)
    journal.note(INTENT, "")


def restore(root: fs.Root, key: Key, hidden: str) -> None:
    """Give a hidden file its name back, or one like it when that is taken; nothing where it is not there."""
    try:
        with root.folder(key.folder) as folder:
            for name in _free(key.name):
                try:
                    root.disk.rename(folder.at(hidden), folder.at(name))
                    break
                except FileExistsError:
                    continue
    except FileNotFoundError:
        return


def _intend(journal: Journal, plan: dict[Key, str], rest: Sequence[Key], later: float) -> None:
    journal.postpone(rest, later)
    journal.note(INTENT, json.dumps([[key.folder, key.name, hidden] for key, hidden in plan.items()]))


def _free(name: str) -> Iterator[str]:
    """Yield a name and others like it."""
    yield name
    number = 1
    while True:
        yield f"{name[:240]}.{number}"
        number += 1
