"""Two hosts of a network of their own, as network namespaces of this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ADDRESSES = {"here": "10.213.77.1", "there": "10.213.77.2"}
HOST = """\
#!/bin/sh
# A command on the host $1, which has no temporary file in common with the other one
exec ip netns exec $1-{end} unshare --uts --mount sh -c '
    hostname "$0"; mount --bind {hosts} /etc/hosts
    test "$0" = here || mount -t tmpfs none "$TMPDIR"
    GLOO_SOCKET_IFNAME=$0-{end} exec "$@"' "$@"
"""
SRUN = """\
#!/bin/sh
# As srun of Slurm: the command once on each host; its own options are as if they said so
while case $1 in --*) ;; *) false ;; esac; do shift; done
trap 'kill $(jobs -p) 2> /dev/null' TERM INT
SLURM_NODEID=0 {host} here "$@" &
SLURM_NODEID=1 {host} there "$@" &
wait
"""


@dataclass(frozen=True)
class Network:
    """Two hosts: *folder* has the programs `host` and `srun`, *scratch* is their TMPDIR."""

    folder: Path
    scratch: Path

    def start(self, cwd: Path, *command: str, **more: str) -> subprocess.Popen[str]:
        """Start *command* on the host `here`; *more* are variables beside those of this process."""
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.Popen(
            [str(self.folder / "host"), "here", *command],
            cwd=cwd,
            env={**os.environ, "PATH": path, "TMPDIR": str(self.scratch), **more},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@contextmanager
def hosts(folder: Path) -> Iterator[Network]:
    """Make the two hosts and the programs in *folder*; skips where this machine allows none."""
    ip, end = shutil.which("ip"), str(os.getpid())
    if os.geteuid() or ip is None or not shutil.which("unshare"):
        pytest.skip("hosts of a network need root, ip (iproute2) and unshare")
    try:
        for name in ADDRESSES:
            if subprocess.run([ip, "netns", "add", f"{name}-{end}"], check=False).returncode:
                pytest.skip("no network namespace can be made here")
        _connect(ip, end)
        yield _programs(folder, end)
    finally:
        for name in ADDRESSES:
            subprocess.run([ip, "netns", "del", f"{name}-{end}"], check=False, capture_output=True)


def _connect(ip: str, end: str) -> None:
    one, other = (f"{name}-{end}" for name in ADDRESSES)
    commands = [f"link add {one} netns {one} type veth peer name {other} netns {other}"]
    for name, address in ADDRESSES.items():
        device = f"{name}-{end}"
        commands += [f"-n {device} addr add {address}/30 dev {device}"]
        commands += [f"-n {device} link set {up} up" for up in (device, "lo")]
    for command in commands:
        subprocess.run([ip, *command.split()], check=True)


def _programs(folder: Path, end: str) -> Network:
    names, scratch = folder / "hosts", folder / "scratch"
    scratch.mkdir()
    lines = [f"{address} {name}\n" for name, address in ADDRESSES.items()]
    names.write_text("".join(["127.0.0.1 localhost\n", *lines]), encoding="utf-8")
    host = folder / "host"
    for program, text in (("host", HOST), ("srun", SRUN)):
        (folder / program).write_text(text.format(end=end, hosts=names, host=host))
        (folder / program).chmod(0o755)
    return Network(folder, scratch)
