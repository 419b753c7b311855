"""
DVC, killed as by ``kill -9`` at a chosen moment.

The command is ``python -m tests.loop.killing N SHARE FILE WORDS``. Its Nth change of FILE, or of
any file in this folder where that is `*`, does not come to pass. A file that was to be written anew
is left with the SHARE of what it held: what DVC empties before it writes it. In place of the start
of a stage, the kill comes SHARE seconds into that stage.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path

CHANGES = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "subprocess.Popen")
WRITES = os.O_WRONLY | os.O_RDWR


class Killer:
    """Counts the changes of files in the folder *root*, and does not survive the *last*."""

    def __init__(self, root: Path, last: int, share: float, name: str) -> None:
        self.root, self.last, self.share, self.name = root, last, share, name
        self.seen, self.busy = 0, False

    def __call__(self, event: str, words: tuple) -> None:
        """Take part in an audited *event* of the interpreter."""
        if self.busy or event not in CHANGES or not self.changes(event, words):
            return
        self.seen += 1
        if self.seen != self.last:
            return
        self.busy = True
        if event == "subprocess.Popen":
            threading.Timer(self.share, end).start()
            return
        if event == "open":
            file = Path(os.fsdecode(words[0]))
            held = file.read_bytes() if file.is_file() else b""
            file.write_bytes(held[: int(len(held) * self.share)])
        end()

    def changes(self, event: str, words: tuple) -> bool:
        """Whether the *event* changes a file in the folder, or starts a stage."""
        if event == "subprocess.Popen":
            return "stages." in str(words[1]) and self.name == "*"
        if event == "open" and not (
            isinstance(words[0], str | bytes | os.PathLike) and words[2] & WRITES
        ):
            return False
        target = Path(os.fsdecode(words[1] if event == "os.rename" else words[0]))
        return (self.root / target).is_relative_to(self.root) and target.match(self.name)


def end() -> None:
    """End this process with no chance to clear up."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    count, part, only, *asked = sys.argv[1:]
    sys.addaudithook(Killer(Path.cwd(), int(count), float(part), only))
    sys.argv = ["dvc", *asked]
    runpy.run_module("dvc", run_name="__main__")
