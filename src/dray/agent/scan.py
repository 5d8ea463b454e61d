"""Looking through a whole tree against the journal, in slices, so that everything else goes on in between."""

import errno
import stat
from collections.abc import Callable, Iterable

from dray.agent.journal import NOTHING, Journal, Key, Row, Seen, Sighting
from dray.agent.look import LEFT, Findings, Looker, News, View, same
from dray.errors import Forbidden, NotFound
from dray.fs import failure
from dray.model.settle import Notice

SLICE = 0.05
"""Seconds after which a scan lets others use the journal."""

KNOWN = frozenset(("queued", "delivered", "failed", "sending"))
"""States of which a look at an unchanged version says nothing new."""


class Scan:
    """One walk below ``start``; a walk from the top also closes the rows of everything it did not come by.

    ``watch`` is called for each folder before it is listed, so that nothing falls between. With ``recheck`` the names
    that were left out are tried by the rules again.
    """

    def __init__(
        self,
        looker: Looker,
        watch: Callable[[str], None],
        start: Iterable[str] = ("",),
        notice: Notice = "found",
        recheck: bool = True,
    ) -> None:
        self._looker, self._watch, self._notice = looker, watch, notice
        self._todo = list(start)
        self._whole = self._todo == [""]
        self._known = KNOWN if recheck else KNOWN | LEFT
        self._seen: set[str] = set()
        self._untold: list[str] = []
        self._news = News()

    def news(self) -> News:
        """Return what was found since the last call."""
        news, self._news = self._news, News()
        return news

    def step(self, journal: Journal) -> bool:
        """Walk on for a slice of time, at least by one folder, and say whether all is done."""
        clock = self._looker.clock
        end = clock.monotonic() + SLICE
        while self._todo:
            self._visit(journal, self._todo.pop())
            if clock.monotonic() >= end:
                break
        if self._todo:
            return False
        if self._whole:
            self._sweep(journal)
        return True

    def _visit(self, journal: Journal, path: str) -> None:
        rules = self._looker.rules.folder(path)
        if path and rules.pruned():
            return
        if not path and not self._looker.is_there():
            raise NotFound("the hot directory is not there", item=self._looker.root.path, hint="is its disk mounted?")
        self._watch(path)
        self._seen.add(path)
        entered = self._looker.enter(journal, [path])
        self._news.errands = self._news.errands or entered.errands
        try:
            with self._looker.root.folder(path) as folder:
                self._list(journal, View(self._looker, folder, rules, Findings(), thorough=True))
        except (FileNotFoundError, NotADirectoryError):
            self._seen.discard(path)
        except OSError as error:
            self._untold.append(path)
            _refuse(journal, path, failure(error).message)

    def _list(self, journal: Journal, view: View) -> None:
        """Compare what is in a folder with its rows; nearly always nothing changed."""
        path = view.folder.path
        listing = view.folder.scan()
        rows = journal.rows(path)
        for name, found in listing:
            row = rows.pop(name, None)
            if stat.S_ISDIR(found.st_mode):
                self._enter(view, name, row)
            elif row is None or row.state not in self._known or not same(row, Seen.of(found)):
                view.consider(found, row, name, self._notice)
        view.findings.gone.extend(Key(path, name) for name, row in rows.items() if row.state != "gone")
        view.findings.write(journal, self._looker, self._news)

    def _enter(self, view: View, name: str, row: Row | None) -> None:
        rule = view.rules.enter(name).pruned()
        if rule is not None:
            view.skip_folder(name, row, f'folder left out by the rule "{rule.text}"')
            return
        made = self._looker.manner.folders and row is not None and row.seen == NOTHING
        if row is not None and row.state != "gone" and not made:
            view.findings.gone.append(Key(view.folder.path, name))
        self._todo.append(Key(view.folder.path, name).path)

    def _sweep(self, journal: Journal) -> None:
        """Close the rows of folders that are not there any more; what could not be read or is left out stays."""
        now = self._looker.clock.wall()
        for path in journal.folders():
            hidden = any(path == top or path.startswith(top + "/") for top in self._untold)
            if path not in self._seen and not hidden and self._is_missing(path):
                names = (name for name, row in journal.rows(path).items() if row.state != "gone")
                forward = self._looker.manner.deletes
                journal.vanish([Key(path, name) for name in names], now, forward)
                self._news.errands = self._news.errands or forward

    def _is_missing(self, path: str) -> bool:
        """Say whether a folder that the walk did not come by is gone, rather than left out or made meanwhile."""
        if self._looker.rules.folder(path).pruned():
            return False
        try:
            self._looker.root.folder(path).close()
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return False


def _refuse(journal: Journal, path: str, reason: str) -> None:
    if not path:
        raise Forbidden(f"the hot directory cannot be read: {reason}")
    folder, _, name = path.rpartition("/")
    journal.put([Sighting(Key(folder, name), NOTHING, "refused", "found", 0.0, 0.0, reason)])
