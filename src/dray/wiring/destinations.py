"""Places that are no Dray server, opened by their address: accounts behind ssh, directories of this machine."""

import posixpath
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from dray.client.elsewhere import Elsewhere, FilePlace, SftpPlace
from dray.client.rate import Rate
from dray.clock import Clock
from dray.config.settings import Ssh
from dray.errors import DrayError, NotFound
from dray.model.retry import Persistence
from dray.model.values import Limits
from dray.transports.base import Session, Transport
from dray.transports.posix import Posix
from dray.transports.proved import Proved
from dray.transports.sftp.session import Sftp, SftpSession
from dray.transports.sftp.settings import SftpSettings
from dray.transports.wrappers import Retrying, Throttled, Wrapper
from dray.wiring.client import Options, Waiting

__all__ = ["Opened", "open_place", "reading", "transport"]

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


class Opened(NamedTuple):
    """A place to read from, which knows the digests of its files (``plain``: does not).

    ``name`` is what a copy of its folder is called; empty for a single file, or where its contents are wanted.
    """

    session: Session
    plain: Session
    name: str


@asynccontextmanager
async def reading(
    place: Elsewhere, options: Options, ssh: Ssh, clock: Clock, waiting: Waiting, rate: Rate | None = None
) -> AsyncIterator[Opened]:
    """Open a place, or a single file, to be read; NotFound where there is no such directory of this machine."""
    patient = Patient(_readable(place, options, ssh), options, clock, waiting, rate)
    async with patient.connect() as session:
        inner: object = session
        while isinstance(inner, Wrapper):
            inner = inner.inner
        single = isinstance(inner, SftpSession) and inner.is_file
        name = "" if place.folder or single else posixpath.basename(place.path)
        yield Opened(Proved(session), session, "" if name in (".", "..") else name)


def _readable(place: Elsewhere, options: Options, ssh: Ssh) -> Transport:
    if isinstance(place, FilePlace):
        if not Path(place.path).is_dir():
            raise NotFound("there is no such directory", item=place.path)
        return transport(place, options, ssh)
    settings = sftp_settings(place, ssh, Limits(in_flight=options.parallel))
    # What is fetched is to be compared with something.
    verify = "auto" if settings.verify == "size" else settings.verify
    return Sftp(msgspec.structs.replace(settings, single=True, verify=verify, durable=False))


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
