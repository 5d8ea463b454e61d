"""An account behind ssh that is in use: its connections, its shell, and what it can do. Calls block."""

import contextlib
import posixpath
import threading
from collections.abc import Callable, Iterable, Sequence

from dray.clock import SystemClock
from dray.errors import Conflict, Denied, DrayError, Forbidden, NoSpace, NotFound, Refused, Unreachable
from dray.model.names import printable
from dray.model.values import Level
from dray.transports.sftp import scripts, wire
from dray.transports.sftp.arriving import Arriving
from dray.transports.sftp.calls import Calls
from dray.transports.sftp.connection import Connection, R, Script
from dray.transports.sftp.final import Final
from dray.transports.sftp.layout import Layout, encoded, joined
from dray.transports.sftp.pool import Pool
from dray.transports.sftp.settings import SftpSettings
from dray.transports.sftp.shell import COMMAND, FEW, NoShell, Shell, opened

KEPT = 14 * 86400.0
"""Seconds after which nobody comes back for what is staged: tries go on for days, not for weeks."""

_WORDS: dict[str, type[DrayError]] = {
    "No space left": NoSpace,
    "quota exceeded": NoSpace,
    "Read-only file system": Denied,
    "Permission denied": Denied,
}
"""What systems say, in English as ``LC_ALL=C`` makes them."""


