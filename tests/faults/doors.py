"""The ways in and out for names: each door tries all of them and says what was wrong with which."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

from tests.faults.canary import SECRET, Canary
from tests.faults.contest import sha
from tests.faults.hostile import Name
from tests.faults.raw import Answer, Raw, Slow, crc_of, problem
from tests.faults.rig import Rig
from tests.servers.dray import DRAY, clean_environment

BATCH = 100
PATIENCE = 300.0
Wrong = dict[str, list[str]]
"""What was wrong, by name."""


@dataclass
class House:
    """A running server, names to try and the canaries around it."""

    rig: Rig
    names: list[Name]
    canary: Canary

    def __post_init__(self) -> None:
        self.admin = Raw(self.rig.server.port, self.rig.server.token)
        self.hot = self.rig.base / "hot"
        self.left_out: set[str] = set()

    @property
    def taken(self) -> list[Name]:
        return [name for name in self.names if name.taken]

    @property
    def refused(self) -> list[Name]:
        return [name for name in self.names if not name.taken]

    @property
    def on_disk(self) -> list[Name]:
        return [name for name in self.names if name.on_disk]

    def note(self, dataset: str, names: Iterable[Name]) -> None:
        """Note what has to be in a dataset."""
        found = [(f"{dataset}/{name.text}", name.content()) for name in names]
        self.rig.ledger.note_all((key, len(data), sha(data)) for key, data in found)

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command and return its exit code and what it wrote to its standard output."""
        env = {"DRAY_URL": self.rig.server.url, "DRAY_TOKEN": self.rig.server.token}
        home = self.rig.base / "home"
        home.mkdir(exist_ok=True)
        told = subprocess.run(
            [str(DRAY), *words], env=clean_environment(home, env), capture_output=True, timeout=PATIENCE, check=False
        )
        return told.returncode, told.stdout.decode(errors="replace") or told.stderr.decode(errors="replace")


# The native API


def api(house: House) -> Wrong:
    """Stage every name as JSON; send and complete those that are taken in bundles."""
    wrong: Wrong = {}
    house.note("api", house.taken)
    for start in range(0, len(house.taken), BATCH):
        group = house.taken[start : start + BATCH]
        staged = house.admin.stage("api", *(file_of(name) for name in group))
        uploads = {int(one["upload"]): name for one, name in zip(staged, group, strict=True) if not problem(one)}
        sent = {upload: name.content() for upload, name in uploads.items()}
        house.admin.bundle(sent)
        claims = {upload: (len(data), sha(data)) for upload, data in sent.items()}
        views = house.admin.complete(claims, wait=30).items if claims else []
        good = {uploads[int(view["upload"])].text for view in views if view.get("state") == "accepted"}
        told = {name.text: one for name, one in zip(group, staged, strict=True)}
        wrong |= {name.text: [f"it was not accepted: {told[name.text]}"] for name in group if name.text not in good}
    for name in house.refused:
        answer = house.admin.post("/uploads", {"dataset": "api", "files": [file_of(name)]})
        if reason := not_refused(answer):
            wrong[name.text] = [reason]
    for name in house.names:
        wrong.setdefault(name.text, []).extend(questions(house, name))
    return wrong


def file_of(name: Name) -> dict[str, object]:
    return {"path": name.text, "size": len(name.content()), "version": "1", "source": "names"}


def not_refused(answer: Answer) -> str | None:
    """Return what is wrong with an answer that has to be a refusal with a reason."""
    if answer.status == 200:
        item = answer.items[0]
        told = item.get("problem", {})
        return None if told.get("detail") and told.get("code") else f"it was taken: {item}"
    if not 400 <= answer.status < 500 or not answer.json.get("detail"):
        return f"it was answered {answer.status} {answer.body[:200]!r}"
    return None


