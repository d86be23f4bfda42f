"""A plain H.264 stream as a camera writes it, by hand: no encoder ships with OpenCV.

Every macroblock holds its pixels unpacked (I_PCM), so any decoder gives them back as they are.
ITU-T H.264: 7.3.2.1 (sequence), 7.3.2.2 (picture), 7.3.3 (slice header), 7.3.5 (macroblock).
"""

from __future__ import annotations

import re

import cv2
import numpy as np

from edge_malaria.records import Image


class _Bits:
    def __init__(self) -> None:
        self.bits = ""
        self.done = bytearray()

    def u(self, value: int, width: int) -> _Bits:
        """Fixed width."""
        self.bits += format(value, f"0{width}b")
        return self

    def ue(self, *values: int) -> _Bits:
        """Exp-Golomb."""
        for value in values:
            code = format(value + 1, "b")
            self.bits += "0" * (len(code) - 1) + code
        return self

    def aligned(self, data: bytes) -> None:
        """Zero bits up to a byte, then bytes."""
        self.bits += "0" * (-len(self.bits) % 8)
        self.flush()
        self.done += data

    def flush(self) -> None:
        """Moves whole bytes out."""
        whole = len(self.bits) // 8 * 8
        self.done += bytes(int(self.bits[n : n + 8], 2) for n in range(0, whole, 8))
        self.bits = self.bits[whole:]

    def unit(self, head: int) -> bytes:
        """The unit with its mark, its end and its escapes."""
        self.bits += "1"
        self.bits += "0" * (-len(self.bits) % 8)
        self.flush()
        safe = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\x03", bytes(self.done))
        return b"\0\0\0\x01" + bytes([head]) + safe


def h264_stream(pictures: list[Image]) -> bytes:
    """The pictures (RGB, sides multiples of 16 px), each a frame of its own."""
    height, width = pictures[0].shape[:2]
    sequence = _Bits().u(66, 8).u(0xC0, 8).u(31, 8).ue(0, 0, 2, 1).u(0, 1)
    sequence.ue(width // 16 - 1, height // 16 - 1).u(1, 1).u(1, 1).u(0, 1).u(0, 1)
    picture = _Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0, 3)
    stream = sequence.unit(0x67) + picture.unit(0x68)
    for number, image in enumerate(pictures):
        planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
        luma = planes[:height]
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        data = _Bits().ue(0, 7, 0).u(0, 4).ue(number % 2).u(0, 2).ue(0)
        for y in range(0, height, 16):
            for x in range(0, width, 16):
                block = luma[y : y + 16, x : x + 16].tobytes()
                block += chroma[:, y // 2 : y // 2 + 8, x // 2 : x // 2 + 8].tobytes()
                # A byte of 0 is not allowed in I_PCM's samples of old decoders.
                data.ue(25).aligned(np.maximum(np.frombuffer(block, np.uint8), 1).tobytes())
        stream += data.unit(0x65)
    return stream
