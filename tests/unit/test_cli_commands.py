"""The commands against a server whose answers the test writes."""

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dray.cli import exits, main
from dray.cli.commands import ls
from dray.cli.context import App
from dray.cli.credentials import Credential, Credentials
from dray.model import views
from tests.servers.scripted import Answer, Received, ScriptedServer

TOKEN = "dray_" + "t0k3n" * 5
NOW = 1_800_000_000.0
HEALTH = {"status": "ok", "name": "dray", "version": "0.1.0", "api": "/api/v1"}
ME = views.Me(token=1, name="alice", scopes=["read", "write"], datasets=["run*"])
DATASET = views.DatasetView(name="run7", files=2, bytes=30, created=NOW)
TOKENS = views.TokenView(
    token=7, name="mic", prefix="dray_abc", scopes=["write"], datasets=[], created=NOW, expires=None, last_used=None,
    revoked=None, secret="dray_newsecret",
)  # fmt: skip
STATUS = views.ServerStatus(
    version="0.1.0", started=NOW - 60, now=NOW, database="sqlite",
    stores=[views.StoreStatus(name="main", kind="posix", bytes_free=1 << 30, bytes_total=100 << 30)],
    queue=views.QueueStatus(
        waiting=3, running=1, dead=1, oldest=NOW - 90, next_try=NOW + 20, reason="no space left"
    ),
    uploads={"pending": 2, "accepted": 5, "rejected": 1}, files=5, bytes=5 << 20, bytes_received=6 << 20,
)  # fmt: skip


def file(path: str, **more: object) -> views.FileView:
    known = {
        "file": 1,
        "dataset": "run7",
        "path": path,
        "version_number": 1,
        "size": 5,
        "checksum": "sha256:" + "0" * 64,
    }
    times = {"mtime_ns": None, "created": NOW, "published": NOW}
    copies = [
        {"store": "main", "state": "verified", "level": "durable", "verified_at": NOW, "verified_by": "w", "tag": ""}
    ]
    return msgspec.convert(
        {**known, **times, "state": "verified", "current": True, "copies": copies, **more}, views.FileView
    )


