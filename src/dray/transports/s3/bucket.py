"""Requests to a bucket of a service: addressed, signed, sent by libcurl, refusals translated, nothing tried again."""

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from dray.client.body import Part
from dray.client.http import Http, Request, Response
from dray.clock import Clock
from dray.errors import Permanent, UsageError
from dray.fs import FileRange
from dray.model.values import Value
from dray.transports.s3 import answers
from dray.transports.s3.answers import Listed, Seen, Upload
from dray.transports.s3.credentials import Account
from dray.transports.s3.refusals import code_of, refusal
from dray.transports.s3.settings import S3Settings
from dray.transports.s3.sign import UNSIGNED, Call, Pairs, encoded, query_string, signed

CHECKED = (("x-amz-checksum-algorithm", "CRC32C"),)
"""Begins an upload whose parts are sent with their crc32c; services that do not know it leave it alone."""
NONE: Mapping[int, int] = MappingProxyType({})
MOST_DELETED = 1000
"""Objects that one request may delete."""
MOST_PAGES = 4
"""Answers to a question for names in a folder, after which it is better to ask for each."""
AWS = "https://s3.{region}.amazonaws.com"


class Ask(Value, frozen=True):
    """One request to a bucket; ``fine`` are refusals that the caller understands. See ``client.http.Request``."""

    method: str
    key: str = ""
    query: Pairs = ()
    headers: Pairs = ()
    body: tuple[Part, ...] = ()
    payload: str = UNSIGNED
    fine: tuple[int, ...] = ()
    into: tuple[FileRange, ...] = ()
    take: Callable[[memoryview], None] | None = None
    crc32c: int | None = None


