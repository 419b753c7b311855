"""Bodies that a server has compressed, inflated piece by piece, so that none can grow unseen."""

import zlib
from collections.abc import Iterator

PIECE = 256 * 1024  # bytes that are inflated at a time
PLAIN = ("", "identity")
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
        self._raw = name == "deflate"  # some servers leave out the header of zlib's format
        self._begun = False
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | (0 if self._raw else 16))

    def pieces(self, content: bytes) -> Iterator[bytes]:
        """Inflate *content*, the next part of the body; raises BodyError where it is damaged."""
        if self.plain:
            yield content
            return
        full = False
        while content or full:
            if self._zlib.eof:  # a body of several parts, each compressed by itself
                self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            piece = self._piece(content)
            content = self._zlib.unconsumed_tail or self._zlib.unused_data
            full = len(piece) == PIECE and not self._zlib.eof  # there may be more of what was read
            yield piece

    def _piece(self, content: bytes) -> bytes:
        try:
            piece = self._zlib.decompress(content, PIECE)
        except zlib.error as problem:
            if not self._raw or self._begun:
                raise BodyError(f"the body cannot be inflated: {problem}") from None
            self._zlib = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            self._raw = False
            return self._piece(content)
        self._begun = True
        return piece

    def end(self) -> None:
        """Raise BodyError where the body broke off."""
        if not self.plain and self._begun and not self._zlib.eof:
            raise BodyError("the compressed body breaks off")
