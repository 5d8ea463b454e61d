"""Logging: lines for people or JSON, to stderr and a rotating file, with every secret taken out."""

import json
import logging
import logging.handlers
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

Format = Literal["text", "json"]
GONE = "[redacted]"

_SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\bdray_[A-Za-z0-9_-]{16,}"), f"dray_{GONE}"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?)[^\s'\",;]+"), rf"\1{GONE}"),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{GONE}"),
    (re.compile(r"(?i)\b((?:set-)?cookie['\"]?\s*:\s*)[^\r\n]+"), rf"\1{GONE}"),
    (
        re.compile(
            r"(?i)([?&](?:sig|signature|token|key|secret|password|code|x-amz-[a-z-]+|awsaccesskeyid)=)[^&\s\"'<>]+"
        ),
        rf"\1{GONE}",
    ),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)"), rf"\1{GONE}\2"),
    (re.compile(r"(/ghga/)(?!ucs\b|ga4gh\b)[^/\s]+"), rf"\1{GONE}"),
    (re.compile(r"(?i)\b((?:password|passwd|secret|api[_-]?key)['\"]?\s*[:=]\s*['\"]?)[^\s'\",;&]+"), rf"\1{GONE}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
)

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_PRIORITY = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def redact(text: str) -> str:
    """Return ``text`` without tokens, signatures, passwords and keys."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class TextFormatter(logging.Formatter):
    """One record as lines for people; a journal prefix when the stream belongs to journald."""

    def __init__(self, *, journal: bool = False) -> None:
        super().__init__(
            "%(levelname)s %(name)s: %(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s"
        )
        self.journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = redact(super().format(record))
        return f"<{_PRIORITY.get(record.levelno, 6)}>{text}" if self.journal else text


class JsonFormatter(logging.Formatter):
    """One record as one JSON document on one line, with what was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in record.__dict__.items() if key not in _OWN}
        document = {
            "v": 1,
            "t": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extra,
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps({key: _redacted(value) for key, value in document.items()}, default=lambda v: redact(str(v)))


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    return value if isinstance(value, int | float | None) else redact(str(value))


class LogFile(NamedTuple):
    """A log file that is rotated at ``size`` bytes; ``keep`` older ones stay."""

    path: str
    size: int
    keep: int


def set_up(
    level: str, form: Format, *, stream: TextIO | None = None, journal: bool = False, file: LogFile | None = None
) -> None:
    """Send the messages of the whole program to ``stream`` (stderr) and to ``file``, and nowhere else."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level.upper())
    _add(root, logging.StreamHandler(stream or sys.stderr), _formatter(form, journal))
    if file:
        _add(root, _rotating(file), _formatter(form, False))


def _add(root: logging.Logger, handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    root.addHandler(handler)


def _formatter(form: Format, journal: bool) -> logging.Formatter:
    return JsonFormatter() if form == "json" else TextFormatter(journal=journal)


def _rotating(file: LogFile) -> logging.Handler:
    path = Path(file.path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    return logging.handlers.RotatingFileHandler(
        path, maxBytes=file.size, backupCount=file.keep, encoding="utf-8", delay=True
    )


def traceback_of(error: BaseException) -> str:
    """Return the redacted traceback of an error."""
    return redact("".join(traceback.format_exception(error)))


def record_crash(error: BaseException, path: Path) -> None:
    """Append the traceback of a defect to a rotating file of its own; raises OSError when that cannot be written."""
    handler = _rotating(LogFile(str(path), 1 << 20, 2))
    handler.setFormatter(JsonFormatter())
    record = logging.LogRecord(
        "dray", logging.ERROR, "", 0, repr(error), None, (type(error), error, error.__traceback__)
    )
    try:
        handler.emit(record)
    finally:
        handler.close()
