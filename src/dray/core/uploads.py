"""Uploads: register a batch of files, say where their bytes go, take the claims, tell the verdicts."""

from collections.abc import Callable, Sequence

from dray.clock import Clock
from dray.core.access import Principal
from dray.core.bell import Bell
from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.names import RemotePath
from dray.model.values import Landing, OnExists, Value
from dray.model.views import CancelItem, CompleteItem, StagedUpload, StageRequest, UploadState, UploadView
from dray.state.database import Database


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

    async def stage(self, who: Principal, request: StageRequest) -> list[StagedUpload | DrayError]:
        """Open, resume or find done each file of a batch, in order; ``held`` is left empty for the door to fill.

        Needs ``write`` on the dataset, and ``create`` when it has to be made. Asking again answers the same.
        """
        raise NotImplementedError

    async def targets(self, uploads: Sequence[int]) -> list[UploadTarget | DrayError]:
        """Return where the bytes of each upload go, in order; NotFound in place. The caller checks rights and state."""
        raise NotImplementedError

    async def touch(self, uploads: Sequence[int]) -> None:
        """Note that bytes of these uploads arrived, so that they are not taken for abandoned.

        Cheap to call after every receipt: an upload is written at most once in five seconds.
        """
        raise NotImplementedError

    async def complete(self, who: Principal, items: Sequence[CompleteItem]) -> list[UploadView | DrayError]:
        """Take the claims of a batch and queue one job that verifies it.

        The same claim again answers the upload as it is by now; another claim, or an upload that was cancelled or
        failed, is Conflict in place.
        """
        raise NotImplementedError

    async def cancel(self, who: Principal, items: Sequence[CancelItem]) -> list[UploadView | DrayError]:
        """Give uploads up; what was staged is removed. Busy in place while it is being verified right now."""
        raise NotImplementedError

    async def views(self, who: Principal, uploads: Sequence[int]) -> list[UploadView | DrayError]:
        """Return each upload as it is now, in order; NotFound in place, also for what ``who`` may not see."""
        raise NotImplementedError

    async def wait(self, who: Principal, uploads: Sequence[int], seconds: float) -> list[UploadView | DrayError]:
        """Return ``views`` once all have a verdict (nothing can follow) or ``seconds`` have passed."""
        raise NotImplementedError
