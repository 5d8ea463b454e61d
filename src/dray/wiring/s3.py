"""Buckets as the addresses and settings of users say."""

from pathlib import Path

from dray.client.elsewhere import S3Place
from dray.config.settings import Settings
from dray.model.values import Limits
from dray.transports.s3.settings import S3Settings
from dray.wiring.client import Options

LARGEST_PART = 5 << 30


def bucket_settings(place: S3Place, options: Options, settings: Settings, *, single: bool = False) -> S3Settings:
    """Return how a bucket is reached; ``single`` as in ``S3Settings``."""
    s3, client = settings.s3, settings.client
    return S3Settings(
        bucket=place.bucket,
        prefix=place.path,
        endpoint=s3.endpoint or "",
        region=s3.region or "",
        profile=s3.profile or "",
        addressing=s3.addressing,
        checksums=s3.checksums,
        keep_older=options.keep_older,
        ca_file=str(Path(client.ca_file).expanduser()) if client.ca_file else None,
        connect=max(1, round(client.connect_timeout)),
        stall=max(1, round(client.stall_timeout)),
        single=single,
        limits=Limits(piece=int(s3.part_size), largest_piece=LARGEST_PART, in_flight=options.parallel),
    )
