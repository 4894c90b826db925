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

from snowsync.config import credentials, job_file
from snowsync.core.errors import ConfigError

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


def test_section_of_a_config_file_is_a_profile(write_file: WriteFile) -> None:
    found = credentials.load(write_file(GOOD.replace("default", "profile field")), "field")
    assert (found.access_key, found.oddities) == (ACCESS, ("[profile field]",))


def test_section_of_a_credentials_file_goes_before_that_of_a_config_file(write_file: WriteFile) -> None:
    other = GOOD.replace("default", "profile field").replace(ACCESS, "OTHER")
    assert credentials.load(write_file(other + GOOD.replace("default", "field")), "field").access_key == ACCESS


def test_security_token_is_a_session_token_by_its_old_name(write_file: WriteFile) -> None:
    found = credentials.load(write_file(GOOD + f"aws_security_token = {TOKEN}\n"))
    assert (found.session_token, found.oddities) == (TOKEN, ("aws_security_token",))
    both = credentials.load(write_file(GOOD + f"aws_security_token = old\naws_session_token = {TOKEN}\n"))
    assert (both.session_token, both.oddities) == (TOKEN, ())


# --- what is refused ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[default]\naws_access_key_id=HUSH\n", "[default] aws_secret_access_key: is missing; add it"),
        (f"[default]\naws_secret_access_key={SECRET}\n", "[default] aws_access_key_id: is missing; add it"),
        ("[default]\naws_access_key_id=\naws_secret_access_key=hush\n", "[default] aws_access_key_id: is missing"),
        (GOOD + "  hush continued\n", "[default] aws_secret_access_key: contains white space"),
        (GOOD.replace(SECRET, "hush  # mine"), "[default] aws_secret_access_key: contains white space"),
        (
            GOOD.replace(SECRET, "hush\x01"),
            "[default] aws_secret_access_key: contains white space or characters that no",
        ),
        (
            GOOD.replace(SECRET, "hüsh"),
            "[default] aws_secret_access_key: contains white space or characters that no key",
        ),
        (
            GOOD.replace(SECRET, "'hush'"),
            "[default] aws_secret_access_key: starts with a quote; write the value without",
        ),
        (
            GOOD.replace(SECRET, '"hush"'),
            "[default] aws_secret_access_key: starts with a quote; write the value without",
        ),
        (GOOD + "aws_session_token=hush hush\n", "[default] aws_session_token: contains white space"),
        (GOOD + "hush\n", "line 4: is not `option = value`; fix it"),
        ("aws_secret_access_key=hush\n", "line 1: a line before the first [profile]; start the file with [default]"),
        ("hush", "line 1: a line before the first [profile]"),
        (GOOD + "aws_secret_access_key=hush2\n", "line 4: [default] has `aws_secret_access_key` twice; keep one"),
        (GOOD + GOOD, "line 4: the profile [default] occurs twice; keep one"),
        ("", "[default]: there is no such profile; profiles in the file: none"),
        (GOOD.replace("default", "field"), "[default]: there is no such profile; profiles in the file: field"),
        (b"[default]\naws_access_key_id=hush\xff\n", "is not UTF-8 text; write it again"),
        (
            "[default]\ncredential_process = /usr/bin/keys --hush\n",
            "[default] credential_process: not supported; run the program",
        ),
        (
            GOOD + "role_arn = arn:aws:iam::1:role/hush\n",
            "[default] role_arn: not supported; assume the role from a timer",
        ),
        (GOOD + "web_identity_token_file=/hush\n", "[default] web_identity_token_file: not supported; assume the role"),
        (
            "[default]\nsso_session = hush\n",
            "[default] sso_session: not supported, SSO needs a login; write the keys into this file with `aws",
        ),
        ("[default]\nsso_start_url = hush\n", "[default] sso_start_url: not supported, SSO needs a login"),
        ("[profile default]\naws_access_key_id=HUSH\n", "[profile default] aws_secret_access_key: is missing; add it"),
        ("[profile field]\n", "[default]: there is no such profile; profiles in the file: profile field"),
        (GOOD + "aws_security_token=hush hush\n", "[default] aws_session_token: contains white space"),
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
    assert refusal(path) == f"mode {mode:04o} lets others than its owner read it; chmod 600 {path}"


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
    assert refusal(tmp_path) == "cannot be read: Is a directory; check its type and owner"


# --- what is never shown ---


def test_credentials_do_not_show_themselves(write_file: WriteFile) -> None:
    path = write_file(GOOD + f"aws_session_token={TOKEN}\n")
    found = credentials.load(path)
    for shown in (repr(found), str(found), f"{found}", f"{found!r}", repr([found]), "%s" % found):  # noqa: UP031 - logging formats so
        assert "hush" not in shown.lower()
        assert str(path) in shown


# --- for a side of a job ---


