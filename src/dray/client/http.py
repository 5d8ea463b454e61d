"""The one HTTP stack of the client side: libcurl, for JSON calls and for bytes (docs/adr/0001-one-http-stack.md).

Requests run in a few threads, since libcurl lets go of the interpreter while it works. Each thread takes an easy handle
whose connection is still open. Certificates are always checked. Messages never hold headers or the query of a URL.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import pycurl

from dray import fs
from dray.client.body import Filling, Kept, Part, Source, Taking
from dray.client.rate import Rate
from dray.clock import SystemClock
from dray.errors import Denied, Disconnected, DrayError, Permanent, Temporary, Unreachable, UsageError
from dray.fs import DISK, Disk, FileRange
from dray.model.values import Value

UPLOAD_BUFFER = 2 << 20  # the most libcurl takes: fewer, larger reads
DOWNLOAD_BUFFER = 512 << 10
CALLS = 12  # calls that may wait for an answer besides
KEEPALIVE = 15  # seconds between probes of an idle connection
NAP = 0.2  # seconds a limited connection sleeps before it looks whether to stop
LOOPBACK = ("localhost", "127.", "[::1]")

Moved = Callable[[int], None]
"""Is told, in a worker thread, how many more bytes of a body went through."""


class HttpSettings(Value, frozen=True):
    """How to connect. ``ca_file`` replaces the authorities of the machine; ``stall`` is how long no byte may move.

    ``connections`` is how many may carry bytes at the same time; calls that wait for an answer do not count.
    """

    ca_file: str | None = None
    connections: int = 8
    connect: int = 15
    stall: int = 50
    agent: str = "dray"


class Request(Value, frozen=True):
    """One request. ``into`` are the ranges that the body of an answer 200 (206 when ``Range`` is asked for) fills.

    ``take`` gets that body instead, in a worker thread. ``crc32c`` is what ``body`` must have, or it is not sent whole.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[Part, ...] = ()
    into: tuple[FileRange, ...] = ()
    take: Callable[[memoryview], None] | None = None
    crc32c: int | None = None

    @property
    def filling_status(self) -> int:
        """Return the status whose body belongs into ``into``."""
        return 206 if any(name.lower() == "range" for name, _ in self.headers) else 200


class Response(Value, frozen=True):
    """The answer; header names are in lower case. ``crcs`` has the crc32c of each range that was filled."""

    status: int
    headers: dict[str, str]
    body: bytes
    crcs: tuple[int, ...] = ()


class Http:
    """A pool of kept connections. Use it as ``async with``; leaving it closes them.

    ``send`` raises an error of the tree when there is no answer; an answer of any status is returned. A cancelled
    ``send`` ends only after libcurl let go of the files in the request.
    """

    def __init__(self, settings: HttpSettings, rate: Rate | None = None, disk: Disk = DISK) -> None:
        self.settings = settings
        self.disk = disk
        self.rate = rate or Rate(SystemClock())
        self._handles: list[pycurl.Curl] = []
        self._share = pycurl.CurlShare()
        self._share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
        self._share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)
        self._threads = ThreadPoolExecutor(settings.connections + CALLS, "dray-http")
        self._stop = threading.Event()

    async def __aenter__(self) -> "Http":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await asyncio.to_thread(self._threads.shutdown)
        while self._handles:
            self._handles.pop().close()

    async def send(self, request: Request, moved: Moved | None = None) -> Response:
        """Run one request and return the answer; ``moved`` hears of body bytes in either direction."""
        exchange = _Exchange(request, self, moved, self._stop)
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, exchange)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            exchange.stop()
            await _ended(running)
            raise

    def _run(self, exchange: "_Exchange") -> Response:
        with self._handle() as curl:
            _configure(curl, self.settings, exchange.request.url)
            return exchange.run(curl)

    @contextmanager
    def _handle(self) -> Iterator[pycurl.Curl]:
        curl = self._handles.pop() if self._handles else self._made()
        try:
            yield curl
        finally:
            curl.reset()  # the connection stays open, the share stays set
            self._handles.append(curl)

    def _made(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.SHARE, self._share)
        return curl


async def _ended(running: "asyncio.Future[Response]") -> None:
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            continue
    running.exception()  # it was stopped: nobody waits for what it says


