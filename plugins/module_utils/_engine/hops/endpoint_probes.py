# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Each endpoint is probed in its own thread, so that one that does not answer delays nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core import workers
from ..core.blame import Probe
from ..core.errors import JobStopped, StoreError
from ..store.endpoint import Endpoint


class Probes:
    """Probes endpoints, each with one probe at a time. Any thread may call this.

    `on_refusal` receives permanent errors, and errors that ended a thread here.
    """

    def __init__(self, name: str, on_refusal: Callable[[BaseException], None]) -> None:
        self._name = name
        self._on_refusal = on_refusal
        self._is_refused = False
        self._changed = threading.Condition()
        self._asked: set[str] = set()  # URLs of the endpoints that are being probed
        self._questions: dict[str, list[Callable[[Probe], None]]] = {}  # by URL

    def is_asked(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint is being probed now."""
        return endpoint.url in self._asked

    def ask(self, endpoint: Endpoint, question: Callable[[Probe], None] | None = None) -> None:
        """Probe an endpoint; `question` is called from the thread of a probe that began after this call."""
        with self._changed:
            if question:
                self._questions.setdefault(endpoint.url, []).append(question)
            if endpoint.url in self._asked:
                return
            self._asked.add(endpoint.url)
        workers.start(lambda: self._probe(endpoint), self._name, self._refuse)

    def wait(self, is_enough: Callable[[], bool]) -> None:
        """Wait until `is_enough`, or until no probe is in progress."""
        with self._changed:
            while not is_enough() and self._asked:
                self._changed.wait(0.1)

    def _refuse(self, error: BaseException) -> None:
        self._is_refused = True
        self._on_refusal(error)

    def _probe(self, endpoint: Endpoint) -> None:
        is_asked = True
        while is_asked:
            with self._changed:
                questions = self._questions.pop(endpoint.url, [])
            try:
                found = self._found(endpoint)
                for answer in questions:
                    answer(found)
            except Exception as error:
                self._refuse(error)
            with self._changed:
                is_asked = endpoint.url in self._questions and not self._is_refused
                if not is_asked:
                    self._asked.discard(endpoint.url)
                self._changed.notify_all()

    def _found(self, endpoint: Endpoint) -> Probe:
        try:
            endpoint.probe()
        except JobStopped as error:
            self._refuse(error)
            return Probe.REFUSES
        except StoreError as error:
            endpoint.health.failed_to_answer(str(error))
            return Probe.DOWN
        endpoint.answered()
        return Probe.WELL
