# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of the local filesystem is called, and which errors of a store stop a job."""

from __future__ import annotations

import errno

import pytest

from snowsync.core.errors import JobStopped, StoreError, Trouble, file_error, local_trouble, stop_if_refused


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (errno.ENOSPC, Trouble.SPACE),
        (errno.EDQUOT, Trouble.SPACE),
        (errno.EFBIG, Trouble.TOO_LARGE),
        (errno.EROFS, Trouble.READONLY),
        (errno.EIO, Trouble.IO),
        (errno.ENOENT, Trouble.IO),
        (None, Trouble.IO),
    ],
)
def test_errors_of_the_filesystem_have_their_own_words(number: int | None, trouble: Trouble) -> None:
    error = OSError() if number is None else OSError(number, "words")
    assert local_trouble(error) is trouble


def test_the_error_of_a_file_says_what_was_being_done() -> None:
    error = file_error("fetch 'a' from b", OSError(errno.ENOSPC, "No space left on device"))
    assert error.trouble is Trouble.SPACE
    assert str(error) == "Failed to fetch 'a' from b: local file error: [Errno 28] No space left on device"


@pytest.mark.parametrize("trouble", [Trouble.CREDENTIAL, Trouble.BUCKET])
def test_a_refusal_stops_the_job_and_says_all_that_the_store_said(trouble: Trouble) -> None:
    refused = StoreError(trouble, "list the bucket", "no such thing", code="Code", status=403)
    with pytest.raises(JobStopped) as caught:
        stop_if_refused(refused)
    stopped = caught.value
    assert (stopped.trouble, stopped.code, stopped.status, str(stopped)) == (trouble, "Code", 403, str(refused))


@pytest.mark.parametrize(
    "trouble", [trouble for trouble in Trouble if not trouble.stops_job], ids=lambda trouble: trouble.value
)
def test_nothing_else_stops_it(trouble: Trouble) -> None:
    stop_if_refused(StoreError(trouble, "list the bucket", "words"))