def job_of(**stores: object) -> job_file.Job:
    return job_file.parse_job(
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
    assert credentials.for_side(job, "source").current().access_key == ACCESS


def test_file_of_the_job_goes_before_what_systemd_handed_over(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "handed-over"))
    job = job_of(destination={"bucket": "archive", "credentials_file": str(write_file())})
    assert credentials.for_side(job, "destination").current().access_key == ACCESS


def test_side_takes_what_systemd_handed_over(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(mode=0o440, name="destination")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = credentials.for_side(job_of(), "destination").current()
    assert (found.access_key, found.path) == (ACCESS, tmp_path / "destination")


def test_side_looks_below_etc_otherwise(write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials.default_path("photos", "source") == Path("/etc/snowsync/credentials/photos/source")
    monkeypatch.setattr(credentials, "CREDENTIALS_ROOT", tmp_path)
    os.mkdir(tmp_path / "photos")
    write_file(name="photos/destination")
    assert credentials.for_side(job_of(), "destination").current().path == tmp_path / "photos" / "destination"


def test_side_that_a_job_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"job photos.*\n.*source: is null, so it has no credentials"):
        credentials.for_side(job_of(), "source")


# --- credentials that change ---


def watched(path: Path) -> credentials.WatchedFile:
    return credentials.WatchedFile(lambda: path, "default")


def test_file_that_did_not_change_is_not_read_again(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = watched(write_file())
    monkeypatch.setattr(credentials, "load", None)
    assert not keys.look()
    assert keys.current() is keys.current()


@pytest.mark.parametrize("replaces", [False, True], ids=["written", "replaced"])
def test_file_that_changed_is_read_again(write_file: WriteFile, tmp_path: Path, replaces: bool) -> None:
    path = write_file()
    keys = watched(path)
    before = keys.current()
    written = write_file(GOOD.replace(ACCESS, "AKIANEWKEYS"), name="new" if replaces else "credentials")
    if replaces:
        written.replace(path)
    assert keys.look()
    assert (before.access_key, keys.current().access_key) == (ACCESS, "AKIANEWKEYS")
    assert not keys.look()


def test_file_is_looked_at_as_time_goes_by(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(credentials.time, "monotonic", lambda: now)
    keys = watched(write_file())
    write_file(GOOD.replace(ACCESS, "AKIANEWKEYS"))
    assert keys.current().access_key == ACCESS
    now += 1.0
    assert keys.current().access_key == "AKIANEWKEYS"


@pytest.mark.parametrize("damage", [lambda path: path.write_text("[default]\naws_acc"), lambda path: path.chmod(0o644),
                                    lambda path: path.unlink()], ids=["half", "open", "gone"])  # fmt: skip
def test_file_that_cannot_be_read_changes_nothing(
    write_file: WriteFile, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    path = write_file()
    keys = watched(path)
    damage(path)
    assert not keys.look() and not keys.look()
    assert keys.current().access_key == ACCESS
    (warning,) = caplog.messages
    assert "were not renewed" in warning and "hush" not in warning.lower()
    path.unlink(missing_ok=True)
    write_file(GOOD.replace(ACCESS, "AKIANEWKEYS"))
    assert keys.look() and keys.current().access_key == "AKIANEWKEYS"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda path: path.write_text(GOOD.replace(ACCESS, "AKIANEWKEYS")), id="the other key next"),
        pytest.param(lambda path: path.write_text(""), id="cut to nothing"),
        pytest.param(lambda path: path.unlink(), id="removed"),
    ],
)
def test_file_that_is_being_changed_is_waited_for(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch, first: Callable[[Path], object]
) -> None:
    path = write_file()
    keys = watched(path)
    first(path)
    keys.look()
    refused_with = keys.current()

    def finish(_seconds: float) -> None:
        path.unlink(missing_ok=True)
        write_file(GOOD.replace(ACCESS, "AKIANEWKEYS").replace(SECRET, "another"))

    monkeypatch.setattr(credentials.time, "sleep", finish)
    assert credentials.renewed_since(keys, refused_with)
    assert (keys.current().access_key, keys.current().secret_key) == ("AKIANEWKEYS", "another")


def test_file_that_nobody_finishes_is_not_waited_for_long(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(credentials.time, "monotonic", lambda: now)
    keys = watched(write_file())

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(credentials.time, "sleep", pass_time)
    assert not credentials.renewed_since(keys, keys.current())
    assert now == 1000.0, "keys that were refused from the first on"
    write_file("")
    assert not credentials.renewed_since(keys, keys.current())
    assert 1019.0 < now < 1021.0


def test_unit_sees_what_was_handed_over_after_its_start(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What systemd handed over stays as it was when the unit started."""
    for name in ("handed-over", "runtime"):
        os.mkdir(tmp_path / name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "handed-over"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "runtime"))
    write_file(name="handed-over/destination")
    keys = credentials.for_side(job_of(), "destination")
    assert keys.current().access_key == ACCESS
    path = write_file(GOOD.replace(ACCESS, "AKIANEWKEYS"), name="runtime/destination")
    assert keys.look()
    assert (keys.current().access_key, keys.current().path) == ("AKIANEWKEYS", path)