class Server:
    """Answers the calls of the commands; a test changes ``answers`` before it runs one."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {
            "GET /health": HEALTH,
            "GET /api/v1/me": ME,
            "GET /api/v1/status": STATUS,
            "GET /api/v1/datasets": views.DatasetPage(items=[DATASET], next=None),
            "GET /api/v1/datasets/run7": DATASET,
            "GET /api/v1/files": views.FilePage(items=[file("a/x.h5"), file("ab.h5"), file("a")], next=None),
            "GET /api/v1/tokens": views.TokenPage(items=[TOKENS], next=None),
            "POST /api/v1/tokens": TOKENS,
            "POST /api/v1/tokens/7/revoke": TOKENS,
        }
        self.http = ScriptedServer(self.answer)
        self.url = self.http.url

    def answer(self, request: Received) -> Answer:
        path = request.path.partition("?")[0]
        if path != "/health" and request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "unauthenticated", "the token is unknown")
        found = self.answers.get(f"{request.method} {path}")
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        return self.encoded(found) if found is not None else problem(404, "not-found", "there is no such thing")

    def encoded(self, found: object) -> Answer:
        if isinstance(found, Answer):
            return found
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        return Answer(200, msgspec.json.encode(found), {"Content-Type": "application/json", "Date": date})

    def asked(self, path: str) -> list[Received]:
        return [request for request in self.http.requests if request.path.startswith(path)]


def problem(status: int, code: str, detail: str) -> Answer:
    body = views.Problem(type=f"/problems/{code}", title=code, status=status, detail=detail, code=code)
    return Answer(status, msgspec.json.encode(body), {"Content-Type": "application/problem+json"})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    made = Server()
    yield made
    made.http.close()


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.out)
        return found


def run(server: Server, *args: str, signed_in: bool = True, **env: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    base = {"DRAY_URL": server.url, **({"DRAY_TOKEN": TOKEN} if signed_in else {})}
    code = main.main(args, App({**base, **env}, out, err))
    return Ran(code, out.getvalue(), err.getvalue())


def token_file(path: Path, text: str = TOKEN) -> str:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def test_login_tries_the_token_and_stores_it(server: Server, tmp_path: Path) -> None:
    ran = run(server, "login", "--token-file", token_file(tmp_path / "token"), signed_in=False)
    assert ran.code == 0, ran.err
    assert "alice" in ran.out
    assert Credentials().get(server.url) == Credential(TOKEN, "alice")
    assert TOKEN not in ran.out + ran.err
    assert run(server, "ls", signed_in=False).code == 0


def test_the_only_login_names_the_server_where_nothing_else_does(server: Server) -> None:
    Credentials().put(server.url, Credential(TOKEN))
    assert run(server, "status", signed_in=False, DRAY_URL="").code == 0
    Credentials().put("http://other", Credential(TOKEN))
    assert run(server, "status", signed_in=False, DRAY_URL="").code == exits.USAGE


def test_login_reads_the_token_from_standard_input(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\n"))
    assert run(server, "login", f"{server.url}/run7", signed_in=False).code == 0
    assert list(Credentials().all()) == [server.url]


def test_login_stores_nothing_that_the_server_does_not_know(server: Server, tmp_path: Path) -> None:
    ran = run(server, "login", "--token-file", token_file(tmp_path / "token", "dray_wrong"), signed_in=False)
    assert ran.code == exits.DENIED
    assert Credentials().all() == {}


def test_login_takes_no_token_from_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(server, "login", signed_in=False).code == exits.USAGE


def test_logout_forgets_the_server_of_any_address_below_it(server: Server) -> None:
    Credentials().put(server.url, Credential(TOKEN))
    assert run(server, "logout", f"{server.url}/run7").code == 0
    assert Credentials().all() == {}
    assert run(server, "logout").code == exits.NOT_FOUND


def test_logout_of_all(server: Server) -> None:
    for address in ("http://a", "http://b"):
        Credentials().put(address, Credential(TOKEN))
    assert run(server, "logout", "--all", "--json").json["items"] == [{"server": "http://a"}, {"server": "http://b"}]
    assert Credentials().all() == {}


def test_without_a_token_the_next_step_is_named(server: Server) -> None:
    ran = run(server, "ls", signed_in=False)
    assert ran.code == exits.DENIED
    assert f"dray login {server.url}" in ran.err


def test_ls_lists_datasets(server: Server) -> None:
    ran = run(server, "ls")
    assert ran.out.splitlines()[1].split()[:4] == ["run7", "2", "30", "B"]


@pytest.mark.parametrize("where", ["run7/a", "{url}/run7/a", "{url}/run7/a/"])
def test_ls_lists_what_is_a_path_or_lies_below_it(server: Server, where: str) -> None:
    ran = run(server, "ls", where.format(url=server.url), "--json")
    assert [item["path"] for item in items(ran)] == ["a/x.h5", "a"]
    query = server.asked("/api/v1/files")[0].path
    assert "dataset=run7&prefix=a&version=current" in query


def items(ran: Ran) -> list[dict[str, object]]:
    found = ran.json["items"]
    assert isinstance(found, list)
    return found


def test_ls_long_shows_versions_checksums_and_copies(server: Server) -> None:
    ran = run(server, "ls", "run7", "--long", "--versions", "--name", "h5")
    assert "sha256:000" in ran.out
    assert "main verified durable" in ran.out
    assert "version=all&name=h5" in server.asked("/api/v1/files")[0].path


def test_ls_of_an_unknown_dataset_is_not_found_and_of_an_empty_one_is_empty(server: Server) -> None:
    assert run(server, "ls", "run8").code == exits.NOT_FOUND
    server.answers["GET /api/v1/files"] = views.FilePage(items=[], next=None)
    ran = run(server, "ls", "run7")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing found in" in ran.err


def test_ls_shows_hostile_names_on_their_line(server: Server) -> None:
    server.answers["GET /api/v1/files"] = views.FilePage(items=[file("a\nb\x1b[2J\u202e")], next=None)
    ran = run(server, "ls", "run7")
    assert ran.out.count("\n") == 2
    assert r"a\nb\x1b[2J\u202e" in ran.out


@pytest.mark.parametrize(("path", "folder", "inside"), [("a/b", "a", True), ("ab", "a", False), ("a", "", True)])
def test_below(path: str, folder: str, inside: bool) -> None:
    assert ls.below(path, folder) is inside


def test_status_says_why_it_waits_and_what_needs_a_person(server: Server) -> None:
    ran = run(server, "status")
    assert "3 waiting, 1 running, 1 dead" in ran.out
    assert "next try in 20 s; because: no space left" in ran.out
    assert "1 job gave up" in ran.out
    assert "1 upload rejected" in ran.out
    assert "little space is left in store main" in ran.out


def test_status_as_json_is_what_the_server_said(server: Server) -> None:
    assert msgspec.convert(run(server, "status", "--json").json["data"], views.ServerStatus) == STATUS


def test_status_watches_until_it_is_interrupted_and_through_an_outage(server: Server) -> None:
    def last() -> Answer:
        os.kill(os.getpid(), 2)
        return server.encoded(STATUS)

    answers = [STATUS, problem(503, "temporary", "restarting")]
    server.answers["GET /api/v1/status"] = answers
    real = server.http.handler

    def handler(request: Received) -> Answer:
        if len(server.asked("/api/v1/status")) >= 3:
            return last()
        return real(request)

    server.http.handler = handler
    ran = run(server, "status", "--watch", "--every", "10ms", "--jsonl")
    assert ran.code == 0
    assert len(ran.out.splitlines()) >= 2
    assert "restarting" in ran.err


def test_a_token_is_made_and_its_secret_shown_once(server: Server) -> None:
    ran = run(server, "token", "create", "mic", "--scope", "write", "--dataset", "run*", "--expires", "1d")
    assert "dray_newsecret" in ran.out
    sent = json.loads(server.asked("/api/v1/tokens")[0].body)
    assert (sent["name"], sent["scopes"], sent["datasets"]) == ("mic", ["write"], ["run*"])
    assert sent["expires"] > time.time() + 86000


def test_a_token_is_saved_for_its_owner_alone_and_over_nothing(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "mic.token"
    args = ("token", "create", "mic", "--scope", "write", "--save", str(path))
    ran = run(server, *args)
    assert path.read_text() == "dray_newsecret\n"
    assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o600
    assert "dray_newsecret" not in ran.out + ran.err
    again = run(server, *args)
    assert again.code == exits.USAGE
    assert len(server.asked("/api/v1/tokens")) == 1


def test_a_token_that_was_not_made_leaves_no_file(server: Server, tmp_path: Path) -> None:
    server.answers["POST /api/v1/tokens"] = problem(403, "denied", "only for admins")
    path = tmp_path / "mic.token"
    assert run(server, "token", "create", "mic", "--scope", "admin", "--save", str(path)).code == exits.DENIED
    assert not path.exists()


def test_tokens_are_listed_without_secrets(server: Server) -> None:
    ran = run(server, "token", "list")
    assert "dray_abc" in ran.out


def test_revoking_needs_a_yes(server: Server) -> None:
    assert run(server, "token", "revoke", "7").code == exits.USAGE
    assert not server.asked("/api/v1/tokens/7")
    assert run(server, "token", "revoke", "7", "--yes").code == 0


def scrub(state: str, reason: str = "", **result: int) -> views.JobView:
    return views.JobView(
        job=9, kind="scrub", state=state, reason=reason, attempt=1, created=NOW, run_at=NOW, updated=NOW, result=result
    )


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (scrub("done", checked=2, bytes=30), exits.OK),
        (scrub("done", checked=2, bytes=30, corrupt=1), exits.INTEGRITY),
        (scrub("done", checked=2, bytes=30, lost=1, repaired=1), exits.INTEGRITY),
        (scrub("done", checked=2, bytes=30, unread=1), exits.PARTIAL),
        (scrub("dead", reason="the store is gone"), exits.PERMANENT),
    ],
)
def test_scrub_ends_with_what_was_found(server: Server, job: views.JobView, code: int) -> None:
    server.answers["POST /api/v1/scrub"] = job
    assert run(server, "scrub", "run7").code == code


def test_scrub_follows_the_job_and_lists_what_is_damaged(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dray.cli.commands.scrub.POLL", 0.01)
    server.answers["POST /api/v1/scrub"] = scrub("waiting", "a worker is busy")
    server.answers["GET /api/v1/jobs/9"] = [scrub("running", checked=1), scrub("done", checked=2, corrupt=1)]
    server.answers["GET /api/v1/files"] = views.FilePage(items=[file("bad.h5", state="damaged")], next=None)
    ran = run(server, "scrub", "--json")
    assert ran.code == exits.INTEGRITY
    assert [item["path"] for item in items(ran)] == ["bad.h5"]
    assert msgspec.convert(ran.json["data"], dict[str, object])["corrupt"] == 1


def test_scrub_can_be_left_alone(server: Server) -> None:
    server.answers["POST /api/v1/scrub"] = scrub("waiting")
    assert run(server, "scrub", "--no-wait").code == exits.OK
    assert run(server, "scrub", "--wait", "0s").code == exits.TIME_UP


def verdicts(ran: Ran) -> dict[object, object]:
    return {item["check"]: item["verdict"] for item in items(ran)}


def test_doctor_finds_a_healthy_server(server: Server) -> None:
    ran = run(server, "doctor", "--json")
    assert ran.code == 0, ran.out
    found = verdicts(ran)
    assert {found[check] for check in ("name", "encryption", "server", "clock", "token")} == {"ok"}


def test_doctor_says_that_the_token_is_wrong(server: Server) -> None:
    ran = run(server, "doctor", DRAY_TOKEN="dray_wrong")
    assert ran.code == exits.DENIED
    assert f"next: dray login {server.url}" in ran.out


def test_doctor_says_that_the_clocks_differ(server: Server) -> None:
    wrong = Answer(200, json.dumps(HEALTH).encode(), {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    server.answers["GET /health"] = wrong
    ran = run(server, "doctor", "--json")
    assert ran.code == exits.USAGE
    assert verdicts(ran)["clock"] == "fail"


def test_doctor_says_that_nobody_answers(server: Server) -> None:
    server.http.close()
    ran = run(server, "doctor")
    assert ran.code == exits.TEMPORARY
    assert "fail  server" in ran.out


def test_doctor_works_with_broken_settings(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "broken.toml"
    config.write_text("[client")
    ran = run(server, "doctor", "--config", str(config))
    assert ran.code == exits.USAGE
    assert "not valid TOML" in ran.out


def test_doctor_without_a_server_looks_at_the_machine(server: Server) -> None:
    ran = run(server, "doctor", DRAY_URL="")
    assert ran.code == 0
    assert "warn  server" in ran.out


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell", "bash"])
def test_completion_scripts_ask_dray(server: Server, shell: str) -> None:
    ran = run(server, "completion", shell)
    assert f"{shell}_complete" in ran.out


def test_config_show_tells_origin_and_refuses_unknown_keys(server: Server) -> None:
    ran = run(server, "config", "show", "client.url", "--origin")
    assert ran.out.splitlines()[1].split() == ["client.url", server.url, "environment", "DRAY_URL"]
    assert run(server, "config", "show", "nothing").code == exits.NOT_FOUND


def test_config_check_reads_secret_files_too(server: Server, tmp_path: Path) -> None:
    assert run(server, "config", "check").code == 0
    assert run(server, "config", "check", DRAY_CLEINT_URL="x").code == exits.PARTIAL
    readable = tmp_path / "token"
    readable.write_text("x")
    readable.chmod(0o644)
    ran = run(server, "config", "check", DRAY_CLIENT_TOKEN_FILE=str(readable))
    assert ran.code == (exits.DENIED if os.name == "posix" else 0)
