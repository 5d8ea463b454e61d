"""How the commands that run a server start one."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from dray.cli.context import App
from dray.config.settings import Settings
from dray.errors import UsageError
from dray.wiring.process import Say, Stop, run

Server = Callable[[Settings, Say, Stop], Coroutine[Any, Any, None]]


def serve(app: App, server: Server, *, data: str | None, listen: str | None) -> int:
    """Run a server with the options of the command line over the settings; return the exit code."""
    given = {name: value for name, value in (("data", data), ("listen", listen)) if value is not None}
    try:
        chosen = msgspec.convert(msgspec.to_builtins(app.settings.server) | given, type(app.settings.server))
    except msgspec.ValidationError:
        raise UsageError("not an address to listen on", item=listen or "", hint="write HOST:PORT") from None
    settings = msgspec.structs.replace(app.settings, server=chosen)
    return run(lambda stop: server(settings, app.display.note, stop), app.display.note)


def serve_shared(app: App, server: Server, *, data: str | None, listen: str | None) -> int:
    """Run a part of a server, whose database has to be one that several processes can use."""
    if not (app.settings.database.url or app.settings.database.url_file):
        hint = "set database.url (DRAY_DATABASE_URL) to PostgreSQL, or run everything with dray up"
        raise UsageError("servers and workers apart need a database that they share", hint=hint)
    return serve(app, server, data=data, listen=listen)
