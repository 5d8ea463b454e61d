"""What becomes of a name in the journal after one look at it."""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dray.agent.journal import NOTHING, Journal, Key, Row, Seen, Sighting
from dray.agent.schema import FAR
from dray.clock import Clock
from dray.fs import Folder, Root
from dray.model import filters, names
from dray.model.filters import Filters
from dray.model.manner import PLAIN, Manner
from dray.model.settle import Notice, Policy, Sight, Wait, marked_by, settled
from dray.moving.walk import LINK, SPECIAL
from dray.moving.writers import open_for_writing

NEWS = {"found": 0, "closed": 1, "renamed": 2}
"""What tells more about the end of a file."""


AWAITED = 60.0
"""Seconds for which a name that was announced and is not there is looked for again."""

AGAIN = 1.0
"""Seconds between two looks for it."""

UNFORWARDED = "changed after it was delivered, which is not forwarded"

LEFT = frozenset(("skipped", "refused"))
"""States of what is not sent: by a rule of the user, or because it cannot be sent as it is."""


@dataclass(slots=True)
class News:
    """What came of a round of looks: files and bytes that are to be sent now, folders to look through."""

    files: int = 0
    bytes: int = 0
    settling: bool = False
    errands: bool = False
    folders: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """What looks found, until it is written; ``marked`` are files and folders whose done-file came."""

    puts: list[Sighting] = field(default_factory=list)
    again: list[Key] = field(default_factory=list)
    gone: list[Key] = field(default_factory=list)
    marked: list[Key] = field(default_factory=list)
    announced: bool = False

    def miss(self, key: Key, row: Row | None, now: float) -> None:
        """Note that a name is not there; one that was announced may still come."""
        awaited = row is not None and row.state == "settling" and row.seen == NOTHING and now - row.since < AWAITED
        if awaited or (self.announced and (row is None or row.state == "gone")):
            since = row.since if row is not None and awaited else now
            reason = "was announced and is not there yet"
            self.puts.append(Sighting(key, NOTHING, "settling", "closed", since, now + AGAIN, reason))
        elif row is not None and row.state == "sending":
            self.again.append(key)
        elif row is not None:
            self.gone.append(key)

    def write(self, journal: Journal, looker: "Looker", news: News) -> None:
        """Write it and add it to the news."""
        clock = looker.clock
        if self.puts:
            journal.put(self.puts)
        if self.again:
            journal.again(self.again)
        if self.gone:
            journal.vanish(self.gone, clock.wall(), looker.manner.deletes)
            news.errands = news.errands or looker.manner.deletes
        for key in self.marked:
            if not key.name:
                journal.wake(key.folder, clock.monotonic())
        queued = [put.seen.size for put in self.puts if put.state == "queued"]
        news.files, news.bytes = news.files + len(queued), news.bytes + sum(queued)
        news.settling = news.settling or len(queued) < len(self.puts) or bool(self.marked)


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at names below one root by the rules of one hot directory.

    ``prefix`` is the path at the destination under which files arrive. ``leases`` says whether to ask who writes.
    """

    root: Root
    rules: Filters
    policy: Policy
    clock: Clock
    prefix: str = ""
    leases: bool = True
    manner: Manner = PLAIN

    def is_there(self) -> bool:
        """Say whether the directory is still the one that was opened, not gone, replaced or unmounted."""
        fd = self.root.top.fd
        try:
            found = os.stat(self.root.path)
        except OSError:
            return False
        return fd is None or os.path.samestat(found, os.fstat(fd))

    def remote(self, key: Key, mtime_ns: int) -> str:
        """Return the path under which a file arrives, not checked."""
        path = self.manner.layout.place(key.path, mtime_ns)
        return f"{self.prefix}/{path}" if self.prefix else path

    def told_gone(self, journal: Journal, keys: Sequence[Key]) -> News:
        """Queue the deletion of names that are said to be deleted, where deletions are forwarded."""
        news = News()
        if not self.manner.deletes:
            return self.look(journal, dict.fromkeys(keys, "found"))
        journal.told_gone(keys, self.clock.wall())
        news.errands = True
        return news

    def enter(self, journal: Journal, folders: Iterable[str]) -> News:
        """Queue that folders are made at the destination, where that is forwarded and not done yet."""
        news = News()
        for path in filter(None, folders) if self.manner.folders else ():
            parent, _, name = path.rpartition("/")
            key = Key(parent, name)
            row = journal.row(key)
            if row is None or row.state in ("gone", *LEFT) or (row.seen != NOTHING and row.state != "sending"):
                journal.put([Sighting(key, NOTHING, "queued", "found", 0.0, self.clock.wall(), "")])
                news.errands = True
        return news

    def look(self, journal: Journal, hints: Mapping[Key, Notice], announced: bool = False) -> News:
        """Look at names that something was heard of, and at those that a done-file among them is about.

        What was ``announced`` (by another machine) and is not there is looked for again for a while.
        """
        news, findings = News(), Findings(announced=announced)
        self._look_at(journal, hints, findings, news)
        marked: dict[Key, Notice] = {key: "found" for key in findings.marked if key.name}
        self._look_at(journal, marked, Findings(), news)
        return news

    def _look_at(self, journal: Journal, hints: Mapping[Key, Notice], findings: Findings, news: News) -> None:
        for folder, notices in _by_folder(hints).items():
            news.folders += self._look_into(journal, folder, notices, findings)
        findings.write(journal, self, news)

    def _look_into(self, journal: Journal, path: str, notices: Mapping[str, Notice], findings: Findings) -> list[str]:
        """Look at names of one folder and return the folders among them."""
        rules, inside = self.rules.folder(path), []
        try:
            folder = self.root.folder(path)
        except OSError:
            for name in notices:
                findings.miss(Key(path, name), journal.row(Key(path, name)), self.clock.monotonic())
            return []
        with folder:
            for name, notice in notices.items():
                found = folder.stat(name)
                if found is not None and stat.S_ISDIR(found.st_mode):
                    inside.append(Key(path, name).path)
                else:
                    View(self, folder, rules, findings).consider(found, journal.row(Key(path, name)), name, notice)
        return inside


@dataclass(frozen=True, slots=True)
class View:
    """One open folder, to look at the names in it.

    ``thorough`` says to write down what rules leave out as well; names that only live for a moment would fill the
    journal, so this is for scans.
    """

    looker: Looker
    folder: Folder
    rules: filters.Folder
    findings: Findings
    thorough: bool = False

    def consider(self, found: os.stat_result | None, row: Row | None, name: str, notice: Notice) -> None:
        """Note what becomes of a name that is not a folder."""
        key = Key(self.folder.path, name)
        if found is None:
            self.findings.miss(key, row, self.looker.clock.monotonic())
            return
        seen = Seen.of(found)
        if row is not None and row.state == "sending":
            if not same(row, seen):
                self.findings.again.append(key)
            return
        self._mark(key)
        left_out = self._left_out(key, found)
        refusal = None if left_out else self._refusal(key, found)
        if left_out is not None:
            self._leave(key, row, seen, "skipped", left_out)
        elif refusal is not None:
            self._leave(key, row, seen, "refused", refusal)
        else:
            self._rest(key, row, seen, notice)

    def skip_folder(self, name: str, row: Row | None, reason: str) -> None:
        """Note that nothing in a folder is looked at."""
        self._leave(Key(self.folder.path, name), row, NOTHING, "skipped", reason)

    def _left_out(self, key: Key, found: os.stat_result) -> str | None:
        """Return which rule of the user leaves a name out, or None."""
        rule = self.rules.decide(key.name)
        if rule is not None and not rule.takes:
            return f'left out by the rule "{rule.text}"'
        bounds = self.looker.rules.bounds
        return bounds.refusal(found.st_size, found.st_mtime, self.looker.clock.wall())

    def _refusal(self, key: Key, found: os.stat_result) -> str | None:
        """Return why a name cannot be sent, or None."""
        if stat.S_ISLNK(found.st_mode) and not self.looker.manner.links:
            return LINK
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            return SPECIAL
        return names.refusal(self.looker.remote(key, found.st_mtime_ns))

    def _leave(self, key: Key, row: Row | None, seen: Seen, state: str, reason: str) -> None:
        """Note that a name is not sent; what was delivered before a rule changed stays delivered."""
        if row is None and state == "skipped" and not self.thorough:
            return
        if row is None or not (row.state == state or (row.state == "delivered" and same(row, seen))):
            self.findings.puts.append(Sighting(key, seen, state, "found", 0.0, 0.0, reason))

    def _mark(self, key: Key) -> None:
        marked = marked_by(self.looker.policy.done_file, key.name)
        if marked is not None:
            self.findings.marked.append(Key(key.folder, marked))

    def _rest(self, key: Key, row: Row | None, seen: Seen, notice: Notice) -> None:
        """Note whether a version is finished or has to be looked at again."""
        now = self.looker.clock.monotonic()
        since = now
        if row is not None and same(row, seen):
            if row.state in ("queued", "delivered", "failed"):
                return
            if row.state == "settling":
                since, notice = row.since, max(row.notice, notice, key=NEWS.__getitem__)
        if row is not None and row.state == "delivered" and not self.looker.manner.modifies:
            self.findings.puts.append(Sighting(key, seen, "delivered", notice, 0.0, FAR, UNFORWARDED))
            return
        wait = self._wait(key, Sight(notice, seen.size, now - since))
        if wait is None:
            state, due, reason = "queued", self.looker.clock.wall(), ""
        else:
            state, reason = "settling", wait.reason
            due = FAR if wait.seconds is None else now + wait.seconds
        self.findings.puts.append(Sighting(key, seen, state, notice, since, due, reason))

    def _wait(self, key: Key, sight: Sight) -> Wait | None:
        """Ask for a done-file and for writers only where the answer matters."""
        policy = self.looker.policy
        done = bool(policy.done_file) and self._is_done(key)
        wait = settled(Sight(sight.notice, sight.size, sight.quiet, None, done), policy)
        if wait is not None or not self.looker.leases:
            return wait
        writer = open_for_writing(self.folder, key.name)
        return settled(Sight(sight.notice, sight.size, sight.quiet, writer, done), policy)

    def _is_done(self, key: Key) -> bool:
        rule = self.looker.policy.done_file
        if marked_by(rule, key.name) is not None:
            return True
        if "{name}" in rule:
            return self.folder.stat(rule.replace("{name}", key.name)) is not None
        return any(self._marked(path, rule) for path in _upwards(key.folder))

    def _marked(self, path: str, rule: str) -> bool:
        try:
            with self.looker.root.folder(path) as folder:
                return folder.stat(rule) is not None
        except OSError:
            return False


def same(row: Row, seen: Seen) -> bool:
    """Say whether a row is about this version; an inode number that either side does not know does not count."""
    return row[1:4] == seen[:3] and (row.inode == seen.inode or not row.inode or not seen.inode)


def _by_folder(hints: Mapping[Key, Notice]) -> dict[str, dict[str, Notice]]:
    folders: dict[str, dict[str, Notice]] = {}
    for key, notice in hints.items():
        folders.setdefault(key.folder, {})[key.name] = notice
    return folders


def _upwards(path: str) -> Iterable[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""
