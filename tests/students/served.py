"""A process with a student's server, which makes a file when it is up and waits to be killed."""

import sys
import time
from pathlib import Path

from redistill.students.answer import server

if __name__ == "__main__":
    student, up = map(Path, sys.argv[1:])
    with server.served(student, eos=0, max_new_tokens=5, text_of=str):
        up.touch()
        time.sleep(60)
