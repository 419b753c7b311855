"""Bodies that a server has compressed, inflated piece by piece, so that none can grow unseen."""

import zlib
from collections.abc import Iterator
from typing import Any

PIECE = 256 * 1024  # bytes that are inflated at a time
PLAIN = ("", "identity")
HEAD = 2  # bytes by which deflate's two formats are told apart
KNOWN = ("gzip", "x-gzip", "deflate")


class BodyError(ConnectionError):
    """A body that is larger than what is read, or that is encoded in a way that is not known."""


class Inflation:
    """Undoes the content *encoding* of one body; raises BodyError for one that is not known."""

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in (*PLAIN, *KNOWN):
            raise BodyError(f"the body is encoded as {name[:40]!r}, which was not asked for")
        self.plain = name in PLAIN
        self._deflate = name == "deflate"
        self._head = b""
        self._zlib: Any = None

    def pieces(self, content: bytes) -> Iterator[bytes]:
        """Inflate *content*, the next part of the body; raises BodyError where it is damaged."""
        if self.plain:
            yield content
            return
        if self._zlib is None:
            self._head += content
            content = self._head if len(self._head) >= HEAD else b""
        full = False
        while content or full:
            piece = self._piece(content)
            content = self._zlib.unconsumed_tail or self._zlib.unused_data
            full = len(piece) == PIECE and not self._zlib.eof  # there may be more of what was read
            yield piece

    def _piece(self, content: bytes) -> bytes:
        if self._zlib is None or self._zlib.eof:  # parts may follow, each compressed by itself
            self._zlib = zlib.decompressobj(wbits=self._format(content))
        try:
            return bytes(self._zlib.decompress(content, PIECE))
        except zlib.error as problem:
            raise BodyError(f"the body cannot be inflated: {problem}") from None

    def _format(self, head: bytes) -> int:
        """The format as zlib numbers it; some servers leave the header of deflate's out."""
        if not self._deflate:
            return zlib.MAX_WBITS | 16
        headed = head[0] & 15 == zlib.DEFLATED and int.from_bytes(head[:HEAD], "big") % 31 == 0
        return zlib.MAX_WBITS if headed else -zlib.MAX_WBITS

    def end(self) -> None:
        """Raise BodyError where the body broke off; one without a byte is empty."""
        if self._head and (self._zlib is None or not self._zlib.eof):
            raise BodyError("the compressed body breaks off")
