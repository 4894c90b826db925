# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a hand: renewed when the parent says so, and looked at when a request was rejected."""

from __future__ import annotations

from pathlib import Path

from snowsync.config.credentials import Credentials
from snowsync.movers.hands.channel import Message
from snowsync.movers.hands.hand_keys import HandKeys, say_keys
from snowsync.movers.hands.messages import LOOK


def message(secret: str, *, may_change: bool = False) -> Message:
    return say_keys(Credentials("key", secret, "token", Path("/file"), "profile"), may_change=may_change)


class Parent:
    """Answers a hand that asks; None: it does not."""

    def __init__(self, *answers: Message) -> None:
        self.asked: list[Message] = []
        self.answers = list(answers)
        self.keys = HandKeys(message("old"), self._ask)

    def _ask(self, said: Message) -> None:
        self.asked.append(said)
        self.keys.take(self.answers.pop(0))


def test_the_same_keys_stay_the_same_object() -> None:
    keys = Parent().keys
    before = keys.current()
    keys.take(message("old", may_change=True))
    assert keys.current() is before
    assert keys.may_change()
    keys.take(message("new"))
    assert (keys.current().access_key, keys.current().secret_key, keys.current().session_token) == (
        "key",
        "new",
        "token",
    )
    assert not keys.may_change()


def test_the_parent_is_asked_and_its_answer_is_used() -> None:
    parent = Parent(message("old"), message("new"))
    assert not parent.keys.look()
    assert parent.keys.look()
    assert parent.asked == [(LOOK,), (LOOK,)]
    assert parent.keys.current().secret_key == "new"


def test_no_key_shows_in_a_representation() -> None:
    assert "old" not in repr(Parent().keys.current())