def questions(house: House, name: Name) -> list[str]:
    """Ask about a name where names may stand; nothing may fail, and nothing be told that is not there."""
    check = {"dataset": "api", "items": [{"path": name.text, "size": len(SECRET), "checksum": f"sha256:{sha(SECRET)}"}]}
    quoted = quote_from_bytes(name.text.encode("utf-8", "surrogatepass"), safe="")
    answers = [house.admin.post("/files/check", check)]
    answers += [house.admin.get(path) for path in (f"/datasets/{quoted}", f"/files?dataset={quoted}&prefix={quoted}")]
    found = [f"a question was answered {one.status}" for one in answers if not 200 <= one.status < 500]
    return found + ["the secret was found"] * any(SECRET in one.body or b'"verified"' in one.body for one in answers)


# Addresses of parts and manifests of bundles


def addresses(house: House) -> Wrong:
    """Put every name into the addresses of parts and of content, percent-encoded and as it is."""
    (staged,) = house.admin.stage("api", {"path": "address", "size": 4, "version": "1"})
    upload = int(staged["upload"])
    query = house.admin.url(upload).partition("?")[2]
    wrong = {name.text: aimed(house, name, upload, query) for name in house.names}
    (view,) = house.admin.cancel(upload).items
    if view.get("state") != "cancelled":
        wrong[house.names[0].text] = [f"the upload whose address was bent is {view}"]
    return wrong


def aimed(house: House, name: Name, upload: int, query: str) -> list[str]:
    raw = name.text.encode("utf-8", "surrogatepass")
    forms = [quote_from_bytes(raw, safe=""), quote_from_bytes(raw, safe="/.:")]
    forms += [raw.decode("latin-1")] if raw and min(raw) > 0x20 and not {0x7F, 0x23, 0x3F} & set(raw) else []
    found = []
    for form in dict.fromkeys(forms):
        for method, path in (("PUT", f"{form}/1"), ("PUT", f"{upload}/{form}"), ("GET", f"../content/{form}")):
            answer = bent(house.admin.port, method, f"/files/parts/{path}?{query}")
            if not 400 <= answer.status < 500:
                found.append(f"{method} {path!r} was answered {answer.status} {answer.body[:100]!r}")
    return found


def bent(port: int, method: str, target: str) -> Answer:
    """Send four bytes to an address."""
    request = Slow(
        port, method, target, {"X-Dray-Crc32c": crc_of(b"evil"), "Content-Length": "4", "Connection": "close"}
    )
    request.send(b"evil")
    return request.answer()


def manifests(house: House) -> Wrong:
    """Put every name where the manifest of a bundle has numbers, and beside them."""
    return {name.text: announced(house, name) for name in house.names}


def announced(house: House, name: Name) -> list[str]:
    found = []
    whole = {"upload": 2**50, "size": 4, "crc32c": crc_of(b"evil"), "path": name.text}
    for item in (whole, whole | {"upload": name.text}, whole | {"crc32c": name.text}):
        answer = house.admin.raw_bundle(json.dumps({"items": [item]}).encode(), b"evil")
        if reason := not_refused(answer):
            found.append(f"a manifest: {reason}")
    return found


# From a disk, by a hot directory and by a command


def fill(house: House) -> None:
    """Make every name that can be on a disk, and things that are no files."""
    for name in house.on_disk:
        place(os.fsencode(house.hot), name)
    special = house.hot / "special"
    special.mkdir(parents=True, exist_ok=True)
    secret = house.rig.base / "canary" / "secret"
    links = {"file": secret, "folder": secret.parent, "itself": "itself", "nowhere": "nowhere/at/all"}
    for name, to in (links | {"up": "../../canary/secret", "root": "/", "proc": "/proc/self/environ"}).items():
        (special / name).symlink_to(to)
    os.mkfifo(special / "fifo")
    house.note("hot", (name for name in house.on_disk if name.taken))
    house.note("sent", (name for name in house.on_disk if name.taken))


SPECIAL = ("file", "folder", "itself", "nowhere", "up", "root", "proc", "fifo")


def place(tree: bytes, name: Name) -> None:
    """Write a file with its folders; names that are too long for one path go step by step."""
    fd = os.open(tree, os.O_RDONLY) if os.path.isdir(tree) else made(tree)
    *folders, last = name.raw.split(b"/")
    for folder in folders:
        if folder not in os.listdir(fd) and os.fsdecode(folder) not in os.listdir(fd):
            os.mkdir(folder, dir_fd=fd)
        below = os.open(folder, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=fd)
    os.write(file, name.content())
    os.close(file)
    os.close(fd)


