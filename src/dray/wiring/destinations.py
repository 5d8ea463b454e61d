"""Places that are no Dray server, opened by their address: accounts behind ssh, directories of this machine."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from dray.client.elsewhere import Elsewhere, FilePlace, SftpPlace
from dray.client.rate import Rate
from dray.clock import Clock
from dray.config.settings import Ssh
from dray.errors import DrayError
from dray.model.retry import Persistence
from dray.model.values import Limits
from dray.transports.base import Session, Transport
from dray.transports.posix import Posix
from dray.transports.sftp.session import Sftp
from dray.transports.sftp.settings import SftpSettings
from dray.transports.wrappers import Retrying, Throttled
from dray.wiring.client import Options, Waiting

__all__ = ["open_place", "transport"]

LONGEST = 8.0
"""Seconds between two tries, so that work goes on soon after the other side is back."""


def open_place(
    place: Elsewhere, options: Options, ssh: Ssh, clock: Clock, waiting: Waiting, rate: Rate | None = None
) -> Transport:
    """Return a place whose calls are made again while it is away; ``rate`` limits its bytes.

    That a session cannot be opened is raised at once, by ``connect``.
    """
    return Patient(transport(place, options, ssh), options, clock, waiting, rate)


def transport(place: Elsewhere, options: Options, ssh: Ssh) -> Transport:
    """Return the bare place, with at most ``options.parallel`` connections."""
    limits = Limits(in_flight=options.parallel)
    if isinstance(place, FilePlace):
        return Posix(Path(place.path), name="directory", limits=limits)
    return Sftp(sftp_settings(place, ssh, limits, keep_older=options.keep_older))


def sftp_settings(place: SftpPlace, ssh: Ssh, limits: Limits, *, keep_older: bool = False) -> SftpSettings:
    """Return how an account is reached, as its address and the settings say."""
    return SftpSettings(
        host=place.host,
        user=place.user,
        port=place.port,
        path=place.path,
        config_file=str(Path(ssh.config_file).expanduser()) if ssh.config_file else None,
        verify=ssh.verify,
        durable=ssh.durable,
        keep_older=keep_older,
        file_mode=_mode(ssh.file_mode),
        folder_mode=_mode(ssh.folder_mode),
        stall=ssh.stall_timeout,
        limits=limits,
    )


def _mode(text: str | None) -> int | None:
    return int(text, 8) if text else None


class Patient:
    """See ``open_place``."""

    def __init__(
        self, inner: Transport, options: Options, clock: Clock, waiting: Waiting, rate: Rate | None = None
    ) -> None:
        self._inner, self._options, self._clock, self._waiting, self._rate = inner, options, clock, waiting, rate

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        """Open a session."""
        persistence = Persistence(self._options.retry_for, LONGEST)
        async with self._inner.connect() as session:
            limited: Session = Throttled(session, self._rate) if self._rate is not None else session
            yield Retrying(limited, self._clock, self._tell(), persistence)

    def _tell(self) -> Callable[[DrayError, float], None]:
        return lambda error, delay: self._waiting(f"{error.message}; next try in {delay:.0f} s")
