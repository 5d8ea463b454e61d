"""Changes of names in a bucket, each a copy and a deletion at the service (``transports.base.Names``)."""

from dray.errors import Conflict, NotFound, Refused
from dray.model.names import RemotePath, refusal
from dray.model.values import Change
from dray.transports.s3.bucket import Bucket
from dray.transports.s3.final import Final
from dray.transports.s3.layout import Layout


class Changing:
    """Makes changes one by one; repeating one ends the same. A bucket has no folders: what lies below a name is one."""

    def __init__(self, bucket: Bucket, layout: Layout, final: Final) -> None:
        self._bucket = bucket
        self._layout = layout
        self._final = final

    async def change(self, change: Change) -> None:
        """Make one change."""
        key = self._layout.final(change.path)
        if change.what == "remove":
            await self._bucket.delete(key)
        elif change.what == "rmdir":
            await self._rmdir(key)
        elif change.what == "rename":
            await self._rename(change, key)
        elif change.what == "symlink":
            raise Refused("a bucket has no links", item=change.path)

    async def _rmdir(self, key: str) -> None:
        async for one in self._bucket.objects(f"{key}/"):
            if one.key != f"{key}/":
                raise Conflict("the folder is not empty", hint="nothing was changed")
            await self._bucket.delete(one.key)

    async def _rename(self, change: Change, key: str) -> None:
        """Rename a file, or all that lies below a name, over whatever files are there."""
        if refusal(change.target):
            raise Refused("not a name to rename", item=change.target)
        source = self._layout.final(change.target)
        if await self._bucket.look(source) is not None:
            if await self._bucket.has(f"{key}/"):
                raise Conflict("a folder has this name", item=change.path, hint="nothing was changed")
            await self._move(source, change.path)
            return
        below = [one.key async for one in self._bucket.objects(f"{source}/")]
        if not below:
            raise NotFound("there is no such file", item=change.target)
        for one in below:
            await self._move(one, RemotePath(change.path + one.removeprefix(source)))

    async def _move(self, source: str, path: RemotePath) -> None:
        await self._final.check_above(path)
        await self._final.move(source, path)
