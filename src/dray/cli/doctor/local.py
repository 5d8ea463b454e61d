"""What ``dray doctor`` looks at on this machine."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from dray.cli import format
from dray.cli.context import App
from dray.cli.credentials import Credentials
from dray.cli.doctor.finding import Finding, look, ok, warn
from dray.config import paths
from dray.config.secrets import read_secret

LITTLE_DISK = 1 << 30
FEW_FILES = 1024
FEW_WATCHES = 65536
SMALL_QUEUE = 16384
INOTIFY = Path("/proc/sys/fs/inotify")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def findings(app: App) -> Iterator[Finding]:
    """Yield what was found on this machine."""
    yield from look("settings", lambda: settings(app))
    yield from look("secrets", lambda: secrets(app))
    yield from look("state directory", state_directory)
    yield from look("disk", disk)
    yield from look("open files", open_files)
    yield from look("file watching", lambda: watching(INOTIFY))
    yield from look("proxy", lambda: proxy(app.environ))


def settings(app: App) -> Iterator[Finding]:
    """Read all layers of the settings."""
    files = ", ".join(map(str, app.loaded.files)) or "no file, defaults and environment"
    yield ok("settings", files)
    for warning in app.loaded.warnings:
        yield warn("settings", warning, "unset it, or correct its name")


def secrets(app: App) -> Iterator[Finding]:
    """Read the secret files that are named, and the stored tokens."""
    for name in (app.settings.client.token_file, app.settings.database.url_file):
        if name:
            read_secret(Path(name).expanduser())
            yield ok("secrets", f"{name} is yours alone")
    stored = Credentials().all()
    yield ok("secrets", f"tokens of {format.count(len(stored), 'server')} stored" if stored else "no token is stored")


def state_directory() -> Iterator[Finding]:
    """Write where journals are kept."""
    path = paths.user_state_dir()
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        yield ok("state directory", f"{path} can be written")


def disk() -> Iterator[Finding]:
    """Compare the free space where state and temporary files go."""
    for use, path in (("state", paths.user_state_dir()), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(path).free
        text = f"{format.size(free)} free for {use} ({path})"
        yield ok("disk", text) if free >= LITTLE_DISK else warn("disk", text, "free some space")


def open_files() -> Iterator[Finding]:
    """Look at the limit of open files."""
    try:
        import resource
    except ImportError:
        yield ok("open files", "no limit to look at on this system")
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "any number may be open" if soft == resource.RLIM_INFINITY else f"{soft:,} may be open"
    few = soft != resource.RLIM_INFINITY and soft < FEW_FILES
    yield warn("open files", text, f"raise it: ulimit -n {max(FEW_FILES, hard)}") if few else ok("open files", text)


def watching(inotify: Path) -> Iterator[Finding]:
    """Look at the limits of inotify, which dray watch is woken by."""
    if sys.platform != "linux" or not inotify.is_dir():
        yield ok("file watching", "this system has no limit to look at; the whole directory is rescanned anyway")
        return
    for name, least in (("max_user_watches", FEW_WATCHES), ("max_queued_events", SMALL_QUEUE)):
        value = int((inotify / name).read_text())
        text = f"fs.inotify.{name} is {value:,}"
        step = f"sysctl fs.inotify.{name}={least}; until then changes are found by the next rescan only"
        yield ok("file watching", text) if value >= least else warn("file watching", text, step)


def proxy(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Name the proxies that stand between."""
    found = sorted(name for name in environ if name.lower() in PROXIES and environ[name])
    if found:
        bypass = environ.get("no_proxy") or environ.get("NO_PROXY") or "nothing"
        yield warn(
            "proxy", f"{', '.join(found)} set, {bypass} goes past it", "add the server to no_proxy if it is near"
        )
    else:
        yield ok("proxy", "none is set")
