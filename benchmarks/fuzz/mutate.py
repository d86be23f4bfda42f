"""Damages a file's bytes: reproducibly, and in ways that files are really damaged or forged."""

from __future__ import annotations

import random
from collections.abc import Sequence

# What parsers trip over: numbers that are none, separators, nesting, other encodings, long digits.
TOKENS = (
    b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"1e-400", b"null", b"true", b"[]", b"{}", b'""',
    b"[" * 3000, b'{"a":' * 300, b"9" * 5000, b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n",
    b",", b";", b'"', b"\xed\xa0\x80", b"../../x", b"=cmd()", b"\\ud800", b"4294967295",
    b"-9223372036854775808", b"inf", b"PK\x05\x06", b"PK\x03\x04",
)  # fmt: skip
_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of ``seeds`` with one to six changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        _change(rng, data, seeds)
    return bytes(data)


def _change(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    place, kind = rng.randint(0, len(data)), rng.randrange(9)
    length = min(len(data) - place, rng.choice((1, 2, 4, 8, 64, 1024)))
    if kind == 0 and data:
        data[place % len(data)] ^= 1 << rng.randrange(8)
    elif kind == 1 and data:
        data[place % len(data)] = rng.randrange(256)
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + length]
    elif kind == 4:
        data[place:place] = rng.choice(TOKENS)
    elif kind == 5:
        data[place : place + length] = rng.choice(TOKENS)
    elif kind == 6:
        data[place:place] = data[place : place + length] * rng.choice((1, 2, 20))
    elif kind == 7:
        width = rng.choice((1, 2, 4, 8))
        number = rng.choice(_INTEGERS) & ((1 << 8 * width) - 1)
        data[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
    else:
        other = rng.choice(seeds)
        start = rng.randint(0, len(other))
        data[place : place + length] = other[start : start + max(length, 16)]
    # A case stays small, so that half a million run in an hour.
    del data[1 << 21 :]
