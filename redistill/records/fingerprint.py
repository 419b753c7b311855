"""What tells texts apart: the digest of a text, and its normal form."""

import hashlib
import re
import unicodedata

APART = re.compile(r"[\W_]+")  # what is neither letter nor digit, as str.isalnum has it


def digest(*texts: str) -> str:
    """Compute the first 16 hex digits of the SHA-256 over *texts*, each ended by a NUL."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]


def normalised(text: str) -> str:
    """Write *text* as overlap checks see it: NFKC, lower case, only letters and digits as words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return APART.sub(" ", folded).strip()
