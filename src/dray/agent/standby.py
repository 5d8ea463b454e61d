"""Whether an address is on this machine, so that of several agents one works at a time."""

import re
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path

ROUTES, ADDRESSES = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")


def has_address(text: str) -> bool:
    """Say whether an address is on an interface of this machine."""
    address = ip_address(text)
    with suppress(OSError):
        if isinstance(address, IPv6Address):
            return address.exploded.replace(":", "") in ADDRESSES.read_text().split()
        # Each address of this machine is a leaf followed by a line that calls it a local host.
        pattern = rf"-- {re.escape(str(address))}\n\s+/32 host LOCAL"
        return re.search(pattern, ROUTES.read_text()) is not None
    return _can_bind(address.version, str(address))


def _can_bind(version: int, address: str) -> bool:
    """Try it where the system keeps no such list."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
