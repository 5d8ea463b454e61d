"""From watches and senders of Sarracenia to hot directories, with a list of everything that was not understood."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from dray.config.sr3.read import Config, Option
from dray.config.sr3.rules import patterns

Value = str | int | float | list[str] | dict[str, "str | list[str]"]

NEEDLESS = frozenset(
    (
        *("nodupe_ttl", "nodupe_basis", "nodupe_driver", "batch", "prefetch", "sleep", "housekeeping", "heartbeat"),
        *("attempts", "timeout", "bufSize", "bufsize", "logLevel", "loglevel", "logEvents", "logReject", "logStdout"),
        *("logRotateCount", "logRotateInterval", "logMetrics", "logDays", "lr_backupCount", "debug", "recursive"),
        *("post_on_start", "force_polling", "realpathPost", "realpath_post", "timeCopy", "permCopy", "permDefault"),
        *(
            "permDirDefault",
            "permLog",
            "exchangeDeclare",
            "queueDeclare",
            "queueBind",
            "expire",
            "durable",
            "auto_delete",
        ),
        *("identity", "integrity", "sum", "reconnect", "set_passwd", "retry_driver", "acceptUnmatched"),
        *("accept_unmatched", "nofsetstat", "chmod", "chmod_dir", "default_mode", "suppress_duplicates", "subtopic"),
        *("queueName", "queueShare", "queue_name", "topicPrefix", "post_topicPrefix", "tlsRigour", "messageCountMax"),
        *("path", "broker", "post_broker", "exchange", "post_exchange", "post_baseUrl", "post_baseDir", "baseDir"),
        *("base_dir", "sendTo", "destination", "to", "directory", "mirror", "accept", "reject", "instances"),
        *("declare", "env", "fileEvents", "events", "strip", "flatten", "delete", "delete_source", "vip", "inflight"),
        *("fileAgeMin", "fileAgeMax", "messageAgeMax", "retry_ttl", "messageRateMax", "byteRateMax"),
        *("accelThreshold", "accelScpCommand"),
    )
)
"""Options that are translated below, or that ask for what Dray always does, does otherwise, or does not need."""

EVENTS = ("create", "modify", "delete", "link", "mkdir", "rmdir")
OURS = {"create": "create", "modify": "modify", "delete": "delete", "link": "symlink", "mkdir": "mkdir"}
_TIME = re.compile(r"\$\{(%[^}]+)\}")


class Missed(NamedTuple):
    """An option that was not understood, or only in part."""

    where: str
    option: str
    why: str


@dataclass(slots=True)
class Hot:
    """One hot directory as it is written into the settings."""

    name: str
    comment: str
    values: dict[str, Value] = field(default_factory=dict)
    broker: dict[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Imported:
    """What came of an import."""

    hot: list[Hot] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)


def convert(configs: Sequence[Config]) -> Imported:
    """Make a hot directory of each watch with the sender that takes its messages, and of each that is alone."""
    imported = Imported()
    watches = [one for one in configs if one.component == "watch"]
    senders = [one for one in configs if one.component == "sender"]
    alone = list(watches)
    for sender in senders:
        watch = next((one for one in watches if _exchange(one) and _exchange(one) == _exchange(sender)), None)
        if watch in alone:
            alone.remove(watch)
        imported.hot.append(_Making(imported, watch, sender).make())
    imported.hot += [_Making(imported, watch, None).make() for watch in alone]
    for config in configs:
        unknown = (one for one in config.options if one.name not in NEEDLESS)
        imported.missed += [Missed(one.where, f"{one.name} {one.value}".strip(), "unknown here") for one in unknown]
    imported.missed = list(dict.fromkeys(imported.missed))
    return imported


def _exchange(config: Config) -> str:
    return config.get("post_exchange") if config.component == "watch" else config.get("exchange")


@dataclass(slots=True)
class _Making:
    imported: Imported
    watch: Config | None
    sender: Config | None

    def make(self) -> Hot:
        both = [one for one in (self.watch, self.sender) if one is not None]
        name = re.sub(r"[^A-Za-z0-9_-]", "_", (self.sender or both[0]).name)
        hot = Hot(name, " and ".join(f"{one.component}/{one.name}.conf" for one in both))
        hot.values = {"path": self._path(), "to": self._to()}
        self._layout(hot)
        self._figures(hot)
        self._filters(hot, both)
        self._events(hot)
        self._after(hot)
        self._broker(hot)
        return hot

    def _miss(self, config: Config, names: tuple[str, ...], why: str) -> None:
        found = [one for one in config.options if one.name in names]
        self.imported.missed += [Missed(one.where, f"{one.name} {one.value}", why) for one in found]

    def _path(self) -> str:
        if self.watch is not None:
            return self.watch.get("path")
        base = self.sender.get("baseDir", "base_dir") if self.sender is not None else ""
        if not base:
            self.imported.missed.append(Missed("", "baseDir", "not given: write the directory into `path`"))
        return base or "/write/the/directory/here"

    def _to(self) -> str:
        if self.sender is None:
            return "broker"
        address = self.sender.get("sendTo", "destination", "to").rstrip("/")
        directory = _TIME.sub("", self.sender.get("directory", "post_baseDir")).rstrip("/")
        if address.startswith("sftp://"):
            # An absolute directory gives the two slashes that mean so.
            return f"{address}/{directory}"
        if address.startswith("file:") or not address:
            return f"file://{directory or address.removeprefix('file:')}"
        self._miss(self.sender, ("sendTo", "destination", "to"), "no destination of Dray")
        return address

    def _layout(self, hot: Hot) -> None:
        sender = self.sender
        if sender is None:
            return
        times = _TIME.findall(sender.get("directory"))
        if times:
            hot.values["layout"] = "/".join([*(f"{{mtime:{one}}}" for one in times), "{path}"])
            self._miss(sender, ("directory",), "its time is now that of the file, not that of sending")
        elif sender.get("strip").isdigit():
            hot.values["layout"] = f"strip {sender.get('strip')}"
        elif not sender.on("mirror", default=True):
            hot.values["layout"] = "flatten"
        if sender.get("flatten") not in ("", "/"):
            self._miss(sender, ("flatten",), "names keep their folders; see `layout`")
        if sender.get("strip") and not sender.get("strip").isdigit():
            self._miss(sender, ("strip",), "only a number of folders can be stripped")
        directories = {one.value for one in sender.options if one.name == "directory"}
        if len(directories) > 1:
            self._miss(sender, ("directory",), "only the last one is used: write a hot directory for each")

    def _figures(self, hot: Hot) -> None:
        """Take over what is a number of something in both."""
        for option, key, form in FIGURES:
            for config in (self.watch, self.sender):
                value = config.get(option) if config is not None else ""
                if re.match(r"\d", value) and (option != "instances" or config is self.sender):
                    hot.values[key] = form(value)
        self._accelerate(hot)
        for config in (self.watch, self.sender):
            if config is not None and config.get("vip"):
                hot.values["vip"] = config.get("vip").split()[0]

    def _accelerate(self, hot: Hot) -> None:
        command = self.sender.get("accelScpCommand") if self.sender is not None else ""
        if self.sender is None or not command or command.split()[0].rpartition("/")[2] == "scp":
            return
        used = re.sub("%d", "{target}", re.sub("%s", "{source}", command))
        hot.values["accelerate"] = {"above": self.sender.get("accelThreshold") or "1GiB", "command": used}

    def _filters(self, hot: Hot, both: Sequence[Config]) -> None:
        rules: list[str] = []
        for config in both:
            if any(rule.startswith("+") for rule in rules):
                self._miss(config, ("accept", "reject"), "the accepts of the watch come first now: check `filter`")
            rules += self._of(config)
        if rules:
            hot.values["filter"] = list(dict.fromkeys(rules))

    def _of(self, config: Config) -> list[str]:
        """Return the rules of one configuration; that the rest is taken need not be said."""
        rules = [rule for option in config.options for rule in self._rules(option)]
        while rules and rules[-1] == "+ **":
            rules.pop()
        return rules

    def _rules(self, option: Option) -> Iterator[str]:
        if option.name not in ("accept", "reject"):
            return
        found = patterns(option.value.split()[0] if option.value else "")
        if found is None:
            missed = Missed(option.where, f"{option.name} {option.value}", "write it as a rule of `filter`")
            self.imported.missed.append(missed)
        for pattern in found or ():
            yield f"{'+' if option.name == 'accept' else '-'} {pattern}"

    def _events(self, hot: Hot) -> None:
        asked = self.watch.get("fileEvents", "events") if self.watch is not None else ""
        found = _events(asked)
        ours = [OURS[one] for one in found if one in OURS]
        if ours != ["create", "modify"]:
            hot.values["events"] = ours

    def _after(self, hot: Hot) -> None:
        if self.sender is not None and self.sender.on("delete", "delete_source"):
            hot.values["after"] = "delete"
            # Else what is deleted here once it arrived would be deleted there.
            hot.values.pop("events", None)

    def _broker(self, hot: Hot) -> None:
        """Keep the broker where others depend on it: between a watch and its own sender the journal does it all."""
        sender, watch = self.sender, self.watch
        source = sender or watch
        if source is None:
            return
        if sender is None:
            hot.broker = {"url": _url(source.get("post_broker")), "post_exchange": source.get("post_exchange")}
            return
        if watch is None:
            hot.broker = {"url": _url(source.get("broker")), "exchange": source.get("exchange")}
        if source.get("post_exchange"):
            hot.broker.setdefault("url", _url(source.get("post_broker") or source.get("broker")))
            hot.broker["post_exchange"] = source.get("post_exchange")


def _events(text: str) -> list[str]:
    """Read fileEvents: a list, or changes (``-delete,rmdir``, ``+link``) of the default."""
    words = [word for word in re.split(r"[,|\s]+", text) if word]
    sign, found = "+", list(EVENTS)
    if words and words[0][0] not in "+-":
        return [one for one in EVENTS if one in words]
    for word in words:
        sign = word[0] if word[0] in "+-" else sign
        name = word.lstrip("+-")
        found = [one for one in found if one != name] if sign == "-" else [*found, name]
    return [one for one in EVENTS if one in found]


def _url(broker: str) -> str:
    """Return the address of a broker without a password, which belongs into a file."""
    parts = urlsplit(broker)
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path or '/'}"


def _span(text: str) -> str:
    return text if re.search(r"[A-Za-z]$", text) else f"{text}s"


FIGURES: tuple[tuple[str, str, Callable[[str], Value]], ...] = (
    ("instances", "senders", int),
    ("inflight", "settle", _span),
    ("fileAgeMin", "settle", _span),
    ("fileAgeMax", "max_age", _span),
    ("messageAgeMax", "expire", _span),
    ("retry_ttl", "retry_for", _span),
    ("messageRateMax", "rate", float),
    ("byteRateMax", "bwlimit", str),
)
