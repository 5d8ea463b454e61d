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
    "sending": ("delivered", "queued", "failed", "settling", "gone"),
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

MEANINGS: dict[str, dict[str, str]] = {
    "upload": {
        "": "One attempt to bring a version of a file in. At most one is pending, uploaded or accepted.",
        "pending": "its bytes are awaited; they may come in parts, from one process after another",
        "uploaded": "its mover claimed size and checksum; a worker verifies what is stored, or says why it waits",
        "accepted": "stored durably, read again, equal to the claim, published and recorded",
        "rejected": "what is stored is not what was claimed, or cannot be verified; the reason says which",
        "failed": "nothing came for so long that it is not awaited any more",
        "cancelled": "given up by its owner, or by a newer version of the same source",
    },
    "copy": {
        "": "One file in one store; a file without a row has never been there.",
        "arriving": "being written, or written again from a good copy",
        "verified": "read where it lies and found equal to the checksum of its file",
        "lost": "a scrub did not find it",
        "corrupt": "a scrub found other bytes",
        "removed": "deleted on purpose; its file may have other copies",
    },
    "transfer": {
        "": "An asked-for movement of products to a destination.",
        "SUBMITTED": "taken, not begun",
        "STAGING": "its products are brought online",
        "TRANSFERRING": "its files are on their way",
        "SUCCESS": "every file arrived and was verified",
        "ERROR": "some file did not arrive; the reason says which and why",
        "CANCELLED": "given up by its owner",
    },
    "job": {
        "": "A unit of queued work. What is retried or comes later is `waiting`, with a time and a reason.",
        "waiting": "done at `run_at`; the reason says why not now",
        "running": "a worker holds it under a lease and an attempt number",
        "done": "ended; its result is in it",
        "dead": "given up after days of failures, or after one that no retry can help",
    },
    "ticket": {
        "": "What a stager or carrier holds for us.",
        "asked": "asked for, no answer yet",
        "ready": "what was asked for is there",
        "failed": "it said no, or its deadline passed",
        "cancelled": "not wanted any more",
    },
    "uploader": {
        "": "A registered agent.",
        "requested": "asks to be let in",
        "approved": "may write",
        "denied": "was not let in",
        "revoked": "may not write any more",
    },
    "sighting": {
        "": "One file of a hot directory, in the journal of its agent.",
        "settling": "seen, may still be written to",
        "queued": "finished, waits to be sent",
        "sending": "on its way",
        "delivered": "verified at the destination",
        "failed": "not delivered; the reason says why",
        "skipped": "left out by a rule, or waited for too long",
        "refused": "has a name or kind that is not taken",
        "gone": "not in the directory any more",
    },
}
"""What each machine and each of its states means, for people."""


def check(machine: str, before: str, after: str) -> None:
    """Raise Conflict unless the table of ``machine`` allows ``before -> after``."""
    if after not in MACHINES[machine].get(before, ()):
        raise Conflict(f"{machine} is {before}, it cannot become {after}")


def final(machine: str, state: str) -> bool:
    """Say whether nothing follows ``state``."""
    return not MACHINES[machine][state]
