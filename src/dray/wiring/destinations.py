"""Places that are no Dray server, opened by their address: accounts behind ssh, buckets, directories."""

import posixpath
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from dray.client.elsewhere import Elsewhere, FilePlace, S3Place, SftpPlace
from dray.client.rate import Rate
from dray.clock import Clock
from dray.config.settings import Settings, Ssh
from dray.errors import DrayError, NotFound
from dray.model.retry import Persistence
from dray.model.values import Limits
from dray.transports.base import Session, Transport
from dray.transports.posix import Posix
from dray.transports.proved import Proved
from dray.transports.s3.session import S3, S3Session
from dray.transports.sftp.session import Sftp, SftpSession
from dray.transports.sftp.settings import SftpSettings
from dray.transports.wrappers import Retrying, Throttled, Wrapper
from dray.wiring.client import Options, Waiting
from dray.wiring.s3 import bucket_settings

__all__ = ["Opened", "open_place", "reading", "transport"]

LONGEST = 4.0
"""Seconds between two tries, so that work goes on soon after the other side is back."""


def open_place(
    place: Elsewhere, options: Options, settings: Settings, clock: Clock, waiting: Waiting, rate: Rate | None = None
) -> Transport:
    """Return a place whose calls are made again while it is away; ``rate`` limits its bytes.

    That a session cannot be opened is raised at once, by ``connect``.
    """
    if isinstance(place, S3Place):
        # Its connections keep to the rate themselves.
        return Patient(S3(bucket_settings(place, options, settings), clock, rate), options, clock, waiting)
    return Patient(transport(place, options, settings), options, clock, waiting, rate)


def transport(place: SftpPlace | FilePlace, options: Options, settings: Settings) -> Transport:
    """Return the bare place, with at most ``options.parallel`` connections."""
    limits = Limits(in_flight=options.parallel)
    if isinstance(place, FilePlace):
        return Posix(Path(place.path), name="directory", limits=limits)
    return Sftp(sftp_settings(place, settings.ssh, limits, keep_older=options.keep_older))


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
        keep_mode=ssh.file_mode == "keep",
        file_mode=None if ssh.file_mode == "keep" else _mode(ssh.file_mode),
        folder_mode=_mode(ssh.folder_mode),
        stall=ssh.stall_timeout,
        limits=limits,
    )


def _mode(text: str | None) -> int | None:
    return int(text, 8) if text else None


class Opened(NamedTuple):
    """A place to read from, which knows the digests of its files (``plain``: does not).

    Where it knows digests that were noted when files arrived, ``session`` tells these, ``thorough`` reads the files.
    ``name`` is what a copy of its folder is called; empty for a single file, or where its contents are wanted.
    """

    session: Session
    plain: Session
    thorough: Session
    name: str


@asynccontextmanager
async def reading(
    place: Elsewhere, options: Options, settings: Settings, clock: Clock, waiting: Waiting, rate: Rate | None = None
) -> AsyncIterator[Opened]:
    """Open a place, or a single file, to be read; NotFound where there is no such directory of this machine."""
    if isinstance(place, S3Place):
        single = bucket_settings(place, options, settings, single=True)
        patient = Patient(S3(single, clock, rate), options, clock, waiting)
    else:
        patient = Patient(_readable(place, options, settings), options, clock, waiting, rate)
    async with patient.connect() as session:
        inner: object = session
        while isinstance(inner, Wrapper):
            inner = inner.inner
        alone = isinstance(inner, SftpSession | S3Session) and inner.is_file
        name = "" if place.folder or alone else posixpath.basename(place.path)
        proved = Proved(session), session, Proved(session, noted=False)
        yield Opened(*proved, "" if name in (".", "..") else name)


def _readable(place: SftpPlace | FilePlace, options: Options, settings: Settings) -> Transport:
    if isinstance(place, FilePlace):
        if not Path(place.path).is_dir():
            raise NotFound("there is no such directory", item=place.path)
        return transport(place, options, settings)
    account = sftp_settings(place, settings.ssh, Limits(in_flight=options.parallel))
    # What is fetched is to be compared with something.
    verify = "auto" if account.verify == "size" else account.verify
    return Sftp(msgspec.structs.replace(account, single=True, verify=verify, durable=False))


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
