# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of the local filesystem is called."""

from __future__ import annotations

import errno

import pytest

from snowsync.errors import Trouble, file_error, local_trouble


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
    assert str(error) == "Failed to fetch 'a' from b: the local file says: [Errno 28] No space left on device"
