"""Stages a batch in one transaction: look, decide, open; again for those that another process was faster with."""

from collections import defaultdict
from collections.abc import Mapping

from dray.core.staging import Decision, Done, HashFirst, Open, Resume, decide
from dray.errors import Busy, DrayError, SourceBusy
from dray.model.names import printable
from dray.model.values import Value
from dray.model.views import StagedUpload, StageFile
from dray.state import uploads
from dray.state.database import Connection
from dray.state.given import Row
from dray.state.transition import Change
from dray.state.uploads import Head, Live

ROUNDS = 4
"""Looks at a path until it is left to others for now; on SQLite the first look is right."""

Answer = StagedUpload | DrayError


class Asked(Value, frozen=True):
    """A file to be staged, with the part size that was planned for it."""

    file: StageFile
    part_size: int


class Batch(Value, frozen=True):
    """What is staged together: files by path, in one dataset, for one token."""

    dataset: int
    files: Mapping[str, Asked]
    token: int
    actor: str
    now: float


def stage(connection: Connection, batch: Batch) -> dict[str, Answer]:
    """Return what came of each file by its path."""
    answers: dict[str, Answer] = {}
    for _ in range(ROUNDS):
        missing = {path: asked for path, asked in batch.files.items() if path not in answers}
        if not missing:
            return answers
        answers |= _round(connection, batch, missing)
    return {path: answers.get(path) or _contended(path) for path in batch.files}


def _round(connection: Connection, batch: Batch, missing: Mapping[str, Asked]) -> dict[str, Answer]:
    heads: dict[str, list[Head]] = defaultdict(list)
    for head in uploads.heads(connection, batch.dataset, missing):
        heads[head.path].append(head)
    decisions = {path: decide(asked.file, heads[path], batch.now) for path, asked in missing.items()}
    answers = {path: _answer(missing[path], one) for path, one in decisions.items() if not isinstance(one, Open)}
    opens = {path: one for path, one in decisions.items() if isinstance(one, Open)}
    return answers | (_open(connection, batch, opens) if opens else {})


def _answer(asked: Asked, decision: Decision) -> Answer:
    match decision:
        case Done(head, live):
            return _staged(head, live, done=True)
        case Resume(head, live):
            return _staged(head, live)
        case HashFirst(head):
            return StagedUpload(
                upload=0,
                path=head.path,
                state="pending",
                file=head.file,
                version_number=head.version_number,
                part_size=asked.part_size,
                hash_first=True,
            )
        case DrayError():
            return decision
        case Open():
            raise TypeError("a new upload has no answer before it is opened")


def _staged(head: Head, live: Live, done: bool = False) -> StagedUpload:
    return StagedUpload(
        upload=live.upload,
        path=head.path,
        state=live.state,
        file=head.file,
        version_number=head.version_number,
        part_size=live.part_size,
        done=done,
    )


def _open(connection: Connection, batch: Batch, opens: Mapping[str, Open]) -> dict[str, Answer]:
    """Open uploads; paths where somebody else was faster are missing in the answer."""
    busy = _end_others(connection, batch, opens)
    wanted = {path: one for path, one in opens.items() if path not in busy}
    numbers = {path: one.file for path, one in wanted.items() if one.file is not None}
    fresh = [_version(batch, path, one) for path, one in wanted.items() if one.file is None]
    numbers |= uploads.add_files(connection, batch.dataset, fresh, batch.now) if fresh else {}
    change = Change("upload", (), "pending", batch.now, batch.actor)
    rows = [_upload(batch.files[path], file) for path, file in numbers.items()]
    opened = uploads.open_uploads(connection, rows, batch.token, change) if rows else {}
    _resize(connection, batch, {path: one.file for path, one in wanted.items() if one.file in opened})
    made = {path: (opened[file], file) for path, file in numbers.items() if file in opened}
    return busy | {path: _opened(batch, path, opens[path], made[path]) for path in made}


def _end_others(connection: Connection, batch: Batch, opens: Mapping[str, Open]) -> dict[str, Answer]:
    """Cancel the unfinished uploads whose place is taken; Busy for those that are being verified right now."""
    ended = {one.ends.upload: one.ends for one in opens.values() if one.ends}
    if not ended:
        return {}
    at_rest = uploads.lock_jobs_at_rest(connection, [live.job for live in ended.values() if live.job])
    for state in ("pending", "uploaded"):
        # Only from the state that was seen: one that was completed meanwhile may have a worker by now.
        mine = [key for key, one in ended.items() if one.state == state and (one.job is None or one.job in at_rest)]
        change = Change("upload", (state,), "cancelled", batch.now, batch.actor)
        uploads.end(connection, change, dict.fromkeys(mine, "a newer version took its place"))
    running = {key for key, one in ended.items() if one.job is not None and one.job not in at_rest}
    return {path: _verifying(path) for path, one in opens.items() if one.ends and one.ends.upload in running}


def _verifying(path: str) -> SourceBusy:
    return SourceBusy(
        "the version before is being verified right now",
        item=printable(path),
        hint="it is tried again in a moment",
        after=1.0,
    )


def _contended(path: str) -> Busy:
    return Busy("others are staging the same path", item=printable(path), hint="it is tried again", after=1.0)


def _version(batch: Batch, path: str, one: Open) -> Row:
    asked = batch.files[path].file
    return {"path": path, "version_number": one.version_number, "size": asked.size, "mtime_ns": asked.mtime_ns}


def _upload(asked: Asked, file: int) -> Row:
    return {
        "file_id": file,
        "version": asked.file.version,
        "source": asked.file.source,
        "on_exists": asked.file.on_exists,
        "size": asked.file.size,
        "part_size": asked.part_size,
        "mtime_ns": asked.file.mtime_ns,
        "checksum": asked.file.checksum,
    }


def _resize(connection: Connection, batch: Batch, reused: Mapping[str, int | None]) -> None:
    rows: list[Row] = [
        {"id": file, "size": batch.files[path].file.size, "mtime_ns": batch.files[path].file.mtime_ns}
        for path, file in reused.items()
    ]
    if rows:
        uploads.reuse_files(connection, rows)


def _opened(batch: Batch, path: str, one: Open, made: tuple[int, int]) -> StagedUpload:
    upload, file = made
    return StagedUpload(
        upload=upload,
        path=path,
        state="pending",
        file=file,
        version_number=one.version_number,
        part_size=batch.files[path].part_size,
    )
