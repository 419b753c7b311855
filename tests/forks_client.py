"""The `python` on the PATH of a `dvc repro` in the tests: it asks the server of tests/forks.py."""

import array
import json
import os
import socket
import sys


def send(line, request, fds):
    """Send *request* and the files *fds* down the *line*, as the server reads them."""
    text = json.dumps(request).encode()
    held = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    line.sendmsg([len(text).to_bytes(8, "big")], held if fds else [])
    line.sendall(text)


def main(python):
    """Run ``-m MODULE ...`` in a fork where that is a stage or a command of ours, else as it is."""
    place, words = os.environ.get("REDISTILL_TEST_FORKS", "0"), sys.argv[1:]
    ours = words[:1] == ["-m"] and words[1].startswith(("stages.", "redistill.cli", "tests."))
    if not ours or place == "0":
        os.execv(python, [python, *words])  # noqa: S606 - the real one, as it was called
    request = {"argv": words[1:], "cwd": os.getcwd(), "env": dict(os.environ)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(place)
        send(line, request, [0, 1, 2])
        told = b""
        while part := line.recv(64):
            told += part
    code = int(told.partition(b"\n")[2] or b"70")
    sys.exit(code if code >= 0 else 128 - code)
