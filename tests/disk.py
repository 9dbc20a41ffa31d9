"""A small disk of memory that can be filled to the last byte, as one is that nobody watched."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

CHUNKS = (1 << 20, 4096)


class Disk:
    """A file system of its own. Only the superuser can mount one: raises `PermissionError` for anybody else."""

    def __init__(self, megabytes: int) -> None:
        if os.geteuid() != 0:
            raise PermissionError("only the superuser can mount a file system")
        self.folder = Path(tempfile.mkdtemp(prefix="clrd-", dir="/tmp"))
        self._ballast = self.folder / "ballast"
        line = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "none", str(self.folder)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.folder.rmdir()
            raise PermissionError(done.stderr.strip())

    def fill(self) -> None:
        """Take all the room that is left."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in CHUNKS:
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink()

    def close(self) -> None:
        """Unmount it. Whoever still has a file open there keeps it until he closes it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        self.folder.rmdir()
