"""Small videos whose frames tell their numbers, and mp4 files as cameras, phones and bad disks leave them."""

import struct

import numpy as np

FRAMES, SIZE, RATE = 24, (64, 48), 10
BOX = (4.0, 6.0, 28.0, 44.0)


def write_video(path, frames=FRAMES, fourcc="mp4v", size=SIZE):
    """A video whose frame n is of the grey level 20 + 8 n, with a pattern in its right half."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), RATE, size)
    assert writer.isOpened()
    pattern = np.random.default_rng(0).integers(0, 255, (size[1] // 8, size[0] // 16, 3), dtype=np.uint8)
    for number in range(1, frames + 1):
        frame = np.full((size[1], size[0], 3), 20 + 8 * number, np.uint8)
        frame[:, size[0] // 2 :] = pattern.repeat(8, axis=0).repeat(8, axis=1)
        writer.write(frame)
    writer.release()
    return path


def number_of(pixels):
    """Which frame it is, by its grey level."""
    return round((float(pixels[4:-4, 4 : pixels.shape[1] // 2 - 8].mean()) - 20) / 8)


def break_packets(path, *numbers):
    """Fill packets with zeros, as a bad disk does."""
    data = bytearray(path.read_bytes())
    sizes, start = _packets(data)
    for number in numbers:
        begin = start + sum(sizes[: number - 1])
        data[begin : begin + sizes[number - 1]] = bytes(sizes[number - 1])
    path.write_bytes(data)


def cut_short(path, packets):
    """The index first, as files for the web have it, and nothing behind so many packets."""
    data = path.read_bytes()
    index = data.index(b"moov") - 4
    moov = bytearray(data[index:])
    offset = moov.index(b"stco") + 12
    moov[offset : offset + 4] = struct.pack(">I", struct.unpack(">I", moov[offset : offset + 4])[0] + len(moov))
    media = data.index(b"mdat") - 4
    sizes, start = _packets(data)
    path.write_bytes(data[:media] + bytes(moov) + data[media : start + sum(sizes[:packets])])


def turn(path):
    """Say that the frames are to be turned by 90 degrees, as a phone that is held upright does."""
    data = bytearray(path.read_bytes())
    offset = data.index(b"tkhd") + 44
    data[offset : offset + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def vary_rate(path, seconds):
    """Show frame n for seconds[n - 1]."""
    data = path.read_bytes()
    scale = struct.unpack(">I", data[data.index(b"mdhd") + 16 :][:4])[0]
    ticks = b"".join(struct.pack(">II", 1, round(each * scale)) for each in seconds)
    table = struct.pack(">II", 0, len(seconds)) + ticks
    data = _replaced(data, [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"], table)
    path.write_bytes(data.replace(b"elst", b"free"))  # which would end the video where it ended before


def _packets(data):
    offset = data.index(b"stsz") + 12
    count = struct.unpack(">I", data[offset : offset + 4])[0]
    sizes = struct.unpack(f">{count}I", data[offset + 4 : offset + 4 + 4 * count])
    offset = data.index(b"stco") + 12
    return sizes, struct.unpack(">I", data[offset : offset + 4])[0]


def _replaced(data, names, content):
    """The boxes of an mp4 with another content of one of them."""
    boxes, offset = b"", 0
    while offset < len(data):
        size, name = struct.unpack(">I4s", data[offset : offset + 8])
        body = data[offset + 8 : offset + size]
        if name == names[0]:
            body = _replaced(body, names[1:], content) if names[1:] else content
        boxes += struct.pack(">I4s", len(body) + 8, name) + body
        offset += size
    return boxes
