"""Uploads: register a batch of files, say where their bytes go, take the claims, tell the verdicts."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import cast

import msgspec

from dray.clock import Clock
from dray.core import opening
from dray.core.access import Principal
from dray.core.bell import EVENTS, JOBS, VERDICTS, Bell
from dray.core.opening import Asked
from dray.core.showing import readable, upload_view
from dray.errors import Busy, Conflict, Denied, DrayError, NameRefused, NotFound, Refused
from dray.model import states
from dray.model.checksum import Checksum
from dray.model.names import LONGEST_PATH, RemotePath, printable
from dray.model.queue import VerifyTask
from dray.model.values import Landing, OnExists, Value
from dray.model.views import (
    CancelItem,
    CompleteItem,
    StagedUpload,
    StageFile,
    StageRequest,
    UploadState,
    UploadView,
)
from dray.state import catalogue, jobs
from dray.state import uploads as rows
from dray.state.database import Connection, Database
from dray.state.transition import Change
from dray.state.uploads import Arriving, Whole


class UploadTarget(Value, frozen=True):
    """Where the bytes of one upload go. ``path`` is the path in the dataset, ``landing()`` the one in the store.

    ``checksum`` is the claim once the upload is complete, before that what was said when it was staged, if anything.
    """

    upload: int
    file: int
    dataset: str
    path: RemotePath
    size: int
    part_size: int
    state: UploadState
    on_exists: OnExists = "version"
    checksum: Checksum | None = None
    mtime_ns: int | None = None

    @property
    def version(self) -> str:
        """Return the token under which the bytes are staged."""
        return f"upload-{self.upload}"

    def landing(self) -> Landing:
        """Return what the store's session stages."""
        return Landing(
            path=RemotePath(f"{self.dataset}/{self.path}"),
            size=self.size,
            version=self.version,
            on_exists=self.on_exists,
            checksum=self.checksum,
            mtime_ns=self.mtime_ns,
        )


