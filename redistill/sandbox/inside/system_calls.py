"""A filter of system calls, which a process lays on itself and can never take off."""

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Sequence

# Numbers on x86-64 and on 64-bit ARM; None where there is no such call.
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    # other processes, programs, and signals to them
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setsid": (112, 157), "setpgid": (109, 154), "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # the network, and interfaces of the kernel past other calls
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "fanotify_init": (300, 262),
    # memory that no limit counts
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190),
    "shmctl": (31, 195), "msgctl": (71, 187), "semctl": (66, 191), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "semop": (65, 193), "semtimedop": (220, 192), "mq_unlink": (241, 181),
    "mq_open": (240, 180), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # file systems, names and users of its own
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "capset": (126, 91),
    # files: none is made, changed or moved
    "creat": (85, None), "openat2": (437, 437), "truncate": (76, 45), "unlink": (87, None),
    "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None),
    "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "mknod": (133, None),
    "mknodat": (259, 33), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469),
    "flock": (73, 32),
    # the machine
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "syslog": (103, 116),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "personality": (135, 92),
}  # fmt: skip
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, and audit number
CLONE, CLONE3, OPEN, OPENAT = (56, 220), 435, (2, None), (257, 56)
TGKILL, PRLIMIT = (234, 131), (302, 261)
FCNTL, IOCTL, PRCTL = (72, 25), (16, 29), (157, 167)
OWNERS = (8, 10, 15)  # of fcntl: whom the kernel signals, and how
LOCKS = (6, 7, 37, 38, 1024)  # of fcntl: what others wait for before they may change a file
# All that Python needs of ioctl: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Others
# type into a terminal, have the kernel signal a process, or change a file that is open to read.
HARMLESS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
CAPABILITIES = 0x20080522  # the version of capset with two words of them
THREAD = 0x00010000  # of clone: a thread of this process, and no other process
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FOREIGN = 0x40000000  # from here on the numbers are those of another interface of x86-64
LOAD, EQUAL, LEAST, ANY, GIVE = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # where they stand in what a filter is given
PARENT_ENDS, NO_NEW_PRIVILEGES, SECCOMP, FILTER = 1, 38, 22, 2
Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def known() -> bool:
    """Say whether the calls of this machine are known, so that they can be filtered."""
    return platform.system() == "Linux" and platform.machine() in MACHINES


def forbid() -> None:
    """
    Forbid this process to start others, signal them, reach a network, or change a file.

    It may read files, start threads and end. Raises OSError where the kernel takes no filter.
    """
    column, audit = MACHINES[platform.machine()]
    rules = program(column, audit, os.getpid())
    packed = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    whole = _Program(len(rules), ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capset(struct.pack("=Ii", CAPABILITIES, 0), bytes(24))  # those of root; others have none
    for call in ((NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SECCOMP, FILTER, ctypes.byref(whole), 0, 0)):
        if libc.prctl(*call):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends."""
    ctypes.CDLL(None).prctl(PARENT_ENDS, signal.SIGKILL)


def program(column: int, audit: int, own: int) -> Sequence[Instruction]:
    """
    Write the filter for the machine whose numbers stand in *column*, and for the process *own*.

    It is classic BPF, as seccomp(2) describes it: each rule looks at the number of the call.
    """
    denied = (GIVE, 0, 0, ERROR | errno.EPERM)
    rules: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, audit), (GIVE, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER), (LEAST, 0, 1, FOREIGN), (GIVE, 0, 0, KILL),
        (EQUAL, 0, 1, CLONE3), (GIVE, 0, 0, ERROR | errno.ENOSYS),  # clone is taken in its place
    ]  # fmt: skip
    for numbers in FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            rules += [(EQUAL, 0, 1, number), denied]
    # Where one bit of an argument decides: the call, the argument, whether the bit has to be there.
    for numbers, argument, bits, needed in (
        (CLONE, 0, THREAD, True), (OPEN, 1, WRITING, False), (OPENAT, 2, WRITING, False),
    ):  # fmt: skip
        if (number := numbers[column]) is not None:
            rules += _on_bits(number, argument, bits, denied, needed=needed)
    rules += _but(TGKILL[column], 0, (own,), denied)
    rules += _but(PRLIMIT[column], 0, (0, own), denied)
    rules += _but(IOCTL[column], 1, HARMLESS, denied)
    rules += _on_values(FCNTL[column], 1, OWNERS + LOCKS, denied)
    rules += _on_values(PRCTL[column], 0, (PARENT_ENDS,), denied)  # it stays as it is set
    return [*rules, (GIVE, 0, 0, ALLOW)]


def _on_bits(
    number: int, argument: int, bits: int, denied: Instruction, *, needed: bool
) -> list[Instruction]:
    """The rules for a call of *number* that is denied with *bits*, or without where *needed*."""
    there, absent = (0, 1) if not needed else (1, 0)
    return [
        (EQUAL, 0, 4, number),
        (LOAD, 0, 0, ARGUMENTS + 8 * argument),
        (ANY, there, absent, bits),
        denied,
        (GIVE, 0, 0, ALLOW),
    ]


def _but(
    number: int, argument: int, allowed: Sequence[int], denied: Instruction
) -> list[Instruction]:
    """The rules for a call of *number* that is denied where *argument* is none of *allowed*."""
    return _sifted(number, argument, allowed, denied, (GIVE, 0, 0, ALLOW))


def _on_values(
    number: int, argument: int, values: Sequence[int], denied: Instruction
) -> list[Instruction]:
    """The rules for a call of *number* that is denied where *argument* is one of *values*."""
    return _sifted(number, argument, values, (GIVE, 0, 0, ALLOW), denied)


def _sifted(
    number: int, argument: int, values: Sequence[int], others: Instruction, them: Instruction
) -> list[Instruction]:
    """The rules for a call of *number*: *them* where *argument* is one of *values*, or *others*."""
    found: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS + 8 * argument)]
    for left, value in zip(range(len(values), 0, -1), values, strict=True):
        found.append((EQUAL, left, 0, value))
    found += [others, them]
    return [(EQUAL, 0, len(found), number), *found]
