"""The web pages in a real browser, with and without JavaScript, and by hand where a browser would be too polite."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.integration.rest import Rest
from tests.servers.dray import DrayServer, dray_server

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = '<img src=x onerror=document.title="owned">\u202e\n"x".txt'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    with dray_server(tmp_path_factory.mktemp("web")) as running:
        rest = Rest(running)
        rest.upload("run-7", {f"frames/{n:03}.h5": bytes(n) for n in range(30)} | {"notes.txt": b"one", HOSTILE: b"x"})
        rest.upload("run-7", {"notes.txt": b"second"})
        rest.stage("run-7", {"coming/soon.h5": 5_000_000_000})
        yield running


def text_of(browser: Chrome) -> str:
    return str(browser.find_element("tag name", "body").text)


def click(browser: Chrome, by: str, what: str) -> None:
    """Click and wait until the page that was there is gone; a click alone returns before the next page comes."""
    from selenium.webdriver.support.expected_conditions import staleness_of
    from selenium.webdriver.support.ui import WebDriverWait

    page = browser.find_element("tag name", "html")
    browser.find_element(by, what).click()
    WebDriverWait(browser, 30).until(staleness_of(page))


def sign_in(browser: Chrome, server: DrayServer, page: str = "/") -> None:
    browser.get(server.url + page)
    browser.find_element("id", "token").send_keys(server.token)
    click(browser, "css selector", ".login button")


# In a browser


def walk_through(browser: Chrome, server: DrayServer) -> None:
    """Sign in, look around, sign out; the same with and without JavaScript."""
    sign_in(browser, server, "/files?dataset=run-7")
    assert browser.current_url.endswith("/files?dataset=run-7")
    assert "30 files" in text_of(browser)
    assert "coming/soon.h5" in text_of(browser)
    click(browser, "link text", "frames/")
    assert "029.h5" in text_of(browser)
    click(browser, "link text", "run-7")
    click(browser, "link text", "notes.txt")
    assert "Versions of this path" in text_of(browser)
    assert re.search(r"sha256:[0-9a-f]{64}", text_of(browser))
    click(browser, "link text", "Now")
    assert "32" in text_of(browser)
    assert "What waits, and why" in text_of(browser)
    click(browser, "css selector", ".who button")
    assert "Sign in" in text_of(browser)
    browser.get(server.url)
    assert "Sign in" in text_of(browser)


def test_the_pages_work_in_a_browser(browser: Chrome, server: DrayServer) -> None:
    walk_through(browser, server)
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def test_the_pages_work_without_javascript(tmp_path: Path, server: DrayServer) -> None:
    from tests.servers.browser import chromium

    with chromium(tmp_path / "profile", javascript=False) as browser:
        walk_through(browser, server)


def test_a_name_is_never_run_and_shows_what_it_hides(browser: Chrome, server: DrayServer) -> None:
    sign_in(browser, server, "/files?dataset=run-7")
    assert '<img src=x onerror=document.title="owned">\\u202e\\n"x".txt' in text_of(browser)
    click(browser, "partial link text", "<img")
    assert browser.title != "owned"
    assert "Verified" in text_of(browser)


def test_what_happens_is_shown_without_loading_the_page_again(browser: Chrome, server: DrayServer) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    sign_in(browser, server)
    WebDriverWait(browser, 30).until(lambda b: "live" in b.find_element("css selector", ".live").text)
    browser.execute_script("window.same = true")
    Rest(server).upload("fresh-dataset", {"f": b"x"})
    WebDriverWait(browser, 60).until(lambda b: "fresh-dataset" in text_of(b))
    assert browser.execute_script("return window.same") is True


# By hand


class Visitor:
    """Visits pages like a browser that follows nothing."""

    def __init__(self, server: DrayServer) -> None:
        self.server = server
        self.cookie = ""

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        given = {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded"} | (headers or {})
        connection.request(method, path, urlencode(form) if form is not None else None, given)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read().decode()
        connection.close()
        return answer.status, found, body

    def sign_in(self, **more: str) -> dict[str, str]:
        status, headers, _ = self.ask("POST", "/login", {"token": self.server.token, **more})
        assert status == 303
        self.cookie = headers["set-cookie"].split(";")[0]
        return headers


@pytest.fixture
def visitor(server: DrayServer) -> Visitor:
    return Visitor(server)


@pytest.mark.parametrize(
    "page", ["/", "/datasets", "/files?dataset=run-7", "/find?q=x", "/file/1", "/live", "/file/1/download"]
)
def test_nothing_is_shown_to_somebody_who_is_not_signed_in(visitor: Visitor, page: str) -> None:
    status, headers, body = visitor.ask("GET", page)
    assert status == 303
    assert headers["location"].startswith("/login")
    assert "run-7" not in body


def test_the_cookie_says_nothing_and_no_script_can_read_it(visitor: Visitor, server: DrayServer) -> None:
    cookie = visitor.sign_in()["set-cookie"]
    assert server.token not in cookie
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[:-1] + "0",
        lambda c: c.replace("=1.", "=2."),
        lambda c: "dray_session=1.2.3.4",
        lambda c: "dray_session=x",
    ],
)
def test_a_cookie_that_was_changed_is_nobodys(visitor: Visitor, change: object) -> None:
    visitor.sign_in()
    good = visitor.cookie
    visitor.cookie = change(good)  # type: ignore[operator]
    if visitor.cookie != good:
        assert visitor.ask("GET", "/")[0] == 303


def test_a_wrong_token_is_told_so(visitor: Visitor) -> None:
    status, headers, body = visitor.ask("POST", "/login", {"token": "dray_wrong"})
    assert status == 401
    assert "set-cookie" not in headers
    assert 'role="alert"' in body


def test_a_form_of_another_site_is_refused(visitor: Visitor, server: DrayServer) -> None:
    form = {"token": server.token}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert visitor.ask("POST", "/login", form, headers)[0] == 403
    visitor.sign_in()
    assert visitor.ask("POST", "/logout", {"form": "0" * 64})[0] == 403
    assert visitor.ask("POST", "/logout", {})[0] == 403
    assert visitor.ask("GET", "/")[0] == 200


def test_signing_out_ends_the_session_also_for_who_kept_the_cookie(visitor: Visitor) -> None:
    visitor.sign_in()
    form = re.search(r'name="form" value="(\w+)"', visitor.ask("GET", "/")[2])
    assert form
    assert visitor.ask("POST", "/logout", {"form": form[1]})[0] == 303
    assert visitor.ask("GET", "/")[0] == 303


def test_a_session_ends_with_its_token(server: DrayServer) -> None:
    reader, number = Rest(server).token_with("read")
    visitor = Visitor(server)
    status, headers, _ = visitor.ask("POST", "/login", {"token": reader.token})
    assert status == 303
    visitor.cookie = headers["set-cookie"].split(";")[0]
    assert visitor.ask("GET", "/")[0] == 200
    Rest(server).post(f"/tokens/{number}/revoke")
    assert visitor.ask("GET", "/")[0] == 303


@pytest.mark.parametrize(
    "page", ["http://evil.example/", "//evil.example", "/\\evil.example", "/\n/evil", "javascript:alert(1)", ""]
)
def test_signing_in_leads_to_no_other_site(visitor: Visitor, page: str) -> None:
    assert visitor.sign_in(next=page)["location"] == "/"


def test_a_download_is_a_signed_address_that_ends_with_the_session_of_its_token(visitor: Visitor) -> None:
    visitor.sign_in()
    found = re.search(r"/file/(\d+)", visitor.ask("GET", "/find?q=notes.txt")[2])
    assert found
    status, headers, _ = visitor.ask("GET", f"/file/{found[1]}/download")
    assert status == 303
    status, headers, body = visitor.ask("GET", headers["location"])
    assert (status, body) == (200, "second")
    assert headers["content-disposition"].startswith("attachment")


def test_no_script_but_our_own_file_may_run(visitor: Visitor) -> None:
    visitor.sign_in()
    for page in ("/", "/datasets", "/files?dataset=run-7", "/file/1", "/login", "/nowhere"):
        _, headers, body = visitor.ask("GET", page)
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert not re.search(r"<script(?! src=)", body)
        assert " style=" not in body
        assert " onclick" not in body


@pytest.mark.parametrize(
    "page",
    ["/file/0", "/file/x", "/file/99999999999999999999", "/files?dataset=none", "/nowhere", "/static/x", "/file/%00"],
)
def test_what_is_not_there_is_a_page_that_says_so(visitor: Visitor, page: str) -> None:
    visitor.sign_in()
    status, headers, body = visitor.ask("GET", page)
    assert status == 404
    assert headers["content-type"].startswith("text/html")
    assert "Back to the first page" in body


@pytest.mark.parametrize(
    "query", ["dataset=run-7&prefix=%00", "dataset=run-7&after=%ff", "dataset=%00", "dataset=run-7&prefix=../.."]
)
def test_no_query_breaks_a_page(visitor: Visitor, server: DrayServer, query: str) -> None:
    visitor.sign_in()
    assert visitor.ask("GET", f"/files?{query}")[0] in (200, 400, 404)
    assert visitor.ask("GET", "/find?q=sha256:nonsense")[0] == 400
    assert visitor.ask("GET", "/datasets?cursor=nonsense")[0] == 400
    assert "Traceback" not in server.log
