"""Operations on uploads: stage, sign parts, list held parts, complete, watch, cancel."""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from dray.api.operation import Call, Nothing
from dray.api.signing import LIFE
from dray.api.urls import part_path
from dray.api.waiting import unless_stopping
from dray.core.uploads import UploadTarget
from dray.errors import Conflict, DrayError, NotFound
from dray.model.parts import Part, part_count
from dray.model.views import (
    BATCH,
    CancelRequest,
    CompleteRequest,
    HeldParts,
    Id,
    PartRequest,
    PartsRequest,
    SignedUrl,
    StagedUpload,
    StageRequest,
    UploadView,
    Wire,
)

Wait = Annotated[float, Meta(ge=0, le=30, description="seconds to wait for a verdict")]


class UploadPath(Wire, frozen=True, kw_only=True):
    upload: Id


class WaitQuery(Wire, frozen=True, kw_only=True):
    wait: Wait = 0.0


class UploadsQuery(WaitQuery, frozen=True, kw_only=True):
    id: Annotated[list[Id], Meta(min_length=1, max_length=BATCH)]


async def stage(call: Call[Nothing, StageRequest]) -> list[StagedUpload | DrayError]:
    staged = await call.services.uploads.stage(call.who, call.body)
    return await call.services.store.admit(call.services.uploads, call.body.files, staged)


async def sign_parts(call: Call[Nothing, PartsRequest]) -> list[SignedUrl | DrayError]:
    targets = await call.services.uploads.targets([item.upload for item in call.body.items])
    expires = call.services.clock.wall() + LIFE
    pairs = zip(call.body.items, targets, strict=True)
    return [t if isinstance(t, DrayError) else _signed(call, item, t, expires) for item, t in pairs]


def _signed(
    call: Call[Nothing, PartsRequest], item: PartRequest, target: UploadTarget, expires: float
) -> SignedUrl | DrayError:
    try:
        call.who.require("write", target.dataset)
        part = part_of(receiving(target), item.number)
    except DrayError as error:
        return error
    numbers = {"offset": part.offset, "length": part.length, "token": call.who.token}
    url = call.base + call.services.signer.sign("PUT", part_path(item.upload, part.number), numbers, expires)
    return SignedUrl(url=url, expires=float(int(expires)), size=part.length)


def receiving(target: UploadTarget) -> UploadTarget:
    """Return the target while it takes bytes, else raise Conflict."""
    if target.state != "pending":
        raise Conflict(f"upload {target.upload} is {target.state}, it takes no bytes", item=target.path)
    return target


def part_of(target: UploadTarget, number: int) -> Part:
    """Return the range of one part, or raise NotFound when the upload has fewer."""
    if number > part_count(target.size, target.part_size):
        raise NotFound(f"upload {target.upload} has no part {number}", item=target.path)
    offset = (number - 1) * target.part_size
    return Part(number, offset, min(target.part_size, target.size - offset))


async def held_parts(call: Call[UploadPath, None]) -> HeldParts:
    (target,) = await call.services.uploads.targets([call.where.upload])
    if isinstance(target, DrayError):
        raise target
    call.who.require("write", target.dataset)
    return HeldParts(part_size=target.part_size, held=await call.services.store.held(target))


async def complete(call: Call[WaitQuery, CompleteRequest]) -> list[UploadView | DrayError]:
    views = await call.services.uploads.complete(call.who, call.body.items)
    if not call.where.wait:
        return views
    taken = [view.upload for view in views if isinstance(view, UploadView)]
    waited = iter(await _wait(call, taken, call.where.wait))
    return [next(waited) if isinstance(view, UploadView) else view for view in views]


async def list_uploads(call: Call[UploadsQuery, None]) -> list[UploadView | DrayError]:
    return await _wait(call, call.where.id, call.where.wait)


async def _wait(call: Call[Any, Any], uploads: Sequence[int], seconds: float) -> list[UploadView | DrayError]:
    services = call.services
    waited = await unless_stopping(services.stopping, services.uploads.wait(call.who, uploads, seconds))
    return await services.uploads.views(call.who, uploads) if waited is None else waited


async def get_upload(call: Call[UploadPath, None]) -> UploadView:
    (view,) = await call.services.uploads.views(call.who, [call.where.upload])
    if isinstance(view, DrayError):
        raise view
    return view


async def cancel(call: Call[Nothing, CancelRequest]) -> list[UploadView | DrayError]:
    return await call.services.uploads.cancel(call.who, call.body.items)
