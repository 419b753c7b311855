"""Compressed bodies: whole where they are whole, and never grown unseen."""

import gzip
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redistill.llm.inflation import JSON, MAGIC, PIECE, BodyError, Inflation


def raw_deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def inflated(packed: bytes, size: int, encoding: str) -> bytes:
    """What *packed* holds, if it comes in parts of *size* bytes."""
    inflation = Inflation(encoding)
    parts = [packed[start : start + size] for start in range(0, len(packed), size)]
    out = b"".join(piece for part in parts for piece in inflation.pieces(part))
    inflation.end()
    return out


PACKED = {
    "gzip": gzip.compress,
    "x-gzip": lambda content: gzip.compress(content[:3]) + gzip.compress(content[3:]),
    "deflate": zlib.compress,
    "Deflate ": raw_deflated,
    "identity": lambda content: content,
    "gzip, gzip": lambda content: gzip.compress(gzip.compress(content)),
    "deflate, gzip": lambda content: gzip.compress(zlib.compress(content)),
}


@pytest.mark.parametrize("encoding", PACKED)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_a_body_comes_out_as_it_went_in_however_it_is_cut(encoding: str, body: bytes, size: int):
    packed = PACKED[encoding](body)
    # what is said to be deflated and begins as JSON does is read as it is: no JSON deflates to one
    assume(encoding != "Deflate " or not JSON.match(packed))

    assert inflated(packed, size, encoding) == body


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "gzip, gzip", "utf-8", "none", "gzip, deflate", "strange"]
)
@pytest.mark.parametrize("body", [b'{"choices": []}', b"\n  [{}]", b"<html>no"])
@pytest.mark.parametrize("size", [1, 2, 99])
def test_a_body_that_is_not_compressed_is_passed_on_whatever_its_header_says(
    encoding: str, body: bytes, size: int
):
    if "deflate" in encoding and not body.startswith(b"{"):
        size = len(body)  # a format without magic bytes: all that has come is looked at
    assert inflated(body, size, encoding) == body


def test_a_bomb_within_a_bomb_comes_in_bounded_pieces():
    bomb = gzip.compress(gzip.compress(bytes(30_000_000)))

    pieces = [len(piece) for piece in Inflation("gzip, gzip").pieces(bomb)]

    assert sum(pieces) == 30_000_000
    assert max(pieces) == PIECE


def test_a_bomb_comes_in_pieces_of_a_fixed_size():
    bomb = gzip.compress(bytes(30_000_000))

    pieces = [len(piece) for piece in Inflation("gzip").pieces(bomb)]

    assert sum(pieces) == 30_000_000
    assert max(pieces) == PIECE


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "gzip, br", "compress", ", ".join(["gzip"] * 4)]
)
def test_an_encoding_that_is_not_known_is_named(encoding: str):
    with pytest.raises(BodyError, match=encoding):
        Inflation(encoding)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"whole" * 99)[:-9], MAGIC + b"no gzip", gzip.compress(b"a") + b"rest", b"\x1f"],
    ids=["cut off", "no gzip", "more behind it", "one byte"],  # gzip has the time in its header
)
def test_a_damaged_body_is_none(body: bytes):
    with pytest.raises(BodyError, match=r"breaks off|cannot be inflated"):
        inflated(body, len(body), "gzip")