def _configure(curl: pycurl.Curl, settings: HttpSettings, url: str) -> None:
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    curl.setopt(pycurl.USERAGENT, settings.agent)
    curl.setopt(pycurl.CONNECTTIMEOUT, settings.connect)
    curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
    curl.setopt(pycurl.LOW_SPEED_TIME, settings.stall)
    curl.setopt(pycurl.TCP_KEEPALIVE, 1)
    curl.setopt(pycurl.TCP_KEEPIDLE, KEEPALIVE)
    curl.setopt(pycurl.TCP_KEEPINTVL, KEEPALIVE)
    curl.setopt(pycurl.UPLOAD_BUFFERSIZE, UPLOAD_BUFFER)
    curl.setopt(pycurl.BUFFERSIZE, DOWNLOAD_BUFFER)
    parts = urlsplit(url)
    if parts.netloc.startswith(LOOPBACK):
        curl.setopt(pycurl.PROXY, "")
    if parts.scheme == "https":
        _trust(curl, settings.ca_file)


def _trust(curl: pycurl.Curl, ca_file: str | None) -> None:
    """Say whose certificates count: the given file, else those of the machine. They are always checked."""
    curl.setopt(pycurl.SSL_VERIFYPEER, 1)
    curl.setopt(pycurl.SSL_VERIFYHOST, 2)
    if ca_file:
        curl.setopt(pycurl.CAINFO, ca_file)
    elif sys.platform in ("win32", "darwin"):
        curl.setopt(pycurl.SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)
    else:
        import ssl

        paths = ssl.get_default_verify_paths()
        for option, path in ((pycurl.CAINFO, paths.cafile), (pycurl.CAPATH, paths.capath)):
            if path:
                curl.setopt(option, path)


class _Exchange:
    """One request on one handle: the callbacks of libcurl, and what became of it."""

    def __init__(self, request: Request, http: Http, moved: Moved | None, closing: threading.Event) -> None:
        self.request = request
        self._source = Source(request.body, request.crc32c)
        self._filling: Filling | Taking | None = Filling(request.into, http.disk) if request.into else None
        if request.take is not None:
            self._filling = Taking(request.take)
        self._sink: Kept | Filling | Taking = Kept()
        self._rate = http.rate
        self._moved = moved or (lambda count: None)
        self._closing = closing
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._headed = False

    def stop(self) -> None:
        """Make libcurl give up within a second."""
        self._stopped.set()

    def run(self, curl: pycurl.Curl) -> Response:
        self._describe(curl)
        try:
            curl.perform()
        except pycurl.error as error:
            self._explain(*error.args)
        return self._response()

    def _describe(self, curl: pycurl.Curl) -> None:
        request = self.request
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        if request.body or request.method in ("PUT", "POST"):
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.INFILESIZE_LARGE, self._source.length)
            curl.setopt(pycurl.READFUNCTION, self._read)
            curl.setopt(pycurl.SEEKFUNCTION, self._seek)
        # Expect would cost a round trip; without it libcurl still stops sending when the answer comes early
        curl.setopt(pycurl.HTTPHEADER, ["Expect:", *(f"{name}: {value}" for name, value in request.headers)])
        curl.setopt(pycurl.HEADERFUNCTION, self._header)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        curl.setopt(pycurl.NOPROGRESS, 0)
        curl.setopt(pycurl.XFERINFOFUNCTION, self._look)

    # Called by libcurl; an exception would be printed and forgotten, so it is kept

    def _read(self, most: int) -> bytes | int:
        try:
            data = self._source.read(self._rate.slice(most))
            self._pace(len(data))
        except Exception as error:
            self._failure = error
            return pycurl.READFUNC_ABORT
        return data

    def _seek(self, offset: int, origin: int) -> int:
        if origin != 0:
            return pycurl.SEEKFUNC_CANTSEEK
        self._source.seek(offset)
        return pycurl.SEEKFUNC_OK

    def _write(self, data: bytes) -> int:
        try:
            self._sink.write(data)
            if self._sink is self._filling:
                self._pace(len(data))
        except Exception as error:
            self._failure = error
            return -1
        return len(data)

    def _header(self, line: bytes) -> None:
        text = line.decode("latin-1").rstrip("\r\n")
        if text.startswith("HTTP/"):
            self._begin(text)
        self._headed = self._headed or not text
        name, colon, value = text.partition(":")
        if colon:
            self._headers[name.strip().lower()] = value.strip()

    def _begin(self, line: str) -> None:
        self._status = int(line.split(" ")[1])
        self._headed = False
        self._headers = {}
        self._sink = Kept()
        if self._filling is not None and self._status == self.request.filling_status:
            self._sink = self._filling

    def _look(self, *_: int) -> int:
        return int(self._stopping())

    def _pace(self, count: int) -> None:
        self._moved(count)
        wait = self._rate.take(count)
        while wait > 0 and not self._stopping():
            self._stopped.wait(min(wait, NAP))
            wait -= NAP

    def _stopping(self) -> bool:
        return self._stopped.is_set() or self._closing.is_set()

    # Afterwards

    def _explain(self, code: int, message: str) -> None:
        """Raise what went wrong, unless a whole answer came before the connection broke."""
        if self._stopping():
            raise Temporary("stopped before the server answered")
        if self._failure:
            raise fs.failure(self._failure) if isinstance(self._failure, OSError) else self._failure
        early = self._status >= 400 and code in (pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR)
        if not early:
            raise translated(code, message, self.request.url)

    def _response(self) -> Response:
        if not self._headed:
            # libcurl takes headers that end with the connection for all there are.
            raise Disconnected("the server closed the connection", item=_origin(self.request.url), hint=_LATER)
        if isinstance(self._sink, Kept):
            return Response(self._status, self._headers, self._sink.taken())
        self._sink.close()
        crcs = self._sink.crcs if isinstance(self._sink, Filling) else ()
        return Response(self._status, self._headers, b"", tuple(crcs))


