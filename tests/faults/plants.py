"""What somebody who can write into the store or the inbox may plant there, each tried against the running server."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.canary import SECRET
from tests.faults.contest import sha
from tests.faults.doors import House
from tests.faults.liar import liar
from tests.faults.raw import Answer, problem
from tests.faults.store import hashed, staged_name

DATASET = "planted"
PART = 32 << 20
DATA = b"what belongs here"


class Garden:
    """Files of one dataset, with the folders in which they lie, for whoever wants to put something else there."""

    def __init__(self, house: House, chance: Random) -> None:
        self.house, self.admin, self.chance = house, house.admin, chance
        self.store = house.rig.server.data / "store"
        self.inbox = house.rig.server.data / "inbox"
        self.canary = house.canary.folders[0]
        self.elsewhere = house.rig.base / "elsewhere"
        self.elsewhere.mkdir()
        (self.elsewhere / "secret").write_bytes(SECRET)
        self.files: dict[str, int] = {}

    def path(self, name: str) -> Path:
        return self.store / DATASET / name

    def bring(self, name: str, data: bytes, dataset: str = DATASET) -> dict[str, object]:
        """Upload a file and return its verdict, or the first refusal."""
        (staged,) = self.admin.stage(dataset, {"path": name, "size": len(data), "version": sha(data), "source": "p"})
        if problem(staged):
            return staged
        upload = int(staged["upload"])
        (sent,) = self.admin.bundle({upload: data}).items
        if problem(sent):
            return sent
        view = self.claim(upload, data)
        if view.get("state") == "accepted":
            self.files[name] = int(staged["file"])
        return view

    def claim(self, upload: int, data: bytes) -> dict[str, object]:
        (view,) = self.admin.complete({upload: (len(data), sha(data))}, wait=30).items
        return view

    def there(self, *names: str) -> None:
        """Bring files that were not tampered with yet."""
        for name in names:
            view = self.bring(name, DATA)
            assert view.get("state") == "accepted", view

    def fetch(self, name: str) -> Answer:
        """Download a file by its address."""
        (signed,) = self.admin.post("/files/urls", {"items": [{"file": self.files[name]}]}).items
        if problem(signed):
            return Answer(int(signed["problem"]["status"]))
        return self.admin.ask("GET", str(signed["url"]))

    def unserved(self, name: str) -> list[str]:
        """Say what is wrong when a file is asked for in whose place something else lies."""
        answers = [
            self.fetch(name),
            self.admin.ask("POST", "/api/v1/files/bundle", {"items": [{"file": self.files[name]}]}),
        ]
        found = ["the secret was served"] * any(SECRET in answer.body for answer in answers)
        return found + [f"it was served: {a.status} {a.body[:100]!r}" for a in answers if a.status < 400 and a.status]

    def refused(self, view: dict[str, object]) -> list[str]:
        """Say what is wrong with a verdict that has to be a refusal, or a wait, with a reason."""
        reason = view.get("reason") or problem(view)
        return [f"it was taken: {view}"] if view.get("state") == "accepted" or not reason else []


def as_link(path: Path, to: Path) -> None:
    """Put a symbolic link in the place of something, which is kept beside it."""
    if os.path.lexists(path):
        path.rename(path.with_name(f"{path.name}.real"))
    path.symlink_to(to)


def link_for_file(garden: Garden) -> list[str]:
    garden.there("link")
    as_link(garden.path("link"), garden.canary / "secret")
    found = garden.unserved("link")
    return found + garden.refused(garden.bring("link", b"another content"))


def hard_link_for_file(garden: Garden) -> list[str]:
    """A hard link cannot be told from a file, but its content is not the one that was verified."""
    garden.there("hard")
    garden.path("hard").unlink()
    os.link(garden.elsewhere / "secret", garden.path("hard"))
    return garden.unserved("hard")


def link_for_folder(garden: Garden) -> list[str]:
    garden.there("folder/a", "folder/sub/a")
    as_link(garden.path("folder"), garden.canary)
    found = garden.unserved("folder/a") + garden.unserved("folder/sub/a")
    for name in ("folder/a", "folder/new", "folder/sub/new", "folder/made/new"):
        found += garden.refused(garden.bring(name, b"another content"))
    return found


def link_for_dataset(garden: Garden) -> list[str]:
    as_link(garden.store / "evil", garden.canary)
    return garden.refused(garden.bring("x", DATA, "evil")) + garden.refused(garden.bring("new/x", DATA, "evil"))


def link_for_versions(garden: Garden) -> list[str]:
    """Nothing may be replaced while what it held cannot be kept in its place."""
    garden.there("kept")
    versions = garden.store / ".dray" / "versions"
    folder = versions / hashed(f"{DATASET}/kept")[:2]
    versions.mkdir(parents=True, exist_ok=True)
    as_link(folder, garden.canary)
    found = garden.refused(garden.bring("kept", b"another content"))
    found += [] if garden.fetch("kept").body == DATA else ["what was there is not there any more"]
    folder.unlink()
    return found


def link_for_lock(garden: Garden) -> list[str]:
    garden.there("locked")
    garden.bring("locked", b"a second content")
    lock = garden.store / ".dray" / "lock"
    as_link(lock, garden.canary / "secret")
    found = garden.refused(garden.bring("locked", b"another content"))
    lock.unlink()
    lock.with_name("lock.real").rename(lock)
    return found


def link_for_inbox(garden: Garden) -> list[str]:
    """The server has its folders open: what takes their names is not asked."""
    for digit in "0123456789abcdef":
        as_link(garden.inbox / digit, garden.canary)
    view = garden.bring("through the inbox", DATA)
    for digit in "0123456789abcdef":
        (garden.inbox / digit).unlink()
        (garden.inbox / f"{digit}.real").rename(garden.inbox / digit)
    return [] if view.get("state") in ("accepted", "rejected") else [f"it hangs: {view}"]


def link_for_staged_file(garden: Garden) -> list[str]:
    """A file of one piece is put anew under its staged name; verification does not follow what takes its place."""
    found = []
    for to in (garden.canary / "secret", garden.canary):
        data = os.urandom(20)
        (staged,) = garden.admin.stage(DATASET, {"path": f"staged {to.name}", "size": 20, "version": "1"})
        upload = int(staged["upload"])
        garden.admin.bundle({upload: data})
        as_link(staged_path(garden, f"staged {to.name}", upload), to)
        found += garden.refused(garden.claim(upload, data))
    return found


def link_for_staged_parts(garden: Garden) -> list[str]:
    """The parts of a larger file go into the file that was made, not through a link that took its place."""
    (staged,) = garden.admin.stage(DATASET, {"path": "parts", "size": 2 * PART, "version": "1"})
    upload = int(staged["upload"])
    garden.admin.get(f"/uploads/{upload}/parts")
    path = staged_path(garden, "parts", upload)
    as_link(path, garden.canary / "secret")
    answer = garden.admin.put(garden.admin.url(upload, 1), bytes(PART))
    garden.admin.cancel(upload)
    return [] if 400 <= answer.status < 500 else [f"a part was answered {answer.status}"]


def staged_path(garden: Garden, name: str, upload: int) -> Path:
    staged = staged_name(f"{DATASET}/{name}", upload)
    return garden.inbox / staged[0] / staged


def pipe_for_file(garden: Garden) -> list[str]:
    """Nobody waits for the other end of a pipe."""
    garden.there("pipe")
    garden.path("pipe").unlink()
    os.mkfifo(garden.path("pipe"))
    found = garden.unserved("pipe")
    return found + garden.refused(garden.bring("pipe", b"another content"))


def folder_for_file(garden: Garden) -> list[str]:
    garden.there("file")
    garden.path("file").unlink()
    garden.path("file").mkdir()
    return garden.unserved("file") + garden.refused(garden.bring("file", b"another content"))


def file_for_folder(garden: Garden) -> list[str]:
    """A path below a file, and a file where a folder is: no attacker is needed for these."""
    garden.there("both/below", "either")
    found = garden.refused(garden.bring("both", DATA)) + garden.refused(garden.bring("either/below", DATA))
    for name in ("both/below", "either"):
        found += [] if garden.fetch(name).body == DATA else [f"{name} is not there any more"]
    return found


def names_of_staged_files(garden: Garden) -> list[str]:
    """Files whose names are those under which others are staged meet nobody."""
    found = []
    (staged,) = garden.admin.stage(DATASET, {"path": "victim", "size": len(DATA), "version": "1"})
    upload = int(staged["upload"])
    name = staged_name(f"{DATASET}/victim", upload)
    for path in (name, f"{name}.parts", f"{name[0]}/{name}"):
        view = garden.bring(path, path.encode())
        found += [] if view.get("state") == "accepted" else [f"{path} was not taken: {view}"]
        found += [] if garden.path(path).read_bytes() == path.encode() else [f"{path} holds something else"]
    garden.admin.bundle({upload: DATA})
    view = garden.claim(upload, DATA)
    return found + ([] if view.get("state") == "accepted" else [f"the staged file was disturbed: {view}"])


def scrubbed(garden: Garden) -> list[str]:
    """A scrub does not follow what was planted either, and tells of every file that is not what it was."""
    job = garden.admin.post("/scrub", {"dataset": DATASET}).json
    number = job["job"]
    for _ in range(200):
        job = garden.admin.get(f"/jobs/{number}").json
        if job["state"] in ("done", "dead"):
            break
    rows = garden.admin.get(f"/files?dataset={DATASET}&limit=1000").json["items"]
    states = {row["path"]: row["state"] for row in rows}
    return [
        f"{name} is called {states[name]}" for name in ("link", "hard", "pipe", "file") if states[name] == "verified"
    ]


def fetched_over_links(garden: Garden) -> list[str]:
    """A download into a directory with links in it stays in it, and says of which files it could not fetch them."""
    garden.there("fetch/a", "fetch/sub/a", "fetch/plain")
    there = garden.house.rig.base / "fetched" / "over links"
    (there / "fetch").mkdir(parents=True)
    (there / "fetch" / "sub").symlink_to(garden.canary)
    (there / "fetch" / "a").symlink_to(garden.canary / "a")
    url = f"{garden.house.rig.server.url}/{DATASET}/fetch"
    found = []
    for extra in ((), ("--on-exists", "replace")):
        code, told = garden.house.run("download", "--json", *extra, url, str(there))
        found += [] if code not in (0, 1) else [f"download ended with {code}: {told[-300:]}"]
        found += [] if "fetch/sub/a" in told else [f"nothing was said of fetch/sub/a: {told[-300:]}"]
    whole = (there / "fetch" / "plain").read_bytes() == DATA
    return found + ([] if whole else ["the file beside the links was not fetched"])


def told_by_a_liar(garden: Garden) -> list[str]:
    """A server that calls a file by a name that is none gets nothing written, wherever that would be."""
    garden.there("lie")
    refused = [name for name in garden.house.refused if "\ud800" <= max(name.text, default="") <= "\udfff"]
    refused = [name for name in garden.house.refused if name not in refused]
    found = []
    for number, name in enumerate(garden.chance.sample(refused, min(LIES, len(refused)))):
        there = garden.house.rig.base / "fetched" / f"lie {number}"
        with liar(garden.admin.port, "lie", name.text) as url:
            code, told = garden.house.run("download", "--json", f"{url}/{DATASET}/lie", str(there))
        wrote = [str(path) for path in there.rglob("*") if path.is_file() and ".dray" not in path.parts]
        found += [f"{name.text!r} was fetched to {wrote}"] if wrote else []
        found += [f"{name.text!r}: download ended with {code}: {told[-200:]}"] if code in (0, 1) else []
    return found


LIES = 8
"""Names with which a lying server is tried."""

PLANTS: dict[str, Callable[[Garden], list[str]]] = {
    "a link in the place of a file": link_for_file,
    "a hard link in the place of a file": hard_link_for_file,
    "a link in the place of a folder": link_for_folder,
    "a link in the place of a dataset": link_for_dataset,
    "a link where older versions are kept": link_for_versions,
    "a link in the place of the lock": link_for_lock,
    "links in the place of the inbox": link_for_inbox,
    "a link in the place of a staged file": link_for_staged_file,
    "a link in the place of staged parts": link_for_staged_parts,
    "a pipe in the place of a file": pipe_for_file,
    "a folder in the place of a file": folder_for_file,
    "a file where a folder is": file_for_folder,
    "names of staged files": names_of_staged_files,
    "a scrub of all that": scrubbed,
    "a download over links": fetched_over_links,
    "a server that lies about names": told_by_a_liar,
}
