"""The body of an answer as it is read from the network: inflated, and never without a bound."""

import asyncio
from collections.abc import AsyncIterator

import httpx2

from redistill.llm.inflation import BodyError, Inflation

FAILED = 65_536  # bytes that are read of an answer that says nothing but why it failed


class BoundedStream(httpx2.AsyncByteStream):
    """
    A *stream* of which, inflated from its *encoding*, *most* bytes are read.

    One that is larger, cannot be inflated or is encoded in a way that is not known raises BodyError
    where the answer is *good*; of another one as much as could be read is its body, since its
    status says enough. Its end may be half of a key then, and *cut* is true: *margin* more bytes
    than the bound are read of it, which are to be dropped once the whole keys are taken out.
    """

    def __init__(
        self,
        stream: httpx2.AsyncByteStream,
        encoding: str,
        most: int,
        *,
        good: bool,
        margin: int = 0,
    ) -> None:
        self.cut = False
        self._stream = stream
        self._encoding = encoding
        self._most = most if good else min(most, FAILED) + margin
        self._good = good

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body; lets others run between any two parts, so that deadlines hold."""
        try:
            async for piece in self._pieces():
                yield piece
        except BodyError:
            if self._good:
                raise
            self.cut = True

    async def _pieces(self) -> AsyncIterator[bytes]:
        inflation = Inflation(self._encoding)
        came = made = 0
        async for content in self._stream:
            came += len(content)
            for piece in inflation.pieces(content):
                made += len(piece)
                yield piece[: len(piece) - max(0, made - self._most)]
                if max(came, made) > self._most:
                    raise BodyError(
                        f"the body is larger than {self._most} bytes (REDISTILL_MAX_BODY, and for "
                        "a batch's output REDISTILL_MAX_FILE)"
                    )
                if not inflation.plain:
                    await asyncio.sleep(0)
        inflation.end()

    async def aclose(self) -> None:
        """Let go of the connection, or close it where the body was not read to its end."""
        await self._stream.aclose()
