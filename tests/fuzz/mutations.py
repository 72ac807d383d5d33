"""Small changes to good inputs, as a failing disk or an attacker makes them."""

import random
from collections.abc import Callable, Iterator, Sequence

_TELLING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which programs go wrong."""


def mutants(seeds: Sequence[bytes], number: int, seed: int) -> Iterator[bytes]:
    """So many mutants of the seeds; the same ones each time."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for _ in range(number):
        data = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
            data = chance.choice(_MUTATIONS)(data, chance)
        yield data


def _flip(data: bytes, chance: random.Random) -> bytes:
    """One bit is another."""
    if not data:
        return data
    at = _place(data, chance)
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def _truncate(data: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return data[: chance.randrange(len(data) + 1)]


def _number(data: bytes, chance: random.Random) -> bytes:
    """A number is a telling one."""
    width, order = chance.choice((1, 2, 4, 8)), chance.choice(("big", "little"))
    number = chance.choice(_TELLING) & (1 << 8 * width) - 1
    at = _place(data, chance)
    inserted = number.to_bytes(width, "big" if order == "big" else "little")
    return data[:at] + inserted + data[at + width :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    """A part stands there more than once."""
    start, length = _place(data, chance), chance.randrange(1, 65)
    return (
        data[: start + length]
        + data[start : start + length] * chance.choice((1, 2, 50))
        + (data[start + length :])
    )


def _remove(data: bytes, chance: random.Random) -> bytes:
    """A part is missing."""
    start = _place(data, chance)
    return data[:start] + data[start + chance.randrange(1, 65) :]


def _blank(data: bytes, chance: random.Random) -> bytes:
    """A part is zeros: a block that a disk has lost."""
    start = _place(data, chance)
    length = min(chance.choice((8, 512, 4096)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def _place(data: bytes, chance: random.Random) -> int:
    """Anywhere, but often in the first bytes, where headers are."""
    length = min(len(data), 512) if chance.random() < 0.5 else len(data)
    return chance.randrange(max(1, length))


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _truncate,
    _number,
    _number,
    _repeat,
    _remove,
    _blank,
)
