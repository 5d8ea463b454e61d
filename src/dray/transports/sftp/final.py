"""The final names of a place behind ssh, and the older contents that it keeps, as scripts of a connection."""

import stat

from dray.errors import Conflict, NotFound, SourceChanged
from dray.model.names import RemotePath, refusal
from dray.model.values import Entry, Value
from dray.transports.refs import Target
from dray.transports.sftp import scripts, wire
from dray.transports.sftp.connection import Powers, Script
from dray.transports.sftp.layout import Layout, entry, seconds, tag_of_attrs
from dray.transports.sftp.wire import Attrs

TRIES = 8
"""Names for older contents that SFTP cannot tell apart: same size, same second."""


class Final(Value, frozen=True):
    """The scripts that work on final names. ``keep`` says whether ``version`` keeps the older content, ``sync`` whether
    that is made durable first."""

    layout: Layout
    powers: Powers
    keep: bool
    sync: bool
    folder_mode: int | None = None

    def look(self, path: RemotePath) -> Script[Attrs | None]:
        """Look at the final name: None when it is free, Conflict when something that is no file has it."""
        seen = yield from scripts.look(self.layout.final(path))
        if seen is not None and not seen.is_file:
            raise Conflict("a folder or something else that is no file has this name")
        return seen

    # Publish

    def place(self, target: Target) -> Script[Entry]:
        """Give a staged file its final name; its folder is there."""
        staged, final = self.layout.staged(target), self.layout.final(target.path)
        replacing = target.on_exists == "replace" or (target.on_exists == "version" and not self.keep)
        # Only after every answer to what wrote it: the server may do things in any order.
        request = wire.replace if replacing and self.powers.has("posix-rename") else wire.rename
        (reply,) = yield [request(staged, final)]
        if reply.code == wire.NO_SUCH_FILE:
            return (yield from self._already(target))
        if reply.code != wire.OK:
            yield from self._place_over(target, reply, replacing=replacing)
        return (yield from self._placed(target))

    def _placed(self, target: Target) -> Script[Entry]:
        if target.mtime_ns is not None:
            return entry(target.path, target.size, seconds(target.mtime_ns))
        seen = yield from self.look(target.path)
        if seen is None:
            raise NotFound("somebody removed it as soon as it was published")
        return entry(target.path, seen.size, seen.mtime)

    def _already(self, target: Target) -> Script[Entry]:
        """Answer for a file that was published before a crash."""
        seen = yield from self.look(target.path)
        if seen is not None and seen.size == target.size:
            return entry(target.path, seen.size, seen.mtime)
        raise NotFound("nothing is staged under this ref")

    def _place_over(self, target: Target, failed: wire.Reply, *, replacing: bool) -> Script[None]:
        """Deal with a name that is taken."""
        seen = yield from self.look(target.path)
        if seen is None:
            raise (yield from scripts.refusal(failed, "publish", self.layout.top))
        if target.on_exists == "fail":
            raise Conflict("there is another file with this name", hint="nothing was changed")
        final = self.layout.final(target.path)
        if not replacing:
            yield from self._keep(target.path, final, seen)
        elif not self.powers.has("posix-rename"):
            yield from scripts.remove(final)
        request = wire.replace if self.powers.has("posix-rename") else wire.rename
        (reply,) = yield [request(self.layout.staged(target), final)]
        wire.check(reply, "publish")
        # Where a crash left both names to one file, that rename did nothing.
        yield from scripts.remove(self.layout.staged(target))

    def _keep(self, path: RemotePath, final: bytes, seen: Attrs) -> Script[None]:
        """Give the older content a second name, durably."""
        folder = self.layout.versions(path)
        yield from scripts.make_folder(folder, self.folder_mode, durable=self.sync)
        linking = self.powers.has("hardlink") and self.powers.has("posix-rename")
        for number in range(TRIES):
            name = tag_of_attrs(seen) + (f".{number}" if number else "")
            version = folder + b"/" + name.encode()
            (reply,) = yield [(wire.link if linking else wire.rename)(final, version)]
            if reply.code != wire.FAILURE or (yield from scripts.look(version)) is None:
                break
        wire.check(reply, "keep the older content")
        if self.sync:
            yield from scripts.sync_folder(folder)

    # Read, list, remove

    def find(self, path: RemotePath, tag: str) -> Script[tuple[bytes, Attrs]]:
        """Find a published file, with ``tag`` this content of it, wherever newer content pushed it.

        Raises NotFound when there is none, SourceChanged when there is, but not this one.
        """
        final = yield from self.look(path)
        if final is not None and tag in ("", tag_of_attrs(final)):
            return self.layout.final(path), final
        kept = self.layout.versions(path) + b"/" + tag.encode()
        seen = (yield from scripts.look(kept)) if tag else None
        if seen is not None:
            return kept, seen
        raise (
            NotFound("there is no such file") if final is None else SourceChanged("this content is not here any more")
        )

    def candidates(self, path: RemotePath, size: int) -> Script[list[bytes]]:
        """Return what may be the content of ``size`` bytes once published here: final, then older."""
        final = yield from scripts.look(self.layout.final(path))
        found = [self.layout.final(path)] if final is not None and final.is_file and final.size == size else []
        folder = self.layout.versions(path)
        older = (yield from scripts.names(folder)) if self.keep else []
        return found + [folder + b"/" + name for name, seen in sorted(older) if seen.is_file and seen.size == size]

    def read(self, path: bytes, at: range, take: scripts.Take) -> Script[None]:
        """Read a range of a file."""
        (reply,) = yield [wire.open_file(path, wire.TO_READ)]
        handle = wire.check(reply, "read").body
        yield from scripts.closing([handle], scripts.fetch(handle, at, self.powers, take))

    def scan(self, path: str) -> Script[tuple[list[Entry], list[str]]]:
        """Return the files and folders directly in a folder; links, devices and odd names are left out."""
        files: list[Entry] = []
        folders: list[str] = []
        for name, seen in (yield from scripts.names(self.layout.final(path))):
            text = name.decode("utf-8", "surrogateescape")
            full = f"{path}/{text}" if path else text
            if refusal(full) is None:
                if stat.S_ISDIR(seen.mode):
                    folders.append(full)
                elif stat.S_ISREG(seen.mode):
                    files.append(entry(RemotePath(full), seen.size, seen.mtime))
        return files, folders

    def remove(self, path: RemotePath, tag: str) -> Script[None]:
        """Remove a published file, with ``tag`` this content of it only."""
        try:
            found, _ = yield from self.find(path, tag)
        except (NotFound, SourceChanged):
            return
        yield from scripts.remove(found)
        if self.sync:
            yield from scripts.sync_folder(found.rpartition(b"/")[0])