def made(tree: bytes) -> int:
    os.makedirs(tree)
    return os.open(tree, os.O_RDONLY)


def hot(house: House) -> Wrong:
    """Watch the directory once; what is not sent has to be in the plan with a reason."""
    words = ("watch", "--filter", "+ **", "--settle", "1s")
    to = (str(house.hot), f"{house.rig.server.url}/hot")
    house.run(*words, "--once", *to)
    _, planned = house.run(*words, "--dry-run", "--json", *to)
    reasons = {row["path"]: row["reason"] for row in json.loads(planned)["items"]}
    return reported(house, "hot", reasons)


def upload(house: House) -> Wrong:
    """Send the directory by a command; what is not sent has to be in its output with a reason."""
    _, told = house.run("upload", "--json", "--verbose", f"{house.hot}/", f"{house.rig.server.url}/sent")
    rows = json.loads(told)["items"]
    reasons = {row["path"]: row["error"]["message"] for row in rows if row["error"]}
    return reported(house, "sent", {os.path.relpath(path, house.hot): why for path, why in reasons.items()})


def reported(house: House, dataset: str, reasons: dict[str, str]) -> Wrong:
    """Compare what arrived and what was refused with a reason with what is on the disk."""
    shown = {row.key.partition("/")[2]: row.sha256 for row in house.rig.surfaces.files() if row.key.startswith(dataset)}
    wrong: Wrong = {}
    for name in house.on_disk:
        arrived = shown.get(name.text) == sha(name.content())
        if name.taken and not arrived and left_out(name, reasons):
            house.left_out.add(f"{dataset}/{name.text}")
        elif name.taken and not arrived:
            wrong[name.text] = [f"it did not arrive: {why(name, reasons) or 'nothing was said of it'}"]
        elif not name.taken and (name.text in shown or not why(name, reasons)):
            wrong[name.text] = ["it arrived" if name.text in shown else "nothing was said of it"]
    silent = [name for name in SPECIAL if not reasons.get(f"special/{name}") or f"special/{name}" in shown]
    return wrong | ({house.on_disk[0].text: [f"nothing was said of {silent}"]} if silent else {})


def why(name: Name, reasons: dict[str, str]) -> str:
    """Return the reason that was given for a name or for a folder above it."""
    parts = name.text.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return next((reasons[one] for one in above if reasons.get(one)), "")


def left_out(name: Name, reasons: dict[str, str]) -> bool:
    """Say whether a rule of the product's own was told to leave a folder out."""
    return "left out by the rule" in why(name, reasons)


# Out again


def download(house: House) -> Wrong:
    """Fetch a dataset into a directory, where every name has to be what it was, byte for byte."""
    there = house.rig.base / "fetched"
    code, told = house.run("download", f"{house.rig.server.url}/api/", str(there))
    found = dict(files_below(os.fsencode(there)))
    wrong: Wrong = {}
    for name in house.taken:
        if found.pop(name.raw, None) != name.content():
            wrong[name.text] = [f"it was not fetched as it was sent (exit {code}): {told[-300:]}"]
    strange = [path for path in found if not path.startswith(b".dray/")]
    return wrong | ({house.taken[0].text: [f"more was fetched than is there: {strange[:5]}"]} if strange else {})


def files_below(top: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Yield all files below a folder with what they hold."""
    for where, _, names in os.walk(top):
        for name in names:
            path = os.path.join(where, name)
            if not os.path.islink(path):
                yield os.path.relpath(path, top), Path(os.fsdecode(path)).read_bytes()


Door = Callable[[House], Wrong]

DOORS: dict[str, tuple[Door, Callable[[House], Sequence[Name]]]] = {
    "api": (api, lambda house: house.names),
    "part address": (addresses, lambda house: house.names),
    "manifest": (manifests, lambda house: house.names),
    "hot directory": (hot, lambda house: house.on_disk),
    "upload": (upload, lambda house: house.on_disk),
    "download": (download, lambda house: house.taken),
}
"""Each door, and the names that can come to it."""
