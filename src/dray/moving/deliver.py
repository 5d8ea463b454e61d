"""``dray upload``: whatever is found below local paths goes to a place, and every name has its outcome or reason."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from dray.model.filters import Filters
from dray.model.parts import Batcher
from dray.model.values import OnExists, Outcome, Value
from dray.moving import flow
from dray.moving.chunks import in_chunks
from dray.moving.item import Item
from dray.moving.report import Report
from dray.moving.source import LocalFiles
from dray.moving.walk import Found, Skipped, Tree, Walk, source_of
from dray.transports.base import Session


class Audience(Report, Protocol):
    """Besides how files move, hears what is going to move and what is not."""

    def expect(self, files: int, nbytes: int) -> None:
        """Add to what is to be done."""

    def skipped(self, skipped: Skipped) -> None:
        """Say what is left out, and why."""


class Delivery(Value, frozen=True):
    """What to send: ``host`` and the path of a file say, to the destination, which source it comes from."""

    trees: tuple[Tree, ...]
    rules: Filters
    host: str
    now: float
    on_exists: OnExists = "version"
    parallel: int = 4

    def walk(self) -> Walk:
        """Return a fresh walk; names are compared only where several arguments could give the same one."""
        alone = len(self.trees) == 1 and self.trees[0].names is None
        return Walk(self.rules, self.now, None if alone else set())


async def deliver(
    delivery: Delivery, destination: Session, audience: Audience, stop: asyncio.Event
) -> AsyncGenerator[list[Outcome], None]:
    """Send everything and yield the outcomes of each batch when it ends; after ``stop`` only what runs is finished."""
    walk = delivery.walk()
    for tree in delivery.trees:
        batches = planned(delivery, walk, tree, destination, audience)
        source = LocalFiles(tree.root)
        moving = flow.run(batches, source, destination, audience, parallel=delivery.parallel, stop=stop)
        async with aclosing(batches), aclosing(moving):
            async for outcomes in moving:
                yield outcomes
        if stop.is_set():
            return


async def planned(
    delivery: Delivery, walk: Walk, tree: Tree, destination: Session, audience: Audience
) -> AsyncGenerator[Sequence[Item], None]:
    """Yield the files of a tree in batches, found a little ahead of those who send them."""
    batcher: Batcher[Item] = Batcher(lambda item: item.size, destination.limits)
    async with aclosing(in_chunks(walk.run(tree))) as chunks:
        async for chunk in chunks:
            found = [one for one in chunk if isinstance(one, Found)]
            audience.expect(len(found), sum(one.size for one in found))
            for one in chunk:
                if isinstance(one, Skipped):
                    audience.skipped(one)
            for file in found:
                for batch in batcher.add(item(delivery, tree, file)):
                    yield batch
    for batch in batcher.rest():
        yield batch


def item(delivery: Delivery, tree: Tree, found: Found) -> Item:
    """Return what the mover is given for a file."""
    return Item(
        path=found.path,
        size=found.size,
        version=found.version,
        origin=found.origin,
        source=source_of(delivery.host, tree.root, found.origin),
        on_exists=delivery.on_exists,
        mtime_ns=found.mtime_ns,
        mode=found.mode,
    )
