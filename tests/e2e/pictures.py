"""Takes the picture of the README anew (`make pictures`): the server without settings."""

import io
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from e2e.browsers import running_browser, visiting
from iiif_server.commands.sample import write_sample
from support.apps import running_process

TARGET = Path(__file__).parents[2] / "docs" / "images" / "viewer.png"
_LOADED = """() => {
    const item = document.getElementById("stage").osd?.world.getItemAt(0);
    return item?.getFullyLoaded();
}"""


def take(target: Path) -> None:
    """Write a picture of the viewer, with the sample sheet in it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_sample(folder / "data" / "source" / "sample" / "atlas.jpg")  # it would take its time
        server = stack.enter_context(running_process(folder=folder))
        visit = stack.enter_context(visiting(stack.enter_context(running_browser())))
        size = {"width": 1200, "height": 720}
        viewer = visit(f"{server.base}/sample:atlas.jpg/view", viewport=size, color_scheme="dark")
        viewer.page.wait_for_function(_LOADED)
        viewer.page.wait_for_load_state("networkidle")
        viewer.assert_clean()
        picture = Image.open(io.BytesIO(viewer.page.screenshot())).convert("RGB")
    picture.save(target, optimize=True)


if __name__ == "__main__":
    take(TARGET)
    sys.stdout.write(f"{TARGET}\n")
