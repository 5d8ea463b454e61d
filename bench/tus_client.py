"""Upload files with tuspy, as its documentation shows: python tus_client.py URL CHUNK PATH..."""

import sys
from pathlib import Path

from tusclient import client


def main() -> None:
    url, chunk, *paths = sys.argv[1:]
    tus = client.TusClient(url)
    for path in paths:
        for file in sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]:
            if file.is_file():
                tus.uploader(str(file), chunk_size=int(chunk), metadata={"filename": file.name}).upload()


if __name__ == "__main__":
    main()
