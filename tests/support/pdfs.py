"""PDFs written by hand."""

import zlib
from collections.abc import Sequence

LEFT, RIGHT = (200, 40, 40), (40, 60, 200)


def pdf(
    *,
    media: tuple[float, ...] = (0, 0, 144, 72),
    extra: str = "",
    content: str | None = None,
    packed: str = "",
    catalog: str = "",
    trailer: str = "",
    pages: int = 1,
    compressed: bool = False,
) -> bytes:
    """A PDF of one page: the left half of the MediaBox in one colour, the right one in another.

    `packed` is an entry of the dictionary of the content, which tells its filter. Of several
    `pages`, those behind the first are as wide as their number in points, and 72 high. If it is
    `compressed`, all objects but the content are in an object stream (ISO 32000-1, 7.5.7).
    """
    x, y, right, top = media
    half = (right - x) / 2
    if content is None:
        colours = [" ".join(f"{value / 255:.4f}" for value in c) for c in (LEFT, RIGHT)]
        content = (
            f"{colours[0]} rg {x} {y} {half} {top - y} re f "
            f"{colours[1]} rg {x + half} {y} {half} {top - y} re f"
        )
    box = " ".join(map(str, media))
    kids = ["3 0 R", *(f"{number} 0 R" for number in range(5, pages + 4))]
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {pages} >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents 4 0 R {extra} >>",
        f"<< /Length {len(content)} {packed} >>\nstream\n{content}\nendstream",
    ]
    objects += [
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {number} 72] /Contents 4 0 R >>"
        for number in range(2, pages + 1)
    ]
    if compressed:
        return _compressed(objects, content=4)
    data, offsets = "%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\n"
    end += f"startxref\n{len(data)}\n%%EOF"
    return (data + end).encode("latin-1")


def _compressed(objects: Sequence[str], content: int) -> bytes:
    numbers = [number for number in range(1, len(objects) + 1) if number != content]
    inside, index = len(objects) + 1, len(objects) + 2
    places, texts = "", ""
    for number in numbers:
        places += f"{number} {len(texts)} "
        texts += objects[number - 1] + "\n"
    packed = zlib.compress((places + texts).encode("latin-1"))
    entries = f"/N {len(numbers)} /First {len(places)} /Filter /FlateDecode"
    data = b"%PDF-1.7\n"
    offsets = {content: len(data)}
    data += b"%d 0 obj\n%s\nendobj\n" % (content, objects[content - 1].encode("latin-1"))
    offsets[inside] = len(data)
    data += _stream(inside, f"/Type /ObjStm {entries}", packed)
    offsets[index] = len(data)
    rows = [(2, inside, numbers.index(number)) for number in numbers]
    rows[content - 1 : content - 1] = [(1, offsets[content], 0)]
    rows = [(0, 0, 0), *rows, (1, offsets[inside], 0), (1, offsets[index], 0)]
    table = b"".join(kind.to_bytes(1) + a.to_bytes(4) + b.to_bytes(2) for kind, a, b in rows)
    head = f"/Type /XRef /Size {len(rows)} /W [1 4 2] /Root 1 0 R"
    return data + _stream(index, head, table) + b"startxref\n%d\n%%%%EOF" % offsets[index]


def _stream(number: int, entries: str, data: bytes) -> bytes:
    head = f"{number} 0 obj\n<< {entries} /Length {len(data)} >>\nstream\n"
    return head.encode() + data + b"\nendstream\nendobj\n"
