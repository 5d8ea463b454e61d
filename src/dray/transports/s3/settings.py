"""Where to and how: what a bucket is configured by."""

from typing import Literal

from dray.model.values import Limits, Value

Addressing = Literal["auto", "path", "virtual"]
Checksums = Literal["auto", "never"]


class S3Settings(Value, frozen=True):
    """A prefix of a bucket.

    ``endpoint`` is the address of the service, empty: that of AWS in ``region``. With ``checksums`` each body is sent
    with its crc32c, which services that know of it check. ``keep_older`` keeps content that is published over; without
    it ``version`` means ``replace``. ``stall`` is how many seconds nothing may move. ``single`` is for reading: where
    the prefix is the key of an object, the place has this file alone.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    addressing: Addressing = "auto"
    checksums: Checksums = "auto"
    keep_older: bool = True
    ca_file: str | None = None
    connect: int = 15
    stall: int = 60
    single: bool = False
    limits: Limits = Limits()

    @property
    def name(self) -> str:
        """Return what people call it."""
        return f"s3://{self.bucket}"
