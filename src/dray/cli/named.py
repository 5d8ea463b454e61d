"""``dray watch NAME``: one hot directory of the settings in the foreground, for as long as it runs."""

from contextlib import AsyncExitStack
from pathlib import Path

from dray.cli.context import App
from dray.cli.exits import OK
from dray.cli.hot import Foreground
from dray.cli.interrupt import Stop
from dray.cli.keeper import Signed
from dray.clock import SystemClock
from dray.errors import NotFound, UsageError
from dray.wiring.agent import Household, Running
from dray.wiring.client import limited
from dray.wiring.hot import Configured, configured


def hot_named(app: App, name: str) -> Configured:
    """Return a hot directory of the settings; raises NotFound, and UsageError for a directory that is not in them."""
    found = configured(app.loaded)
    if name not in found:
        if Path(name).is_dir():
            raise UsageError("it is not said where its files go", item=name, hint="dray watch DIR TO")
        hint = f"there are: {', '.join(found) or 'none'}"
        raise NotFound("no such hot directory in the settings", item=name, hint=hint)
    return found[name]


async def watch_named(app: App, one: Configured, stop: Stop) -> int:
    """Do all that the settings say of one hot directory until ``stop``."""
    clock = SystemClock()
    household = Household(lambda: app.loaded, Signed(app), clock)
    async with AsyncExitStack() as stack:
        rate = await stack.enter_async_context(limited(one.settings.bwlimit, clock))
        show = stack.enter_context(Foreground(app, f"watch {one.name}"))
        app.display.note(f"watching {one.hot.root} for {one.settings.to}; Ctrl-C ends it")
        await Running(one, app.loaded, household).run(show, rate, stop.event)
    return OK
