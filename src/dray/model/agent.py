"""What an agent says of itself and of its hot directories: written by the agent, shown by ``dray status``."""

from typing import Literal

import msgspec

from dray.model.values import Value

HotState = Literal["starting", "sending", "idle", "waiting", "paused", "stopped", "standby", "broken", "ended"]
"""``waiting``: the destination takes nothing; ``standby``: another machine has the address; ``broken``: needs you."""


class Lag(Value, frozen=True):
    """Seconds from the last change of a file here to its being verified there, of the last 1,000 files."""

    last: float
    mean: float
    max: float


class Retrying(Value, frozen=True):
    """Files that failed and are tried again: how many, the reason of the next one, and when that is tried."""

    files: int
    reason: str
    next_try: float


class HotStatus(Value, frozen=True):
    """One hot directory. ``sent`` and ``failures`` count since the agent began, ``trouble`` failed and refused files.

    ``running`` of ``wanted`` senders are at work. Rates are those of the last minute. Times are wall time.
    """

    name: str
    state: HotState
    path: str
    to: str
    why: str = ""
    until: float | None = None
    running: int = 0
    wanted: int = 0
    queued: int = 0
    queued_bytes: int = 0
    settling: int = 0
    retrying: Retrying | None = None
    trouble: int = 0
    to_announce: int = 0
    sent: int = 0
    sent_bytes: int = 0
    failures: int = 0
    files_per_second: float = 0.0
    bytes_per_second: float = 0.0
    lag: Lag | None = None
    last_file: str = ""
    last_at: float | None = None
    last_error: str = ""
    last_error_at: float | None = None
    proof: str = ""


class AgentStatus(Value, frozen=True):
    """An agent with its hot directories; ``at`` is the last sign of life of its loop."""

    pid: int
    version: str
    started: float
    at: float
    hot: tuple[HotStatus, ...] = ()
    settings_error: str = ""
    """Why changed settings were not taken; the earlier ones are in force."""


class Pause(Value, frozen=True):
    """A hot directory that is to rest; without ``until``, until it is resumed."""

    since: float
    until: float | None = None


class Wanted(Value, frozen=True):
    """What people asked for, kept over restarts: whether an agent is to run, what is paused, what is stopped."""

    running: bool = False
    paused: dict[str, Pause] = msgspec.field(default_factory=dict)
    stopped: tuple[str, ...] = ()

    def pause_of(self, name: str, now: float) -> Pause | None:
        """Return the pause that a hot directory is in."""
        pause = self.paused.get(name)
        return pause if pause is not None and (pause.until is None or pause.until > now) else None


class Record(Value, frozen=True):
    """Which process an agent is: its number means something only together with the boot and when it began.

    ``service`` says that a service manager started it.
    """

    pid: int
    boot: str
    began: str
    started: float
    service: bool = False
