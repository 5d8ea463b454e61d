"""The commands of ``dray`` as a table: name, where it lives, one line of help. Adding a command adds one line here."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One command; ``target`` is ``module:attribute`` below dray.cli.commands, imported when the command is used."""

    name: str
    target: str
    help: str


class Section(NamedTuple):
    """Commands of one purpose, in the order in which a user needs them."""

    title: str
    entries: tuple[Entry, ...]


SECTIONS = (
    Section(
        "Move data",
        (
            Entry("upload", "upload:command", "Send files and directories to a dataset, verified before it ends."),
            Entry(
                "download", "download:command", "Fetch a dataset or files of it, verified before they get their names."
            ),
            Entry("watch", "watch:command", "Send whatever appears in a directory, for as long as it runs."),
        ),
    ),
    Section(
        "Look after hot directories",
        (
            Entry("start", "start:command", "Start the agent in the background, or hot directories that were stopped."),
            Entry("stop", "stop:command", "Stop the agent, or single hot directories, and keep them stopped."),
            Entry("restart", "restart:command", "Stop and start the agent, or single hot directories."),
            Entry("pause", "pause:pause", "Let hot directories rest, for a time or until they are resumed."),
            Entry("resume", "pause:resume", "End the pause of hot directories."),
            Entry("sanity", "sanity:command", "Mend the agent: start it when it died, restart it when it hangs."),
            Entry("log", "log:command", "Show what the agent wrote into its log."),
            Entry("show", "show:command", "Show settings of hot directories, and their files by state and reason."),
            Entry("cleanup", "cleanup:command", "Forget what is known of hot directories."),
            Entry("import-sr3", "import_sr3:command", "Write settings that do what watches and senders of sr3 did."),
            Entry("features", "features:command", "Show what works here, and what would bring the rest."),
            Entry("declare", "declare:command", "Make the exchanges and queues that hot directories need."),
            Entry("service", "service:command", "Run the agent as a service of systemd."),
        ),
    ),
    Section(
        "Look and prove",
        (
            Entry("ls", "ls:command", "List datasets, or the files of one."),
            Entry("safe", "safe:command", "Say whether files may be deleted: a verified copy has the same bytes."),
            Entry("check", "check:command", "Compare a local directory with a dataset, file by file."),
            Entry("status", "status:command", "Show the server, its queue and uploads, and why something waits."),
            Entry("scrub", "scrub:command", "Read every stored file again and compare it with its checksum."),
        ),
    ),
    Section(
        "Sign in",
        (
            Entry("login", "login:command", "Store the token of a server, after trying it."),
            Entry("logout", "logout:command", "Forget the stored token of a server."),
            Entry("token", "token:command", "Make, list and revoke tokens."),
            Entry("host", "host:command", "Trust the keys of SSH hosts."),
        ),
    ),
    Section(
        "Run a server",
        (
            Entry("up", "up:command", "Start everything in one process: API, web page, worker, store."),
            Entry("serve", "serve:command", "Start the API and the web page alone, beside workers."),
            Entry("worker", "worker:command", "Start a worker alone."),
        ),
    ),
    Section(
        "Set up and mend",
        (
            Entry("config", "config:command", "Show, check and locate the settings."),
            Entry("doctor", "doctor:command", "Find out what is wrong here or on the way to the server."),
            Entry("completion", "completion:command", "Print the completion script of a shell."),
            Entry("version", "version:command", "Show the version of Dray and of what it runs on."),
        ),
    ),
)

ENTRIES = {entry.name: entry for section in SECTIONS for entry in section.entries}
