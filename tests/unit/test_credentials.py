# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials: found where the job or systemd says, refused when others can read them, never shown."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from snowsync import config, credentials
from snowsync.errors import ConfigError

ACCESS, SECRET, TOKEN = "AKIAHUSH", "hush/secret+key=", "hush-token"
GOOD = f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"

WriteFile = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_credentials_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(text: str | bytes = GOOD, mode: int = 0o600, name: str = "credentials") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def refusal(path: Path, profile: str = "default") -> str:
    """The one problem, after a look that no secret is in the error, its arguments, or its traceback."""
    with pytest.raises(ConfigError) as caught:
        credentials.load(path, profile)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert "hush" not in told.lower()
    assert caught.value.origin == str(path)
    (problem,) = caught.value.problems
    return problem


# --- reading ---


def test_profile_is_read(write_file: WriteFile) -> None:
    path = write_file(
        f"# keys\n{GOOD}\n[field]\nAWS_ACCESS_KEY_ID=A2\naws_secret_access_key=S%2\naws_session_token={TOKEN}\nregion=x"
    )
    default = credentials.load(path)
    assert (default.access_key, default.secret_key, default.session_token) == (ACCESS, SECRET, "")
    field = credentials.load(str(path), "field")
    assert (field.access_key, field.secret_key, field.session_token) == ("A2", "S%2", TOKEN)
    assert (field.path, field.profile) == (path, "field")


def test_byte_order_mark_and_windows_lines_are_read(write_file: WriteFile) -> None:
    path = write_file(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert credentials.load(path).secret_key == SECRET


def test_percent_and_hash_are_part_of_a_value(write_file: WriteFile) -> None:
    path = write_file("[default]\naws_access_key_id=a%(b)s\naws_secret_access_key=a#b;c%%\n")
    assert (credentials.load(path).access_key, credentials.load(path).secret_key) == ("a%(b)s", "a#b;c%%")


def test_default_section_lends_nothing_to_others(write_file: WriteFile) -> None:
    path = write_file(GOOD.replace("default", "DEFAULT") + "[field]\naws_access_key_id=A2\n")
    assert refusal(path, "field") == "[field] aws_secret_access_key: is missing; add it"


# --- what is refused ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[default]\naws_access_key_id=HUSH\n", "[default] aws_secret_access_key: is missing; add it"),
        (f"[default]\naws_secret_access_key={SECRET}\n", "[default] aws_access_key_id: is missing; add it"),
        ("[default]\naws_access_key_id=\naws_secret_access_key=hush\n", "[default] aws_access_key_id: is missing"),
        (GOOD + "  hush continued\n", "[default] aws_secret_access_key: holds white space"),
        (GOOD.replace(SECRET, "hush  # mine"), "[default] aws_secret_access_key: holds white space"),
        (GOOD.replace(SECRET, "hush\x01"), "[default] aws_secret_access_key: holds white space or characters that no"),
        (GOOD.replace(SECRET, "hüsh"), "[default] aws_secret_access_key: holds white space or characters that no key"),
        (
            GOOD.replace(SECRET, "'hush'"),
            "[default] aws_secret_access_key: begins with a quote; write the value without",
        ),
        (
            GOOD.replace(SECRET, '"hush"'),
            "[default] aws_secret_access_key: begins with a quote; write the value without",
        ),
        (GOOD + "aws_session_token=hush hush\n", "[default] aws_session_token: holds white space"),
        (GOOD + "hush\n", "line 4: is not `option = value`; mend it"),
        ("aws_secret_access_key=hush\n", "line 1: a line before the first [profile]; begin the file with [default]"),
        ("hush", "line 1: a line before the first [profile]"),
        (GOOD + "aws_secret_access_key=hush2\n", "line 4: [default] has `aws_secret_access_key` twice; keep one"),
        (GOOD + GOOD, "line 4: the profile [default] is there twice; keep one"),
        ("", "[default]: there is no such profile; profiles there: none"),
        (GOOD.replace("default", "field"), "[default]: there is no such profile; profiles there: field"),
        (b"[default]\naws_access_key_id=hush\xff\n", "is not a text in UTF-8; write it again"),
    ],
)
def test_wrong_file_is_explained_without_its_secrets(write_file: WriteFile, text: str | bytes, problem: str) -> None:
    assert refusal(write_file(text)).startswith(problem)


