"""Five hundred names that programs stumble over, and the rule, written a second time from the documentation, for
which of them Dray takes (docs/api.md and the README say: relative, ``/`` between components, valid UTF-8, no empty,
``.`` or ``..`` component, no NUL, at most 255 bytes a component and 1,024 in all, not below ``.dray``).
"""

import os
import unicodedata
from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import NamedTuple

COUNT = 500
DATASET_BYTES = 16
"""What the longest dataset name of the row and a slash take from the 1,024 bytes of a path."""
WHOLE = 1024 - DATASET_BYTES
PART = 255


class Name(NamedTuple):
    """A path as text; bytes that are no UTF-8 are lone surrogates, as Python reads them from a disk."""

    kind: str
    text: str

    @property
    def raw(self) -> bytes:
        """The bytes it has on a disk."""
        return self.text.encode("utf-8", "surrogateescape")

    @property
    def taken(self) -> bool:
        """Whether Dray has to take it."""
        try:
            size = len(self.text.encode())
        except UnicodeEncodeError:
            return False
        parts = self.text.split("/")
        fits = size <= WHOLE and all(len(part.encode()) <= PART for part in parts)
        return fits and "\0" not in self.text and not {"", ".", ".."} & set(parts) and parts[0] != ".dray"

    @property
    def on_disk(self) -> bool:
        """Whether a file can have this name below a folder."""
        try:
            parts = self.raw.split(b"/")
        except UnicodeEncodeError:
            return False
        possible = b"\0" not in self.raw and not {b"", b".", b".."} & set(parts)
        return possible and all(len(part) <= PART for part in parts) and len(self.raw) < 3000

    def content(self) -> bytes:
        """What a file of this name holds."""
        return b"content of " + self.text.encode("utf-8", "surrogatepass")


def names(chance: Random) -> list[Name]:
    """Return exactly COUNT names, none twice; no file is also a folder of another one that can be there."""
    found: dict[str, Name] = {}
    there: set[str] = set()
    for name in chain(fixed(), made_up(chance)):
        if len(found) == COUNT:
            break
        exists = name.taken or name.on_disk
        if name.text not in found and not (exists and clashes(name.text, there)):
            found[name.text] = name
            there |= {name.text} if exists else set()
    return list(found.values())


def clashes(text: str, known: set[str]) -> bool:
    """Say whether one of two names is a folder of the other."""
    above = {"/".join(text.split("/")[:n]) for n in range(1, text.count("/") + 1)}
    return bool(above & known) or any(one.startswith(f"{text}/") for one in known)


def fixed() -> Iterator[Name]:
    """Yield names that are known to hurt."""
    for kind, texts in FIXED.items():
        yield from (Name(kind, text) for text in texts)
    yield from pairs()
    yield from lengths()


CANARY = "canary/secret"
"""Where the row keeps what nobody may read, beside every root."""

