"""Answers of the server as values of the seam."""

import pytest

from dray.model.names import RemotePath
from dray.model.values import Landing
from dray.model.views import StagedUpload
from dray.transports.dray_shapes import staged_of


@pytest.mark.parametrize(("state", "done"), [("pending", False), ("uploaded", True)])
def test_an_upload_that_came_whole_before_a_crash_takes_no_bytes_again(state: str, done: bool) -> None:
    landing = Landing(RemotePath("a.bin"), 3, "version")
    answer = StagedUpload(upload=1, path="a.bin", state=state, file=1, version_number=1, part_size=10)  # type: ignore[arg-type]
    assert staged_of(landing, answer).done is done
