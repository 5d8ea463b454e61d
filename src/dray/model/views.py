"""Shapes of the native API (docs/api.md): what the server answers, what the client sends. One definition for both.

Sizes and offsets are bytes, times are seconds since 1970 UTC, checksums are ``algorithm:hex``.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dray.model.values import Level, OnExists

UploadState = Literal["pending", "uploaded", "accepted", "rejected", "failed", "cancelled"]
CopyState = Literal["arriving", "verified", "lost", "corrupt", "removed"]
JobState = Literal["waiting", "running", "done", "dead"]
Scope = Literal["read", "write", "create", "admin"]

Id = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Size = Annotated[int, Meta(ge=0, le=2**53 - 1)]
PartNumber = Annotated[int, Meta(ge=1, le=10_000)]
DatasetName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)", description="name of a dataset")]
ChecksumText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)", examples=["sha256:" + "0" * 64])]
Crc32c = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$(?!\n)")]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
Nanoseconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, description="since 1970 UTC")]
Moment = Annotated[float, Meta(ge=0, le=10_000_000_000)]
PathText = Annotated[str, Meta(min_length=1, max_length=1024, description="relative path with / between components")]
BATCH = 256


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, forbid_unknown_fields=False):
    """Base of all shapes on the wire; unknown members are ignored, so that either side may be newer."""


class Problem(Wire, frozen=True, kw_only=True):
    """RFC 9457 problem with Dray's members; ``code`` is one of dray/errors.py."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    item: str = ""
    hint: str = ""
    retry: Literal["never", "later"] = "never"
    retry_after: float | None = None
    request_id: str = ""


class Failed(Wire, frozen=True, kw_only=True):
    """Stands in a batch answer ``{"items": [...]}`` in the place of an item that failed."""

    problem: Problem


# Uploads


class StageFile(Wire, frozen=True, kw_only=True):
    path: PathText
    size: Size
    version: Annotated[Text, Meta(min_length=1, max_length=200)]
    source: Annotated[Text, Meta(max_length=200)] = ""
    checksum: ChecksumText | None = None
    mtime_ns: Nanoseconds | None = None
    on_exists: OnExists = "version"


class StageRequest(Wire, frozen=True, kw_only=True):
    dataset: DatasetName
    files: Annotated[list[StageFile], Meta(min_length=1, max_length=BATCH)]
    create: bool = True


class HeldPart(Wire, frozen=True, kw_only=True):
    number: int
    offset: int
    length: int
    crc32c: Crc32c


class StagedUpload(Wire, frozen=True, kw_only=True):
    """``upload`` is 0 when ``hash_first``: nothing was opened."""

    upload: int
    path: str
    state: UploadState
    file: int
    version_number: int
    part_size: int
    held: list[HeldPart] = []
    done: bool = False
    hash_first: bool = False


class PartRequest(Wire, frozen=True, kw_only=True):
    upload: Id
    number: PartNumber


class PartsRequest(Wire, frozen=True, kw_only=True):
    items: Annotated[list[PartRequest], Meta(min_length=1, max_length=BATCH)]


class SignedUrl(Wire, frozen=True, kw_only=True):
    """PUT (or GET) exactly this; ``headers`` must be sent along."""

    url: str
    expires: float
    headers: dict[str, str] = {}
    size: int | None = None
    checksum: str | None = None


class PartReceipt(Wire, frozen=True, kw_only=True):
    upload: int
    number: int
    length: int
    crc32c: Crc32c
    level: Level


class HeldParts(Wire, frozen=True, kw_only=True):
    part_size: int
    held: list[HeldPart]


class BundleItem(Wire, frozen=True, kw_only=True):
    upload: Id
    size: Size
    crc32c: Crc32c


class BundleManifest(Wire, frozen=True, kw_only=True):
    items: Annotated[list[BundleItem], Meta(min_length=1, max_length=BATCH)]


class CompleteItem(Wire, frozen=True, kw_only=True):
    upload: Id
    size: Size
    checksum: ChecksumText


class CompleteRequest(Wire, frozen=True, kw_only=True):
    items: Annotated[list[CompleteItem], Meta(min_length=1, max_length=BATCH)]


class CancelItem(Wire, frozen=True, kw_only=True):
    upload: Id


class CancelRequest(Wire, frozen=True, kw_only=True):
    items: Annotated[list[CancelItem], Meta(min_length=1, max_length=BATCH)]


class ProofView(Wire, frozen=True, kw_only=True):
    size: int
    checksum: str
    tag: str
    by: str
    level: Level
    at: float


