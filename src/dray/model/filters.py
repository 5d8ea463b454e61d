"""Which files are taken: ordered rules, first match wins, as pure decisions about relative paths.

A rule is ``+ PATTERN`` (take) or ``- PATTERN`` (leave out). A pattern without ``/`` matches a name at any depth, one
with ``/`` starts at the root of the tree, ``/`` at the end means folders only. ``*`` and ``?`` stay within a
component, ``**`` crosses folders, ``[a-z]`` and ``[!a-z]`` are classes, ``\\`` takes the next character as it is. A
folder that matches stands for everything below it. No match: taken, unless the last rule is ``- **``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from dray.errors import UsageError
from dray.model.values import Value

Sign = Literal["+", "-"]

HOT_DIRECTORY = (
    "- .*",
    "- *.part",
    "- *.partial",
    "- *.tmp",
    "- *.crdownload",
    "- ~$*",
)
"""Names that programs use while a file is not finished yet (``.*`` covers ``.dray*``, ``.~lock*`` and ``.nfs*``)."""


class Rule(Value, frozen=True):
    """One rule; ``components`` are regular expressions of names, or ``**`` for any number of folders."""

    text: str
    sign: Sign
    folders_only: bool
    components: tuple[str, ...]

    @property
    def takes(self) -> bool:
        """Say whether a match means that the file is taken."""
        return self.sign == "+"

    @property
    def by_name(self) -> bool:
        """Say whether the last component of a path is all that counts."""
        return self.components[0] == "**" and self.components[1:2] != ("**",) and len(self.components) <= 2

    def reaches_below(self, folder: str) -> bool:
        """Say whether the pattern may name something below ``folder`` (never wrong when it says no)."""
        for component, name in zip(self.components, folder.split("/"), strict=False):
            if component == "**":
                return True
            if not re.fullmatch(component, name, re.DOTALL):
                return False
        return True


class SizeAndAge(Value, frozen=True):
    """Bounds in bytes and seconds since the last change; None is no bound. Bounds themselves are taken."""

    min_size: int | None = None
    max_size: int | None = None
    min_age: float | None = None
    max_age: float | None = None

    def refusal(self, size: int, mtime: float, now: float) -> str | None:
        """Return which bound leaves the file out, or None."""
        age = now - mtime
        if self.min_size is not None and size < self.min_size:
            return f"smaller than {self.min_size} bytes"
        if self.max_size is not None and size > self.max_size:
            return f"larger than {self.max_size} bytes"
        if self.max_age is not None and age > self.max_age:
            return f"older than {self.max_age:g} s"
        if self.min_age is not None and age < self.min_age:
            return f"changed less than {self.min_age:g} s ago"
        return None


UNBOUNDED = SizeAndAge()


@dataclass(frozen=True, slots=True)
class Matcher:
    """The rules that can still decide inside one folder, tried as one expression; ``below`` decides the rest."""

    rules: tuple[Rule, ...]
    below: Rule | None
    by_name: bool
    files: re.Pattern[str] | None
    folders: re.Pattern[str] | None

    def file(self, folder: str, name: str) -> Rule | None:
        """Return the first rule that matches the file ``name`` in ``folder``."""
        return self._first(self.files, folder, name)

    def folder(self, folder: str, name: str) -> Rule | None:
        """Return the first rule that matches the folder ``name`` in ``folder``."""
        return self._first(self.folders, folder, name)

    def _first(self, pattern: re.Pattern[str] | None, folder: str, name: str) -> Rule | None:
        if pattern is None:
            return self.below
        found = pattern.fullmatch(name if self.by_name or not folder else f"{folder}/{name}")
        if found is None:
            return self.below
        return self.rules[(found.lastindex or 1) - 1]

    def enter(self, folder: str, name: str) -> "Matcher":
        """Return the matcher for the inside of the folder ``name`` in ``folder``."""
        rule = self.folder(folder, name) or self.below
        earlier = self.rules if rule is self.below else self.rules[: self.rules.index(rule)] if rule else ()
        path = f"{folder}/{name}" if folder else name
        return _matcher(tuple(rule for rule in earlier if rule.reaches_below(path)), rule)


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder as the filters see it: ask it for its files, enter its folders."""

    path: str
    chosen: Matcher
    ignored: Matcher

    def decide(self, name: str) -> Rule | None:
        """Return the rule that decides about the file ``name`` here; None when none matches, so it is taken."""
        rule = self.chosen.file(self.path, name)
        if rule is not None and not rule.takes:
            return rule
        ignore = self.ignored.file(self.path, name)
        return rule if ignore is None or _spells_out(rule, ignore) else ignore

    def takes(self, name: str) -> bool:
        """Say whether the file ``name`` in this folder is taken."""
        rule = self.decide(name)
        return rule is None or rule.takes

    def enter(self, name: str) -> "Folder":
        """Return the folder ``name`` in this one."""
        path = f"{self.path}/{name}" if self.path else name
        return Folder(path, self.chosen.enter(self.path, name), self.ignored.enter(self.path, name))

    def pruned(self) -> Rule | None:
        """Return the rule that leaves out everything below this folder, or None when something may be taken."""
        chosen, ignored = self.chosen, self.ignored.below
        if chosen.below and not chosen.below.takes and not any(rule.takes for rule in chosen.rules):
            return chosen.below
        if ignored and not any(_spells_out(rule, ignored) for rule in (*chosen.rules, chosen.below)):
            return ignored
        return None


