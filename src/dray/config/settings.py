"""Every setting of Dray with its type, default and meaning; docs/settings.md is made from these."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dray.config.parse import Seconds, Size, Timetable


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the sections."""


class Client(Section, frozen=True, kw_only=True):
    """How the command line and the agent reach a server and how hard they pull."""

    url: Annotated[str | None, Meta(description="address of the server, with its prefix if it has one")] = None
    token_file: Annotated[
        str | None, Meta(description="file that holds the token, readable by its owner alone; else that of dray login")
    ] = None
    ca_file: Annotated[
        str | None, Meta(description="certificates (PEM) of authorities to trust instead of those of the system")
    ] = None
    parallel: Annotated[int, Meta(ge=1, le=64, description="parts on the way at the same time")] = 4
    bwlimit: Annotated[
        Timetable, Meta(description="bytes a second, or a timetable: 08:00,10M 18:00,off", examples=["10M"])
    ] = Timetable()
    connect_timeout: Annotated[Seconds, Meta(description="how long to try to connect before it counts as failed")] = (
        Seconds(10)
    )
    stall_timeout: Annotated[
        Seconds, Meta(description="how long a connection may move nothing before it is given up and tried again")
    ] = Seconds(60)
    retry_for: Annotated[
        Seconds, Meta(description="how long one file may go without progress before a command reports it as failed")
    ] = Seconds(600)


class Server(Section, frozen=True, kw_only=True):
    """What ``dray up`` and ``dray serve`` start."""

    data: Annotated[
        str, Meta(description="directory of database, inbox, store and admin token; made when it is not there")
    ] = "dray-data"
    listen: Annotated[
        str, Meta(pattern=r"^.*:\d{1,5}$", description="address and port to listen on; port 0 takes a free one")
    ] = "127.0.0.1:8080"
    url: Annotated[
        str | None, Meta(description="address under which others reach this server, when a proxy stands before it")
    ] = None
    workers: Annotated[int, Meta(ge=1, le=256, description="jobs that one worker runs at the same time")] = 4


class Database(Section, frozen=True, kw_only=True):
    """Where the state is kept; SQLite in the data directory unless one of these is set."""

    url: Annotated[
        str | None, Meta(description="postgresql://user@host/name without a password", examples=["postgresql:///dray"])
    ] = None
    url_file: Annotated[
        str | None, Meta(description="file that holds the address with its password, readable by its owner alone")
    ] = None


class LimitsSection(Section, frozen=True, kw_only=True):
    """What a server takes."""

    part_size: Annotated[Size, Meta(description="size of a part of a larger file, and most bytes of a bundle")] = Size(
        32 << 20
    )
    largest_file: Annotated[Size, Meta(description="largest file that is taken")] = Size(5 << 40)
    free_percent: Annotated[
        int, Meta(ge=0, le=90, description="share of the disk that uploads leave free, in percent")
    ] = 5


class Log(Section, frozen=True, kw_only=True):
    """Messages of every command and of the server."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least important messages that are shown")
    ] = "warning"
    format: Annotated[Literal["text", "json"], Meta(description="lines for people, or a JSON document a line")] = "text"
    file: Annotated[str | None, Meta(description="file to write as well; it rotates")] = None
    rotate_size: Annotated[Size, Meta(description="size at which the log file is rotated")] = Size(10 << 20)
    rotate_keep: Annotated[int, Meta(ge=0, le=1000, description="rotated log files that are kept")] = 5


class Watch(Section, frozen=True, kw_only=True):
    """How ``dray watch`` notices that a file is finished."""

    settle: Annotated[
        Seconds, Meta(description="how long size and time of a file must rest where closing it is not seen")
    ] = Seconds(2)
    rescan: Annotated[
        Seconds, Meta(description="how often the whole directory is looked through, whatever events say")
    ] = Seconds(60)
    done_file: Annotated[
        str | None,
        Meta(
            description='name of the file that says that another one, "{name}.done", or its directory is finished',
            examples=["TRANSFER_READY"],
        ),
    ] = None
    filter: Annotated[
        list[str], Meta(description='ordered rules, the first that matches wins: "+ *.h5", "- tmp/**"')
    ] = []


class Accelerate(Section, frozen=True, kw_only=True):
    """A program that is faster for large files than Dray's own way; what it wrote is verified all the same."""

    above: Annotated[Size, Meta(description="size from which on the program is used")] = Size(1 << 30)
    command: Annotated[str, Meta(description="the program, with {source} and {target} as words of their own")]


