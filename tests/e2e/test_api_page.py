"""Interactive API documentation in Chromium."""

from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from e2e.browsers import Visitor
from support.servers import running_server


def test_execute_of_each_operation_is_200(tmp_path: Path, visitor: Visitor) -> None:
    """The example is an image of this server, in whichever folder it is."""
    settings = '[types.maps]\nsource = "disk"\noriginal = "download"\n[types.aa]\nsource = "disk"'
    with running_server(tmp_path, settings) as server:
        path = server.source.parent / "maps" / "1901 & on" / "plan.jpg"
        path.parent.mkdir(parents=True)
        (server.source.parent / "aa").mkdir()
        Image.linear_gradient("L").resize((2000, 1500)).convert("RGB").save(path)
        visit = visitor(f"{server.url}/docs", viewport={"width": 1200, "height": 1600})
        page = visit.page
        operations = page.locator(".opblock")
        expect(operations.first).to_be_visible()
        answered = []
        for number in range(operations.count()):
            operation = operations.nth(number)
            operation.locator(".opblock-summary-control").click()
            before = len(visit.requested)
            operation.get_by_role("button", name="Execute").click()
            status = operation.locator(".live-responses-table .response-col_status").last
            expect(status).to_contain_text("200")
            answered.append(visit.requested[before])
            # A row for what is wanted, and one each for the errors of client and server.
            assert operation.locator(".responses-wrapper .responses-inner > div > table "
                                     "> tbody > tr.response").count() <= 4  # fmt: skip
            if number == 0:
                visit.screenshot("docs-first")
        assert len(answered) > 10
        assert page.locator(".live-responses-table img").count() >= 1  # images are shown
        visit.assert_clean()
