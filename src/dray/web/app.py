"""The web pages as one ASGI application: who is signed in, which page, and what to show when something is wrong."""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from dray.core.access import Principal
from dray.errors import Denied, DrayError, LimitReached, NotFound, Unauthenticated, UsageError
from dray.model.values import Value
from dray.web import pages
from dray.web.pages import Desk, Values
from dray.web.render import Renderer, static
from dray.web.sessions import LIFE, Session, Sessions

COOKIE = "dray_session"
LARGEST_FORM = 64 << 10
HEARTBEAT = 2.0
CALM = 1.0
"""Seconds between two signs of change at least."""

Show = Callable[[Desk, Principal, Mapping[str, str]], Awaitable[Values]]
log = logging.getLogger("dray.web")


class User(Value, frozen=True):
    """Who is signed in, as the pages show it; ``form`` goes into every form."""

    name: str
    form: str


class Web:
    """Answers the pages. ``stopping`` ends live streams when the server drains."""

    def __init__(self, desk: Desk, sessions: Sessions, renderer: Renderer, stopping: asyncio.Event) -> None:
        self._desk = desk
        self._sessions = sessions
        self._renderer = renderer
        self._stopping = stopping
        self._router = Router(self._routes(), redirect_slashes=False, default=nowhere)

    def _routes(self) -> list[Route]:
        shown: list[tuple[str, Show, str, str]] = [
            ("/", pages.now, "now.html", "Now"),
            ("/datasets", pages.datasets, "datasets.html", "Datasets"),
            ("/files", pages.files, "files.html", "Datasets"),
            ("/find", pages.find, "find.html", "Datasets"),
            ("/file/{file}", pages.file, "file.html", "Datasets"),
        ]
        return [
            *(Route(path, partial(self._page, show, page, section)) for path, show, page, section in shown),
            Route("/file/{file}/download", self._download),
            Route("/live", self._live),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/static/{name}", self._static),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._router(scope, receive, send)
        except Unauthenticated:
            answer = self._to_login(Request(scope))
            await answer(scope, receive, send)
        except DrayError as error:
            await self._trouble(error, scope)(scope, receive, send)
        except Exception:
            number = scope.get("state", {}).get("request_id", "")
            log.exception("unexpected failure of request %s", number)
            failure = DrayError("the server failed in an unexpected way", hint="its log has the cause")
            await self._trouble(failure, scope)(scope, receive, send)

    # Pages

    async def _page(self, show: Show, template: str, section: str, request: Request) -> Response:
        session, who = await self._signed_in(request)
        values = await show(self._desk, who, {**request.query_params, **request.path_params})
        user = User(who.name, self._sessions.form(session))
        base = f"{request.url.scheme}://{request.url.netloc}{self._renderer.at('')}"
        return self._render(template, 200, {**values, "user": user, "section": section, "base": base})

    def _render(self, template: str, status: int, values: Values) -> Response:
        always = {"now": self._desk.clock.wall(), "user": None, "section": "", "search": ""}
        return self._renderer.page(template, status, {**always, **values})

    def _trouble(self, error: DrayError, scope: Scope) -> Response:
        values = {
            "title": (type(error).__doc__ or error.code).split("\n")[0].rstrip("."),
            "message": f"{error.item}: {error.message}" if error.item else error.message,
            "hint": error.hint,
            "request_id": scope.get("state", {}).get("request_id", ""),
        }
        return self._render("trouble.html", error.status, values)

    async def _download(self, request: Request) -> Response:
        _, who = await self._signed_in(request)
        detail = await self._desk.datasets.detail(who, pages.number(request.path_params["file"]))
        return RedirectResponse(self._desk.download(who, detail.file), 303, {"cache-control": "no-store"})

    async def _static(self, request: Request) -> Response:
        found = static(request.path_params["name"])
        if found is None:
            raise NotFound("there is no such file")
        return found

    # Signing in and out

    async def _signed_in(self, request: Request) -> tuple[Session, Principal]:
        session = self._sessions.read(request.cookies.get(COOKIE, ""), self._desk.clock.wall())
        if session is None:
            raise Unauthenticated("not signed in")
        who = await self._desk.access.known(session.token)
        who.require("read")
        return session, who

    def _to_login(self, request: Request) -> Response:
        page = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = {"next": page} if request.method == "GET" and page != "/" else {}
        return RedirectResponse(self._renderer.at("/login", **query), 303)

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            values = {"title": "Sign in", "problem": "", "next": request.query_params.get("next", "")}
            return self._render("login.html", 200, values)
        form = await self._form(request)
        try:
            who = await self._desk.access.authenticate(form.get("token", "").strip())
        except Unauthenticated:
            problem = "This token is not known here, too old, or was revoked."
            values = {"title": "Sign in", "problem": problem, "next": form.get("next", "")}
            return self._render("login.html", 401, values)
        answer = RedirectResponse(self._renderer.at(inside(form.get("next", ""))), 303)
        _, cookie = self._sessions.begin(who.token, self._desk.clock.wall())
        self._set_cookie(request, answer, cookie, int(LIFE))
        return answer

    async def _logout(self, request: Request) -> Response:
        session, _ = await self._signed_in(request)
        form = await self._form(request)
        if not hmac.compare_digest(form.get("form", "").encode(), self._sessions.form(session).encode()):
            raise Denied("this form does not belong to your session", hint="load the page again")
        self._sessions.end(session, self._desk.clock.wall())
        answer = RedirectResponse(self._renderer.at("/login"), 303)
        self._set_cookie(request, answer, "", 0)
        return answer

    def _set_cookie(self, request: Request, answer: Response, value: str, seconds: int) -> None:
        secure = request.url.scheme == "https"
        path = self._renderer.at("/")
        answer.set_cookie(COOKIE, value, seconds, path=path, secure=secure, httponly=True, samesite="strict")

    async def _form(self, request: Request) -> dict[str, str]:
        _check_origin(request)
        body = bytearray()
        async for block in request.stream():
            body += block
            if len(body) > LARGEST_FORM:
                raise LimitReached("the form is too large")
        try:
            found = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=20)
        except ValueError:
            raise UsageError("the form is not a valid one") from None
        return {name: values[0] for name, values in found.items()}

    # Live

    async def _live(self, request: Request) -> Response:
        _, who = await self._signed_in(request)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._changes(who), headers=headers, media_type="text/event-stream")

    async def _changes(self, who: Principal) -> AsyncIterator[str]:
        """Yield a sign whenever something changed, at most one in ``CALM`` seconds, while the token is good."""
        yield "retry: 2000\n\n"
        with contextlib.suppress(DrayError):
            after = await self._desk.announcements.newest(who)
            while not self._stopping.is_set():
                await self._desk.access.known(who.token)
                page = await self._desk.announcements.wait_events(who, after, 1, HEARTBEAT)
                yield "event: changed\ndata: {}\n\n" if page.items else ":\n\n"
                if page.items:
                    await asyncio.sleep(CALM)
                    after = await self._desk.announcements.newest(who)


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that is no page."""
    raise NotFound("there is no page at this address")


def inside(page: str) -> str:
    """Return ``page`` when it is one of this server, else the first page: nobody is sent elsewhere."""
    parts = urlsplit(page)
    safe = page.startswith("/") and not page.startswith(("//", "/\\")) and not parts.netloc and page.isprintable()
    return page if safe else "/"


def _check_origin(request: Request) -> None:
    """Raise Denied when another site sent this form (Fetch Metadata, else Origin)."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site not in ("same-origin", "none") if site else origin and urlsplit(origin).netloc != request.url.netloc
    if foreign:
        raise Denied("this form was sent by another site", hint="sign in on this page")
