"""CRC-32, as zip files have it, as fast as the processor can."""

try:
    from isal.isal_zlib import crc32  # 30 times faster than zlib's
except ImportError:  # no wheel for this platform
    from zlib import crc32

__all__ = ["crc32"]