class Site:
    """Connects when it is made, so that it is known at once whether that is possible. Any thread may use it.

    ``file`` is the name of the only file of the place, where it was to be a single one and is.
    """

    def __init__(self, settings: SftpSettings, calls: Calls) -> None:
        self.settings = settings
        self._calls = calls
        self._pool = Pool(self._connect, settings.limits.in_flight)
        self._shells = Pool(self._open_shell, 1)
        self._lock = threading.Lock()
        self._no_shell = settings.verify in ("read", "size")
        self._prepared = self._warm = False
        try:
            with self._pool.lent() as connection:
                self.powers = connection.powers
                login, top, self.file = connection.do(_place(settings))
                self._syncs_folders = self.syncs and connection.do(scripts.sync_folder(login))
        except BaseException:
            self.close()
            raise
        self.layout = Layout(top)
        self.final = Final(self.layout, self.powers, settings.keep_older, self.syncs, settings.folder_mode)

    def close(self) -> None:
        """Hang up everywhere, whatever runs."""
        self._shells.close()
        self._pool.close()
        self._calls.close()

    def break_off(self, thread: int) -> None:
        """End what a thread is doing over a connection."""
        self._pool.break_off(thread)
        self._shells.break_off(thread)

    def _connect(self) -> Connection:
        child = self._calls.sftp()
        try:
            return Connection(child, self.settings.stall)
        except BaseException:
            child.close()
            raise

    def _open_shell(self) -> Shell:
        return opened(self._calls.shell(COMMAND), self.settings.stall)

    def run(self, work: Iterable[Script[R]]) -> list[R | DrayError]:
        """Run scripts over one connection; what one raises is its answer."""
        try:
            with self._pool.lent() as connection:
                return connection.run(work)
        except DrayError:
            # They probably broke for the same reason, and are found out one by one otherwise.
            self._pool.forget()
            raise

    def do(self, work: Script[R]) -> R:
        """Run one script, and raise its failure."""
        answer = self.run([work])[0]
        if isinstance(answer, DrayError):
            raise answer
        return answer

    # What can be promised

    @property
    def syncs(self) -> bool:
        """Say whether single files are made durable."""
        return self.settings.durable and self.powers.has("fsync")

    @property
    def level(self) -> Level:
        """Say how sure a file is that was made durable alone, in a folder that was as well."""
        if not self.syncs:
            return "service"
        return "durable" if self._syncs_folders else "flushed"

    def arriving(self) -> Arriving:
        """Return the scripts that bring bytes; before the first time, make the folders they need."""
        with self._lock:
            if not self._prepared:
                self._prepare()
                self._prepared = True
        return self.staged

    def _prepare(self) -> None:
        for folders in ([self.layout.staging], self.layout.staging_folders()):
            for answer in self.run(self._folder(path) for path in folders):
                if isinstance(answer, Forbidden | Conflict):
                    # Not one file is at fault, but all of the place.
                    hint = "it has to be a directory that the account may write to"
                    raise Denied(answer.message, item=self.settings.name, hint=hint)
                if isinstance(answer, DrayError):
                    raise answer
        self._syncs_folders = self.syncs and self.do(scripts.sync_folder(self.layout.staging))

    def _folder(self, path: bytes) -> Script[list[bytes]]:
        return scripts.make_folder(path, self.settings.folder_mode, durable=self.syncs)

    def doubt(self) -> None:
        """Look again whether the folders are there, before anything else is brought."""
        self._prepared = False

    @property
    def staged(self) -> Arriving:
        """Return the scripts for what is staged, whether there is such or not."""
        settings = self.settings
        now = int(SystemClock().wall())
        how = now, settings.file_mode, settings.keep_mode
        return Arriving(self.layout, settings.limits, self.powers, self.level, *how)

    # What a shell does

    def warm(self) -> None:
        """Open the shell before it is needed, and sweep; whoever needs the shell hears why it cannot be had."""
        if not self._warm:
            self._warm = True
            with contextlib.suppress(DrayError):
                self._with_shell(lambda shell: None)
                self.do(self.staged.sweep(SystemClock().wall() - KEPT))

    def digests(self, paths: Sequence[bytes], size: int) -> tuple[dict[bytes, str], Level] | None:
        """Make files durable, then compute their sha256 there; None where the account has no shell for that.

        ``size`` is that of all together. What cannot be read is left out.
        """
        found = self._with_shell(lambda shell: self._digests(shell, paths, size))
        if found is not None:
            return found
        if self.settings.verify == "remote":
            raise Refused("the account has no shell that computes digests", hint="verify by reading back instead")
        return None

    def _with_shell(self, work: Callable[[Shell], R]) -> R | None:
        """Do something with the shell; None, from then on at once, where there is none that is of use."""
        if not self._no_shell:
            try:
                with self._shells.lent() as shell:
                    return work(shell)
            except NoShell:
                self._no_shell = True
        return None

    def _digests(self, shell: Shell, paths: Sequence[bytes], size: int) -> tuple[dict[bytes, str], Level]:
        if not shell.can_digest:
            raise NoShell("the account has no sha256sum")
        sync = self.settings.durable and shell.can_sync
        if self.syncs and not sync:
            self.run(scripts.sync_file(path) for path in paths)
        names = {self.layout.below(path): path for path in paths}
        found = shell.digests(self.layout.top, list(names), size, sync=sync)
        return {names[name]: hex for name, hex in found.items() if name in names}, "durable" if sync else self.level

    def explained(self, failure: DrayError) -> DrayError:
        """Return a failure that SFTP does not explain with what a shell there says of it."""
        said = self._with_shell(lambda shell: shell.why_not(self.layout.staging)) or ""
        for words, cls in _WORDS.items():
            if words in said:
                return cls(f"{failure.message}; the system there says: {printable(said.rpartition(': ')[2])}")
        return failure

    def sync_folders(self, folders: Sequence[bytes]) -> None:
        """Make the names in folders durable, where that is wanted and possible."""
        if len(folders) > FEW and self._sync_all():
            return
        if self._syncs_folders and not all(self.run(scripts.sync_folder(folder) for folder in folders)):
            raise Unreachable("the names of what was published could not be made durable there")

    def _sync_all(self) -> bool:
        """Make everything durable by one call, where a shell can."""

        def sync(shell: Shell) -> bool:
            if shell.can_sync:
                shell.sync(self.layout.top)
            return shell.can_sync

        return self.settings.durable and self._with_shell(sync) is True


def _place(settings: SftpSettings) -> Script[tuple[bytes, bytes, bytes]]:
    """Return login directory and destination, which need not be there yet, and the name of a single file."""
    (reply,) = yield [wire.real_path(b".")]
    login = wire.names_of(wire.check(reply, "find the login directory"))[0][0]
    top = joined(login, encoded(settings.path))
    if not settings.single:
        return login, top, b""
    (reply,) = yield [wire.stat(top)]
    if reply.code == wire.NO_SUCH_FILE:
        raise NotFound("there is no such file or directory", item=f"{settings.name}:{printable(settings.path)}")
    if wire.attrs_of(wire.check(reply, "look at the place").body)[0].is_file:
        return login, posixpath.dirname(top), posixpath.basename(top)
    return login, top, b""
