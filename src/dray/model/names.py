"""Paths of files inside a dataset or place, and the names of what is staged."""

import hashlib

from dray.errors import NameRefused

RESERVED = ".dray"
"""First component that belongs to Dray itself in every place it writes."""

LONGEST_COMPONENT = 255
LONGEST_PATH = 1024


class RemotePath(str):
    """A relative path with ``/`` between its components, checked when it is made.

    Never absolute, no empty, ``.`` or ``..`` component, no NUL, valid UTF-8, at most 255 bytes a component and 1,024
    in all, first component not ``.dray``. Anything else (spaces, quotes, newlines, any script) is taken as it is.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> "RemotePath":
        reason = refusal(text)
        if reason:
            raise NameRefused(reason, item=printable(text), hint="rename the file, then it is taken at the next look")
        return super().__new__(cls, text)

    @property
    def parent(self) -> str:
        """Return the folder part, without trailing slash; empty for a file at the top."""
        return self.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Return the last component."""
        return self.rpartition("/")[2]


def refusal(text: str) -> str | None:
    """Return why ``text`` is not a path that Dray takes, or None."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return "the name is not valid UTF-8"
    if not text:
        return "the name is empty"
    if "\0" in text:
        return "the name holds a NUL character"
    if size > LONGEST_PATH:
        return f"the path is {size} bytes long, {LONGEST_PATH} are allowed"
    return _refused_component(text.split("/"))


def _refused_component(components: list[str]) -> str | None:
    if components[0] == "":
        return "the path is absolute"
    for component in components:
        if component in ("", ".", ".."):
            return f"the path has a {component!r} component"
        if len(component) > LONGEST_COMPONENT // 4 and len(component.encode()) > LONGEST_COMPONENT:
            return f"a component is longer than {LONGEST_COMPONENT} bytes"
    if components[0] == RESERVED:
        return f"{RESERVED!r} is reserved for Dray itself"
    return None


def printable(text: str) -> str:
    """Return ``text`` on one line, safe for a terminal or log: control, RTL and undecodable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def staged_name(path: str, version: str) -> str:
    """Return the name under which this version of this path is staged: short, legal everywhere, the same each time."""
    digest = hashlib.sha256(f"{path}\0{version}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:32]}.staged"
