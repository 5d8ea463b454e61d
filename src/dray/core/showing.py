"""Makes the shapes of the API from rows."""

from typing import Any, cast

import msgspec

from dray.core.access import Principal
from dray.model.queue import VerifyTask, decode
from dray.model.views import (
    CopyState,
    CopyView,
    DatasetView,
    Event,
    FileView,
    JobState,
    JobView,
    ProofView,
    UploadState,
    UploadView,
)
from dray.state.catalogue import Dataset, File, Stored
from dray.state.events import Position
from dray.state.jobs import Job
from dray.state.uploads import Whole

VERIFYING = "is verified right now"


def upload_view(upload: Whole) -> UploadView:
    """Show an upload; while it has no verdict, its job says why and until when."""
    waiting = upload.state == "uploaded" and upload.job_state == "waiting"
    running = upload.state == "uploaded" and upload.job_state == "running"
    job_reason = upload.job_reason if waiting else VERIFYING if running else ""
    return UploadView(
        upload=upload.id,
        file=upload.file,
        dataset=upload.dataset,
        path=upload.path,
        version_number=upload.version_number,
        size=upload.size,
        state=cast(UploadState, upload.state),
        reason=upload.reason or job_reason or "",
        created=upload.created,
        updated=upload.updated,
        proof=_proof(upload) if upload.state == "accepted" else None,
        next_try=upload.run_at if waiting else None,
        checksum=upload.checksum,
    )


def _proof(upload: Whole) -> ProofView | None:
    if upload.copy_at is None:
        return None
    return ProofView(
        size=upload.copy_size or 0,
        checksum=upload.copy_checksum or "",
        tag=upload.copy_tag or "",
        by=upload.copy_by or "",
        level=cast(Any, upload.copy_level),
        at=upload.copy_at,
    )


def dataset_view(dataset: Dataset) -> DatasetView:
    """Show a dataset."""
    return DatasetView(name=dataset.name, files=dataset.files, bytes=dataset.bytes, created=dataset.created)


def file_view(file: File) -> FileView:
    """Show a file version with its copies."""
    return FileView(
        file=file.id,
        dataset=file.dataset,
        path=file.path,
        version_number=file.version_number,
        size=file.size,
        checksum=file.checksum,
        state=file_state(file),
        mtime_ns=file.mtime_ns,
        created=file.created,
        published=file.published,
        current=file.current,
        copies=[_copy_view(copy) for copy in file.copies],
    )


def file_state(file: File) -> str:
    """Return what ``core/datasets.FileState`` calls a file."""
    if file.published is None:
        return "moving" if file.moving else "failed"
    states = {copy.state for copy in file.copies}
    if "verified" in states:
        return "verified"
    return "damaged" if states & {"lost", "corrupt", "arriving"} else "removed"


def _copy_view(copy: Stored) -> CopyView:
    return CopyView(
        store=copy.store,
        state=cast(CopyState, copy.state),
        level=cast(Any, copy.level),
        verified_at=copy.at,
        verified_by=copy.by,
        tag=copy.tag,
    )


def event_view(row: Any) -> Event:
    """Show an event; what an upload carries is added to what was noted."""
    noted = msgspec.json.decode(row.data, type=dict[str, str | int | float | bool | None]) if row.data else {}
    carried = {"version_number": row.version_number, "size": row.size, "checksum": row.checksum}
    return Event(
        id=position_text(Position(row.stamp, row.id)),
        at=row.at,
        kind=row.kind,
        dataset=row.dataset,
        path=row.path,
        file=row.file_id,
        upload=row.upload_id,
        actor=row.actor,
        data={name: value for name, value in carried.items() if value is not None} | noted,
    )


def position_text(position: Position) -> str:
    """Return the id of an event."""
    return f"{position.stamp}-{position.id}"


def job_view(job: Job) -> JobView:
    """Show a job; what it counts is its result so far."""
    task = decode(job.task)
    counts = {"uploads": len(task.uploads)} if isinstance(task, VerifyTask) else msgspec.to_builtins(task)
    return JobView(
        job=job.id,
        kind=job.kind,
        state=cast(JobState, job.state),
        reason=job.reason,
        attempt=job.attempt,
        created=job.created,
        run_at=job.run_at,
        updated=job.updated,
        result={name: value for name, value in counts.items() if name not in ("type", "after")},
    )


def readable(who: Principal, dataset: str) -> bool:
    """Say whether somebody may see what is in a dataset: who may write to it sees what became of that."""
    return who.may("read", dataset) or who.may("write", dataset)
