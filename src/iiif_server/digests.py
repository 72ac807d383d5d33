"""CRC-32 checksums as in ZIP files, from ISA-L if it is installed."""

try:
    from isal.isal_zlib import crc32  # 30 times faster than zlib's
except ImportError:  # no wheel for this platform
    from zlib import crc32

__all__ = ["crc32"]
