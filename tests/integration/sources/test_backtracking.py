"""Regular expressions that backtrack in other engines take linear time with RE2."""

import signal
from pathlib import Path

import httpx

from support.apps import base64_identifier, running_process

EXPRESSIONS = ["http://(a+)+/x", "http://([a-z]+)*", "http://(.*a){25}b"]
"""Each takes Python's own engine longer than anybody waits, and it cannot be interrupted."""


def test_a_url_on_which_an_expression_backtracks_stops_no_process(tmp_path: Path) -> None:
    """Neither while it is matched, nor when the server is told to end meanwhile."""
    settings = tmp_path / "settings.toml"
    types = "".join(
        f"[types.t{number}]\nsource = \"trusted_web\"\nregex = '{regex}'\n"
        for number, regex in enumerate(EXPRESSIONS)
    )
    settings.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f"image_pool_size = 1\nsize_pool_size = 1\n{types}"
    )
    with running_process("--config", str(settings)) as process:
        for number in range(len(EXPRESSIONS)):
            for length in (40, 3000):
                name = base64_identifier("http://" + "a" * length + "!")
                url = f"{process.base}/t{number}:{name}/info.json"
                assert httpx.get(url, trust_env=False, timeout=60).status_code == 400
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(60) == 0
