"""What iiif-validator 1.0.5 needs to run on a current Python, and to agree with Image API 3.0.

Nothing else of it is touched. Three checks call Python 2's urllib and an API that python-magic no
longer has; they are given the same checks in Python 3. Two checks of 3.0 contradict the
specification, and are given what it says.
"""

import sys
from types import ModuleType
from typing import Any
from urllib.request import urlopen

# format_jp2 and format_pdf import it, for the very calls that are replaced below.
sys.modules.setdefault("magic", ModuleType("magic"))

from iiif_validator.tests import (  # noqa: E402
    format_jp2,
    format_pdf,
    format_webp,
    size_noup,
    size_up,
)
from iiif_validator.tests.test import ValidatorError  # noqa: E402


def _format_check(format_: str, offset: int, signature: bytes) -> Any:
    def run(_: Any, result: Any) -> Any:
        with urlopen(result.make_url({"format": format_})) as response:
            start = response.read()[offset : offset + len(signature)]
        if start != signature:
            raise ValidatorError("format", start, signature, result)
        result.tests.append("format")
        return result

    return run


format_jp2.Test_Format_Jp2.run = _format_check("jp2", 0, b"\0\0\0\x0cjP  \r\n\x87\n")
format_pdf.Test_Format_Pdf.run = _format_check("pdf", 0, b"%PDF-")
format_webp.Test_Format_Webp.run = _format_check("webp", 8, b"WEBP")

_refuses_size = size_noup.Test_No_Size_Up.checkSize


def _check_not_upscaled(self: Any, result: Any, size: str) -> None:
    """`!2000,3000` of 1000x1000 is no error but 1000x1000.

    "The returned image must be as large as possible but not larger than the extracted region, w or
    h, or server-imposed limits" (Image API 3.0, 4.2).
    """
    if size != "!2000,3000":
        _refuses_size(self, result, size)
        return
    image = result.get_image({"size": size})
    self.validationInfo.check("size", image.size, (1000, 1000), result)


size_noup.Test_No_Size_Up.checkSize = _check_not_upscaled

_checks_size = size_up.Test_Size_Up.checkSize


def _check_upscaled(
    self: Any, result: Any, size: tuple[int, int], asked: str, message: str
) -> None:
    """`^max` is as large as the published limits allow, not the region's own size.

    "scaled to the maximum size permitted by maxWidth, maxHeight, or maxArea" (Image API 3.0, 4.2).
    """
    if asked == "^max":
        side = int(result.get_info()["maxArea"] ** 0.5)
        size = (side, side)
    _checks_size(self, result, size, asked, message)


size_up.Test_Size_Up.checkSize = _check_upscaled
