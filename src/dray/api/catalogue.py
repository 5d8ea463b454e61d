"""Operations on datasets and files."""

from typing import Annotated, Literal

from msgspec import Meta

from dray.api.operation import Call, Nothing
from dray.api.signing import LIFE
from dray.api.urls import sign_file
from dray.core.datasets import FileQuery, FileState, StoredFile
from dray.errors import DrayError
from dray.model.checksum import Checksum
from dray.model.views import (
    CheckedFile,
    CheckRequest,
    ChecksumText,
    DatasetName,
    DatasetPage,
    DatasetRequest,
    DatasetView,
    FileDetail,
    FilePage,
    FilesRequest,
    Id,
    SignedUrl,
    Text,
    Wire,
)

Cursor = Annotated[Text, Meta(max_length=2000, description="`next` of the page before")]
Limit = Annotated[int, Meta(ge=1, le=1000)]
PathPart = Annotated[Text, Meta(max_length=1024)]


class PageQuery(Wire, frozen=True, kw_only=True):
    cursor: Cursor | None = None
    limit: Limit = 100


class DatasetPath(Wire, frozen=True, kw_only=True):
    name: DatasetName


class FilesQuery(PageQuery, frozen=True, kw_only=True):
    dataset: DatasetName | None = None
    prefix: PathPart | None = None
    name: PathPart | None = None
    checksum: ChecksumText | None = None
    state: FileState | None = None
    version: Literal["all", "current"] = "current"


class FilePath(Wire, frozen=True, kw_only=True):
    file: Id


async def list_datasets(call: Call[PageQuery, None]) -> DatasetPage:
    return await call.services.datasets.page(call.who, call.where.cursor, call.where.limit)


async def create_dataset(call: Call[Nothing, DatasetRequest]) -> DatasetView:
    return await call.services.datasets.create(call.who, call.body)


async def get_dataset(call: Call[DatasetPath, None]) -> DatasetView:
    return await call.services.datasets.get(call.who, call.where.name)


async def find_files(call: Call[FilesQuery, None]) -> FilePage:
    where = call.where
    query = FileQuery(
        dataset=where.dataset,
        prefix=where.prefix,
        name=where.name,
        checksum=Checksum.parse(where.checksum) if where.checksum else None,
        state=where.state,
        version=where.version,
        cursor=where.cursor,
        limit=where.limit,
    )
    return await call.services.datasets.find(call.who, query)


async def get_file(call: Call[FilePath, None]) -> FileDetail:
    return await call.services.datasets.detail(call.who, call.where.file)


async def check_files(call: Call[Nothing, CheckRequest]) -> list[CheckedFile]:
    return await call.services.datasets.check(call.who, call.body)


async def sign_files(call: Call[Nothing, FilesRequest]) -> list[SignedUrl | DrayError]:
    found = await call.services.datasets.stored(call.who, [item.file for item in call.body.items])
    return [file if isinstance(file, DrayError) else _signed(call, file) for file in found]


def _signed(call: Call[Nothing, FilesRequest], file: StoredFile) -> SignedUrl:
    now = call.services.clock.wall()
    url = call.base + sign_file(call.services.signer, file.file, file.size, call.who, now)
    return SignedUrl(url=url, expires=float(int(now + LIFE)), size=file.size, checksum=str(file.checksum))