class Bucket:
    """What a service can do with objects of a bucket."""

    def __init__(self, http: Http, settings: S3Settings, account: Account, clock: Clock) -> None:
        self.settings = settings
        self._http = http
        self._account = account
        self._clock = clock
        self._region = account.region
        if account.endpoint and urlsplit(account.endpoint).scheme not in ("http", "https"):
            raise UsageError("not an address of a service", item=account.endpoint, hint="write https://host[:port]")

    @property
    def now(self) -> float:
        """Return the time, in seconds."""
        return self._clock.wall()

    async def send(self, ask: Ask) -> Response:
        """Make one request; an answer that is a refusal, even a late one in a body, is raised."""
        response = await self._send(ask)
        region = response.headers.get("x-amz-bucket-region", "")
        if response.status in (301, 307, 400) and region not in ("", self._region):
            self._region = region
            response = await self._send(ask)
        late = response.status == 200 and response.body[:400].find(b"<Error>") >= 0
        if (response.status >= 300 or late) and response.status not in ask.fine:
            raise refusal(response, self.now).about(self.settings.name)
        return response

    async def _send(self, ask: Ask) -> Response:
        base = urlsplit(self._account.endpoint or AWS.format(region=self._region))
        host, path = base.netloc, f"{base.path}/{self.settings.bucket}"
        if self._virtual():
            host, path = f"{self.settings.bucket}.{host}", base.path
        path = f"{path}/{encoded(ask.key, safe='/')}" if ask.key else path or "/"
        call = Call(ask.method, host, path, ask.query, ask.headers, ask.payload)
        headers = signed(call, await self._account.keys(), self._region, self.now)
        query = f"?{query_string(ask.query)}" if ask.query else ""
        url = f"{base.scheme}://{host}{path}{query}"
        return await self._http.send(
            Request(ask.method, url, headers, ask.body, ask.into, take=ask.take, crc32c=ask.crc32c)
        )

    def _virtual(self) -> bool:
        """Say whether the bucket is part of the host's name; a certificate does not cover dots in it."""
        if self.settings.addressing == "auto":
            return not self._account.endpoint and "." not in self.settings.bucket
        return self.settings.addressing == "virtual"

    @property
    def checks(self) -> bool:
        """Say whether bodies are sent with their crc32c."""
        return self.settings.checksums == "auto"

    # Objects

    async def look(self, key: str) -> Seen | None:
        """Look at an object; None when there is none. That there is no bucket is only told by lists."""
        response = await self.send(Ask("HEAD", key, fine=(404,)))
        return None if response.status == 404 else answers.seen_of(response.headers)

    async def put(self, key: str, body: tuple[Part, ...], crc32c: int | None = None, query: Pairs = ()) -> str:
        """Write an object or a part, and return its ETag."""
        headers: Pairs = ()
        if crc32c is not None and self.checks:
            headers = (("x-amz-checksum-crc32c", answers.checksum_text(crc32c)),)
        response = await self.send(Ask("PUT", key, query, headers, body, crc32c=crc32c))
        return response.headers.get("etag", "").strip('"')

    async def delete(self, key: str, version: str = "") -> None:
        """Delete an object; one that is not there is deleted already."""
        await self.send(Ask("DELETE", key, (("versionId", version),) if version else (), fine=(404,)))

    async def delete_all(self, keys: Sequence[tuple[str, str]]) -> None:
        """Delete objects with these keys and versions, many with one request."""
        for begin in range(0, len(keys), MOST_DELETED):
            body = answers.deleting(dict.fromkeys(keys[begin : begin + MOST_DELETED]))
            digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            payload = hashlib.sha256(body).hexdigest()
            headers = (("Content-MD5", digest), ("Content-Type", "application/xml"))
            response = await self.send(Ask("POST", "", (("delete", ""),), headers, (body,), payload))
            for failed in answers.parsed(response).iter("Error"):
                if answers.text(failed, "Code") not in ("NoSuchKey", "NoSuchVersion"):
                    raise refusal(Response(403, {}, _error(answers.text(failed, "Code"))), self.now)

    async def copy(self, source: str, target: str, headers: Pairs, query: Pairs = ()) -> str:
        """Copy an object, or a part of it, within the bucket at the service, and return the ETag."""
        place = encoded(f"/{self.settings.bucket}/{source}", safe="/")
        response = await self.send(Ask("PUT", target, query, (("x-amz-copy-source", place), *headers)))
        return answers.tag_in(response)

    # Lists

    async def pages(self, query: Pairs) -> AsyncIterator[answers.Page]:
        """Ask for a list until it is whole."""
        more: Pairs = ()
        while True:
            root = answers.parsed(await self.send(Ask("GET", "", (*query, *more, ("encoding-type", "url")))))
            before, more = more, _more(root, query)
            yield answers.Page(root, more)
            if not more:
                return
            if more == before:
                raise Permanent("the service lists the same again and again")

    async def objects(self, prefix: str, after: str = "") -> AsyncIterator[Listed]:
        """Yield objects whose keys begin so, in their order."""
        query = (("list-type", "2"), ("prefix", prefix), *((("start-after", after),) if after else ()))
        async for page in self.pages(query):
            for one in answers.listed(page.root):
                yield one

    async def has(self, prefix: str) -> bool:
        """Say whether any key begins so."""
        query = (("list-type", "2"), ("prefix", prefix), ("max-keys", "1"), ("encoding-type", "url"))
        root = answers.parsed(await self.send(Ask("GET", "", query)))
        return root.find("Contents") is not None

    async def beside(self, prefix: str, last: str) -> list[str] | None:
        """Return keys that begin so, cut after their next slash, up to ``last`` and some more; None: too many."""
        found: list[str] = []
        pages = 0
        async for page in self.pages((("list-type", "2"), ("prefix", prefix), ("delimiter", "/"))):
            found += [one.key for one in answers.listed(page.root)]
            found += answers.folders(page.root)
            pages += 1
            if not page.more or max(found) > last:
                break
            if pages == MOST_PAGES:
                return None
        return found

    async def folders(self, prefix: str) -> set[str]:
        """Return what keys that begin so have before the next slash."""
        query = (("list-type", "2"), ("prefix", prefix), ("delimiter", "/"))
        return {folder async for page in self.pages(query) for folder in answers.folders(page.root)}

    async def versions(self, prefix: str) -> list[tuple[str, str]]:
        """Return keys and versions of everything that begins so, markers of deletions as well."""
        return [
            (one.key, answers.text(element, "VersionId"))
            async for page in self.pages((("versions", ""), ("prefix", prefix)))
            for kind in ("Version", "DeleteMarker")
            for one, element in zip(answers.listed(page.root, kind), page.root.iter(kind), strict=True)
        ]

    async def is_versioned(self) -> bool:
        """Say whether deleted objects stay as older versions; where we may not ask, they do not."""
        response = await self.send(Ask("GET", "", (("versioning", ""),), fine=(403, 404, 405, 501)))
        return response.status == 200 and b"<Status>" in response.body

    # Multipart uploads

    async def begin(self, key: str, headers: Pairs = ()) -> str:
        """Begin an upload and return its id."""
        return answers.upload_in(await self.send(Ask("POST", key, (("uploads", ""),), headers)))

    async def uploads(self, prefix: str) -> list[Upload]:
        """Return the uploads in progress of keys that begin so."""
        pages = self.pages((("uploads", ""), ("prefix", prefix)))
        return [one async for page in pages for one in answers.uploads(page.root, prefix)]

    async def parts(self, key: str, upload: str) -> dict[int, str]:
        """Return the ETags of the parts that are there, however many."""
        found: dict[int, str] = {}
        more: Pairs = ()
        while True:
            root = answers.parsed(await self.send(Ask("GET", key, (("uploadId", upload), *more))))
            for one in root.iter("Part"):
                found[int(answers.text(one, "PartNumber"))] = answers.text(one, "ETag").strip('"')
            if answers.text(root, "IsTruncated") != "true":
                return found
            more = (("part-number-marker", answers.text(root, "NextPartNumberMarker")),)

    async def complete(self, key: str, upload: str, tags: Mapping[int, str], crcs: Mapping[int, int] = NONE) -> str:
        """Make an object of parts and return its ETag; ``crcs`` if the upload was begun to be checked by them."""
        body = answers.completing(tags, crcs)
        headers = (("Content-Type", "application/xml"),)
        payload = hashlib.sha256(body).hexdigest()
        ask = Ask("POST", key, (("uploadId", upload),), headers, (body,), payload)
        return answers.tag_in(await self.send(ask))

    async def abort(self, key: str, upload: str) -> None:
        """Give up an upload; one that is not there is given up already."""
        await self.send(Ask("DELETE", key, (("uploadId", upload),), fine=(404,)))

    async def check(self) -> None:
        """Raise what is wrong with the address, the keys or the bucket."""
        response = await self.send(Ask("GET", "", (("list-type", "2"), ("max-keys", "0")), fine=(403,)))
        # Who may only write may do so: any other refusal tells what is wrong with the keys.
        if response.status == 403 and code_of(response) != "AccessDenied":
            raise refusal(response, self.now).about(self.settings.name)


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()


def _more(root: Element, query: Pairs) -> Pairs:
    """Return the parameters that ask for what comes after a page of any kind of list."""
    if answers.text(root, "IsTruncated") != "true":
        return ()
    token = answers.text(root, "NextContinuationToken")
    if token:
        return (("continuation-token", token),)
    # Services differ in whether the markers they give are encoded; the last entry says the same.
    last = [one for one in root if one.tag in ("Upload", "Version", "DeleteMarker")][-1]
    key = answers.key_of(last, dict(query)["prefix"])
    marker = ("upload-id-marker", "UploadId") if last.tag == "Upload" else ("version-id-marker", "VersionId")
    return (("key-marker", key), (marker[0], answers.text(last, marker[1])))
