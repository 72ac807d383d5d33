"""PDFs written by hand."""

LEFT, RIGHT = (200, 40, 40), (40, 60, 200)


def pdf(
    *,
    media: tuple[float, ...] = (0, 0, 144, 72),
    extra: str = "",
    content: str | None = None,
    packed: str = "",
    trailer: str = "",
    pages: int = 1,
) -> bytes:
    """A PDF of one page: the left half of the MediaBox in one colour, the right one in another.

    `packed` is an entry of the dictionary of the content, which tells its filter. Of several
    `pages`, those behind the first are as wide as their number in points, and 72 high.
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
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {pages} >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents 4 0 R {extra} >>",
        f"<< /Length {len(content)} {packed} >>\nstream\n{content}\nendstream",
    ]
    objects += [
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {number} 72] /Contents 4 0 R >>"
        for number in range(2, pages + 1)
    ]
    data, offsets = "%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\n"
    end += f"startxref\n{len(data)}\n%%EOF"
    return (data + end).encode("latin-1")
