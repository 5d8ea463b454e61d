"""The common options of every command."""

from typing import Literal

Output = Literal["text", "json", "jsonl"]


class Choices:
    """The common options, wherever on the line they were given."""

    def __init__(self) -> None:
        self.json = False
        self.jsonl = False
        self.quiet = False
        self.verbose = 0
        self.config: str | None = None
        self.url: str | None = None
        self.token_file: str | None = None
        self.log_format: str | None = None
        self.log_file: str | None = None

    def set(self, name: str, value: object) -> None:
        """Remember one option."""
        setattr(self, name, value)

    @property
    def output(self) -> Output:
        """Return the form of the results."""
        if self.jsonl:
            return "jsonl"
        return "json" if self.json else "text"

    def flags(self) -> dict[str, str]:
        """Return the settings that were given as options, by their key."""
        given = {
            "client.url": self.url,
            "client.token_file": self.token_file,
            "log.format": self.log_format,
            "log.file": self.log_file,
            "log.level": {0: None, 1: "info"}.get(self.verbose, "debug"),
        }
        return {key: value for key, value in given.items() if value is not None}
