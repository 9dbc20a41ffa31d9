from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import Fail
from engine.outside.addresses import Limits
from engine.outside.bodies import Body, BrokenBody


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def unpacked(data: bytes, coding: str | None, size: int = 1 << 16, limits: Limits | None = None) -> bytes:
    body = Body("host.test", limits or Limits(), coding)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    content = b"".join(piece for part in parts for piece in body.feed(part))
    body.finish()
    return content


TEXT = b"The quick brown fox. " * 5000


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 16])
@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)]
)
def test_content_comes_out_however_the_transfer_is_cut(coding: str, pack: object, size: int) -> None:
    assert callable(pack)
    assert unpacked(pack(TEXT), coding, size) == TEXT


@settings(deadline=None)
@given(
    st.binary(max_size=300), st.integers(1, 20), st.sampled_from([gzip.compress, zlib.compress, raw_deflate])
)
def test_any_content_survives_any_coding(content: bytes, size: int, pack: object) -> None:
    assert callable(pack)
    assert unpacked(pack(content), "gzip" if pack is gzip.compress else "deflate", size) == content


def test_plain_content_passes_as_it_is() -> None:
    assert unpacked(TEXT, None) == TEXT


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_a_gzip_body_may_have_several_members_and_padding(size: int) -> None:
    assert unpacked(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 9, "gzip", size) == b"one two"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_no_transfer_at_all_is_no_content(coding: str) -> None:
    assert unpacked(b"", coding) == b""


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9]),
        ("gzip", gzip.compress(TEXT, mtime=0)[:5]),
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"\x1f\x8bnonsense"),
        ("deflate", zlib.compress(TEXT)[:-3]),
        ("deflate", b"x"),
        ("deflate", b"\xff\xff\xff"),
    ],
)
def test_damaged_and_cut_off_bodies_are_told(coding: str, data: bytes) -> None:
    with pytest.raises(BrokenBody):
        unpacked(data, coding)


def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    limits = Limits(body_bytes=100)

    assert len(unpacked(bytes(100), None, limits=limits)) == 100
    with pytest.raises(Fail) as caught:
        unpacked(bytes(101), None, limits=limits)
    assert caught.value.code == "egress.body_too_large"


def test_content_counts_and_not_only_transfer() -> None:
    with pytest.raises(Fail) as caught:
        unpacked(gzip.compress(TEXT), "gzip", limits=Limits(body_bytes=len(TEXT) - 1))

    assert caught.value.code == "egress.body_too_large"


def test_transfer_counts_and_not_only_content() -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 100

    with pytest.raises(Fail) as caught:
        unpacked(empty_blocks, "deflate", limits=Limits(body_bytes=200))

    assert caught.value.code == "egress.body_too_large"


def test_a_bomb_is_stopped_long_before_it_has_gone_off() -> None:
    bomb = gzip.compress(bytes(1 << 24))
    pieces = Body("host.test", Limits(), "gzip").feed(bomb)

    seen = sum(len(piece) for piece in itertools.islice(pieces, 16))
    with pytest.raises(Fail) as caught:
        next(pieces)

    assert (caught.value.code, seen) == ("egress.expansion", 1 << 20)
    assert "host.test" in caught.value.message


def test_a_body_that_packs_well_and_is_small_passes() -> None:
    zeros = bytes(1 << 20)

    assert unpacked(gzip.compress(zeros), "gzip") == zeros
