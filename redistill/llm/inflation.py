"""Bodies that a server has compressed, inflated piece by piece, so that none can grow unseen."""

import re
import zlib
from collections.abc import Iterator
from typing import Any

PIECE = 256 * 1024  # bytes that are inflated at a time
HEAD = 2  # bytes by which formats are told apart, and from text
GZIP, DEFLATE = ("gzip", "x-gzip"), "deflate"
MAGIC = b"\x1f\x8b"  # with which gzip begins
JSON = re.compile(rb"\{(?:[\" ]|\s+\")")  # how an answer begins that is not compressed at all
LAYERS = 3  # compressions over each other; a bomb of bombs has more
# Compressions that are not undone. Another name, such as utf-8 or none, says nothing of a body.
UNREAD = (
    *("br", "zstd", "compress", "x-compress", "dcb", "dcz", "snappy", "lz4", "xz", "lzma"),
    *("bzip2", "exi", "pack200-gzip"),
)


class BodyError(ConnectionError):
    """A body that is larger than what is read, or that is encoded in a way that is not known."""


class Inflation:
    """
    Undoes the content *encoding* of one body, as far as the body is encoded.

    A body that does not begin as its format does was sent as it is, under a header that is left
    over: its bytes are passed on. Raises BodyError for a compression that is not known.
    """

    def __init__(self, encoding: str) -> None:
        names = [name.strip().lower() for name in encoding.split(",")]
        compressed = [name for name in names if name in (*GZIP, DEFLATE)]
        if any(name in UNREAD for name in names) or len(compressed) > LAYERS:
            told = encoding.strip().lower()[:40]
            raise BodyError(f"the body is encoded as {told!r}, which was not asked for")
        self._layers = [_Layer(name) for name in reversed(compressed)]
        self.plain = not self._layers

    def pieces(self, content: bytes) -> Iterator[bytes]:
        """
        Inflate *content*, the next part of the body; raises BodyError where it is damaged.

        A piece may be empty: each is a bounded amount of work.
        """
        yield from self._through(0, content)

    def _through(self, number: int, content: bytes) -> Iterator[bytes]:
        if number == len(self._layers):
            yield content
            return
        for piece in self._layers[number].pieces(content):
            yield from self._through(number + 1, piece)
            if number + 1 < len(self._layers):
                yield b""

    def end(self) -> None:
        """Raise BodyError where the body broke off; one without a byte is empty."""
        for layer in self._layers:
            layer.end()


class _Layer:
    """One compression, *name*."""

    def __init__(self, name: str) -> None:
        self._deflate = name == DEFLATE
        self._head = b""
        self._zlib: Any = None
        self._plain = self._begun = False

    def pieces(self, content: bytes) -> Iterator[bytes]:
        if self._zlib is None and not self._plain:
            self._head += content
            content = self._head
            self._plain = self._is_plain(content)
            if len(content) < HEAD and not self._plain:
                return
        if self._plain:
            yield content
            return
        full = False
        while content or full:
            piece = self._piece(content)
            if self._plain:
                yield content
                return
            content = self._zlib.unconsumed_tail or self._zlib.unused_data
            full = len(piece) == PIECE and not self._zlib.eof  # there may be more of what was read
            yield piece

    def _is_plain(self, head: bytes) -> bool:
        """Whether a body that begins with *head* is none of the format that it is said to be."""
        if self._deflate:
            return JSON.match(head) is not None
        return bool(head) and head[:HEAD] != MAGIC[: len(head)]

    def _piece(self, content: bytes) -> bytes:
        if self._zlib is None or self._zlib.eof:  # parts may follow, each compressed by itself
            self._zlib = zlib.decompressobj(wbits=self._format(content))
        try:
            piece = bytes(self._zlib.decompress(content, PIECE))
        except zlib.error as problem:
            if self._deflate and not self._begun:  # this format has no magic bytes
                self._plain = True
                return b""
            raise BodyError(f"the body cannot be inflated: {problem}") from None
        self._begun = True
        return piece

    def _format(self, head: bytes) -> int:
        """The format as zlib numbers it; some servers leave the header of deflate's out."""
        if not self._deflate:
            return zlib.MAX_WBITS | 16
        headed = head[0] & 15 == zlib.DEFLATED and int.from_bytes(head[:HEAD], "big") % 31 == 0
        return zlib.MAX_WBITS if headed else -zlib.MAX_WBITS

    def end(self) -> None:
        """Raise BodyError where what is compressed broke off."""
        if self._head and not self._plain and (self._zlib is None or not self._zlib.eof):
            raise BodyError("the compressed body breaks off")
