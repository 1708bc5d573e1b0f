"""Find image files whose end is missing: decoders fill the missing part with grey and report no error.

Sources: ITU-T T.81, annex B (JPEG markers); W3C PNG, third edition, section 5; WebP, RFC 9649, 2.4.
"""

from __future__ import annotations

import struct
import zlib

from smallsight.data.image_header import JPEG, PNG, STANDALONE


def missing_end(data: bytes) -> str:
    """What a JPEG, PNG or WebP file lacks at its end, in words; empty for a whole file, and for other formats."""
    try:
        if data.startswith(JPEG):
            return _jpeg(data)
        if data.startswith(PNG):
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            length = struct.unpack_from("<I", data, 4)[0]
            return "the file is shorter than it says" if length + 8 > len(data) else ""
    except struct.error:
        return "the header ends too early"
    return ""


def _jpeg(data: bytes) -> str:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return "no marker where one has to be"
        marker = data[at + 1]
        if marker == 0xDA:
            # inside the scan 0xFF is always stuffed, so this marker can only be the end
            return "" if data.find(b"\xff\xd9", at) >= 0 else "the JPEG's end marker is missing"
        if marker == 0xFF or marker in STANDALONE:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return "the file ends before the first scan"


def _png(data: bytes) -> str:
    at = len(PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        if zlib.crc32(data[at + 4 : at + 8 + length]) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            return f"the checksum of chunk {name.decode('ascii', 'replace')} is wrong"
        if name == b"IEND":
            return ""
        at += 12 + length
    return "the PNG's end chunk is missing"
