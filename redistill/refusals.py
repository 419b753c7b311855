"""The one exception for input that we refuse, with the exit code that it ends in."""

USAGE = 2
DATA = 65
INTERNAL = 70
CONFIG = 78


class RefusedError(Exception):
    """
    Input or settings that cannot be worked with, told in one sentence with the way out.

    *code* follows sysexits: 65 for data, 70 for a run that broke down, 78 for settings.
    """

    def __init__(self, message: str, *, code: int = DATA) -> None:
        super().__init__(message)
        self.code = code
