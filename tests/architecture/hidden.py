"""Import modules as on a system that lacks what only POSIX has; run by test_portable_imports as a script.

The standard library keeps what it needs: it is imported before the attributes go.
"""

import asyncio
import concurrent.futures.process
import http.client
import importlib
import json
import logging.handlers
import multiprocessing.connection
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import traceback
import types
import urllib.request
import uuid

STANDARD = (asyncio, concurrent.futures.process, http.client, json, logging.handlers, multiprocessing.connection)
STANDARD += (shutil, sqlite3, ssl, subprocess, tempfile, urllib.request, uuid)

MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "uvloop")
OS_NAMES = (
    *("O_DIRECTORY", "O_CLOEXEC", "O_DIRECT", "O_DSYNC", "O_NOATIME", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "O_SYNC"),
    *("O_TMPFILE", "SEEK_DATA", "SEEK_HOLE", "chown", "chroot", "copy_file_range", "fchmod", "fchown", "fdatasync"),
    *("fork", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getsid", "getuid", "getxattr"),
    *("killpg", "lchown", "memfd_create", "mkfifo", "nice", "openpty", "posix_fadvise", "posix_fallocate"),
    *("posix_spawn", "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity", "sched_setaffinity", "sendfile"),
    *("setgid", "setsid", "setuid", "setxattr", "splice", "statvfs", "sync", "uname", "wait4", "waitid"),
)
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2", "setitimer")
WINDOWS_ONLY = ("msvcrt", "winreg")
SOCKET_NAMES = ("AF_UNIX", "SO_REUSEPORT", "socketpair", "sendmsg")


def hide() -> None:
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for owner, names in ((os, OS_NAMES), (signal, SIGNALS), (socket, SOCKET_NAMES)):
        for name in names:
            if hasattr(owner, name):
                delattr(owner, name)
    sys.modules.update({name: types.ModuleType(name) for name in WINDOWS_ONLY})
    sys.platform = "win32"


def complaint(name: str) -> str:
    try:
        importlib.import_module(name)
    except BaseException:
        return f"{name}: {traceback.format_exc(limit=-3)}"
    return ""


if __name__ == "__main__":
    foreign, ours = sys.argv[1].split(), sys.argv[2].split()
    # Foreign packages have Windows builds of their own; here only ours are on trial.
    for name in foreign:
        importlib.import_module(name)
    hide()
    sys.exit("\n".join(filter(None, map(complaint, ours))) or None)
