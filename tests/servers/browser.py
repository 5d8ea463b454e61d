"""A headless Chromium with a profile of its own, driven through WebDriver."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.servers.process import find_command

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-proxy-server",
)


@contextmanager
def chromium(profile: Path, width: int = 1280, height: int = 800, javascript: bool = True) -> Iterator[Chrome]:
    """Lend a browser; without `javascript` it runs no scripts of the pages."""
    options = ChromeOptions()
    options.binary_location = find_command("chromium", "chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    driver = find_command("chromedriver", "chromium-driver")
    service = ChromeService(driver, env=env | {"HOME": str(profile.parent)})
    browser = Chrome(options=options, service=service)
    try:
        browser.set_page_load_timeout(60)
        yield browser
    finally:
        browser.quit()
