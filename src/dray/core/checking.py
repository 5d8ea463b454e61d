"""The question behind `safe` and `check`: is a verified, published copy of this very content there?"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from dray.core.showing import upload_view
from dray.model import states
from dray.model.values import Level, Value
from dray.model.views import CheckedFile, CheckItem
from dray.state import catalogue, uploads
from dray.state.catalogue import File
from dray.state.database import Connection
from dray.state.uploads import Whole

State = Literal["verified", "differs", "moving", "unknown", "damaged"]


class Known(Value, frozen=True):
    """What the catalogue knows of some paths: published versions, the newest last, and the newest upload."""

    versions: Mapping[str, Sequence[File]]
    uploads: Mapping[str, Whole]


def look(connection: Connection, dataset: str, paths: Sequence[str]) -> Known:
    """Return what is known of paths of a dataset."""
    names = [path for path in paths if "\0" not in path]
    versions: dict[str, list[File]] = defaultdict(list)
    for file in catalogue.versions(connection, dataset, names):
        versions[file.path].append(file)
    return Known(versions, uploads.moving(connection, dataset, names))


def judge(item: CheckItem, known: Known) -> CheckedFile:
    """Return the verdict on one file; the first rule that applies, from certain to unknown."""
    versions = known.versions.get(item.path, ())
    upload = known.uploads.get(item.path)
    same = [file for file in versions if item.checksum and _content(file) == (item.size, item.checksum)]
    good = next((file for file in reversed(same) if file.verified()), None)
    current = next((file for file in reversed(versions) if file.current), None)
    if good:
        return _verified(item, good)
    if same:
        return _about(item, "damaged", "its stored copy was found damaged or lost", same[-1])
    if upload and _is_moving(item, upload):
        return _moving(item, upload)
    if current is None:
        return unknown(item, _why_not(upload))
    if not item.checksum and current.size == item.size:
        return _about(item, "unknown", "only a checksum tells whether it is the same", current)
    return _about(item, "differs", f"version {current.version_number} has other content", current)


def unknown(item: CheckItem, reason: str) -> CheckedFile:
    """Return that nothing is known of a file."""
    return CheckedFile(path=item.path, state="unknown", reason=reason)


def _content(file: File) -> tuple[int, str | None]:
    return file.size, file.checksum


def _is_moving(item: CheckItem, upload: Whole) -> bool:
    """Say whether an unfinished upload may be of this content."""
    if states.final("upload", upload.state) or upload.size != item.size:
        return False
    return not (item.checksum and upload.checksum) or item.checksum == upload.checksum


def _moving(item: CheckItem, upload: Whole) -> CheckedFile:
    reason = upload_view(upload).reason or "is sent"
    return CheckedFile(path=item.path, state="moving", reason=reason, version_number=upload.version_number)


def _why_not(upload: Whole | None) -> str:
    if upload is None:
        return "nothing was ever sent to this path"
    if not states.final("upload", upload.state):
        return "other content is on its way to this path"
    return f"the last upload was {upload.state}: {upload.reason}"


def _verified(item: CheckItem, file: File) -> CheckedFile:
    copy = file.verified()
    reason = "" if file.current else "an older version; the path shows newer content by now"
    return CheckedFile(
        path=item.path,
        state="verified",
        reason=reason,
        version_number=file.version_number,
        size=file.size,
        checksum=file.checksum,
        level=cast(Level, copy.level) if copy else None,
        verified_at=copy.at if copy else None,
    )


def _about(item: CheckItem, state: State, reason: str, file: File) -> CheckedFile:
    return CheckedFile(
        path=item.path,
        state=state,
        reason=reason,
        version_number=file.version_number,
        size=file.size,
        checksum=file.checksum,
    )
