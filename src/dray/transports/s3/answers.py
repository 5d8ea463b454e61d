"""Reads what a service answers: lists in XML, objects in headers."""

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from dray.client.http import Response
from dray.errors import Permanent
from dray.model.checksum import LENGTHS, Checksum
from dray.model.values import Value

MTIME = "x-amz-meta-mtime"
"""The time of a file in seconds, as rclone writes it, too."""
SHA256 = "x-amz-meta-dray-sha256"
STAGED = "x-amz-meta-dray-staged"
"""Says which arriving file an object was published from."""
SECOND = 1_000_000_000
_TAG = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([^<&\"]+)")
_UPLOAD = re.compile(rb"<UploadId>([^<]+)</UploadId>")
_SHA = re.compile(rf"[0-9a-f]{{{LENGTHS['sha256']}}}")
_NO_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#x[01]?[0-9a-f];", re.IGNORECASE)
_TIME = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?")


class Seen(Value, frozen=True):
    """An object as HEAD tells of it. ``staged`` and ``checksum`` are what Dray noted when it published it."""

    size: int
    tag: str
    mtime_ns: int
    checksum: Checksum | None
    staged: str
    version: str


class Listed(Value, frozen=True):
    """An object as a list tells of it; ``changed`` in seconds."""

    key: str
    size: int
    tag: str
    changed: float


class Upload(Value, frozen=True):
    """A multipart upload in progress; ``begun`` in seconds."""

    key: str
    id: str
    begun: float


class Page(Value, frozen=True):
    """One answer to a question for a list; ``more`` are the parameters of the next question."""

    root: ElementTree.Element
    more: tuple[tuple[str, str], ...]


def seen_of(headers: Mapping[str, str]) -> Seen:
    """Read the headers of an object."""
    sha = headers.get(SHA256, "")
    return Seen(
        size=int(headers.get("content-length", "0")),
        tag=headers.get("etag", "").strip('"'),
        mtime_ns=_mtime(headers),
        checksum=Checksum("sha256", sha) if _SHA.fullmatch(sha) else None,
        staged=headers.get(STAGED, ""),
        version=headers.get("x-amz-version-id", ""),
    )


def _mtime(headers: Mapping[str, str]) -> int:
    text = headers.get(MTIME, "")
    if _TIME.fullmatch(text):
        whole, _, rest = text.partition(".")
        return int(whole) * SECOND + int(rest.ljust(9, "0"))
    changed = headers.get("last-modified")
    return int(parsedate_to_datetime(changed).timestamp()) * SECOND if changed else 0


def mtime_text(mtime_ns: int) -> str:
    """Return a time as metadata has it."""
    return f"{mtime_ns // SECOND}.{mtime_ns % SECOND:09d}"


def parsed(response: Response) -> ElementTree.Element:
    """Read XML; names lose what says where they are defined.

    Lists repeat what they were asked for as it is, which XML cannot always hold; keys in them are encoded.
    """
    try:
        root = ElementTree.fromstring(_NO_XML.sub(b"?", response.body))  # noqa: S314 - expat bounds entities, and there is no network
    except ElementTree.ParseError as error:
        raise Permanent(
            "this is no S3 service", hint="is the address right? AWS_ENDPOINT_URL or s3.endpoint"
        ) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def tag_in(response: Response) -> str:
    """Return the ETag that a body tells; empty where it tells none, which then is no success."""
    found = _TAG.search(response.body)
    return found[1].decode("latin-1") if found else ""


def upload_in(response: Response) -> str:
    """Return the id of the upload that was begun."""
    found = _UPLOAD.search(response.body)
    if not found:
        raise Permanent("this is no S3 service: it began no upload")
    return found[1].decode()


def text(element: ElementTree.Element, name: str) -> str:
    """Return the text of a child."""
    return element.findtext(name) or ""


def name(root: ElementTree.Element, text: str) -> str:
    """Return a key as a list has it, which says whether it encodes them."""
    return unquote_plus(text) if root.findtext("EncodingType") == "url" else text


def listed(root: ElementTree.Element, kind: str = "Contents") -> Iterator[Listed]:
    """Yield the objects of a list."""
    for one in root.iter(kind):
        tag = text(one, "ETag").strip('"')
        yield Listed(name(root, text(one, "Key")), int(text(one, "Size") or 0), tag, when(text(one, "LastModified")))


def uploads(root: ElementTree.Element, prefix: str) -> Iterator[Upload]:
    """Yield the multipart uploads of a list of keys that begin so: Ceph encodes them, but does not say so."""
    for one in root.iter("Upload"):
        yield Upload(key_of(one, prefix), text(one, "UploadId"), when(text(one, "Initiated")))


def key_of(element: ElementTree.Element, prefix: str) -> str:
    """Return the key of an entry of a list of keys that begin so, encoded or not."""
    key = text(element, "Key")
    decoded = unquote_plus(key)
    return decoded if decoded.startswith(prefix) else key


def folders(root: ElementTree.Element) -> Iterator[str]:
    """Yield the common prefixes of a list."""
    for one in root.iter("CommonPrefixes"):
        yield name(root, text(one, "Prefix"))


def when(stamp: str) -> float:
    """Read a time of a list."""
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def checksum_text(crc32c: int) -> str:
    """Return a crc32c as services want it."""
    return base64.b64encode(crc32c.to_bytes(4)).decode()


def completing(tags: Mapping[int, str], crcs: Mapping[int, int]) -> bytes:
    """Return the body that completes an upload of these parts; ``crcs`` where they were sent with the parts."""

    def checksum(number: int) -> str:
        crc = crcs.get(number)
        return "" if crc is None else f"<ChecksumCRC32C>{checksum_text(crc)}</ChecksumCRC32C>"

    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(tag)}&quot;</ETag>{checksum(number)}</Part>"
        for number, tag in sorted(tags.items())
    )
    return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()


def deleting(keys: Mapping[tuple[str, str], None]) -> bytes:
    """Return the body that deletes objects: keys with their versions, empty where there are none."""
    objects = "".join(
        f"<Object><Key>{escape(key)}</Key>{f'<VersionId>{escape(version)}</VersionId>' if version else ''}</Object>"
        for key, version in keys
    )
    return f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()
