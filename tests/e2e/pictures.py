"""Takes the pictures of the web pages that the documentation shows: ``python -m tests.e2e.pictures docs/images``."""

import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from tests.integration.rest import Rest
from tests.servers.browser import chromium
from tests.servers.dray import dray_server

WIDTH, HEIGHT = 1200, 1180
RUN = "2026-11-20/run 0041"


def fill(rest: Rest) -> None:
    """Bring in what an instrument would."""
    rest.upload("commissioning", {f"flat/{n:04}.tif": bytes(50_000) for n in range(12)})
    rest.upload("beamline-7", {f"{RUN}/frame_{n:04}.h5": bytes(300_000 + n) for n in range(96)})
    rest.upload("beamline-7", {f"{RUN}/notizen übergabe.txt": b"shutter was open", "README.md": b"beam time 41"})
    rest.upload("beamline-7", {f"{RUN}/notizen übergabe.txt": b"shutter was open, gain 4"})
    (large,) = rest.stage("beamline-7", {f"{RUN}/stack.zarr.zip": 3 << 30})
    rest.put(rest.url(large["upload"]), bytes(32 << 20))


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, dray_server(Path(scratch) / "server") as server:
        fill(Rest(server))
        file = Rest(server).get("/files?name=notizen").items[0]["file"]
        pages = {
            "now": "/",
            "files": f"/files?{urlencode({'dataset': 'beamline-7', 'prefix': RUN})}",
            "file": f"/file/{file}",
        }
        with chromium(Path(scratch) / "profile", WIDTH, HEIGHT) as browser:
            browser.get(server.url)
            browser.find_element("id", "token").send_keys(server.token)
            browser.find_element("css selector", ".login button").click()
            for name, page in pages.items():
                browser.get(server.url + page)
                time.sleep(1)
                browser.save_screenshot(str(target / f"{name}.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
