"""Messages look as asked, rotate, and never hold a secret."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dray import telemetry
from dray.telemetry import LogFile, redact

CANARY = "c4n4rYc4n4rYc4n4rYc4n4rY"

LEAKS = [
    f"Authorization: Bearer {CANARY}",
    f"authorization: Basic {CANARY}==",
    f"{{'Authorization': 'Bearer {CANARY}'}}",
    f"Proxy-Authorization: Digest {CANARY}",
    f"sent Bearer {CANARY} there",
    f"the token is dray_{CANARY}.",
    f"GET /files/7?expires=3&signature={CANARY}&part=2",
    f"PUT https://s3/x?X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}",
    f"GET /ghga/{CANARY}/ucs/uploads",
    f"GET /ghga/{CANARY}/ga4gh/drs/v1",
    f"postgresql://dray:{CANARY}@db/dray",
    f"password={CANARY}",
    f'{{"secret": "{CANARY}", "name": "x"}}',
    f"Set-Cookie: session={CANARY}; HttpOnly",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n-----END OPENSSH PRIVATE KEY-----",
]


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("text", LEAKS)
def test_no_canary_passes(text: str) -> None:
    assert CANARY not in redact(text)


@pytest.mark.parametrize("text", ["GET /files/7?part=2", "moved dray_run7/file.h5", "a token is missing", "x: y"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("text", LEAKS)
def test_no_canary_reaches_stream_or_file(tmp_path: Path, form: telemetry.Format, text: str) -> None:
    stream, file = io.StringIO(), tmp_path / "dray.log"
    telemetry.set_up("debug", form, stream=stream, file=LogFile(str(file), 1 << 20, 1))
    logger = logging.getLogger("dray.test")
    logger.info(text)
    logger.info("%s", text, extra={"detail": text, "more": {"nested": text}})
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("it broke")
    written = stream.getvalue() + file.read_text()
    assert "it broke" in written
    assert CANARY not in written


def test_json_is_one_document_a_line_with_what_was_given_as_extra() -> None:
    stream = io.StringIO()
    telemetry.set_up("info", "json", stream=stream)
    logging.getLogger("dray.test").warning("two\nlines", extra={"upload": 7})
    document = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert (document["v"], document["level"], document["logger"]) == (1, "warning", "dray.test")
    assert (document["message"], document["upload"]) == ("two\nlines", 7)


def test_the_journal_is_told_the_priority() -> None:
    stream = io.StringIO()
    telemetry.set_up("info", "text", stream=stream, journal=True)
    logging.getLogger("dray.test").error("disk full")
    assert stream.getvalue() == "<3>ERROR dray.test: disk full\n"


def test_less_important_messages_are_left_out_and_setting_up_again_replaces() -> None:
    first, second = io.StringIO(), io.StringIO()
    telemetry.set_up("debug", "text", stream=first)
    telemetry.set_up("warning", "text", stream=second)
    logging.getLogger("dray.test").info("no")
    logging.getLogger("dray.test").warning("yes")
    assert first.getvalue() == ""
    assert "yes" in second.getvalue()
    assert "no\n" not in second.getvalue()


def test_the_log_file_rotates(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "dray.log"
    telemetry.set_up("info", "text", stream=io.StringIO(), file=LogFile(str(file), 500, 2))
    for number in range(50):
        logging.getLogger("dray.test").info("message %d", number)
    assert sorted(path.name for path in file.parent.iterdir()) == ["dray.log", "dray.log.1", "dray.log.2"]
    assert "message 49" in file.read_text()


def test_a_crash_is_recorded_without_secrets(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(f"no dray_{CANARY}")
    telemetry.record_crash(caught.value, tmp_path / "state" / "crash.log")
    assert CANARY not in telemetry.traceback_of(caught.value)
    written = (tmp_path / "state" / "crash.log").read_text()
    assert "RuntimeError" in written
    assert "test_telemetry.py" in written
    assert CANARY not in written
