"""Codestreams as FFmpeg writes them: its encoders have nothing in common with our decoders."""

import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np

from support.matrix.chart import Array

os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 prints its settings


LOSSLESS_J2K = {"format": "j2k", "pred": "dwt53"}


def encoded(
    codec: str,
    format_: str,
    planes: list[Array],
    *,
    width: int = 0,
    colour: Mapping[str, int] | None = None,
    options: Mapping[str, str],
) -> bytes:
    """One frame of planes in a pixel format of FFmpeg.

    `width` is that of the image, where a row of its only plane has several samples a pixel;
    `colour` has attributes of the encoder, as its range and its matrix.
    """
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = planes[0].shape[0], width or planes[0].shape[1]
    context.pix_fmt, context.time_base = format_, Fraction(1, 25)
    context.options, context.thread_count = dict(options), 1
    frame: Any = av.VideoFrame(context.width, context.height, format_)
    for name, value in (colour or {}).items():
        setattr(context, name, value)
        setattr(frame, name, value)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        raw = np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)
        rows[:, : raw.shape[1]] = raw
        plane.update(rows.tobytes())
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def jpeg2000(values: Array, *, transform: bool = True) -> bytes:
    """A codestream without losses of rows, columns, samples; RGB becomes YCC within it."""
    height, width, count = values.shape
    deep = "16le" if values.dtype.itemsize > 1 else ""
    if count == 3 and transform:
        format_, planes = "rgb48le" if deep else "rgb24", [values.reshape(height, width * 3)]
    else:
        format_ = f"gray{deep}" if count == 1 else f"yuv444p{deep}"
        planes = [values[:, :, at] for at in range(count)]
    return encoded("jpeg2000", format_, planes, width=width, options=LOSSLESS_J2K)
