"""Composes what answers on the port: the API, the byte routes and the web pages."""

import asyncio
import importlib.metadata
import socket
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from dray.api.app import belongs, make_app
from dray.api.front import Front
from dray.api.server import make_listener, url_of
from dray.api.services import About, Services
from dray.api.signing import Signer
from dray.api.store import Store
from dray.api.urls import sign_file
from dray.core.access import Access, Principal
from dray.core.announce import Announcements
from dray.core.datasets import Datasets, StoredFile
from dray.core.overview import Overview
from dray.core.queue import Jobs
from dray.core.sweep import Repeats
from dray.model.views import FileView
from dray.transports.posix import PosixSession
from dray.transports.refs import published
from dray.web.app import Web
from dray.web.pages import Desk
from dray.web.render import Renderer
from dray.web.sessions import Sessions
from dray.wiring.base import STORE, Base
from dray.wiring.process import Say, Stop

MANIFEST = 1 << 20
"""Bytes that a bundle may have besides its bodies."""


async def serve_until(base: Base, listening: socket.socket, say: Say, stop: Stop) -> None:
    """Answer requests until ``stop``, then let those that run end."""
    services = make_services(base)
    made = await services.access.ensure_admin(base.home.write_admin_token)
    if made is not None:
        say(f"the administrator's token is in {base.home.admin_token}")
    listener = make_listener(make_site(base, services), lambda: say(f"ready at {url_of(listening)}"))
    stop.now = listener.stop_now
    serving = asyncio.ensure_future(listener.serve(sockets=[listening]))
    stopping = asyncio.ensure_future(stop.event.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        services.stopping.set()
        listener.drain()
        await serving
    finally:
        serving.cancel()
        stopping.cancel()


def make_services(base: Base) -> Services:
    """Return what the operations of the API work with."""
    database, clock, bell = base.database, base.clock, base.bell
    settings, version = base.settings, importlib.metadata.version("dray")
    about = About(version, database.kind, clock.wall(), settings.server.url, int(settings.limits.part_size))
    return Services(
        access=Access(database, clock),
        uploads=base.uploads,
        datasets=Datasets(database, clock),
        announcements=Announcements(database, clock, bell),
        jobs=Jobs(database, clock, bell),
        repeats=Repeats(database, clock),
        signer=Signer(base.key),
        clock=clock,
        about=about,
        store=make_store(base),
    )


def make_store(base: Base) -> Store:
    """Return the store as the byte routes use it."""
    limits = base.settings.limits
    return Store(
        name=STORE,
        root=str(base.home.store),
        place=base.session,
        open_stored=lambda file: open_stored(base.session, file),
        reserve_percent=limits.free_percent,
        bundle_bytes=limits.part_size + MANIFEST,
    )


def open_stored(session: PosixSession, file: StoredFile) -> int:
    """Open the very content that was verified; blocks."""
    return session.open_published(published(file.location, file.tag))


def make_site(base: Base, services: Services) -> ASGIApp:
    """Return everything that answers on the port."""
    api, web = make_app(services), make_web(base, services)

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (api if belongs(scope["path"]) else web)(scope, receive, send)

    return Front(either, services.counters)


def make_web(base: Base, services: Services) -> ASGIApp:
    """Return the web pages."""
    prefix = urlsplit(services.about.url or "").path

    def download(who: Principal, file: FileView) -> str:
        return prefix.rstrip("/") + sign_file(services.signer, file.file, file.size, who, base.clock.wall())

    desk = Desk(
        access=services.access,
        announcements=services.announcements,
        datasets=services.datasets,
        jobs=services.jobs,
        overview=Overview(base.database),
        clock=base.clock,
        stores=services.store.status,
        download=download,
    )
    return Web(desk, Sessions(base.key), Renderer(services.about.version, prefix), services.stopping)
