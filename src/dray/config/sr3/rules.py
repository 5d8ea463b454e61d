"""From regular expressions of accept and reject to filter rules of hot directories, where both can say the same."""

import re

_GROUP = re.compile(r"\(([^()?][^()]*)\)")
_PLAIN = re.compile(r"[\w \-=,~@%:]")


def patterns(regex: str) -> list[str] | None:
    """Return patterns that together match what the expression does, or None where none do.

    It is matched from the beginning of an address, so it begins with ``.*`` in all that is understood.
    """
    found = []
    for one in _alternatives(regex.removeprefix("^")):
        if not one.startswith(".*"):
            return None
        pattern = _pattern(one.removeprefix(".*"))
        if pattern is None:
            return None
        found.append(pattern)
    return found


def _alternatives(regex: str) -> list[str]:
    """Write out ``(a|b)``."""
    group = _GROUP.search(regex)
    if group is None:
        return [regex]
    before, after = regex[: group.start()], regex[group.end() :]
    return [one for choice in group[1].split("|") for one in _alternatives(before + choice + after)]


def _pattern(rest: str) -> str | None:
    """Translate what follows ``.*``: ``$`` ends a name, ``.*`` or nothing leaves its end open."""
    if rest in ("", "$"):
        return "**"
    closed = rest.endswith("$")
    body = rest.removesuffix("$").removesuffix(".*")
    text = _glob(body)
    if text is None:
        return None
    open_end = not closed or rest.endswith(".*$")
    if "/" not in text:
        return f"*{text}{'*' if open_end else ''}"
    if text.startswith("/"):
        ended = f"{text}**" if text.endswith("/") else f"{text}{'*' if open_end else ''}"
        return f"**{ended}" if "/" in ended[1:] else ended[1:]
    return f"**/*{text}{'**' if text.endswith('/') else '*' if open_end else ''}"


def _glob(body: str) -> str | None:
    """Translate a part without anchors, or return None."""
    text, left = "", body
    while left:
        if left.startswith(".*"):
            text, left = text + "*", left[2:]
        elif left.startswith("\\d"):
            text, left = text + "[0-9]", left[2:]
        elif left.startswith("\\") and len(left) > 1 and not left[1].isalnum():
            text, left = text + ("\\" + left[1] if left[1] in "*?[" else left[1]), left[2:]
        elif left.startswith("[") and "]" in left[2:]:
            end = left.index("]", 2) + 1
            text, left = text + left[:end].replace("[^", "[!"), left[end:]
        elif left[0] == ".":
            text, left = text + "?", left[1:]
        elif left[0] == "/" or _PLAIN.match(left[0]):
            text, left = text + left[0], left[1:]
        else:
            return None
        if left[:1] in ("+", "*", "?", "{"):
            return None
    return text