def test_both_missing_options_are_told_at_once(write_file: WriteFile) -> None:
    with pytest.raises(ConfigError) as caught:
        credentials.load(write_file("[default]\nregion = x\n"))
    assert caught.value.problems == [
        "[default] aws_access_key_id: is missing; add it",
        "[default] aws_secret_access_key: is missing; add it",
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_file_that_others_can_open_is_refused(write_file: WriteFile, mode: int) -> None:
    path = write_file(mode=mode)
    assert refusal(path) == f"mode {mode:04o} lets others than its owner in; chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_file_of_its_owner_alone_is_taken(write_file: WriteFile, mode: int) -> None:
    assert credentials.load(write_file(mode=mode)).access_key == ACCESS


def test_mode_of_the_file_counts_not_of_the_link_to_it(write_file: WriteFile, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(write_file(mode=0o644))
    assert "mode 0644" in refusal(link)


def test_mode_counts_not_for_what_systemd_handed_over(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(mode=0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "elsewhere"))
    assert "mode 0440" in refusal(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert credentials.load(path).access_key == ACCESS


def test_link_out_of_the_credentials_directory_is_looked_at(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over = tmp_path / "handed-over"
    handed_over.mkdir()
    (handed_over / "source").symlink_to(write_file(mode=0o644))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_over))
    assert "mode 0644" in refusal(handed_over / "source")


def test_absent_file_and_folder_are_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == "there is no such file; put the credentials there, mode 0600"
    assert refusal(tmp_path) == "cannot be read: Is a directory; look at its kind and owner"


# --- what is never shown ---


def test_credentials_do_not_show_themselves(write_file: WriteFile) -> None:
    path = write_file(GOOD + f"aws_session_token={TOKEN}\n")
    found = credentials.load(path)
    for shown in (repr(found), str(found), f"{found}", f"{found!r}", repr([found]), "%s" % found):  # noqa: UP031 - logging formats so
        assert "hush" not in shown.lower()
        assert str(path) in shown


# --- for a side of a job ---


def job_of(**stores: object) -> config.Job:
    return config.parse_job(
        {
            "job": "photos",
            "destination": {"bucket": "archive"},
            "volumes": [{"name": "a", "path": "/mnt/a", "drop_folder": "out"}],
            **stores,
        },
        "job.yml",
    )


def test_side_takes_the_file_and_profile_of_the_job(write_file: WriteFile) -> None:
    path = write_file(GOOD.replace("default", "field"))
    job = job_of(source={"bucket": "camera", "credentials_file": str(path), "profile": "field"})
    assert credentials.for_side(job, "source").access_key == ACCESS


def test_file_of_the_job_goes_before_what_systemd_handed_over(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "handed-over"))
    job = job_of(destination={"bucket": "archive", "credentials_file": str(write_file())})
    assert credentials.for_side(job, "destination").access_key == ACCESS


def test_side_takes_what_systemd_handed_over(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(mode=0o440, name="destination")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = credentials.for_side(job_of(), "destination")
    assert (found.access_key, found.path) == (ACCESS, tmp_path / "destination")


def test_side_looks_below_etc_otherwise(write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials.default_path("photos", "source") == Path("/etc/snowsync/credentials/photos/source")
    monkeypatch.setattr(credentials, "CREDENTIALS_ROOT", tmp_path)
    os.mkdir(tmp_path / "photos")
    write_file(name="photos/destination")
    assert credentials.for_side(job_of(), "destination").path == tmp_path / "photos" / "destination"


def test_side_that_a_job_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"job photos.*\n.*source: is null, so it has no credentials"):
        credentials.for_side(job_of(), "source")
