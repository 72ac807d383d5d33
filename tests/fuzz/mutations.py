"""Small changes of valid inputs, as by a failing disk or an attacker."""

import random
from collections.abc import Callable, Iterator, Sequence

_TELLING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which programs go wrong."""


def mutants(seeds: Sequence[bytes], number: int, seed: int) -> Iterator[bytes]:
    """Yield so many mutants of the seeds; the same ones for the same `seed`."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for _ in range(number):
        data = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
            data = chance.choice(_MUTATIONS)(data, chance)
        yield data


def _flip_bit(data: bytes, chance: random.Random) -> bytes:
    """Flip one bit."""
    if not data:
        return data
    at = _random_position(data, chance)
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def _truncate(data: bytes, chance: random.Random) -> bytes:
    """Cut the end."""
    return data[: chance.randrange(len(data) + 1)]


def _change_number(data: bytes, chance: random.Random) -> bytes:
    """Replace a number by a limit of its type."""
    width, order = chance.choice((1, 2, 4, 8)), chance.choice(("big", "little"))
    number = chance.choice(_TELLING) & (1 << 8 * width) - 1
    at = _random_position(data, chance)
    inserted = number.to_bytes(width, "big" if order == "big" else "little")
    return data[:at] + inserted + data[at + width :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    """Repeat a part."""
    start, length = _random_position(data, chance), chance.randrange(1, 65)
    return (
        data[: start + length]
        + data[start : start + length] * chance.choice((1, 2, 50))
        + (data[start + length :])
    )


def _remove(data: bytes, chance: random.Random) -> bytes:
    """Remove a part."""
    start = _random_position(data, chance)
    return data[:start] + data[start + chance.randrange(1, 65) :]


def _fill_with_zeros(data: bytes, chance: random.Random) -> bytes:
    """Replace a part by zeros, as a block that a disk has lost."""
    start = _random_position(data, chance)
    length = min(chance.choice((8, 512, 4096)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def _random_position(data: bytes, chance: random.Random) -> int:
    """Return a position, often in the first bytes, where headers are."""
    length = min(len(data), 512) if chance.random() < 0.5 else len(data)
    return chance.randrange(max(1, length))


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bit,
    _flip_bit,
    _truncate,
    _change_number,
    _change_number,
    _repeat,
    _remove,
    _fill_with_zeros,
)