class Broker(Section, frozen=True, kw_only=True):
    """A message broker (AMQP 0-9-1) that tells of files or is told of them, in Sarracenia's v03 format."""

    url: Annotated[
        str,
        Meta(
            description="amqps://user@host/ (amqp:// without encryption), without a password",
            examples=["amqps://lab@broker.example/"],
        ),
    ]
    password_file: Annotated[
        str | None, Meta(description="file that holds the password, readable by its owner alone")
    ] = None
    ca_file: Annotated[
        str | None, Meta(description="certificates (PEM) of authorities to trust instead of those of the system")
    ] = None
    exchange: Annotated[
        str | None,
        Meta(description="take the files that are announced here, instead of watching the directory"),
    ] = None
    topics: Annotated[
        list[str], Meta(description="routing keys that are taken from there, else all", examples=[["v03.2026.#"]])
    ] = []
    queue: Annotated[
        str | None,
        Meta(
            description="name of the queue for that; agents that name the same one share the work. Chosen once and "
            "kept when it is not given. An agent that only announces keeps it there for those that take"
        ),
    ] = None
    post_exchange: Annotated[
        str | None, Meta(description="announce here every file that is verified at its destination")
    ] = None
    post_url: Annotated[
        str | None,
        Meta(
            description="where others find announced files: an address that ends with the absolute directory",
            examples=["sftp://cluster/data/from_lab"],
        ),
    ] = None


class Hot(Section, frozen=True, kw_only=True):
    """One hot directory: whatever appears below ``path`` is sent to ``to``."""

    path: Annotated[str, Meta(description="the directory that is watched", examples=["~/to_cluster"])]
    to: Annotated[
        str,
        Meta(
            description="where files go: sftp://host/path, s3://bucket/prefix, http://server/DATASET, "
            "file:///directory; broker: nowhere, they are announced for others to take",
            examples=["sftp://cluster/from_lab"],
        ),
    ]
    senders: Annotated[int, Meta(ge=1, le=64, description="batches, or parts of large files, on the way at once")] = 5
    settle: Annotated[
        Seconds, Meta(description="how long size and time of a file must rest where closing it is not seen")
    ] = Seconds(2)
    reopened: Annotated[bool, Meta(description="files are closed and opened again while they grow: let them rest")] = (
        False
    )
    done_file: Annotated[
        str | None, Meta(description='name of the file that says that another one, "{name}.done", or a folder is done')
    ] = None
    filter: Annotated[
        list[str], Meta(description='ordered rules, the first that matches wins: "+ *.h5", "- tmp/**"')
    ] = []
    max_size: Annotated[Size | None, Meta(description="larger files are left out")] = None
    max_age: Annotated[Seconds | None, Meta(description="files that were last changed longer ago are left out")] = None
    layout: Annotated[
        str,
        Meta(
            description="names at the destination: mirror, flatten, strip N (folders), or a template of {path} "
            "{folder} {name} {stem} {suffix} {mtime:%Y/%m/%d}",
            examples=["{mtime:%Y/%m/%d}/{name}"],
        ),
    ] = "mirror"
    order: Annotated[
        Literal["oldest", "newest", "smallest"], Meta(description="which of the waiting files are sent first")
    ] = "oldest"
    bwlimit: Annotated[Timetable, Meta(description="bytes a second, or a timetable: 08:00,10M 18:00,off")] = Timetable()
    rate: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="most files a second")] = None
    retry_for: Annotated[
        Seconds, Meta(description="how long a file is tried again without progress before it counts as failed")
    ] = Seconds(72 * 3600)
    expire: Annotated[
        Seconds | None, Meta(description="files that could not be sent for so long since they were put here are not")
    ] = None
    events: Annotated[
        list[Literal["create", "modify", "delete", "rename", "mkdir", "symlink"]],
        Meta(description="what is forwarded; a deletion here deletes there only when it is named"),
    ] = msgspec.field(default_factory=lambda: ["create", "modify"])
    max_delete: Annotated[
        int,
        Meta(ge=0, description="most deletions that are forwarded together; more wait until you raise this"),
    ] = 1000
    after: Annotated[
        str,
        Meta(
            description="what becomes of a delivered file, once its bytes were read again and are what was verified: "
            "keep, delete, or move DIRECTORY"
        ),
    ] = "keep"
    grace: Annotated[Seconds, Meta(description="how long a delivered file stays before it is deleted or moved")] = (
        Seconds(3600)
    )
    vip: Annotated[str | None, Meta(description="address that must be on this machine, else another one does it")] = (
        None
    )
    rescan: Annotated[
        Seconds, Meta(description="how often the whole directory is looked through, whatever events say")
    ] = Seconds(60)
    accelerate: Annotated[Accelerate | None, Meta(description="a program for large files: { above, command }")] = None
    broker: Annotated[Broker | None, Meta(description="a message broker: a table of its own, see below")] = None


