"""Listens to one hot directory of an agent and keeps what ``dray status`` shows; words go to the log."""

import logging
import re
from collections import deque
from collections.abc import Callable

from dray.agent.journal import Standing
from dray.clock import Clock
from dray.model.agent import HotState, HotStatus, Lag, Retrying
from dray.model.names import RemotePath, printable
from dray.model.values import Outcome
from dray.moving.report import Phase

LAGS = 1000
WINDOW = 60
"""Seconds over which rates are taken."""

LOG = logging.getLogger("dray.agent")


class Meter:
    """Counts by the second and gives a rate over the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: deque[tuple[int, float]] = deque()
        self._began = clock.monotonic()

    def add(self, amount: float) -> None:
        """Count something now."""
        second = int(self._clock.monotonic())
        if self._slots and self._slots[-1][0] == second:
            amount += self._slots.pop()[1]
        self._slots.append((second, amount))

    def rate(self) -> float:
        """Return the amount a second, over the time that was watched at most."""
        now = self._clock.monotonic()
        while self._slots and self._slots[0][0] <= now - WINDOW:
            self._slots.popleft()
        return sum(amount for _, amount in self._slots) / max(1.0, min(WINDOW, now - self._began))


class Tracker:
    """Everything that is known of one hot directory while it runs; used in the event loop only."""

    def __init__(self, name: str, path: str, to: str, wanted: int, clock: Clock) -> None:
        self.state: HotState = "starting"
        self.why = ""
        self.until: float | None = None
        self.standing = Standing()
        self.changed: Callable[[], None] = lambda: None
        self._name, self._path, self._to, self._wanted, self._clock = name, path, to, wanted, clock
        self._active: set[str] = set()
        self._files, self._bytes = Meter(clock), Meter(clock)
        self._lags: deque[float] = deque(maxlen=LAGS)
        self._sent = self._sent_bytes = self._failures = 0
        self._last: tuple[str, float | None] = ("", None)
        self._error: tuple[str, float | None] = ("", None)
        self._cause = self._proof = ""

    def become(self, state: HotState, why: str = "", until: float | None = None) -> None:
        """Take another state; trouble is told in the log, once a cause."""
        if state != self.state:
            self.changed()
        self.state, self.why, self.until = state, why, until
        if state not in ("sending", "idle"):
            self._active.clear()
        if state in ("waiting", "broken"):
            self._error = (why, self._clock.wall())
        self._told(why, state)

    def _told(self, why: str, state: HotState) -> None:
        cause = re.sub(r"\d+", "", why)
        if why and cause != self._cause:
            level = {"broken": logging.ERROR, "waiting": logging.WARNING}.get(state, logging.INFO)
            LOG.log(level, "[%s] %s: %s", self._name, state, printable(why))
        self._cause = cause

    def expect(self, files: int, nbytes: int) -> None:
        """See ``Show``; the journal counts."""

    def waiting(self, reason: str) -> None:
        """See ``Show``."""
        self.become("waiting", reason)

    def say(self, text: str) -> None:
        """See ``Show``."""
        LOG.info("[%s] %s", self._name, printable(text))

    def idle(self) -> None:
        """See ``Show``."""
        self._active.clear()
        if self.state in ("sending", "waiting", "starting"):
            self.become("idle")

    def watching(self) -> None:
        """See ``Show``."""
        if self.state == "starting" or (self.state == "waiting" and not self._active):
            self.become("idle")

    def stands(self, standing: Standing) -> None:
        """See ``Show``."""
        self.standing = standing

    def phase(self, path: RemotePath, phase: Phase) -> None:
        """See ``Show``."""
        if phase == "wait":
            self._active.discard(path)
        else:
            self._active.add(path)

    def moved(self, path: RemotePath, nbytes: int) -> None:
        """See ``Show``; bytes that move end a wait."""
        self._bytes.add(nbytes)
        self._begin()

    def outcome(self, outcome: Outcome) -> None:
        """See ``Show``."""
        self._active.discard(outcome.path)
        now = self._clock.wall()
        if outcome.error is not None:
            self._failures += 1
            self._error = (str(outcome.error), now)
            LOG.error("[%s] %s", self._name, printable(str(outcome.error)))
            return
        self._begin()
        self._sent, self._sent_bytes = self._sent + 1, self._sent_bytes + outcome.size
        self._files.add(1)
        self._last = (printable(outcome.path), now)
        self._proof = f"{outcome.proof.level}, read by {outcome.proof.by}" if outcome.proof else self._proof
        self._lag(outcome.version, now)
        LOG.info("[%s] delivered %s, %d bytes, %s", self._name, printable(outcome.path), outcome.size, outcome.checksum)

    def _lag(self, version: str, now: float) -> None:
        """Take the time since the file last changed from the token of its version, whose last part is the ctime."""
        changed = int(version.rpartition("-")[2] or "0", 16) / 1e9
        self._lags.append(max(0.0, now - changed))

    def _begin(self) -> None:
        if self.state in ("starting", "idle", "waiting"):
            self.become("sending")

    def status(self) -> HotStatus:
        """Return everything as it stands."""
        standing = self.standing
        return HotStatus(
            name=self._name,
            state=self.state,
            path=printable(self._path),
            to=self._to,
            why=self.why,
            until=self.until,
            running=min(len(self._active), self._wanted),
            wanted=self._wanted,
            queued=standing.queued,
            queued_bytes=standing.bytes,
            settling=standing.settling,
            retrying=_retrying(standing),
            trouble=standing.trouble,
            to_announce=standing.to_announce,
            sent=self._sent,
            sent_bytes=self._sent_bytes,
            failures=self._failures,
            files_per_second=self._files.rate(),
            bytes_per_second=self._bytes.rate(),
            lag=self._lag_of_all(),
            last_file=self._last[0],
            last_at=self._last[1],
            last_error=self._error[0],
            last_error_at=self._error[1],
            proof=self._proof,
        )

    def _lag_of_all(self) -> Lag | None:
        lags = self._lags
        return Lag(lags[-1], sum(lags) / len(lags), max(lags)) if lags else None


def unattended(name: str, path: str, to: str, standing: Standing, why: str) -> HotStatus:
    """Return how a hot directory stands that no agent looks after."""
    return HotStatus(
        name=name,
        state="ended",
        path=printable(path),
        to=to,
        why=why,
        queued=standing.queued,
        queued_bytes=standing.bytes,
        settling=standing.settling,
        retrying=_retrying(standing),
        trouble=standing.trouble,
        to_announce=standing.to_announce,
    )


def _retrying(standing: Standing) -> Retrying | None:
    if not standing.retrying:
        return None
    return Retrying(standing.retrying, standing.reason, standing.next_try)
