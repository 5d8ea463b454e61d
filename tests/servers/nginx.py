"""An nginx that stores what is PUT: the WebDAV server users would pick instead."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import LOOPBACK, Process, answers, find_command, free_port

CONFIG = """
daemon off;
pid {base}/nginx.pid;
error_log stderr warn;
worker_processes auto;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_max_body_size 0;
    client_body_temp_path {base}/body;
    proxy_temp_path {base}/proxy;
    fastcgi_temp_path {base}/fastcgi;
    uwsgi_temp_path {base}/uwsgi;
    scgi_temp_path {base}/scgi;
    server {{
        listen {host}:{port};
        root {root};
        location / {{
            dav_methods PUT DELETE MKCOL COPY MOVE;
            create_full_put_path on;
            autoindex on;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    url: str
    root: Path
    process: Process


@contextmanager
def nginx_webdav(base: Path) -> Iterator[Nginx]:
    """Lend a WebDAV server that keeps its files in `base/root`, on the same file system as its upload buffer."""
    root, port, config = base / "root", free_port(), base / "nginx.conf"
    root.mkdir(parents=True)
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(base=base, root=root, host=LOOPBACK, port=port, user=user))
    command = [find_command("nginx", "nginx"), "-p", str(base), "-c", str(config), "-e", "stderr"]
    process = Process(command, base / "nginx.log")
    try:
        process.start()
        process.wait_ready(lambda: answers(port, "/"))
        yield Nginx(f"http://{LOOPBACK}:{port}", root, process)
    finally:
        process.stop()
