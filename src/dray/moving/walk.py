"""Finds the local files that a command names: in order, no links followed, every name left out with its reason."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dray import fs
from dray.errors import NotFound
from dray.fs import Folder, Root
from dray.model import filters
from dray.model.filters import Filters, Rule
from dray.model.names import RESERVED, RemotePath, refusal
from dray.model.values import Value
from dray.moving.digest import version_of

LINK = "a symbolic link; links are not followed"
SPECIAL = "not a regular file"

Cause = Literal["filtered", "link", "special", "name", "unreadable", "twice"]


class Found(Value, frozen=True):
    """A regular file: ``origin`` is its path below the root of its tree, ``path`` its name at the destination."""

    path: RemotePath
    origin: str
    size: int
    mtime_ns: int
    version: str
    mode: int | None = None


class Skipped(Value, frozen=True):
    """A local name that is not taken (a folder ends with a slash), and why."""

    path: str
    cause: Cause
    reason: str


Seen = Found | Skipped


class Tree(Value, frozen=True):
    """What one argument names: all below ``root``, or only ``names`` in it; files arrive below ``prefix``."""

    root: str
    prefix: str = ""
    names: tuple[tuple[str, str], ...] | None = None


def trees(paths: Sequence[str], prefix: str = "") -> list[Tree]:
    """Return what the arguments name: ``DIR`` keeps its name, ``DIR/`` means its contents, files of a folder together.

    A link that is named itself is followed. Raises NotFound.
    """
    found: list[Tree] = []
    files: dict[str, list[tuple[str, str]]] = {}
    for path in paths:
        real, name = os.path.realpath(path), _own_name(path)
        if os.path.isdir(real):
            found.append(Tree(real, _below(prefix, name)))
        elif os.path.lexists(real):
            files.setdefault(os.path.dirname(real), []).append((os.path.basename(real), _below(prefix, name)))
        else:
            raise NotFound("there is no such file or directory", item=path, hint="check the spelling of the path")
    found += [Tree(folder, prefix, tuple(names)) for folder, names in files.items()]
    return found


def _own_name(path: str) -> str:
    """Return the name that an argument keeps at the destination; empty when its contents are meant."""
    if path.endswith(("/", os.sep)):
        return ""
    name = os.path.basename(path)
    return "" if name in (".", "..") else name


def _below(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix and name else prefix or name


def source_of(host: str, root: str, origin: str) -> str:
    """Return what says, to a destination, that it is the same file of the same machine again."""
    return hashlib.sha256(f"{host}\0{root}/{origin}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True)
class Walk:
    """One pass over trees. ``taken`` keeps the names that were found, where several arguments could give the same."""

    rules: Filters
    now: float
    taken: set[str] | None = None

    def run(self, tree: Tree) -> Iterator[Seen]:
        """Yield every file and every name left out, folder by folder, in order. Blocks."""
        with Root(tree.root) as root:
            here = _Here(self, tree, root)
            yield from here.everything() if tree.names is None else here.named(tree.names)


@dataclass(frozen=True)
class _Here:
    walk: Walk
    tree: Tree
    root: Root

    def named(self, names: Iterable[tuple[str, str]]) -> Iterator[Seen]:
        """Look at single files."""
        rules = self.walk.rules.root()
        with self.root.folder() as folder:
            for name, path in names:
                seen = folder.stat(name)
                if seen is not None:
                    yield self._file(path, name, seen, rules.decide(name))

    def everything(self) -> Iterator[Seen]:
        """Look at the files of each folder, then into its folders."""
        todo = [("", self.walk.rules.root())]
        while todo:
            path, rules = todo.pop()
            inside: list[str] = []
            yield from self._folder(path, rules, inside)
            todo += [(_below(path, name), rules.enter(name)) for name in reversed(inside)]

    def _folder(self, path: str, rules: filters.Folder, inside: list[str]) -> Iterator[Seen]:
        pruned = rules.pruned()
        if pruned is not None:
            yield self._skipped(f"{path}/", "filtered", f'left out by the rule "{pruned.text}"')
            return
        try:
            with self.root.folder(path) as folder:
                yield from self._names(folder, rules, inside)
        except OSError as error:
            yield self._skipped(f"{path}/", "unreadable", fs.failure(error).message)

    def _names(self, folder: Folder, rules: filters.Folder, inside: list[str]) -> Iterator[Seen]:
        for name in folder.names():
            seen = folder.stat(name)
            if seen is None:
                continue  # gone meanwhile
            if not stat.S_ISDIR(seen.st_mode):
                origin = _below(folder.path, name)
                yield self._file(_below(self.tree.prefix, origin), origin, seen, rules.decide(name))
            elif name == RESERVED and not folder.path:
                yield self._skipped(f"{name}/", "filtered", "Dray's own working files")
            else:
                inside.append(name)

    def _file(self, path: str, origin: str, seen: os.stat_result, rule: Rule | None) -> Seen:
        if not stat.S_ISREG(seen.st_mode):
            link = stat.S_ISLNK(seen.st_mode)
            return self._skipped(origin, "link", LINK) if link else self._skipped(origin, "special", SPECIAL)
        reason = _left_out(rule) or self.walk.rules.bounds.refusal(seen.st_size, seen.st_mtime, self.walk.now)
        if reason:
            return self._skipped(origin, "filtered", reason)
        if refused := refusal(path):
            return self._skipped(origin, "name", refused)
        if self._twice(path):
            return self._skipped(origin, "twice", "another file given to this command has the same name there")
        mode = stat.S_IMODE(seen.st_mode)
        return Found(RemotePath(path), origin, seen.st_size, seen.st_mtime_ns, version_of(seen).token(), mode)

    def _twice(self, path: str) -> bool:
        taken = self.walk.taken
        if taken is None:
            return False
        known = path in taken
        taken.add(path)
        return known

    def _skipped(self, origin: str, cause: Cause, reason: str) -> Skipped:
        return Skipped(os.path.join(self.tree.root, origin), cause, reason)


def _left_out(rule: Rule | None) -> str | None:
    return f'left out by the rule "{rule.text}"' if rule is not None and not rule.takes else None
