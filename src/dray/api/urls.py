"""Addresses of the byte routes, as they are signed."""

from dray.api.signing import LIFE, Signer
from dray.core.access import Principal

FILES = "/files"


def file_path(file: int) -> str:
    """Return where the bytes of a file are fetched."""
    return f"{FILES}/content/{file}"


def part_path(upload: int, number: int) -> str:
    """Return where one part is PUT."""
    return f"{FILES}/parts/{upload}/{number}"


def sign_file(signer: Signer, file: int, size: int, who: Principal, now: float) -> str:
    """Return the path at which ``who`` may fetch a file for a while."""
    return signer.sign("GET", file_path(file), {"size": size, "token": who.token}, now + LIFE)
