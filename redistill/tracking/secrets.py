"""Secrets of this process's environment, taken out of what goes elsewhere."""

import os
import re

from redistill.llm.redaction import Redaction

NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|AUTH|CREDENTIAL", re.IGNORECASE)
IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


def redaction() -> Redaction:
    """Make a redaction of every variable that is named like a secret, and of addresses' passwords.

    A variable that holds the name of another, or a number, is short or no secret; it is left.
    """
    named = [value for name, value in os.environ.items() if NAMES.search(name)]
    inside = [found for value in os.environ.values() for found in IN_ADDRESS.findall(value)]
    return Redaction([value for value in named if value not in os.environ], inside)
