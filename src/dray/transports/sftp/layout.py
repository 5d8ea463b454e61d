"""Where things lie beneath the destination directory; the same names as in a posix place."""

import posixpath

from dray.model.names import RESERVED, RemotePath
from dray.model.values import Entry
from dray.transports.published import versions_of
from dray.transports.refs import Target, published
from dray.transports.sftp.wire import Attrs
from dray.transports.sidefile import SUFFIX
from dray.transports.staging import FAN

SECOND = 1_000_000_000


class Layout:
    """Full paths at the server, as bytes; ``top`` is the destination directory."""

    def __init__(self, top: bytes) -> None:
        self.top = top
        self._below = top.rstrip(b"/") + b"/"
        self.staging = self._below + RESERVED.encode() + b"/staging"
        """On the same file system as the destination."""

    def staging_folders(self) -> list[bytes]:
        """Return the folders that staged files are spread over: servers wait for each other in a single one."""
        return [self.staging + b"/" + digit.encode() for digit in FAN]

    def staging_of(self, target: Target) -> bytes:
        """Return the folder that a target is staged in."""
        return self.staging + b"/" + target.name[:1].encode()

    def staged(self, target: Target) -> bytes:
        """Return where a target is staged."""
        name = target.name.encode()
        return self.staging + b"/" + name[:1] + b"/" + name

    def side(self, target: Target) -> bytes:
        """Return where it is written which parts are durable."""
        return self.staged(target) + SUFFIX.encode()

    def final(self, path: str) -> bytes:
        """Return where a path leads."""
        return self._below + encoded(path) if path else self.top

    def folder(self, path: RemotePath) -> bytes:
        """Return the folder of a path."""
        return self.final(path.parent)

    def below(self, path: bytes) -> bytes:
        """Return a full path as seen from the top."""
        return path.removeprefix(self._below)

    def versions(self, path: str) -> bytes:
        """Return the folder that keeps older contents of a path."""
        return self._below + versions_of(path).encode()


def encoded(path: str) -> bytes:
    """Return the bytes of a path; surrogates stand for those that are no UTF-8."""
    return path.encode("utf-8", "surrogateescape")


def tag_of(size: int, mtime: int) -> str:
    """Return what tells contents of a path apart, as far as SFTP can: it knows no inodes, and whole seconds only."""
    return f"{size:x}-{mtime:x}"


def tag_of_attrs(attrs: Attrs) -> str:
    """Return the tag of a file that was looked at."""
    return tag_of(attrs.size, attrs.mtime)


def seconds(mtime_ns: int) -> int:
    """Return a time as SFTP tells it; what it cannot tell is the next it can."""
    return min(max(mtime_ns // SECOND, 0), 0xFFFFFFFF)


def entry(path: RemotePath, size: int, mtime: int) -> Entry:
    """Describe a published file."""
    tag = tag_of(size, mtime)
    return Entry(path, size, mtime * SECOND, tag=tag, ref=published(path, tag))


def joined(above: bytes, path: bytes) -> bytes:
    """Return a path as seen from a folder; an absolute one stands for itself."""
    return posixpath.normpath(posixpath.join(above, path))
