# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handles and their connections: which are kept, which are closed for others, and how many crews may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snowsync.config.job_file import Store
from snowsync.store.connections import Permits
from snowsync.store.handle_pool import HandleMaker, HandlePool

CONNECTIONS = 4


MAKER = HandleMaker(Store(bucket="bucket"), "http://127.0.0.1:1", 1.0, 1.0)


def pool_of(permits: Permits | None) -> HandlePool:
    return HandlePool(MAKER, lambda: CONNECTIONS, permits)


@pytest.fixture
def permits() -> Permits:
    return Permits(8)


@pytest.fixture
def pool(permits: Permits) -> Iterator[HandlePool]:
    made = pool_of(permits)
    yield made
    made.close()


def free(permits: Permits) -> int:
    """How many connections a crew could take now."""
    count = permits.take_some(100)
    permits.give_back(count, of_set=True)
    return count


def test_a_handle_is_used_again_for_what_it_was_made_for(pool: HandlePool) -> None:
    head, body = pool.take(body=False), pool.take(body=True)
    pool.put_back(head, body=False)
    pool.put_back(body, body=True)
    assert pool.take(body=True) is body
    assert pool.take(body=False) is head


def test_an_idle_handle_is_closed_for_another_request() -> None:
    pool = pool_of(Permits(1))
    head = pool.take(body=False)
    pool.put_back(head, body=False)
    body = pool.take(body=True)  # it would wait forever otherwise
    pool.put_back(body, body=True)
    assert pool.take(body=False) is not head
    pool.close()


def test_a_whole_crew_is_kept(pool: HandlePool, permits: Permits) -> None:
    crew = pool.take_crew(CONNECTIONS)
    assert crew is not None
    assert (len(crew.transfers), len(crew.spare)) == (CONNECTIONS, 1)
    pool.put_back_crew(crew, CONNECTIONS)
    assert pool.take_crew(CONNECTIONS + 1) is crew
    pool.put_back_crew(crew, CONNECTIONS + 1)
    assert free(permits) == 2
    for _taken in range(6):
        permits.take()  # the last ones wait forever unless the idle crew is closed
    another = pool.take_crew(CONNECTIONS)
    assert another is not None and another is not crew
    pool.put_back_crew(another, CONNECTIONS)


@pytest.mark.parametrize(("first", "then"), [(4, 2), (2, 4), (4, 7), (6, 3)])
def test_a_kept_crew_that_is_too_large_or_much_too_small_is_replaced(first: int, then: int, permits: Permits) -> None:
    sizes = [first]
    pool = HandlePool(MAKER, lambda: sizes[-1], permits)
    crew = pool.take_crew(100)
    assert crew is not None and len(crew.transfers) == first
    pool.put_back_crew(crew, 100)
    sizes.append(then)
    other = pool.take_crew(100)
    assert other is not None
    is_kept = (first, then) == (4, 7)
    assert (other is crew) == is_kept
    assert len(other.transfers) == (first if is_kept else then)
    pool.put_back_crew(other, 100)
    assert free(permits) == 7 - len(other.transfers) - 1
    pool.close()


def test_a_small_crew_is_closed_at_once(pool: HandlePool, permits: Permits) -> None:
    crew = pool.take_crew(2)
    assert crew is not None
    assert (len(crew.transfers), len(crew.spare)) == (2, 1)
    assert permits.take_some(100) == 4
    permits.give_back(4, of_set=True)
    pool.put_back_crew(crew, 2)
    assert free(permits) == 7
    assert pool.take_crew(2) is not crew


def test_a_crew_is_as_large_as_connections_are_free(pool: HandlePool, permits: Permits) -> None:
    assert permits.take_some(4) == 4
    crew = pool.take_crew(CONNECTIONS)
    assert crew is not None
    assert (len(crew.transfers), len(crew.spare)) == (2, 1)
    assert pool.take_crew(1) is None, "one connection is left, for who takes one"
    pool.put_back_crew(crew, CONNECTIONS)


def test_a_crew_without_a_limit_reserves_nothing() -> None:
    pool = pool_of(None)
    crew = pool.take_crew(CONNECTIONS)
    assert crew is not None
    assert (len(crew.transfers), len(crew.spare)) == (CONNECTIONS, 0)
    assert pool.take_crew(0) is None
    pool.put_back_crew(crew, CONNECTIONS)
    pool.close()


def test_the_connection_of_a_body_read_as_it_comes_is_given_back_after_an_error() -> None:
    permits = Permits(2)
    pool = pool_of(permits)
    with pytest.raises(KeyError), pool.body_crew() as crew, pool.body_crew():
        assert len(crew.idle) == 1
        assert free(permits) == 0
        raise KeyError
    assert free(permits) == 1, "and one stays for who takes one"


@pytest.mark.parametrize("makes", ["a crew", "a crew for one body"])
def test_a_crew_for_which_no_descriptor_is_left_takes_no_connections(
    makes: str, pool: HandlePool, permits: Permits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor() -> None:
        raise OSError(24, "Too many open files")

    before = free(permits)
    monkeypatch.setattr("snowsync.store.multi.select.epoll", no_descriptor)
    with pytest.raises(OSError, match="Too many open files"):
        if makes == "a crew":
            pool.take_crew(CONNECTIONS)
        else:
            with pool.body_crew():
                pytest.fail("there is none")
    assert free(permits) == before


def test_a_crew_that_libcurl_gave_up_is_not_kept(pool: HandlePool, permits: Permits) -> None:
    crew = pool.take_crew(CONNECTIONS)
    assert crew is not None
    crew.multi.is_dead = True
    pool.put_back_crew(crew, CONNECTIONS)
    assert free(permits) == 7
    assert pool.take_crew(CONNECTIONS) is not crew