class UploadView(Wire, frozen=True, kw_only=True):
    upload: int
    file: int
    dataset: str
    path: str
    version_number: int
    size: int
    state: UploadState
    reason: str
    created: float
    updated: float
    proof: ProofView | None = None
    next_try: float | None = None
    checksum: str | None = None


# Catalogue


class DatasetRequest(Wire, frozen=True, kw_only=True):
    name: DatasetName


class DatasetView(Wire, frozen=True, kw_only=True):
    name: str
    files: int
    bytes: int
    created: float


class CopyView(Wire, frozen=True, kw_only=True):
    store: str
    state: CopyState
    level: Level
    verified_at: float | None
    verified_by: str
    tag: str


class FileView(Wire, frozen=True, kw_only=True):
    file: int
    dataset: str
    path: str
    version_number: int
    size: int
    checksum: str | None
    state: str
    mtime_ns: int | None
    created: float
    published: float | None
    current: bool
    copies: list[CopyView] = []


class FileDetail(Wire, frozen=True, kw_only=True):
    file: FileView
    uploads: list[UploadView]


class CheckItem(Wire, frozen=True, kw_only=True):
    path: PathText
    size: Size
    checksum: ChecksumText | None = None


class CheckRequest(Wire, frozen=True, kw_only=True):
    dataset: DatasetName
    items: Annotated[list[CheckItem], Meta(min_length=1, max_length=1000)]


class CheckedFile(Wire, frozen=True, kw_only=True):
    """``state``: verified (a verified, published copy of this very content), differs, moving, unknown, damaged."""

    path: str
    state: Literal["verified", "differs", "moving", "unknown", "damaged"]
    reason: str
    version_number: int | None = None
    size: int | None = None
    checksum: str | None = None
    level: Level | None = None
    verified_at: float | None = None


class FileRef(Wire, frozen=True, kw_only=True):
    file: Id


class FilesRequest(Wire, frozen=True, kw_only=True):
    items: Annotated[list[FileRef], Meta(min_length=1, max_length=BATCH)]


class FilePage(Wire, frozen=True, kw_only=True):
    items: list[FileView]
    next: str | None


class DatasetPage(Wire, frozen=True, kw_only=True):
    items: list[DatasetView]
    next: str | None


# Events, jobs, status, tokens


class Event(Wire, frozen=True, kw_only=True):
    id: str
    at: float
    kind: str
    dataset: str | None = None
    path: str | None = None
    file: int | None = None
    upload: int | None = None
    actor: str = ""
    data: dict[str, str | int | float | bool | None] = {}


class EventPage(Wire, frozen=True, kw_only=True):
    items: list[Event]
    next: str | None


class JobView(Wire, frozen=True, kw_only=True):
    job: int
    kind: str
    state: JobState
    reason: str
    attempt: int
    created: float
    run_at: float
    updated: float
    result: dict[str, str | int | float | bool | None] = {}


class ScrubRequest(Wire, frozen=True, kw_only=True):
    dataset: DatasetName | None = None


class StoreStatus(Wire, frozen=True, kw_only=True):
    name: str
    kind: str
    bytes_free: int
    bytes_total: int


class QueueStatus(Wire, frozen=True, kw_only=True):
    waiting: int
    running: int
    dead: int
    oldest: float | None
    next_try: float | None
    reason: str


class ServerStatus(Wire, frozen=True, kw_only=True):
    version: str
    started: float
    now: float
    database: str
    stores: list[StoreStatus]
    queue: QueueStatus
    uploads: dict[str, int]
    files: int
    bytes: int
    bytes_received: int


class TokenRequest(Wire, frozen=True, kw_only=True):
    name: Annotated[Text, Meta(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=4)]
    datasets: Annotated[list[Annotated[Text, Meta(min_length=1, max_length=128)]], Meta(max_length=100)] = []
    expires: Moment | None = None


class TokenView(Wire, frozen=True, kw_only=True):
    """``secret`` is given once, in the answer that made the token."""

    token: int
    name: str
    prefix: str
    scopes: list[Scope]
    datasets: list[str]
    created: float
    expires: float | None
    last_used: float | None
    revoked: float | None
    secret: str | UnsetType = UNSET


class TokenPage(Wire, frozen=True, kw_only=True):
    items: list[TokenView]
    next: str | None


class Me(Wire, frozen=True, kw_only=True):
    token: int
    name: str
    scopes: list[Scope]
    datasets: list[str]


class Health(Wire, frozen=True, kw_only=True):
    """``part_size``: a file up to so many bytes is one piece."""

    status: Literal["ok"]
    name: Literal["dray"]
    version: str
    api: str
    part_size: int = 32 << 20
