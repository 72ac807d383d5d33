"""The frame of the chart and what stands in it: graticule, title and compass rose."""

from iiif_server.commands.sample.ink import BOLD, INK, ITALIC, PAPER, RUBRIC, Hand, Mark, path
from iiif_server.commands.sample.sheet import FRAME, Box, Point, Room, Sheet

_DEGREE = 1000.0
_ROSE = 470.0
_TITLE = (
    (200, "A New & Accurate Chart", Hand(96, INK, ITALIC, 0.02)),
    (306, "OF THE ISLAND OF", Hand(50, INK, "", 0.3)),
    (580, "TESSERA", Hand(290, RUBRIC, BOLD, 0.06)),
    (758, "with its Shores, Hills & Inland Parts,", Hand(72, INK, ITALIC)),
    (852, "wherein each Place is shewn at every Size", Hand(72, INK, ITALIC)),
    (984, "MDCCLI", Hand(56, INK, "", 0.4)),
    (1070, "Reader, thou hast come to the foot of the pyramid;", Hand(17, INK, ITALIC)),
    (1094, "there is nothing smaller than this.", Hand(12, INK, ITALIC)),
)


def furniture(sheet: Sheet, room: Room) -> list[Mark]:
    """The title and the compass rose, which keep their ground free of anything else."""
    left, top, _, bottom = sheet.chart
    title = Box(left + 150, top + 150, left + 2500, top + 1300)
    rose = Box(left + 430, bottom - 1820, left + 1370, bottom - 880)
    for box in (title, rose):
        room.take(box.grown(120))
    return [*_title(title), *_rose(rose)]


def _title(box: Box) -> list[Mark]:
    """The title of the sheet on a panel with notched corners."""
    middle = (box.left + box.right) / 2
    rules = "".join(f"M{middle - 620} {box.top + down}h1240" for down in (652, 900))
    return [
        path(box, _notched(box, 70), PAPER, wide=12),
        path(box, _notched(box.grown(-24), 63)),
        path(box, _notched(box.grown(-40), 58), stroke=RUBRIC, wide=4),
        path(box, rules),
        *(hand.line((middle, box.top + down), text) for down, text, hand in _TITLE),
    ]


def _notched(box: Box, cut: float) -> str:
    """The outline of a box whose corners are cut out."""
    left, top, right, bottom = box
    return (
        f"M{left + cut} {top}H{right - cut}v{cut}h{cut}V{bottom - cut}h{-cut}v{cut}"
        f"H{left + cut}v{-cut}h{-cut}V{top + cut}h{cut}z"
    )


def _rose(box: Box) -> list[Mark]:
    """The compass rose: rings, sixteen points that are dark on one side, and four letters."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    looks = (
        (_ROSE, f'stroke-width="7" fill="{PAPER}"'),
        (_ROSE * 0.93, 'stroke-width="44" stroke-dasharray="2 6.165" fill="none"'),
        (_ROSE * 0.86, 'stroke-width="4" fill="none"'),
        (_ROSE * 0.44, 'stroke-width="3" fill="#dfd6b4"'),
    )
    rings = "".join(f'<circle r="{radius}" stroke="{INK}" {look}/>' for radius, look in looks)
    points = ""
    for first, step, long, wide in ((1, 2, 270, 26), (2, 4, 320, 40), (0, 4, 400, 52)):
        for turn in range(first, 16, step):
            look = f'stroke="{INK}" stroke-width="2.5" transform="rotate({turn * 22.5})"'
            points += f'<path d="M0 0l{-wide} {-wide}L0 {-long}z" fill="{PAPER}" {look}/>'
            points += f'<path d="M0 0l{wide} {-wide}L0 {-long}z" fill="{RUBRIC}" {look}/>'
    hand, away = Hand(74, RUBRIC, BOLD), _ROSE + 55
    ends = zip("NESW", ((0, -away), (away, 0), (0, away), (-away, 0)), strict=True)
    return [
        Mark(box.grown(9), f'<g transform="translate({x} {y})">{rings}{points}</g>'),
        *(hand.line((x + dx, y + dy + 26), letter) for letter, (dx, dy) in ends),
    ]


def frame(sheet: Sheet) -> list[Mark]:
    """The frame, graduated and figured, the graticule, and the lines in the margins."""
    chart, low = sheet.chart, 2 * sheet.middle[1] - 112
    hand = Hand(38, INK, ITALIC, 0.02)
    rules = ((0, 5), (26, 3), (FRAME - 22, 3), (FRAME, 14), (FRAME + 20, 3))
    return [
        *(mark for by, wide in rules for mark in _edges(chart.grown(by), wide)),
        # A dashed line is a scale: fine ticks, and bars six times as long.
        *_edges(chart.grown(13), 26, 2, _DEGREE / 36 - 2),
        *_edges(chart.grown(FRAME - 33), 22, _DEGREE / 6, _DEGREE / 6),
        *_degrees(sheet),
        hand.line((chart.left, 150), "Atlas of Imaginary Islands", "start"),
        hand.line((chart.right, 150), "Plate XVII", "end"),
        hand.line((chart.left, low), "Surveyed by Perlin, coloured by hand", "start"),
        hand.line((chart.right, low), "No ship has ever found it", "end"),
    ]


def _edges(box: Box, wide: float, dash: float = 0, gap: float = 0) -> list[Mark]:
    """The four sides of a box, drawn from their middles so that dashes are the same both ways."""
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    dashes = f'stroke-dasharray="{dash} {gap}" stroke-dashoffset="{dash / 2}"'
    look = dashes if dash else 'stroke-linecap="square"'
    level = [_rule((x, at), (end, at), wide, look) for at in (top, bottom) for end in (left, right)]
    steep = [_rule((at, y), (at, end), wide, look) for at in (left, right) for end in (top, bottom)]
    return level + steep


def _rule(start: Point, end: Point, wide: float, look: str) -> Mark:
    """A level or an upright line."""
    box = Box(*map(min, start, end), *map(max, start, end))
    return path(box, f"M{start[0]} {start[1]}L{end[0]} {end[1]}", wide=wide, more=look)


def _degrees(sheet: Sheet) -> list[Mark]:
    """The lines of longitude and latitude, and their figures around the frame."""
    left, top, right, bottom = sheet.chart
    hand, away, faint = Hand(54), FRAME + 36, 'stroke-opacity="0.3"'
    marks = []
    for number in range(-20, 21):
        x, y = (middle + number * _DEGREE for middle in sheet.middle)
        if left < x < right:
            marks.append(_rule((x, top), (x, bottom), 2, faint))
            marks.append(hand.line((x, top - away), f"{18 + number}°"))
            marks.append(hand.line((x, bottom + away + 40), f"{18 + number}°"))
        if top < y < bottom:
            marks.append(_rule((left, y), (right, y), 2, faint))
            marks.append(hand.line((left - away, y + 19), f"{42 - number}°", "end"))
            marks.append(hand.line((right + away, y + 19), f"{42 - number}°", "start"))
    return marks
