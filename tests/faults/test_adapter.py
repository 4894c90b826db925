# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source with the limits of a Snowball's S3 adapter: one unsorted V1 answer, whatever its size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from simulators.s3_store import start


@pytest.fixture
def adapter_rig(tmp_path: Path) -> Iterator[Rig]:
    with (
        start(tmp_path / "source-store", adapter=True) as source,
        start(tmp_path / "destination-store") as destination,
    ):
        rig = Rig(tmp_path, source, destination)
        rig.config["source"].update(list_version="v1", sorted=False)
        yield rig


def test_everything_comes_over_from_an_adapter(adapter_rig: Rig) -> None:
    adapter_rig.source.fill(SOURCE, 3000, 100, "folder/")
    adapter_rig.source.put(SOURCE, "multipart", os.urandom(18 << 20), part_size=8 << 20)
    plan = adapter_rig.snowsync("plan", "JOB")
    assert "3,001" in plan.stdout, plan.stderr
    code, summary, errors = adapter_rig.run()
    assert code == 0, errors
    assert summary["evidence"]["source"] == {"store_digest": 3001}
    assert adapter_rig.source.list(SOURCE) == adapter_rig.destination.list(DESTINATION)
    code, summary, errors = adapter_rig.run()
    assert (code, summary["changed"]) == (0, False), errors
    assert set(adapter_rig.source.counters()["operations"]) <= {"HeadBucket", "ListObjects", "HeadObject", "GetObject"}
    verified = adapter_rig.snowsync("verify", "JOB")
    assert verified.returncode == 0, verified.stdout


def test_nothing_is_begun_again_at_an_adapter_that_holds_it(tmp_path: Path) -> None:
    """There a multipart upload deletes the object of that key when it starts, and connections are counted."""
    with (
        start(tmp_path / "source-store") as source,
        start(tmp_path / "destination-store", adapter=True) as destination,
    ):
        rig = Rig(tmp_path, source, destination)
        rig.config["destination"].update(list_version="v1", sorted=False, max_connections=16)
        source.fill(SOURCE, 300, 100, "folder/")
        for number in range(4):
            source.put(SOURCE, f"multipart-{number}", os.urandom(18 << 20), part_size=8 << 20)
        destination.set_fault("latency", operation="UploadPart|PutObject", seconds=0.05)
        for number in range(1, 5):
            process = rig.start("--until-drained")
            wait_until(lambda wanted=30 * number: len(destination.list(DESTINATION)) >= wanted, "some are delivered")
            kill_group(process)
            process.communicate()
        code, _summary, errors = rig.run()
        assert code == 0, errors
        rig.assert_delivered()
        stored = set()
        for line in destination.log():
            assert line["operation"] != "CreateMultipartUpload" or line["key"] not in stored, line
            if line["operation"] == "CompleteMultipartUpload" and line["status"] == 200:
                stored.add(line["key"])
        assert len(stored) == 4
        assert destination.written_again(DESTINATION) == {}
        assert destination.counters()["connections"]["peak"] <= 16
