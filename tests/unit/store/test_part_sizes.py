# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store tells of the parts of an object, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Head, Headers
from snowsync.store.part_sizes import all_parts, equal_parts, told_size

ETAG = f"{'a' * 32}-3"
OBJECT = Head(200, 100, ETAG, 0, Headers())


def telling(sizes: Sequence[int], *, etag: str = ETAG, count: int = 3) -> Callable[[int], Head]:
    return lambda number: Head(206, sizes[number - 1], etag, 0, Headers(), parts_count=count)


@pytest.mark.parametrize("sizes", [(40, 40, 20), (10, 50, 40), (98, 1, 1)])
@pytest.mark.parametrize("count", [3, 0])
def test_a_store_that_tells_is_believed(sizes: tuple[int, ...], count: int) -> None:
    ask = telling(sizes, count=count)
    assert told_size(ask, OBJECT, 1) == sizes[0]
    assert all_parts(ask, OBJECT, sizes[0]) == sizes


@pytest.mark.parametrize(
    "ask",
    [
        telling((100, 100, 100)),  # ignores the number
        telling((40, 40, 20), etag="b" * 32),  # speaks of the part, or of another object
        telling((40, 40, 20), count=2),
        telling((0, 0, 0)),
        telling((140, 40, 20)),
    ],
)
def test_what_cannot_be_of_this_object_is_not_told(ask: Callable[[int], Head]) -> None:
    assert told_size(ask, OBJECT, 1) == 0


@pytest.mark.parametrize("sizes", [(40, 40, 40), (40, 0, 60), (40, 100, 20), (40, 40, 19)])
def test_parts_that_do_not_make_up_the_object_are_no_layout(sizes: tuple[int, ...]) -> None:
    assert all_parts(telling(sizes), OBJECT, 40) == ()


@pytest.mark.parametrize("trouble", list(Trouble))
def test_a_store_that_fails_is_not_one_that_refuses_the_question(trouble: Trouble) -> None:
    def ask(number: int) -> Head:
        raise StoreError(trouble, "look", "no")

    if trouble.is_transient or trouble.stops_job or trouble is Trouble.NOT_FOUND:
        with pytest.raises(StoreError):
            told_size(ask, OBJECT, 1)
    else:
        assert told_size(ask, OBJECT, 1) == 0
        assert all_parts(ask, OBJECT, 40) == ()


@given(size=st.integers(1, 10_000), length=st.integers(1, 3000))
def test_equal_parts_make_up_the_object(size: int, length: int) -> None:
    sizes = equal_parts(size, length)
    assert sum(sizes) == size
    assert set(sizes[:-1]) <= {length}
    assert 0 < sizes[-1] <= length
