"""Every failure Dray reports, as one tree; each class is defined once and translated at the edge.

DrayError                 code                exit  HTTP  retry
├── UsageError            usage                 2    400  never
│   ├── NameRefused       name-refused          2    400  never
│   └── Refused           refused               2    422  never
├── NotFound              not-found             3    404  never
├── Denied                denied                4    403  never
│   ├── Unauthenticated   unauthenticated       4    401  never
│   ├── HostKeyRefused    host-key              4    403  never   (of an SSH server: unknown, or changed)
│   └── Expired           expired               4    403  later   (a signed URL: ask for a fresh one)
├── Temporary             temporary             5    503  later
│   ├── Unreachable       unreachable           5    502  later
│   ├── Busy              busy                  5    423  later
│   ├── Disconnected      disconnected          5    400  later
│   ├── Stopped           stopped               5    503  later   (asked to end in the middle)
│   ├── SourceBusy        source-busy           5    409  later
│   ├── Unverified        unverified            5    503  later   (sent, the verdict is outstanding)
│   ├── Unheard           unheard               5    503  later   (announced where nobody listens)
│   └── NoSpace           no-space              5    507  later
├── IntegrityFailure      integrity             6    422  never
│   ├── PieceDamaged      piece-damaged         6    422  later
│   └── SourceChanged     source-changed        6    409  later
├── Permanent             permanent             7    500  never
│   ├── Conflict          conflict              7    409  never
│   └── Forbidden         os-permission         7    403  never   (the operating system says no)
└── LimitReached          limit                 8    413  never
    └── TooManyRequests   too-many-requests     8    429  later
"""

from typing import ClassVar, Literal

Retry = Literal["never", "later"]


class DrayError(Exception):
    """A failure that names the item, what happened and what to do next.

    ``message`` says what happened, ``item`` which file or thing it happened to (shown first), ``hint`` the next
    step. ``after`` is a number of seconds the other side asked us to wait. Never put a secret in any of them.
    """

    code: ClassVar[str] = "unexpected"
    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    retry: ClassVar[Retry] = "never"

    def __init__(self, message: str, *, item: str = "", hint: str = "", after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.item = item
        self.hint = hint
        self.after = after

    def __str__(self) -> str:
        head = f"{self.item}: {self.message}" if self.item else self.message
        return f"{head} ({self.hint})" if self.hint else head

    def about(self, item: str) -> "DrayError":
        """Return the same failure with ``item`` filled in when it named none."""
        if not self.item:
            self.item = item
        return self


class UsageError(DrayError):
    """The request, argument or setting is wrong."""

    code, exit_code, status = "usage", 2, 400


class NameRefused(UsageError):
    """A path that Dray does not take; nothing was written."""

    code = "name-refused"


class Refused(UsageError):
    """Well formed, but not acceptable as it stands."""

    code, status = "refused", 422


class NotFound(DrayError):
    """There is no such thing, or the caller may not know of it."""

    code, exit_code, status = "not-found", 3, 404


class Denied(DrayError):
    """The caller is known and may not do this."""

    code, exit_code, status = "denied", 4, 403


class Unauthenticated(Denied):
    """No token, or one that is unknown, expired or revoked."""

    code, status = "unauthenticated", 401


class HostKeyRefused(Denied):
    """The key of an SSH server is not trusted, or not the one that is; nothing was sent."""

    code = "host-key"


class Expired(Denied):
    """The time of a signed URL is up; a fresh one helps."""

    code, retry = "expired", "later"


class Temporary(DrayError):
    """A retry is likely to help."""

    code, exit_code, status, retry = "temporary", 5, 503, "later"


class Unreachable(Temporary):
    """The other side does not answer or the connection broke."""

    code, status = "unreachable", 502


class Busy(Temporary):
    """Somebody else holds it right now."""

    code, status = "busy", 423


class Disconnected(Temporary):
    """The peer went away or stalled in the middle of a body."""

    code, status = "disconnected", 400


class Stopped(Temporary):
    """The work was asked to end before it was done; what is durable is kept for the next run."""

    code = "stopped"


class SourceBusy(Temporary):
    """The source is still being written, or another source is uploading to the same path."""

    code, status = "source-busy", 409


class Unverified(Temporary):
    """All bytes were sent, but where they stay they have not been verified yet."""

    code = "unverified"


class Unheard(Temporary):
    """Nothing listens where it was announced, so that nobody would ever know."""

    code = "unheard"


class NoSpace(Temporary):
    """No space or quota left where the bytes should go; work resumes when there is."""

    code, status = "no-space", 507


class IntegrityFailure(DrayError):
    """Bytes are not what they were said to be."""

    code, exit_code, status = "integrity", 6, 422


class PieceDamaged(IntegrityFailure):
    """One piece arrived with another checksum than its sender computed; it was discarded, send it again."""

    code, retry = "piece-damaged", "later"


class SourceChanged(IntegrityFailure):
    """The source changed while it was read; nothing was accepted, the new version is tried."""

    code, status, retry = "source-changed", 409, "later"


class Permanent(DrayError):
    """Trying again unchanged will fail again."""

    code, exit_code, status = "permanent", 7, 500


class Conflict(Permanent):
    """The state of the thing does not allow this."""

    code, status = "conflict", 409


class Forbidden(Permanent):
    """The operating system refuses access."""

    code, status = "os-permission", 403


class LimitReached(DrayError):
    """A size, count or quota limit."""

    code, exit_code, status = "limit", 8, 413


class TooManyRequests(LimitReached):
    """The server asks to slow down."""

    code, status, retry = "too-many-requests", 429, "later"


def error_classes() -> dict[str, type[DrayError]]:
    """Return every class of the tree by its code (used to rebuild an error from a problem document)."""
    found: dict[str, type[DrayError]] = {}
    todo: list[type[DrayError]] = [DrayError]
    while todo:
        cls = todo.pop()
        found[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return found
