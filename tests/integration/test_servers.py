"""The servers the other tests rely on do what their fixtures say."""

import urllib.request
from pathlib import Path

import psycopg
import pytest
from selenium.webdriver import Chrome

from tests.servers.nginx import Nginx
from tests.servers.postgres import Postgres
from tests.servers.process import Process, ServerTrouble, find_command


def names_of_tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


def make_table(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE thing (id bigint)")


def test_each_test_gets_a_database_copied_from_its_template(postgres: Postgres) -> None:
    template = postgres.make_template("with_thing", make_table)
    with postgres.fresh_database(template) as first, postgres.fresh_database() as second:
        assert names_of_tables(first) == ["thing"]
        assert names_of_tables(second) == []


def test_what_postgres_committed_outlives_kill_9(durable_postgres: Postgres) -> None:
    with durable_postgres.fresh_database() as url:
        make_table(url)
        durable_postgres.kill9()
        with pytest.raises(psycopg.OperationalError):
            names_of_tables(url)
        durable_postgres.start()
        assert names_of_tables(url) == ["thing"]


def test_nginx_keeps_what_is_put(nginx: Nginx) -> None:
    request = urllib.request.Request(f"{nginx.url}/a/b.txt", data=b"hello", method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        assert answer.status == 201
    assert (nginx.root / "a" / "b.txt").read_bytes() == b"hello"


def test_the_browser_runs_scripts(browser: Chrome, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<title>old</title><script>document.title = 'new'</script>")
    browser.get(page.as_uri())
    assert browser.title == "new"


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ServerTrouble, match="no-such-server is missing: install the Debian package example"):
        find_command("no-such-server", "example")


def test_a_server_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo no luck today; exit 3"], tmp_path / "log")
    process.start()
    with pytest.raises(ServerTrouble, match="ended with 3; log:\nno luck today"):
        process.wait_ready(lambda: False)
