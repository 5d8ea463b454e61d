"""Changes of names at a place behind ssh, as scripts of a connection (``transports.base.Names``)."""

import os
import posixpath

from dray.errors import Conflict, NotFound, Refused
from dray.model.names import RemotePath, refusal
from dray.model.values import Change, Value
from dray.transports.sftp import scripts, wire
from dray.transports.sftp.connection import Script
from dray.transports.sftp.layout import Layout, encoded


class Changing(Value, frozen=True):
    """Makes changes, each durable (``sync``) when its script has ended; repeating one ends the same."""

    layout: Layout
    sync: bool
    folder_mode: int | None = None

    def change(self, change: Change) -> Script[None]:
        """Make one change."""
        ways = {"remove": self._remove, "rmdir": self._rmdir, "mkdir": self._mkdir, "rename": self._rename}
        yield from ways.get(change.what, self._symlink)(change)

    def _remove(self, change: Change) -> Script[None]:
        yield from scripts.remove(self.layout.final(change.path))
        yield from self._sync(change.path)

    def _rmdir(self, change: Change) -> Script[None]:
        (reply,) = yield [wire.remove_folder(self.layout.final(change.path))]
        if reply.code == wire.NO_SUCH_FILE:
            return
        if reply.code == wire.FAILURE:
            raise Conflict("the folder is not empty", item=change.path, hint="nothing was changed")
        wire.check(reply, "remove a folder")
        yield from self._sync(change.path)

    def _mkdir(self, change: Change) -> Script[None]:
        yield from self._folder(self.layout.final(change.path))

    def _folder(self, path: bytes) -> Script[None]:
        yield from scripts.make_folder(path, self.folder_mode, durable=self.sync)

    def _rename(self, change: Change) -> Script[None]:
        if refusal(change.target):
            raise Refused("not a name to rename", item=change.target)
        source = self.layout.final(change.target)
        if (yield from scripts.look(source)) is None:
            raise NotFound("there is no such file", item=change.target)
        yield from self._place(source, change.path)
        yield from self._sync(RemotePath(change.target))

    def _symlink(self, change: Change) -> Script[None]:
        final = self.layout.final(change.path)
        (reply,) = yield [wire.read_link(final)]
        if reply.kind == wire.NAME and wire.names_of(reply)[0][0] == encoded(change.target):
            return
        part = posixpath.join(posixpath.dirname(final), b".dray-%d-link" % os.getpid())
        yield from self._folder(posixpath.dirname(final))
        yield from scripts.remove(part)
        (reply,) = yield [wire.make_link(part, encoded(change.target))]
        wire.check(reply, "make a link")
        try:
            yield from self._place(part, change.path)
        except Conflict:
            yield from scripts.remove(part)
            raise

    def _place(self, source: bytes, path: RemotePath) -> Script[None]:
        """Rename over whatever file has the name."""
        final = self.layout.final(path)
        yield from self._folder(posixpath.dirname(final))
        seen = yield from scripts.look(final)
        if seen is not None and seen.is_folder:
            raise Conflict("a folder has this name", item=path, hint="nothing was changed")
        (reply,) = yield [wire.replace(source, final)]
        wire.check(reply, "rename")
        yield from self._sync(path)

    def _sync(self, path: RemotePath) -> Script[None]:
        if self.sync:
            yield from scripts.sync_folder(self.layout.folder(path))
