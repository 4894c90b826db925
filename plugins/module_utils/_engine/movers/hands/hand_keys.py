# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The keys of a hand: its parent watches their file, and passes them on. They are nowhere but in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ...config.credentials import Credentials
from .channel import Message
from .messages import KEYS, LOOK

_ANSWER_SECONDS = 10.0  # a parent that does not answer for so long is about to end


def say_keys(keys: Credentials, *, may_change: bool) -> Message:
    return KEYS, keys.access_key, keys.secret_key, keys.session_token, may_change


class HandKeys:
    """The `Keys` that the parent gave last. `ask` sends it a message."""

    def __init__(self, message: Message, ask: Callable[[Message], None]) -> None:
        self._ask = ask
        self._may_change = False
        self._changed = threading.Condition()
        self._answers = 0
        self._current = _credentials(message)

    def take(self, message: Message) -> None:
        """KEYS: the parent passes its current ones on."""
        with self._changed:
            if message[1:4] != _values(self._current):
                self._current = _credentials(message)
            self._may_change = message[4]
            self._answers += 1
            self._changed.notify_all()

    def current(self) -> Credentials:
        """The same object as long as nothing changed."""
        return self._current

    def look(self) -> bool:
        """Let the parent check at once whether they changed; True if they did."""
        with self._changed:
            before, answers = self._current, self._answers
            self._ask((LOOK,))
            self._changed.wait_for(lambda: self._answers > answers, _ANSWER_SECONDS)
            return self._current is not before

    def may_change(self) -> bool:
        """Whether a change began a moment ago and may not be complete."""
        return self._may_change


def _values(keys: Credentials) -> tuple[str, str, str]:
    return keys.access_key, keys.secret_key, keys.session_token


def _credentials(message: Message) -> Credentials:
    _kind, access_key, secret_key, session_token, _may_change = message
    return Credentials(access_key, secret_key, session_token, Path("/"), "")
