"""Renders the screenshot of the README again (`make pictures`), from a server without settings."""

import io
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from e2e.browsers import new_visitor, running_browser
from iiif_server.commands.sample import write_sample
from support.apps import running_process

TARGET = Path(__file__).parents[2] / "docs" / "images" / "viewer.png"
_LOADED = """() => {
    const item = document.getElementById("stage").osd?.world.getItemAt(0);
    return item?.getFullyLoaded();
}"""


def write_screenshot(target: Path) -> None:
    """Write a screenshot of the viewer with the sample sheet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_sample(folder / "data" / "source" / "sample" / "atlas.jpg")  # it would take its time
        server = stack.enter_context(running_process(folder=folder))
        visit = stack.enter_context(new_visitor(stack.enter_context(running_browser())))
        size = {"width": 1200, "height": 720}
        viewer = visit(f"{server.base}/sample:atlas.jpg/view", viewport=size, color_scheme="dark")
        viewer.page.wait_for_function(_LOADED)
        viewer.page.wait_for_load_state("networkidle")
        viewer.assert_clean()
        picture = Image.open(io.BytesIO(viewer.page.screenshot())).convert("RGB")
    picture.save(target, optimize=True)


if __name__ == "__main__":
    write_screenshot(TARGET)
    sys.stdout.write(f"{TARGET}\n")