@dataclass(frozen=True, slots=True)
class Filters:
    """An ordered set of rules, the names that are always in progress (``ignores``), and the bounds.

    An ignored name is taken only where the ``+`` rule that decides it spells the ignored mark out itself: ``+ .z*``
    takes ``.zattrs``, ``+ raw/**`` does not take ``raw/a.tmp``.
    """

    rules: tuple[Rule, ...] = ()
    ignores: tuple[Rule, ...] = ()
    bounds: SizeAndAge = UNBOUNDED

    @classmethod
    def parse(cls, rules: Iterable[str], ignores: Sequence[str] = (), bounds: SizeAndAge = UNBOUNDED) -> "Filters":
        """Read rules as the user writes them or raise UsageError; empty lines and ``#`` comments are left out."""
        texts = (text.strip() for text in rules)
        kept = tuple(parse_rule(text) for text in texts if text and not text.startswith("#"))
        return cls(kept, tuple(parse_rule(text) for text in ignores), bounds)

    def root(self) -> Folder:
        """Return the top folder, from which a scan enters the others."""
        return Folder("", _matcher(self.rules), _matcher(self.ignores))

    def folder(self, path: str) -> Folder:
        """Return the folder at a relative path (empty: the top)."""
        here = self.root()
        for name in path.split("/") if path else ():
            here = here.enter(name)
        return here

    def explain(self, path: str) -> Rule | None:
        """Return the rule that decides about the file at a relative path; None when none matches, so it is taken."""
        folder, _, name = path.rpartition("/")
        return self.folder(folder).decide(name)

    def takes(self, path: str) -> bool:
        """Say whether the file at a relative path is taken, its size and age apart."""
        rule = self.explain(path)
        return rule is None or rule.takes

    def fingerprint(self) -> str:
        """Return a text that differs whenever the rules may decide differently."""
        return "\n".join([*(rule.text for rule in (*self.rules, *self.ignores)), repr(self.bounds)])


def parse_rule(text: str) -> Rule:
    """Read one rule: ``+`` or ``-``, a blank, a pattern."""
    sign, blank, pattern = text[:1], text[1:2], text[2:].strip()
    if sign not in ("+", "-") or blank not in (" ", "\t") or not pattern.strip("/"):
        raise UsageError(f"{text!r} is not a filter rule", hint='write "+ PATTERN" or "- PATTERN", as in "- tmp/**"')
    body = pattern.rstrip("/")
    components = tuple(part if part == "**" else _component(part, text) for part in body.split("/") if part)
    if "/" not in body and components != ("**",):
        components = ("**", *components)
    return Rule(f"{sign} {pattern}", "+" if sign == "+" else "-", pattern.endswith("/"), components)


_TOKEN = re.compile(r"\\(.)|(\*+)|(\?)|\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]|(.)", re.DOTALL)
_MEMBER = re.compile(r"(\\.|[^\\])-(\\.|[^\\])|(\\.|[^\\])", re.DOTALL)


def _component(part: str, rule: str) -> str:
    """Return one component between slashes as a regular expression that never crosses a slash."""
    text = "".join(_token(found, rule) for found in _TOKEN.finditer(part))
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"{rule!r} is not a filter rule: {error}", hint="check its [...] class") from error
    return text


def _token(found: re.Match[str], rule: str) -> str:
    escaped, stars, question, negated, members, plain = found.groups()
    if escaped is not None:
        return re.escape(escaped)
    if stars:
        return "[^/]*"
    if question:
        return "[^/]"
    if members is not None:
        return f"(?!/)[{'^' if negated else ''}{''.join(_member(m) for m in _MEMBER.finditer(members))}]"
    if plain in "[\\":
        raise UsageError(f"{rule!r} is not a filter rule: {plain!r} is not closed", hint=rf"\{plain} means itself")
    return re.escape(plain)


def _member(found: re.Match[str]) -> str:
    first, last, single = (re.escape(text[-1:]) if text else "" for text in found.groups())
    return single or f"{first}-{last}"


@lru_cache(maxsize=1024)
def _matcher(rules: tuple[Rule, ...], below: Rule | None = None) -> Matcher:
    by_name = all(rule.by_name for rule in rules)
    return Matcher(rules, below, by_name, _pattern(rules, by_name, False), _pattern(rules, by_name, True))


def _pattern(rules: tuple[Rule, ...], by_name: bool, folders: bool) -> re.Pattern[str] | None:
    """Compile one expression with a group a rule, in order, so that the group that matched is the first rule."""
    groups = (f"({_regex(rule, by_name, folders)})" for rule in rules)
    return re.compile("|".join(groups), re.DOTALL) if rules else None


def _regex(rule: Rule, by_name: bool, folders: bool) -> str:
    """Return what a rule says about a file, or about a folder and all below it (``tmp/**`` then matches ``tmp``)."""
    components = rule.components
    if rule.folders_only and not folders:
        return "(?!)"
    if by_name:
        return _join(components[1:] or components)
    if folders and not rule.folders_only and len(components) > 1 and components[-1] == "**":
        return _join(components[:-1])
    return _join(components)


def _join(components: Sequence[str]) -> str:
    """Return one expression for a whole path: ``**`` is any number of folders, at the end at least one name."""
    folders = "".join("(?:.+/)?" if component == "**" else f"{component}/" for component in components[:-1])
    return folders + (".+" if components[-1] == "**" else components[-1])


def _spells_out(rule: Rule | None, ignore: Rule | None) -> bool:
    """Say whether a ``+`` rule names in its own words what the ignore rule is about."""
    if rule is None or ignore is None or not rule.takes:
        return False
    words = rule.text[2:].strip("/").split("/")
    return any(re.fullmatch(ignore.components[-1], word, re.DOTALL) for word in words)
