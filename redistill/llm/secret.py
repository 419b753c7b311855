"""Keys of services: each named by the variable that holds it, and read from there alone."""

import os
import re

from redistill.console.exceptions import CONFIG, PERMISSION, RefusedError

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_DIGITS = 8  # in the name of a variable; a key has more


def variable(name: str | None, what: str) -> None:
    """Refuse (78) a *name*, from the setting *what*, that is no name of a variable, but a key."""
    if name is not None and (
        not VARIABLE.fullmatch(name) or sum(c.isdigit() for c in name) > MAX_DIGITS
    ):
        raise RefusedError(
            f"{what}: expected the name of an environment variable, such as OPENAI_API_KEY; the "
            "key itself belongs into that variable, never into a file",
            code=CONFIG,
        )


def secret_in(name: str | None, what: str) -> str:
    """
    Read the key in the environment variable called *name*, which the setting *what* names.

    Empty where there is no name. Raises RefusedError: 78 for what is no name of a variable, 77
    where the variable holds no key.
    """
    if name is None:
        return ""
    variable(name, what)
    value = os.environ.get(name, "").strip()
    if not value.isascii() or not value.isprintable():
        raise RefusedError(f"{name}: holds characters that no key has", code=PERMISSION)
    if not value:
        raise RefusedError(
            f"{what}: the environment variable {name} is not set; set it to your key, or "
            f"{what} to null where the server needs none",
            code=PERMISSION,
        )
    return value
