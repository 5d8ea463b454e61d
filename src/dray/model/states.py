"""State machines as tables. The database CHECKs, docs/states.md and the tests are made from these."""

from dray.errors import Conflict

Transitions = dict[str, tuple[str, ...]]

UPLOAD: Transitions = {
    "pending": ("uploaded", "failed", "cancelled"),
    "uploaded": ("accepted", "rejected", "cancelled"),
    "accepted": (),
    "rejected": (),
    "failed": (),
    "cancelled": (),
}
"""An attempt to bring a file in; created ``pending`` (or ``failed``)."""

UPLOAD_LIVE = ("pending", "uploaded", "accepted")
"""At most one upload of a file version is in one of these (partial unique index)."""

COPY: Transitions = {
    "arriving": ("verified", "removed"),
    "verified": ("lost", "corrupt", "removed"),
    "lost": ("arriving",),
    "corrupt": ("arriving",),
    "removed": (),
}
"""One file in one store; no row means absent."""

JOB: Transitions = {
    "waiting": ("running",),
    "running": ("waiting", "done", "dead"),
    "done": (),
    "dead": (),
}
"""Queued work; retry, schedule and park-for-callback are all ``waiting`` with ``run_at`` and ``reason``."""

TRANSFER: Transitions = {
    "SUBMITTED": ("STAGING", "ERROR", "CANCELLED"),
    "STAGING": ("TRANSFERRING", "ERROR", "CANCELLED"),
    "TRANSFERRING": ("SUCCESS", "ERROR", "CANCELLED"),
    "SUCCESS": (),
    "ERROR": (),
    "CANCELLED": (),
}

TICKET: Transitions = {"asked": ("ready", "failed", "cancelled"), "ready": (), "failed": (), "cancelled": ()}

UPLOADER: Transitions = {
    "requested": ("approved", "denied"),
    "approved": ("revoked",),
    "denied": ("approved",),
    "revoked": ("approved",),
}

SIGHTING: Transitions = {
    "settling": ("queued", "skipped", "refused", "gone"),
    "queued": ("sending", "settling", "skipped", "refused", "gone"),
    "sending": ("delivered", "queued", "failed", "settling"),
    "delivered": ("settling", "queued", "skipped", "refused", "gone"),
    "failed": ("settling", "queued", "skipped", "refused", "gone"),
    "skipped": ("settling", "queued", "refused", "gone"),
    "refused": ("settling", "queued", "skipped", "gone"),
    "gone": ("settling", "queued", "skipped", "refused"),
}
"""One file of a hot directory in the journal of its agent; a new version of it begins again at ``settling``."""

MACHINES: dict[str, Transitions] = {
    "upload": UPLOAD,
    "copy": COPY,
    "transfer": TRANSFER,
    "job": JOB,
    "ticket": TICKET,
    "uploader": UPLOADER,
    "sighting": SIGHTING,
}


def check(machine: str, before: str, after: str) -> None:
    """Raise Conflict unless the table of ``machine`` allows ``before -> after``."""
    if after not in MACHINES[machine].get(before, ()):
        raise Conflict(f"{machine} is {before}, it cannot become {after}")


def final(machine: str, state: str) -> bool:
    """Say whether nothing follows ``state``."""
    return not MACHINES[machine][state]