class Uploads:
    """The life of uploads, from staged to a verdict; batches of up to 256 in one transaction each."""

    def __init__(self, database: Database, clock: Clock, bell: Bell, part_size: Callable[[int], int]) -> None:
        """``part_size`` plans the part size of a file from its size (it raises LimitReached)."""
        self._database = database
        self._clock = clock
        self._bell = bell
        self._part_size = part_size
        self._touched: dict[int, float] = {}

    async def stage(self, who: Principal, request: StageRequest) -> list[StagedUpload | DrayError]:
        """Open, resume or find done each file of a batch, in order; ``held`` is left empty for the door to fill.

        Needs ``write`` on the dataset, and ``create`` when it has to be made. Asking again answers the same.
        """
        who.require("write", request.dataset)
        planned = [self._plan(request.dataset, file) for file in request.files]
        files = {asked.file.path: asked for asked in reversed(planned) if isinstance(asked, Asked)}
        answers = await self._database.write(lambda connection: self._stage(connection, who, request, files))
        self._bell.ring(EVENTS)
        return [_answer_of(asked, files, answers) for asked in planned]

    def _plan(self, dataset: str, file: StageFile) -> Asked | DrayError:
        try:
            path = RemotePath(file.path)
            # In the store the dataset is the first component, and the whole has to be a path that Dray takes too.
            if len(dataset) + len(path.encode()) >= LONGEST_PATH:
                raise NameRefused(f"with its dataset the path is longer than {LONGEST_PATH} bytes")
            return Asked(file, self._part_size(file.size))
        except DrayError as error:
            return error.about(printable(file.path))

    def _stage(
        self, connection: Connection, who: Principal, request: StageRequest, files: Mapping[str, Asked]
    ) -> dict[str, StagedUpload | DrayError]:
        now = self._clock.wall()
        dataset = catalogue.dataset(connection, request.dataset)
        if dataset is None:
            if not request.create:
                raise NotFound(
                    "there is no such dataset", item=request.dataset, hint="create it, or allow that it is made"
                )
            who.require("create", request.dataset)
            dataset = catalogue.make_dataset(connection, request.dataset, now, who.name)
        return opening.stage(connection, opening.Batch(dataset.id, files, who.token, who.name, now))

    async def targets(self, uploads: Sequence[int]) -> list[UploadTarget | DrayError]:
        """Return where the bytes of each upload go, in order; NotFound in place. The caller checks rights and state."""
        found = await self._database.read(lambda connection: rows.arriving(connection, uploads))
        return [target_of(found[key]) if key in found else _missing(key) for key in uploads]

    async def ended(self, uploads: Sequence[int]) -> list[int]:
        """Return those that take no bytes any more, if there are any."""
        taking = await self._database.read(lambda connection: rows.pending(connection, uploads))
        return [key for key in uploads if key not in taking]

    async def touch(self, uploads: Sequence[int]) -> None:
        """Note that bytes of these uploads arrived, so that they are not taken for abandoned.

        Cheap to call after every receipt: an upload is written at most once in five seconds.
        """
        now = self._clock.monotonic()
        due = [key for key in uploads if now - self._touched.get(key, -TOUCH) >= TOUCH]
        if due:
            if len(self._touched) > REMEMBERED:
                self._touched = {key: at for key, at in self._touched.items() if now - at < TOUCH}
            self._touched.update(dict.fromkeys(due, now))
            wall = self._clock.wall()
            await self._database.write(lambda connection: rows.touch(connection, due, wall))

    async def complete(self, who: Principal, items: Sequence[CompleteItem]) -> list[UploadView | DrayError]:
        """Take the claims of a batch and queue one job that verifies it.

        The same claim again answers the upload as it is by now; another claim, or an upload that was cancelled or
        failed, is Conflict in place.
        """
        answers = await self._database.write(lambda connection: self._complete(connection, who, items))
        self._bell.ring(JOBS)
        self._bell.ring(EVENTS)
        return answers

    def _complete(
        self, connection: Connection, who: Principal, items: Sequence[CompleteItem]
    ) -> list[UploadView | DrayError]:
        now = self._clock.wall()
        found = rows.whole(connection, [item.upload for item in items], lock=True)
        refused = [_refuse_claim(who, item, found.get(item.upload)) for item in items]
        fresh = [item for item, error in zip(items, refused, strict=True) if not error]
        claims: dict[int, str] = {}
        for item in fresh:
            if found[item.upload].state == "pending":
                claims.setdefault(item.upload, item.checksum)
        refused = [error or _refuse_second(item, claims) for item, error in zip(items, refused, strict=True)]
        if claims:
            lane = f"{who.token}/{found[next(iter(claims))].dataset}"
            task = VerifyTask(tuple(claims), sum(found[key].size for key in claims))
            job = jobs.add(connection, task, lane, now, QUEUED)
            rows.claim(connection, Change("upload", ("pending",), "uploaded", now, who.name), claims, job)
            found = found | {key: _claimed(found[key], claims[key], job, now) for key in claims}
        return [error or upload_view(found[item.upload]) for item, error in zip(items, refused, strict=True)]

    async def cancel(self, who: Principal, items: Sequence[CancelItem]) -> list[UploadView | DrayError]:
        """Give uploads up; what was staged is removed. Busy in place while it is being verified right now.

        One that was given up already, or got no further, is answered as it is; an accepted one is Conflict.
        """
        answers = await self._database.write(lambda connection: self._cancel(connection, who, items))
        for topic in (JOBS, EVENTS):
            self._bell.ring(topic)
        self._bell.ring(VERDICTS, [item.upload for item in items])
        return answers

    def _cancel(
        self, connection: Connection, who: Principal, items: Sequence[CancelItem]
    ) -> list[UploadView | DrayError]:
        now = self._clock.wall()
        found = rows.whole(connection, [item.upload for item in items], lock=True)
        at_rest = rows.lock_jobs_at_rest(connection, [one.job for one in found.values() if one.job])
        refused = [_refuse_cancel(who, item, found.get(item.upload), at_rest) for item in items]
        kept = {item.upload for item, error in zip(items, refused, strict=True) if error}
        ended = [key for key, one in found.items() if key not in kept and not states.final("upload", one.state)]
        change = Change("upload", ("pending", "uploaded"), "cancelled", now, who.name)
        rows.end(connection, change, dict.fromkeys(ended, f"cancelled by {who.name}"))
        jobs.hurry(connection, "sweep", now)
        found = rows.whole(connection, found)
        return [error or upload_view(found[item.upload]) for item, error in zip(items, refused, strict=True)]

    async def views(self, who: Principal, uploads: Sequence[int]) -> list[UploadView | DrayError]:
        """Return each upload as it is now, in order; NotFound in place, also for what ``who`` may not see."""
        found = await self._database.read(lambda connection: rows.whole(connection, uploads))
        shown = {key: upload_view(one) for key, one in found.items() if readable(who, one.dataset)}
        return [shown.get(key) or _missing(key) for key in uploads]

    async def wait(self, who: Principal, uploads: Sequence[int], seconds: float) -> list[UploadView | DrayError]:
        """Return ``views`` once all have a verdict (nothing can follow) or ``seconds`` have passed."""
        now = self._clock.monotonic()
        end, look = now + seconds, now + POLL
        with self._bell.listen(VERDICTS) as ear:
            while now < end and (moving := await self._without_verdict(who, uploads)):
                # Verdicts of other processes do not ring here.
                while not moving <= ear.heard and now < min(end, look):
                    await ear.wait(min(end, look) - now)
                    now = self._clock.monotonic()
                look = now + POLL
        return await self.views(who, uploads)

    async def _without_verdict(self, who: Principal, uploads: Sequence[int]) -> set[int]:
        moving = await self._database.read(lambda connection: rows.without_verdict(connection, uploads))
        return {key for key, dataset in moving.items() if readable(who, dataset)}


