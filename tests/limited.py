"""
A command in a process whose files cannot grow over so many bytes: a disk that is full.

What it prints goes through a pipe, which no limit holds for, to standard error.
"""

import os
import resource
import runpy
import sys


def limited(size: int, module: str, words: list[str]) -> None:
    """Become the command *module* with *words*, in which no file grows over *size* bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    size, module, *words = sys.argv[1:]
    end, start = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(start, 1)
        os.dup2(start, 2)
        os.close(start)
        os.close(end)
        limited(int(size), module, words)
        return
    os.close(start)
    with open(end, encoding="utf-8") as printed:
        sys.stderr.write(printed.read())
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
