"""Events as a stream of server-sent events (HTML Living Standard, section 9.2)."""

import logging
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import StreamingResponse

from dray.api.services import Services
from dray.api.waiting import unless_stopping
from dray.core.access import Principal
from dray.errors import DrayError
from dray.model.views import Event, EventPage

HEARTBEAT = 5.0
"""Seconds of silence before a comment is sent; also how soon a revoked token loses its stream."""

RECONNECT = 2000
PAGE = 200
log = logging.getLogger("dray.api")


def stream(services: Services, who: Principal, after: str | None) -> StreamingResponse:
    """Answer with events after the one with id ``after`` as they happen; None begins with the next one."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_lines(services, who, after), headers=headers, media_type="text/event-stream")


async def _lines(services: Services, who: Principal, after: str | None) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RECONNECT
    try:
        async for page in _pages(services, who, after):
            yield b"".join(map(_line, page.items)) or b":\n\n"
    except DrayError as error:
        log.info("the stream of token %d ends: %s", who.token, error)


async def _pages(services: Services, who: Principal, after: str | None) -> AsyncIterator[EventPage]:
    if after is None:
        after = await services.announcements.newest(who)
    while not services.stopping.is_set():
        await services.access.known(who.token)
        waiting = services.announcements.wait_events(who, after, PAGE, HEARTBEAT)
        page = await unless_stopping(services.stopping, waiting)
        if page is None:
            return
        yield page
        after = page.next or after


def _line(event: Event) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.kind.encode(), msgspec.json.encode(event))
