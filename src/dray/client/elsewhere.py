"""Addresses of places that are no Dray server: ``sftp://[user@]host[:port]/path``, ``s3://bucket/prefix``,
``file:///path``."""

import re
from urllib.parse import quote, unquote

from dray.errors import UsageError
from dray.model.names import printable, refusal
from dray.model.values import Value

SFTP, S3, FILE = "sftp://", "s3://", "file://"
_FORM = "write sftp://[user@]host[:port]/path from the login directory, or sftp://host//path from the root"
_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]{1,254}")
_SAFE = "/-._~!$&'()*+,;=:@"


class SftpPlace(Value, frozen=True):
    """A directory behind ssh; ``host`` may be a Host of ssh's configuration.

    ``path`` is relative to the login directory, or absolute; surrogates in it stand for bytes that are no UTF-8.
    ``folder`` says that the address ended with a slash.
    """

    host: str
    path: str = ""
    user: str = ""
    port: int = 0
    folder: bool = False

    @property
    def server(self) -> str:
        """Return the address of the account."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{quote(self.user, safe=_SAFE)}@" if self.user else ""
        return f"{SFTP}{user}{host}{f':{self.port}' if self.port else ''}"

    def __str__(self) -> str:
        return f"{self.server}/{quote(self.path, safe=_SAFE, errors='surrogateescape')}"


class FilePlace(Value, frozen=True):
    """A directory of this machine."""

    path: str
    folder: bool = False

    @property
    def server(self) -> str:
        """Return what stands before the path in an address."""
        return FILE

    def __str__(self) -> str:
        return FILE + quote(self.path, safe=_SAFE, errors="surrogateescape")


class S3Place(Value, frozen=True):
    """A prefix of a bucket; which service has it, settings and environment say."""

    bucket: str
    path: str = ""
    folder: bool = False

    @property
    def server(self) -> str:
        """Return the address of the bucket."""
        return f"{S3}{self.bucket}"

    def __str__(self) -> str:
        return f"{self.server}/{quote(self.path, safe=_SAFE)}"


Elsewhere = SftpPlace | S3Place | FilePlace


def is_elsewhere(text: str) -> bool:
    """Say whether an argument names a place that is no Dray server."""
    return text.lower().startswith((SFTP, S3, FILE))


def parse(text: str) -> Elsewhere:
    """Take an address apart, percent-decoded, or raise UsageError."""
    if "?" in text or "#" in text:
        raise UsageError("an address has no ? or # part", item=text, hint="write %3F and %23 for those in a name")
    if text.lower().startswith(FILE):
        return _file(text)
    if text.lower().startswith(S3):
        return _bucket(text)
    authority, _, path = text[len(SFTP) :].partition("/")
    if not text.lower().startswith(SFTP) or not authority:
        raise UsageError("not an address", item=printable(text), hint=_FORM)
    user, at, rest = authority.rpartition("@")
    if at and (":" in user or not user):
        raise UsageError("an address must not hold a password", hint="ssh keys are used; see `man ssh-keygen`")
    host, port = _split(rest, text)
    decoded = _decoded(path)
    return SftpPlace(host, decoded.rstrip("/") or decoded[:1], unquote(user), port, text.endswith("/"))


def parse_sftp(text: str) -> SftpPlace:
    """Read the address of an account behind ssh, the bare name of a host as well."""
    place = parse(text if is_elsewhere(text) else SFTP + text)
    if not isinstance(place, SftpPlace):
        raise UsageError("not an address of an SSH server", item=printable(text), hint=_FORM)
    return place


def _file(text: str) -> FilePlace:
    path = text[len(FILE) :].removeprefix("localhost")
    if not path.startswith("/"):
        raise UsageError("not an absolute path", item=printable(text), hint="write file:///directory")
    decoded = _decoded(path)
    return FilePlace(decoded.rstrip("/") or "/", decoded.endswith("/"))


def _bucket(text: str) -> S3Place:
    bucket, _, path = text[len(S3) :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError("no name of a bucket", item=printable(text), hint="write s3://bucket/prefix")
    decoded = _decoded(path)
    prefix = decoded.strip("/")
    reason = refusal(prefix) if prefix else None
    if reason:
        raise UsageError(reason, item=printable(text), hint="write s3://bucket/prefix")
    return S3Place(bucket, prefix, not path or decoded.endswith("/"))


def _split(authority: str, text: str) -> tuple[str, int]:
    """Return host and port (0: that of ssh)."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    if not host or host.startswith("-") or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise UsageError("no such host or port", item=printable(text), hint=_FORM)
    if any(letter.isspace() or not letter.isprintable() for letter in host):
        raise UsageError("not a name of a host", item=printable(text), hint=_FORM)
    return host, int(port or 0)


def _decoded(path: str) -> str:
    decoded = unquote(path, errors="surrogateescape")
    if "\0" in decoded:
        raise UsageError("an address holds no NUL character")
    return decoded
