"""Operations on the server itself: events, status, jobs, tokens, health, metrics."""

from typing import Annotated, cast

import msgspec
from msgspec import UNSET, Meta
from starlette.responses import Response

from dray.api import counters
from dray.api.catalogue import Limit, PageQuery
from dray.api.operation import Call, Nothing
from dray.api.parsing import bearer
from dray.api.stream import stream
from dray.model.views import (
    EventPage,
    Health,
    Id,
    JobView,
    Me,
    Scope,
    ScrubRequest,
    ServerStatus,
    Text,
    TokenPage,
    TokenRequest,
    TokenView,
    Wire,
)

API = "/api/v1"
EventId = Annotated[Text, Meta(max_length=100, description="id of the last event that is known; empty: from the first")]


class EventsQuery(Wire, frozen=True, kw_only=True):
    after: EventId = ""
    limit: Limit = 100


class StreamQuery(Wire, frozen=True, kw_only=True):
    after: EventId | None = None


class JobPath(Wire, frozen=True, kw_only=True):
    job: Id


class TokenPath(Wire, frozen=True, kw_only=True):
    token: Id


async def list_events(call: Call[EventsQuery, None]) -> EventPage:
    return await call.services.announcements.events(call.who, call.where.after or None, call.where.limit)


async def stream_events(call: Call[StreamQuery, None]) -> Response:
    after = call.request.headers.get("last-event-id", call.where.after)
    await call.services.announcements.events(call.who, after or None, 1)  # says now what would break the stream
    return stream(call.services, call.who, after)


async def status(call: Call[Nothing, None]) -> ServerStatus:
    services, about = call.services, call.services.about
    totals = await services.jobs.totals()
    return ServerStatus(
        version=about.version,
        started=about.started,
        now=services.clock.wall(),
        database=about.database,
        stores=await services.store.status(),
        queue=await services.jobs.status(),
        uploads=totals.uploads,
        files=totals.files,
        bytes=totals.bytes,
        bytes_received=services.counters.bytes_received,
    )


async def scrub(call: Call[Nothing, ScrubRequest]) -> JobView:
    return await call.services.jobs.scrub(call.who, call.body)


async def get_job(call: Call[JobPath, None]) -> JobView:
    return await call.services.jobs.job(call.who, call.where.job)


async def list_tokens(call: Call[PageQuery, None]) -> TokenPage:
    return await call.services.access.tokens(call.who, call.where.cursor, call.where.limit)


async def create_token(call: Call[Nothing, TokenRequest]) -> TokenView:
    return await call.services.access.create_token(call.who, call.body)


def without_secret(view: TokenView) -> TokenView:
    """Return what is kept of a token's first answer: the secret is shown once and stored nowhere."""
    return msgspec.structs.replace(view, secret=UNSET)


async def revoke_token(call: Call[TokenPath, None]) -> TokenView:
    return await call.services.access.revoke(call.who, call.where.token)


async def me(call: Call[Nothing, None]) -> Me:
    who = call.who
    return Me(token=who.token, name=who.name, scopes=cast(list[Scope], sorted(who.scopes)), datasets=list(who.datasets))


async def health(call: Call[Nothing, None]) -> Health:
    about, prefix = call.services.about, call.request.scope.get("root_path", "")
    return Health(status="ok", name="dray", version=about.version, api=prefix + API, part_size=about.part_size)


async def metrics(call: Call[Nothing, None]) -> Response:
    if not _on_this_machine(call):
        who = await call.services.access.authenticate(bearer(call.request))
        who.require("read")
    queue, totals = await call.services.jobs.status(), await call.services.jobs.totals()
    gauges = {
        "jobs_waiting": queue.waiting,
        "jobs_running": queue.running,
        "jobs_dead": queue.dead,
        "files": totals.files,
        "files_bytes": totals.bytes,
        **{f"uploads_{state}": count for state, count in totals.uploads.items()},
    }
    return Response(counters.render(call.services.counters, gauges), media_type="text/plain; version=0.0.4")


def _on_this_machine(call: Call[Nothing, None]) -> bool:
    """Say whether the request came straight from a program of this machine, not through a proxy on it."""
    client, headers = call.request.client, call.request.headers
    forwarded = any(name in headers for name in ("forwarded", "x-forwarded-for", "via", "x-real-ip"))
    if client is None or forwarded or call.services.about.url:
        return False
    return client.host == "::1" or client.host.startswith("127.")
