"""Addresses on the command line: ``http(s)://server[/prefix]/DATASET[/path]``."""

import re
from urllib.parse import quote, unquote, urlsplit

from dray.errors import UsageError
from dray.model.values import Value

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FORM = "write http://server[:port][/prefix]/DATASET[/path]"


class Address(Value, frozen=True):
    """A URL as it was given: which of the ``segments`` are the server's prefix only the server can tell."""

    origin: str
    segments: tuple[str, ...]
    folder: bool


class Place(Value, frozen=True):
    """A dataset, or what lies below ``path`` in it; ``folder`` says that the address ended with a slash."""

    server: str
    dataset: str
    path: str = ""
    folder: bool = False

    def __str__(self) -> str:
        return "/".join((self.server, self.dataset, *([quote(self.path)] if self.path else [])))


def parse(url: str) -> Address:
    """Take a URL apart, percent-decoded, or raise UsageError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"not an address: {error}", hint=_FORM) from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("not an address of a Dray server", item=url, hint=_FORM)
    if parts.username is not None:
        raise UsageError("an address must not hold a name or password", hint="use `dray login` or DRAY_TOKEN")
    if parts.query or parts.fragment:
        raise UsageError("an address has no ? or # part", item=url, hint="write %3F and %23 for those in a name")
    host = f"[{host}]" if ":" in host else host
    segments = tuple(unquote(segment) for segment in parts.path.split("/") if segment)
    return Address(f"{parts.scheme}://{host}{f':{port}' if port else ''}", segments, parts.path.endswith("/"))


def is_address(text: str) -> bool:
    """Say whether a command line argument names a server rather than a local path."""
    return text.lower().startswith(("http://", "https://"))


def place(address: Address, server: str, prefix: int) -> Place:
    """Return what ``address`` names on ``server``, whose own prefix takes the first ``prefix`` segments."""
    rest = address.segments[prefix:]
    if not rest:
        raise UsageError("the address names no dataset", item=server, hint=f"add one: {server}/DATASET")
    if not _DATASET.fullmatch(rest[0]):
        raise UsageError(
            "not a name of a dataset", item=rest[0], hint="letters, digits, . _ and -, beginning with a letter or digit"
        )
    return Place(server, rest[0], "/".join(rest[1:]), address.folder)
