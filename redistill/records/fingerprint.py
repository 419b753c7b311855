"""What tells texts apart: the digest of a text, and its normal form."""

import hashlib
import unicodedata


def digest(*texts: str) -> str:
    """Compute the first 16 hex digits of the SHA-256 over *texts*, each ended by a NUL."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]


def normalised(text: str) -> str:
    """Write *text* as overlap checks see it: NFKC, lower case, only letters and digits as words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())
