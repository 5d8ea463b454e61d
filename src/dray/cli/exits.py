"""Exit codes of the command line and what they mean; docs/cli.md is made from this table."""

OK = 0
UNEXPECTED = 1
USAGE = 2
NOT_FOUND = 3
DENIED = 4
TEMPORARY = 5
INTEGRITY = 6
PERMANENT = 7
LIMIT = 8
NOTHING_TO_DO = 9
TIME_UP = 10
PARTIAL = 11
INTERRUPTED = 130

MEANINGS = {
    OK: "everything asked for was done and verified",
    UNEXPECTED: "unexpected failure; the message says where the details were written",
    USAGE: "the command, an argument or a setting is wrong",
    NOT_FOUND: "there is no such thing, or you may not know of it",
    DENIED: "not signed in, not allowed, or awaiting approval",
    TEMPORARY: "temporary; running the same command again later helps",
    INTEGRITY: "bytes are not what they were said to be",
    PERMANENT: "permanent; running the same command again unchanged fails again",
    LIMIT: "a size, count or quota limit was reached",
    NOTHING_TO_DO: "nothing to do (only when asked to say so)",
    TIME_UP: "the time limit of a wait was reached",
    PARTIAL: "partial: some were done, others failed or were skipped",
    INTERRUPTED: "interrupted, or the reader of the output went away; state is kept, a resume line says how to go on",
}
