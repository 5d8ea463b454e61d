"""What the pages say in one sentence: of the server, of a file."""

from collections.abc import Mapping, Sequence

from dray.model.values import Level, Value
from dray.model.views import FileView, QueueStatus, UploadView
from dray.web.words import number

LEVELS: dict[Level, str] = {
    "durable": "file and directory flushed to disk",
    "flushed": "file flushed to disk",
    "service": "the word of the service that keeps it",
}


class Verdict(Value, frozen=True):
    """A sentence, what it rests on, and its colour."""

    text: str
    detail: str
    kind: str


def of_server(uploads: Mapping[str, int], queue: QueueStatus, waiting: Sequence[UploadView]) -> Verdict:
    """Say how things stand: trouble first, then work, then rest."""
    moving = uploads.get("pending", 0) + uploads.get("uploaded", 0)
    if queue.dead:
        return Verdict(
            f"{_count(queue.dead, 'job')} given up",
            "They are listed with their reason; nothing of them was called verified.",
            "bad",
        )
    stuck = [upload for upload in waiting if upload.next_try is not None and upload.reason]
    if stuck:
        return Verdict(f"{_count(len(stuck), 'file')} held up", f"The first one: {stuck[0].reason}", "busy")
    if moving:
        return Verdict(f"{_count(moving, 'file')} on the way", "Each is read again before it counts.", "busy")
    return Verdict("All that arrived is verified", "Nothing waits, nothing runs.", "good")


def of_file(file: FileView, uploads: Sequence[UploadView]) -> Verdict:
    """Say whether this very content is kept safely."""
    if file.state == "verified":
        stores = ", ".join(copy.store for copy in file.copies if copy.state == "verified")
        detail = f"Flushed in {stores}, read again there, and equal to the digest computed at its source."
        return Verdict("Verified", detail, "good")
    if file.state == "damaged":
        return Verdict("Damaged", "No good copy is left in any store. Send it again from its source.", "bad")
    if file.state == "removed":
        return Verdict("Removed", "Its copies were removed.", "")
    reason = uploads[-1].reason if uploads else ""
    if file.state == "moving":
        return Verdict("Not verified yet", reason or "It is on its way. Keep the source.", "busy")
    return Verdict("Not here", reason or "Its last upload got no further. Keep the source.", "bad")


def _count(count: int, what: str) -> str:
    return f"{number(count)} {what}{'' if count == 1 else 's'}"
