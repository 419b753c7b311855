"""The one exception for input that we refuse, with the exit code that it ends in."""

USAGE = 2
BUDGET = 3
BATCH = 4
DATA = 65
INTERNAL = 70
IO = 74
TRY_AGAIN = 75
PERMISSION = 77
CONFIG = 78


class RefusedError(Exception):
    """
    Input or settings that cannot be worked with, told in one sentence with the way out.

    *code* follows sysexits: 65 for data, 70 for a run that broke down, 74 for a disk that fails, 75
    for what may work later, 77 for a key that is refused, 78 for settings; 3 is the budget, 4 a
    batch that is at work.
    """

    def __init__(self, message: str, *, code: int = DATA) -> None:
        super().__init__(message)
        self.code = code
