"""What is written on the land and the sea, and where; trees stand in between."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from random import Random

from iiif_server.commands.sample.ink import (
    BOLD,
    INK,
    ITALIC,
    PAPER,
    RUBRIC,
    WATER,
    Hand,
    Mark,
    path,
)
from iiif_server.commands.sample.sheet import Box, Room, Sheet
from iiif_server.commands.sample.terrain import Spot

# Lettering below this height in pixels would only be noise.
_LEGIBLE = 2.5
_OCEAN = Hand(150, WATER, ITALIC, 0.42, 0)
_SEA = Hand(74, WATER, ITALIC, 0.24, 0)
_PROVINCE = Hand(96, RUBRIC, "", 0.7)
_RANGE = Hand(70, INK, f"{ITALIC} {BOLD}", 0.45)
_TREE_LINE = 0.5
_PINES = 0.24
_PINE = "v-5l-6 1l6 -14l6 14l-6 -1z"
_OAK = "v-4c-10 1 -10 -7 -5 -8c0 -6 10 -6 10 0c5 1 5 9 -5 8z"

# Great names, and where they are written, in units of the sheet from its middle, at what tilt.
_GREAT = (
    ("OCEAN OF PYRAMIDS", _OCEAN, 0.47, -0.86, 0), ("SEA OF TILES", _OCEAN, -0.90, -0.20, 0),
    ("Manifest Sound", _SEA, -0.74, 0.13, -6), ("Canvas Sea", _SEA, -0.12, 0.80, 5),
    ("The Margins", _SEA, 0.55, 0.82, 0), ("Gulf of Layers", _SEA, 1.10, -0.76, 10),
    ("BICUBIC RANGE", _RANGE, 0.58, -0.30, -22), ("LANCZOS MOUNTAINS", _RANGE, 0.38, -0.07, 8),
    ("PERLIN FELLS", _RANGE, 0.36, 0.13, 4), ("FOLIO", _PROVINCE, -0.07, -0.54, 0),
    ("GOUACHE", _PROVINCE, 0.03, -0.28, 0), ("QUARTO", _PROVINCE, 0.88, -0.60, 0),
    ("VERSO", _PROVINCE, -0.17, 0.02, 0), ("MEZZOTINT", _PROVINCE, 0.56, 0.36, 0),
    ("RECTO", _PROVINCE, 0.06, 0.43, 0), ("HERBARIA", _PROVINCE, -0.53, 0.45, -4),
    ("VELLUM", _PROVINCE, 0.68, 0.58, 0),
)  # fmt: skip
_CITIES = ("MANIFEST", "CANVAS", "HOLOTYPE", "ROTUNDA", "SEQUENCE", "ANNOTATION", "PALIMPSEST")
_TOWNS = (
    "Vignette", "Incunable", "Gallery", "Quire", "Colophon", "Rubric", "Marginal", "Specimen",
    "Codex", "Engraver's Hill", "Archive", "Lithograph", "Gilding", "Catalogue", "Octavo",
    "Aquatint", "Watermark", "Chartula", "Burin", "Parchment", "Sepia", "Ochre", "Umber", "Lapis",
    "Region Head", "Size Point", "Rotation Rock", "Quality Ness", "Format Cross", "Level Zero",
)  # fmt: skip
_TOWN_HEADS = (
    "Ash", "Alder", "Amber", "Birch", "Black", "Bright", "Clay", "Cold", "Elm", "Fair", "Fen",
    "Fern", "Fox", "Glen", "Grey", "Hare", "Hawk", "Hazel", "Heath", "Holm", "Lark", "Marl",
    "Mill", "Oak", "Otter", "Raven", "Red", "Rook", "Rush", "Sedge", "Silver", "Stan", "Swan",
    "Thorn", "Wal", "White", "Wolf", "Wren", "Yar", "Yew",
)  # fmt: skip
_TOWN_TAILS = (
    "bourne", "bridge", "bury", "by", "combe", "cote", "dale", "den", "field", "fold", "ford",
    "gate", "ham", "hurst", "leigh", "low", "mere", "stead", "stow", "thorpe", "ton", "wick",
)  # fmt: skip
_FARM_TAILS = (
    "Barn", "Beacon", "Chapel", "Copse", "Cross", "Farm", "Ford", "Gate", "Grange", "Inn", "Kiln",
    "Mill", "Oak", "Orchard", "Pool", "Quarry", "Rock", "Spring", "Stile", "Stones", "Tower",
)  # fmt: skip

# Kinds of settlement: their lettering, how many, how far apart, and how high they may lie.
_RANKS = (
    (Hand(78, INK, BOLD, 0.06), 7, 1300, 0.2),
    (Hand(54, INK, BOLD), 22, 600, 0.3),
    (Hand(40), 60, 340, 0.4),
    (Hand(27), 240, 170, 0.44),
    (Hand(19), 640, 100, 0.5),
    (Hand(15, INK, ITALIC), 900, 90, 1.0),
)


def names(land: Sequence[Spot], sheet: Sheet, room: Room) -> list[Mark]:
    """All names, placed from the greatest to the least; the least give way."""
    marks = _great_names(sheet, room)
    dice = Random(1751)  # noqa: S311 - decoration, not secrets
    for (hand, count, apart, highest), words in zip(_RANKS, _words(dice), strict=True):
        if hand.size * sheet.scale < _LEGIBLE:
            break
        # Places like low ground, but not only that.
        worth = {dice.random() - spot.height * 2: spot for spot in land if spot.height < highest}
        spaced = Room(sheet.chart)
        places = (worth[key] for key in sorted(worth, reverse=True))
        free = (at for at in places if spaced.claim(Box(at.x, at.y, at.x, at.y).grown(apart / 2)))
        for spot in islice(free, count):
            marks += _settlement(spot.x, spot.y, hand, next(words), room)
    return marks


def _words(dice: Random) -> list[Iterator[str]]:
    """The names for every rank of settlement."""
    pairs = [head + tail for head in _TOWN_HEADS for tail in _TOWN_TAILS]
    farms = [f"{head} {tail}" for head in _TOWN_HEADS for tail in _FARM_TAILS]
    for words in (pairs, farms):
        dice.shuffle(words)
    towns = cycle((*_TOWNS, *pairs))
    return [cycle(_CITIES), towns, towns, towns, towns, cycle(farms)]


def _great_names(sheet: Sheet, room: Room) -> list[Mark]:
    """The names of seas, of mountains and of provinces."""
    marks = []
    for text, hand, across, down, tilt in _GREAT:
        at = sheet.middle[0] + across * sheet.unit, sheet.middle[1] + down * sheet.unit
        marks.append(hand.line(at, text, tilt=tilt))
        room.take(hand.box(at, text).grown(abs(tilt) * 3))
    return marks


def _settlement(x: float, y: float, hand: Hand, name: str, room: Room) -> list[Mark]:
    """A settlement with its name on the first side that has room for it, or nothing."""
    sign, gap = Box(x, y, x, y).grown(hand.size * 0.3), hand.size * 0.5
    for dx, dy, anchor in ((gap, gap / 2, "start"), (-gap, gap / 2, "end"), (0, -gap, "middle")):
        at = x + dx, y + dy
        if room.claim(hand.box(at, name, anchor)):
            room.take(sign)
            dot = (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{hand.size * 0.24:.1f}" stroke="{INK}" '
                f'stroke-width="{hand.size / 12:.1f}" fill="{RUBRIC if hand.look else PAPER}"/>'
            )
            return [hand.line(at, name, anchor), Mark(sign, dot)]
    return []


def woods(land: Sequence[Spot], room: Room) -> list[Mark]:
    """Trees, pines on the heights, wherever a wood stands and nothing is written."""
    marks = []
    for x, y, height, growth in land:
        here = Box(x, y, x, y).grown(9)
        if growth > height * 0.5 and height < _TREE_LINE and room.claim(here.grown(-4)):
            tree = _PINE if height > _PINES else _OAK
            marks.append(path(here, f"M{x:.0f} {y + 9:.0f}{tree}", "#93a068", "#4d5a3a", 1.3))
    return marks