class Ssh(Section, frozen=True, kw_only=True):
    """How accounts behind ssh (``sftp://``) are used; hosts, keys and jump hosts are in ssh's own configuration."""

    config_file: Annotated[
        str | None, Meta(description="configuration of ssh to use instead of ~/.ssh/config", examples=["ssh_config"])
    ] = None
    verify: Annotated[
        Literal["auto", "remote", "read", "size"],
        Meta(
            description="how arrived files are proved: a digest computed there where the account has a shell and else "
            "read back; one of these two only; or nothing but the size, which proves little"
        ),
    ] = "auto"
    durable: Annotated[
        bool, Meta(description="flush files and folders to the disks there before they count as arrived")
    ] = True
    file_mode: Annotated[
        Annotated[str, Meta(pattern="^([0-7]{3,4}|keep)$")] | None,
        Meta(description="permissions of new files, less the umask there; keep: those of their source"),
    ] = None
    folder_mode: Annotated[
        Annotated[str, Meta(pattern="^[0-7]{3,4}$")] | None,
        Meta(description="permissions of new folders, less the umask there"),
    ] = None
    stall_timeout: Annotated[
        Seconds, Meta(description="how long an answer may take before the connection is given up and tried again")
    ] = Seconds(300)


class S3(Section, frozen=True, kw_only=True):
    """How buckets (``s3://``) are used; what is not set here, and the keys, come from AWS_... and ~/.aws as ever."""

    endpoint: Annotated[
        str | None,
        Meta(description="address of the service, else AWS_ENDPOINT_URL, else AWS", examples=["https://s3.example"]),
    ] = None
    region: Annotated[str | None, Meta(description="region of the bucket, else AWS_REGION, else us-east-1")] = None
    profile: Annotated[str | None, Meta(description="profile of ~/.aws whose keys are used, else AWS_PROFILE")] = None
    addressing: Annotated[
        Literal["auto", "path", "virtual"],
        Meta(description="where the name of the bucket stands: in the path, or before the name of the host (AWS)"),
    ] = "auto"
    checksums: Annotated[
        Literal["auto", "never"],
        Meta(description="send the crc32c of each body, which services that know of it check; a few refuse that"),
    ] = "auto"
    part_size: Annotated[
        Size,
        Meta(ge=5 << 20, le=5 << 30, description="size up to which a file is one piece, and of a larger one's parts"),
    ] = Size(32 << 20)


class Settings(Section, frozen=True, kw_only=True):
    """All sections."""

    client: Client = Client()
    server: Server = Server()
    database: Database = Database()
    limits: LimitsSection = LimitsSection()
    log: Log = Log()
    watch: Watch = Watch()
    ssh: Ssh = Ssh()
    s3: S3 = S3()
    hot: dict[str, Hot] = {}