TOUCH = 5.0
REMEMBERED = 10_000
POLL = 1.0
QUEUED = "waits for a worker to verify it"


def _answer_of(
    asked: Asked | DrayError, files: Mapping[str, Asked], answers: Mapping[str, StagedUpload | DrayError]
) -> StagedUpload | DrayError:
    if isinstance(asked, DrayError):
        return asked
    if files[asked.file.path] is not asked:
        return Refused("the same path is named twice in one request", item=printable(asked.file.path))
    return answers[asked.file.path]


def _missing(upload: int) -> NotFound:
    return NotFound("there is no such upload", item=f"upload {upload}")


def target_of(upload: Arriving) -> UploadTarget:
    """Return where the bytes of an upload go."""
    return UploadTarget(
        upload=upload.id,
        file=upload.file,
        dataset=upload.dataset,
        path=RemotePath(upload.path),
        size=upload.size,
        part_size=upload.part_size,
        state=cast(UploadState, upload.state),
        on_exists=cast(OnExists, upload.on_exists),
        checksum=Checksum.parse(upload.checksum) if upload.checksum else None,
        mtime_ns=upload.mtime_ns,
    )


def _refuse_claim(who: Principal, item: CompleteItem, upload: Whole | None) -> DrayError | None:
    """Return what stands against a claim, from what the upload is now."""
    if upload is None or not readable(who, upload.dataset):
        return _missing(item.upload)
    refused: DrayError | None = None
    if not who.may("write", upload.dataset):
        refused = Denied(f"token {who.name!r} may not write in dataset {upload.dataset}")
    elif item.size != upload.size:
        refused = Conflict(f"{upload.size} bytes were announced, {item.size} are claimed", hint="stage it again")
    elif upload.state in ("cancelled", "failed"):
        refused = Conflict(f"upload {upload.id} is {upload.state}: {upload.reason}", hint="stage it again")
    elif upload.state != "pending" and upload.checksum != item.checksum:
        refused = Conflict(f"{upload.checksum} was claimed before", hint="stage it again")
    return refused and refused.about(printable(upload.path))


def _claimed(upload: Whole, checksum: str, job: int, now: float) -> Whole:
    """Return what an upload has just become."""
    waits = {"job": job, "job_state": "waiting", "job_reason": QUEUED, "run_at": now}
    return msgspec.structs.replace(upload, state="uploaded", checksum=checksum, updated=now, **waits)


def _refuse_second(item: CompleteItem, claims: Mapping[int, str]) -> DrayError | None:
    """Return what stands against a claim that differs from another one in the same batch."""
    if claims.get(item.upload, item.checksum) == item.checksum:
        return None
    return Conflict("two different claims for one upload", item=f"upload {item.upload}")


def _refuse_cancel(who: Principal, item: CancelItem, upload: Whole | None, at_rest: Container[int]) -> DrayError | None:
    if upload is None or not readable(who, upload.dataset):
        return _missing(item.upload)
    name = printable(upload.path)
    if not who.may("write", upload.dataset):
        return Denied(f"token {who.name!r} may not write in dataset {upload.dataset}", item=name)
    if upload.state == "accepted":
        return Conflict("it is accepted already", item=name)
    if upload.state == "uploaded" and upload.job is not None and upload.job not in at_rest:
        return Busy("it is being verified right now", item=name, hint="ask again in a moment", after=1.0)
    return None
