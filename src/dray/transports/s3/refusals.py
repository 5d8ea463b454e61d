"""Makes an error of the tree out of a service's refusal: one table, by the codes of the S3 API."""

import html
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from dray.client.http import Response
from dray.errors import (
    Conflict,
    Denied,
    DrayError,
    Expired,
    LimitReached,
    NameRefused,
    NoSpace,
    NotFound,
    Permanent,
    PieceDamaged,
    Refused,
    Temporary,
    TooManyRequests,
    Unauthenticated,
    Unreachable,
    UsageError,
)
from dray.model.names import printable

_CODE = re.compile(rb"<Code>([A-Za-z0-9.]+)</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,300})</Message>")
_ADDRESS = "is the address of the service right? AWS_ENDPOINT_URL or s3.endpoint"
_KEYS = "see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile of ~/.aws"
_AGAIN = "it is tried again, nothing that arrived is lost"
_REGION = "set AWS_REGION or s3.region"

Meaning = tuple[type[DrayError], str, str]

BY_CODE: dict[str, Meaning] = {
    "NoSuchBucket": (NotFound, "there is no such bucket", "buckets are made with the tools of the service"),
    "NoSuchKey": (NotFound, "there is no such object", ""),
    "NoSuchUpload": (NotFound, "this multipart upload is not there any more", "it is begun anew at the next try"),
    "AccessDenied": (Denied, "the service does not allow this", "the owner of the bucket gives the right"),
    "AllAccessDisabled": (Denied, "the service does not allow this", ""),
    "InvalidAccessKeyId": (Unauthenticated, "the service does not know the access key", _KEYS),
    "SignatureDoesNotMatch": (Unauthenticated, "the secret key is not the one of the access key", _KEYS),
    "InvalidToken": (Unauthenticated, "the session token is not accepted", _KEYS),
    "ExpiredToken": (Expired, "the credentials have expired", "renew them, for example with `aws sso login`"),
    "RequestExpired": (Expired, "the request took too long to arrive", _AGAIN),
    "RequestTimeTooSkewed": (Denied, "the clock of this machine is wrong", "set the clock"),
    "SlowDown": (Temporary, "the service asks to slow down", _AGAIN),
    "ServiceUnavailable": (Temporary, "the service is busy", _AGAIN),
    "InternalError": (Temporary, "the service had an internal error", _AGAIN),
    "RequestTimeout": (Temporary, "the service waited too long for bytes", _AGAIN),
    "OperationAborted": (Temporary, "something else is being done to this object", _AGAIN),
    "ConditionalRequestConflict": (Temporary, "something else is being done to this object", _AGAIN),
    "QuotaExceeded": (NoSpace, "the quota of the bucket or of its owner is used up", "work goes on when there is room"),
    "XMinioStorageFull": (NoSpace, "the service is full", "work goes on when there is room"),
    "InvalidPart": (PieceDamaged, "a part is not there as it was sent", "run the same command again"),
    "InvalidPartOrder": (PieceDamaged, "a part is not there as it was sent", "run the same command again"),
    "BadDigest": (PieceDamaged, "the bytes did not arrive as they were sent", _AGAIN),
    "InvalidDigest": (PieceDamaged, "the bytes did not arrive as they were sent", _AGAIN),
    "XAmzContentChecksumMismatch": (PieceDamaged, "the bytes did not arrive as they were sent", _AGAIN),
    "EntityTooLarge": (LimitReached, "this is larger than the service takes", ""),
    "EntityTooSmall": (Refused, "the service wants larger parts", "most want at least 5 MiB"),
    "InvalidBucketName": (UsageError, "this is no name of a bucket", ""),
    "KeyTooLongError": (NameRefused, "the name is longer than the service takes", ""),
    "PermanentRedirect": (UsageError, "the bucket is in another region", _REGION),
    "AuthorizationHeaderMalformed": (UsageError, "the bucket is in another region", _REGION),
    "PreconditionFailed": (Conflict, "the object has other content by now", ""),
    "NotImplemented": (Permanent, "the service cannot do this", ""),
    "MethodNotAllowed": (Permanent, "the service cannot do this", _ADDRESS),
}

BY_STATUS: dict[int, Meaning] = {
    301: BY_CODE["PermanentRedirect"],
    401: (Unauthenticated, "the service does not accept the credentials", _KEYS),
    403: BY_CODE["AccessDenied"],
    404: (NotFound, "there is no such object or bucket", ""),
    405: BY_CODE["MethodNotAllowed"],
    408: BY_CODE["RequestTimeout"],
    409: BY_CODE["OperationAborted"],
    412: BY_CODE["PreconditionFailed"],
    413: BY_CODE["EntityTooLarge"],
    429: (TooManyRequests, "the service asks to slow down", _AGAIN),
    500: BY_CODE["InternalError"],
    501: BY_CODE["NotImplemented"],
    502: (Unreachable, "the service is not reached behind its gateway", _AGAIN),
    503: BY_CODE["ServiceUnavailable"],
    504: (Unreachable, "the service is not reached behind its gateway", _AGAIN),
    507: BY_CODE["XMinioStorageFull"],
}


def code_of(response: Response) -> str:
    """Return the code of a refusal; empty where there is none, as in every answer to HEAD."""
    found = _CODE.search(response.body)
    return found[1].decode() if found else ""


def refusal(response: Response, now: float) -> DrayError:
    """Return what a refusal means; ``now`` is our own time, in seconds."""
    code = code_of(response)
    kind, text, hint = BY_CODE.get(code) or BY_STATUS.get(response.status) or _unknown(response.status)
    if code == "RequestTimeTooSkewed":
        text = f"{text}: {_skew(response.headers, now)}"
    said = _MESSAGE.search(response.body)
    if said and code not in BY_CODE:
        text = f"{text}: {printable(html.unescape(said[1].decode('utf-8', 'replace')))}"
    elif code and code not in BY_CODE:
        text = f"{text}: {code}"
    after = response.headers.get("retry-after", "")
    return kind(text, hint=hint, after=float(after) if after.isdigit() else None)


def _unknown(status: int) -> Meaning:
    if status >= 500:
        return Temporary, f"the service answered {status}", _AGAIN
    return Refused, f"the service answered {status}", _ADDRESS


def _skew(headers: Mapping[str, str], now: float) -> str:
    try:
        there = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return "it is far from that of the service"
    seconds = round(now - there)
    return f"it is {abs(seconds):,} s {'ahead of' if seconds > 0 else 'behind'} that of the service"
