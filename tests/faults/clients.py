"""Clients of a rig that run in a way of their own: below another command, with other settings, for longer."""

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.rig import Rig
from tests.faults.surfaces import TROUBLE
from tests.servers.dray import DRAY, clean_environment
from tests.servers.process import Process


def start_client(
    rig: Rig, arguments: Sequence[str], env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Process:
    """Start a ``dray`` command in the home of the rig's clients; ``prefix`` goes before it (strace and the like)."""
    home = rig.base / "home"
    home.mkdir(exist_ok=True)
    given = {"DRAY_URL": rig.server.url, "DRAY_TOKEN": rig.server.token, **rig.client_env, **(env or {})}
    log = rig.base / f"client-{len(rig.clients)}.log"
    process = Process([*prefix, str(DRAY), *arguments], log, clean_environment(home, given))
    process.start()
    rig.clients.append(process)
    return process


def start_watch(rig: Rig, tree: Path, dataset: str, options: Sequence[str], rescan: str) -> Process:
    """Begin to watch a directory, and wait until it does; ``rescan`` is how often it looks through everything."""
    words = ["watch", *options, str(tree), f"{rig.server.url}/{dataset}"]
    watch = start_client(rig, words, {"DRAY_WATCH_RESCAN": rescan})
    watch.wait_ready(lambda: "watching" in watch.tail())
    return watch


def end_watch(watch: Process) -> list[str]:
    """End a watch as its user would; one that ended before, or in trouble, is a breach."""
    if not watch.running:
        return [f"S: a watch ended by itself: {watch.tail(500)}"]
    watch.signal(signal.SIGINT)
    code = watch.wait(60)
    return [] if code in (0, 130) else [f"S: a watch ended with {code}: {watch.tail(500)}"]


def wait_for_newest(rig: Rig, wanted: frozenset[str], watches: Sequence[Process], seconds: float) -> float:
    """Wait until the newest content of all wanted keys is shown, or for long enough; return how long it took."""
    begun = time.monotonic()
    newest = {version.key: version.sha256 for version in rig.ledger.versions() if version.key in wanted}
    while time.monotonic() - begun < seconds and all(watch.running for watch in watches):
        if not missing(rig, newest):
            break
        time.sleep(0.5)
    return time.monotonic() - begun


def missing(rig: Rig, newest: Mapping[str, str]) -> list[str]:
    """Return the keys of which something else is shown, or nothing."""
    try:
        shown = {row.key: row.sha256 for row in rig.surfaces.files() if row.current and row.state == "verified"}
    except TROUBLE:
        return list(newest)
    return [key for key, sha256 in newest.items() if shown.get(key) != sha256]