FIXED: dict[str, list[str]] = {
    "dots": [
        *("..", ".", "../x", "../../x", "a/../b", "a/..", "./a", "a/.", "a/./b", f"../{CANARY}", f"../../{CANARY}"),
        *(f"../../../{CANARY}", f"a/../../{CANARY}", f"x/../../../../{CANARY}", "../" * 40 + "etc/passwd", "....//x"),
        *("...", "....", ".../y", "..x", "x..", ". .", ".. ", " ..", "..%00", "..\t", "a/...", "a/ ../b", "../store"),
    ],
    "absolute": ["/", "//", "/x", "//x", "/etc/passwd", "/tmp/x", "a//b", "a/", "a/b/", "//host/share/x", "///", "/."],
    "empty": ["", " ", "  ", "\t", "\u00a0", "\u200b", "\ufeff", "\u2003x"],
    "other systems": [
        *("..\\x", "..\\..\\x", "a\\b", "\\x", "C:\\x", "C:x", "C:", "\\\\host\\share\\x", "\\\\?\\C:\\x", "a:b"),
        *("con", "CON.txt", "nul", "NUL", "aux.h", "com1", "lpt9.log", "prn", "x.", "x ", "x. ", "file::$DATA"),
        *("a*b", "a?b", "a<b", "a>b", 'a"b', "a|b", "~", "~root", "~/x", "$HOME", "%TEMP%", "desktop.ini"),
    ],
    "nul": ["\0", "a\0b", "\0a", "a\0", "a/\0/b", "x\0/../../y", "a.txt\0.jpg"],
    "control": [f"c{chr(n)}d" for n in (*range(1, 32), 127, 0x80, 0x85, 0x9B, 0x9F)]
    + ["\n", "\r\n", "a\nb\nc", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb", "line\u2028end", "p\u2029q"],
    "direction": [
        *("\u202egpj.exe", "a\u202eb\u202c", "\u2066x\u2069", "\u200fx", "x\u061c", "שלום.txt", "مرحبا", "a\u202d/b"),
    ],
    "leading": [*("-", "--", "-rf", "--help", "-x/-y", "+x", "@x", "#x", "!x", "=1+1", "|x", "&x", ";x", "`x`", ":x")],
    "quotes": [
        *("'", '"', "''", '""', "a'b", 'a"b"c', "`id`", "$(id)", "${x}", "a;b", "a&&b", "a|b|c", "<x>", "a>b>c", "{}"),
        *("%s%n", "%00", "%2e%2e%2f", "..%2fx", "%c0%ae%c0%ae", "&amp;", "<script>alert(1)</script>", "';--", "\\'"),
        *("a b", " a", "a ", "a  b", "[x]", "[!x]", "*.dat", "?", "**", "{a,b}", "\\", "\\n", "\\x00", "a,b", "a=b"),
    ],
    "ours": [
        *(".dray", ".dray/x", ".dray/versions/x", ".dray/lock", ".dray/staging/0/x", "x/.dray", "x/.dray/y", ".drayx"),
        *(".DRAY", ".Dray/x", ".dray ", ".dray.", "inbox", "store", "database.sqlite", "admin.token", "signing.key"),
        *("0123456789abcdef0123456789abcdef.staged", "0123456789abcdef0123456789abcdef.staged.parts"),
        *("ffffffffffffffffffffffffffffffff.staged", "x.parts", "x.staged", "lock", "versions/00/1-2-3", "outbox/x"),
    ],
    "scripts": [
        *(
            "ñ",
            "日本語",
            "файл",
            "αβγ",
            "ไทย",
            "한국어",
            "हिन्दी",
            "🦀",
            "👩‍👩‍👧‍👦.txt",
            "🇨🇭",
            "Ω",
            "\u2126",
            "\ufb01le",
            "ß",
            "ẞ",
            "ı",
            "İ",
            "K",
            "Å",
        ),
        *(
            "\U0010ffff",
            "\ufffd",
            "\uffff",
            "\ue000",
            "e\u0301" * 40,
            "Z" + "\u0335\u0342\u0361" * 20,
            "\u00ad",
            "x\u0000y",
        ),
    ],
    "no text": [
        *("\udcff", "\udc80", "a\udcffb", "\udcc3\udc28", "\udce9t\udce9", "d\udcff/x", "x/\udcfe"),
        *(
            "ok\udcc3",
            "\udcf0\udc9f\udca6",
            "\udcc0\udcae\udcc0\udcae/x",
            "\udcc0\udcaf",
            "\ud800",
            "\ud83d",
            "x\udfff",
        ),
        "\udced\udca0\udc80",
    ],
}


def pairs() -> Iterator[Name]:
    """Yield names that some systems take for one."""
    for text in ("é", "Å", "ñandú", "ệ", "각", "Ü ber", "naïve.txt", "c̦"):
        for form in ("NFC", "NFD"):
            yield Name("composed or not", "n/" + unicodedata.normalize(form, text))
    for one, other in (("readme", "README"), ("a.TXT", "a.txt"), ("ǆ", "ǅ"), ("σ", "ς"), ("straße", "STRASSE")):
        yield from (Name("upper or lower", f"case/{text}") for text in (one, other))
    for one, other in (("dir/file", "Dir/file"), ("s p", "s\u00a0p"), ("a", "а"), ("x-y", "x\u2010y"), ("l", "I")):
        yield from (Name("alike", f"alike/{text}") for text in (one, other))


def lengths() -> Iterator[Name]:
    """Yield names at the limits of length."""
    for size in (254, 255, 256, 257, 300):
        yield Name("length", "l" * size)
        yield Name("length", f"long/{'m' * size}/x")
        yield Name("length", "é" * (size // 2) + "e" * (size % 2))
        yield Name("length", "日" * (size // 3) + "e" * (size % 3))
    for size in (WHOLE - 1, WHOLE, WHOLE + DATASET_BYTES + 1, 1024 + 100, 2000):
        yield Name("length in all", deep(size))
    yield Name("length in all", "/".join("d" * 400))
    yield Name("length in all", "/".join(["x"] * (WHOLE // 2)))


def deep(size: int) -> str:
    """Return a path of so many bytes, in components of 100."""
    parts = ["deep" + "d" * 96] * (size // 101)
    rest = size - len("/".join(parts)) - 1
    return "/".join([*parts, "e" * rest]) if rest > 0 else "/".join(parts)[:size]


def made_up(chance: Random) -> Iterator[Name]:
    """Yield random names, for ever: any characters, then any bytes."""
    while True:
        size = chance.randrange(1, 60)
        if chance.random() < 0.7:
            text = "".join(chr(chance.choice(RANGES)(chance)) for _ in range(size))
            yield Name("any characters", f"any/{text}")
        else:
            yield Name("any bytes", f"bytes/{os.fsdecode(chance.randbytes(size))}")


RANGES = (
    lambda chance: chance.randrange(1, 0x80),
    lambda chance: chance.randrange(0xA0, 0x800),
    lambda chance: chance.randrange(0x800, 0xD800),
    lambda chance: chance.randrange(0x1F300, 0x1FAFF),
)
