"""Addresses of the byte routes, as they are signed."""

FILES = "/files"


def file_path(file: int) -> str:
    """Return where the bytes of a file are fetched."""
    return f"{FILES}/content/{file}"


def part_path(upload: int, number: int) -> str:
    """Return where one part is PUT."""
    return f"{FILES}/parts/{upload}/{number}"
