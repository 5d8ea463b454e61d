"""A small tmpfs in a mount namespace of its own, which can be filled and freed from outside; needs no root."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import ServerTrouble, find_command

FILLER = "filler"
BLOCK = 4096


class SmallDisk:
    """``inside`` is its path for processes started with ``prefix``, ``outside`` that for everybody else."""

    def __init__(self, inside: Path, size: int) -> None:
        self.inside = inside
        inside.mkdir(parents=True)
        root = os.geteuid() == 0
        options = ["-m"] if root else ["-U", "-r", "-m"]
        script = f'mount -t tmpfs -o size={size} tmpfs "$0" && echo mounted && exec sleep infinity'
        command = [find_command("unshare", "util-linux"), *options, "sh", "-c", script, str(inside)]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.holder.stdout is not None
        if (said := self.holder.stdout.readline()) != "mounted\n":
            raise ServerTrouble(f"no small disk can be mounted: {said}")
        enter = ["-t", str(self.holder.pid), *([] if root else ["-U", "--preserve-credentials"]), "-m"]
        self.prefix = [find_command("nsenter", "util-linux"), *enter, "--"]
        self.outside = Path(f"/proc/{self.holder.pid}/root{inside}")

    @property
    def free(self) -> int:
        """Return the free bytes."""
        return shutil.disk_usage(self.outside).free

    def leave(self, free: int) -> int:
        """Fill or release until about ``free`` bytes are free; return how many are."""
        with (self.outside / FILLER).open("ab") as file:
            size = file.seek(0, os.SEEK_END) + self.free - free
            file.truncate(max(0, min(size, file.tell())))
            short = 0
            while self.free > free + short and not self._grow(file.fileno(), self.free - free - short):
                short += BLOCK  # others write meanwhile
        return self.free

    def _grow(self, file: int, size: int) -> bool:
        try:
            os.posix_fallocate(file, os.fstat(file).st_size, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        return True


@contextmanager
def small_disk(inside: Path, size: int) -> Iterator[SmallDisk]:
    """Lend a disk of so many bytes, mounted at ``inside``."""
    disk = SmallDisk(inside, size)
    try:
        yield disk
    finally:
        disk.holder.kill()
        disk.holder.wait()
        if disk.holder.stdout is not None:
            disk.holder.stdout.close()