_LOOK = "is it running there, and is the address right? `dray doctor` looks closer"
_TRUST = "the certificate of a private authority is given with client.ca_file"
_LATER = "it is tried again, nothing that arrived is lost"
_FORM = "write http://server[:port][/prefix]/DATASET[/path]"

_ERRORS: dict[int, tuple[type[DrayError], str, str]] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: (UsageError, "neither http nor https", _FORM),
    pycurl.E_URL_MALFORMAT: (UsageError, "not an address", _FORM),
    pycurl.E_COULDNT_RESOLVE_PROXY: (Unreachable, "the proxy has no address", "see http_proxy and https_proxy"),
    pycurl.E_COULDNT_RESOLVE_HOST: (Unreachable, "no such server is known", _LOOK),
    pycurl.E_COULDNT_CONNECT: (Unreachable, "the server does not answer", _LOOK),
    pycurl.E_OPERATION_TIMEDOUT: (Disconnected, "nothing moved for too long", _LATER),
    pycurl.E_SSL_CONNECT_ERROR: (Unreachable, "no secure connection", "does the server speak https at this port?"),
    pycurl.E_PEER_FAILED_VERIFICATION: (Denied, "the server's certificate is not trusted", _TRUST),
    pycurl.E_SSL_CACERT_BADFILE: (UsageError, "the certificates of authorities cannot be read", _TRUST),
    pycurl.E_GOT_NOTHING: (Disconnected, "the server closed the connection", _LATER),
    pycurl.E_PARTIAL_FILE: (Disconnected, "the server closed the connection", _LATER),
    pycurl.E_SEND_ERROR: (Disconnected, "the connection broke", _LATER),
    pycurl.E_RECV_ERROR: (Disconnected, "the connection broke", _LATER),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: (Permanent, "this is no HTTP server", _LOOK),
}
"""What each failure of libcurl means, in our words, with the next step."""


def translated(code: int, message: str, url: str) -> DrayError:
    """Return the error of the tree for a libcurl error; ``message`` is what libcurl says of it."""
    kind, text, hint = _ERRORS.get(code, (Temporary, f"libcurl error {code}", _LATER))
    detail = f" ({message.strip()})" if kind in (Denied, Temporary) or code == pycurl.E_SSL_CONNECT_ERROR else ""
    return kind(text + detail, item=_origin(url), hint=hint)


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return ""
