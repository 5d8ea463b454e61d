"""What ``dray host`` is put together from."""

from collections.abc import Sequence

from dray.client.elsewhere import SftpPlace
from dray.config.settings import Ssh
from dray.model.values import Limits, Value
from dray.threads import in_thread
from dray.transports.sftp.trust import HostKey, Standing, Trust, shown, trust_of
from dray.wiring.destinations import sftp_settings


class Shown(Value, frozen=True):
    """A key that a host shows, its fingerprint, and whether it is new, trusted, or another than the trusted one."""

    host: str
    kind: str
    fingerprint: str
    standing: Standing


class Keys:
    """The keys of one host, and the file that they may be trusted in."""

    def __init__(self, host: str, trust: Trust, keys: Sequence[HostKey]) -> None:
        self._trust = trust
        self._keys = {key.fingerprint: key for key in keys}
        standings = zip(keys, trust.standings(keys), strict=True)
        self.shown = [Shown(host, key.kind, key.fingerprint, standing) for key, standing in standings]
        self.file = str(trust.file)

    def pin(self, fingerprints: Sequence[str]) -> None:
        """Trust the keys with these fingerprints from now on. Blocks."""
        self._trust.pin([self._keys[one] for one in fingerprints])


async def keys_of(place: SftpPlace, ssh: Ssh) -> Keys:
    """Ask a host for its keys, without logging in."""
    settings = sftp_settings(place, ssh, Limits())
    return await in_thread(None, lambda: Keys(place.host, trust_of(settings), shown(settings)))
