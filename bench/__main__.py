"""Compare Dray with what a user would pick instead: python -m bench [CASE ...]; writes bench/RESULTS.md."""

import argparse
import datetime
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from bench import cases, report, s3, sftp
from bench.measure import alternate

HERE = Path(__file__).resolve().parent


def size(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = "large-up large-down small-up sftp-large sftp-small sftp-tiny s3-up s3-down s3-small"
    parser.add_argument("cases", nargs="*", help=f"{names} (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=size, default="1G", help="size of the large file, e.g. 256M")
    parser.add_argument("--files", type=int, default=10_000, help="number of small files")
    parser.add_argument("--work", type=Path, help="directory for files and servers (default: a temporary one)")
    return parser.parse_args()


def find_peers() -> cases.Peers:
    python = os.environ.get("BENCH_PYTHON") or sys.executable
    rclone = Path(python).with_name("rclone")
    return cases.Peers(str(rclone) if rclone.exists() else shutil.which("rclone") or "rclone", python)


def main() -> int:
    asked = options()
    known = [cases.large_up(asked.size), cases.large_down(asked.size), cases.small_up(asked.files, 10 * 1024)]
    known += sftp.all_cases(asked.size, asked.files)
    known += s3.all_cases(asked.size, asked.files)
    wanted = [case for case in known if not asked.cases or case.name in asked.cases]
    if unknown := set(asked.cases) - {case.name for case in known}:
        print(f"no such case: {' '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    peers = find_peers()
    work = asked.work or Path(tempfile.mkdtemp(prefix="dray-bench-"))
    try:
        for case in wanted:
            print(f"== {case.title}", flush=True)
            with cases.prepared(case, work, peers) as candidates:
                summaries = alternate(candidates, asked.rounds, lambda line: print(line, flush=True))
            report.store(HERE / "results", case, summaries, asked.rounds)
    finally:
        if asked.work is None:
            shutil.rmtree(work, ignore_errors=True)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    machine = (
        f"{os.cpu_count()} cores, {report.cpu_model()}, {report.memory()}, {platform.system()} {platform.release()}"
    )
    report.write(HERE, report.Context(when, machine, cases.versions(peers)))
    print(f"written: {HERE.name}/RESULTS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
