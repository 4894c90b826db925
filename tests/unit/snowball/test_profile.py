# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowball_profile, and what botocore reads from the files it writes."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_module

SECRET = "abcd/efgh+ijkl0123456789"
OLD_SECRET = "old0123456789/secret"
PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCARygAwIBAgIBADANBgkq\nhkiG9w0BAQUFADA=\n-----END CERTIFICATE-----\n"
KEYS = {"access_key": "AKIAEXAMPLE", "secret_key": SECRET}
OTHERS_CONFIG = "# mine\n[default]\nregion = eu-central-1\n\n[profile other]\r\nRegion=us-east-1\r\n; end\n"
OTHERS_CREDENTIALS = "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s3cr3t\n\n\n# last"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_module.load_collection()
    return tmp_path / "home" / ".aws"


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    def call(**options: Any) -> dict[str, Any]:
        places = {"config_file": str(folder / "config"), "credentials_file": str(folder / "credentials")}
        return run_module.run_module("snowball_profile", tmp_path, **{**places, **options})

    return call


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".snowsync.lock"]
    return {path.name: (path.read_bytes(), mode(path)) for path in found}


def session(monkeypatch: pytest.MonkeyPatch, folder: Path, profile: str) -> Any:
    import botocore.session

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    return botocore.session.Session(profile=profile)


@pytest.mark.parametrize("name", ["snowball-7", "default", "with blank", "r\u00fcckgabe", "#7; x=y"])
def test_botocore_reads_the_profile(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    result = run(profile=name, certificate=PEM, endpoint_url="https://192.0.2.10:8443", **KEYS)
    assert result["changed"] and result["ca_bundle"] == str(folder / f"{name}.pem")
    read = session(monkeypatch, folder, name)
    assert read.get_config_variable("region") == "snow"
    assert read.get_scoped_config()["output"] == "json"
    assert read.get_config_variable("ca_bundle") == str(folder / f"{name}.pem")
    assert read.get_config_variable("request_checksum_calculation") == "when_required"
    credentials = read.get_credentials()
    assert (credentials.access_key, credentials.secret_key) == (KEYS["access_key"], SECRET)
    assert (folder / f"{name}.pem").read_text() == PEM


def test_a_client_made_from_the_profile_goes_to_the_device(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(profile="sb", endpoint_url="https://192.0.2.10:8443", **KEYS)
    client = session(monkeypatch, folder, "sb").create_client("s3")
    assert client.meta.endpoint_url == "https://192.0.2.10:8443"
    assert client.meta.region_name == "snow"
    assert client.meta.config.response_checksum_validation == "when_required"


def test_modes(run: Run, folder: Path) -> None:
    run(profile="sb", certificate=PEM, **KEYS)
    found = {name: mode for name, (_text, mode) in tree(folder).items()}
    assert found == {"config": 0o600, "credentials": 0o600, "sb.pem": 0o644}
    assert mode(folder) == 0o700


def test_loose_credentials_are_closed_and_the_config_keeps_its_mode(run: Run, folder: Path) -> None:
    run(profile="sb", certificate=PEM, **KEYS)
    for name, loose in {"config": 0o640, "credentials": 0o644, "sb.pem": 0o600}.items():
        (folder / name).chmod(loose)
    result = run(profile="sb", certificate=PEM, diff=True, **KEYS)
    assert result["changed"]
    assert {name: mode for name, (_text, mode) in tree(folder).items()} == {
        "config": 0o640,
        "credentials": 0o600,
        "sb.pem": 0o644,
    }
    assert [diff["before"].splitlines()[0] for diff in result["diff"]] == ["# mode 0600", "# mode 0644"]


def test_a_secret_is_never_readable_by_others(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at every file that is moved, right after the move, where atomic_move corrects modes too late."""
    from ansible.module_utils.basic import AnsibleModule

    seen = []
    original = AnsibleModule.atomic_move

    def look(self: Any, source: str, target: str) -> None:
        original(self, source, target)
        seen.append((os.path.basename(target), mode(Path(target))))

    monkeypatch.setattr(AnsibleModule, "atomic_move", look)
    old = os.umask(0o022)
    try:
        run(profile="sb", **KEYS)
        (folder / "credentials").chmod(0o644)
        run(profile="sb", access_key="AKIAOTHER", secret_key="another/secret")
    finally:
        os.umask(old)
    assert seen == [("credentials", 0o600), ("config", 0o600), ("credentials", 0o600)]


def test_four_runs(run: Run, folder: Path) -> None:
    options = {"profile": "sb", "certificate": PEM, **KEYS}
    assert run(check=True, **options)["changed"]
    assert not folder.exists()
    assert run(**options)["changed"]
    made = tree(folder)
    assert not run(check=True, **options)["changed"]
    assert not run(**options)["changed"]
    assert tree(folder) == made


def test_others_stay_byte_for_byte_through_present_and_absent(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config").write_bytes(OTHERS_CONFIG.encode() + b"# \xff\n")
    (folder / "credentials").write_text(OTHERS_CREDENTIALS)
    run(profile="sb", certificate=PEM, **KEYS)
    config, credentials = ((folder / name).read_bytes() for name in ("config", "credentials"))
    assert config.startswith(OTHERS_CONFIG.encode() + b"# \xff\n[profile sb]\n")
    assert credentials.startswith(OTHERS_CREDENTIALS.encode() + b"\n[sb]\n")
    result = run(profile="sb", state="absent")
    assert result["changed"] and "ca_bundle" not in result
    assert (folder / "config").read_bytes() == OTHERS_CONFIG.encode() + b"# \xff\n"
    assert (folder / "credentials").read_text() == OTHERS_CREDENTIALS + "\n"
    assert not (folder / "sb.pem").exists()
    assert not run(profile="sb", state="absent")["changed"]


def test_options_of_the_profile_that_are_not_named_stay(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config").write_text("[profile sb]\nregion=us-east-1\ns3 =\n  addressing_style = path\ncli_pager=\n")
    (folder / "credentials").write_text("[sb]\naws_secret_access_key=x\nx_note = rack 3\n")
    run(profile="sb", **KEYS)
    assert (folder / "config").read_text() == (
        "[profile sb]\nregion=snow\ns3 =\n  addressing_style = path\ncli_pager=\noutput = json\n"
        "request_checksum_calculation = when_required\nresponse_checksum_validation = when_required\n"
    )
    assert (folder / "credentials").read_text() == (
        f"[sb]\naws_secret_access_key={SECRET}\nx_note = rack 3\naws_access_key_id = AKIAEXAMPLE\n"
    )


def test_the_sections_of_the_two_files_are_not_confused(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config").write_text("[sb]\nregion = a\n[profile 'sb']\nregion = b\n")
    (folder / "credentials").write_text("[profile sb]\naws_access_key_id = AKIAX\n")
    run(profile="sb", **KEYS)
    assert (folder / "config").read_text().startswith("[sb]\nregion = a\n[profile 'sb']\nregion = snow\n")
    assert (folder / "credentials").read_text().startswith("[profile sb]\naws_access_key_id = AKIAX\n[sb]\n")


def test_the_snowdir_names_the_profile_and_holds_its_keys(run: Run, folder: Path, tmp_path: Path) -> None:
    snowdir = tmp_path / "snowball-9"
    snowdir.mkdir()
    result = run(snowdir=f"{snowdir}/")
    assert result["profile"] == "snowball-9"
    assert not (folder / "credentials").exists()
    (snowdir / "keys.yaml").write_text(f"---\naws_access_key_id: AKIANINE\naws_secret_access_key: '{SECRET}'\n")
    run(snowdir=str(snowdir))
    assert (folder / "credentials").read_text() == (
        f"[snowball-9]\naws_access_key_id = AKIANINE\naws_secret_access_key = {SECRET}\n"
    )
    assert not run(snowdir=str(snowdir))["changed"]
    (snowdir / "keys.yaml").write_text("aws_access_key_id: AKIANINE\n")
    assert "unlock the device again" in run(snowdir=str(snowdir))["msg"]


def test_without_keys_the_credentials_file_is_not_touched(run: Run, folder: Path) -> None:
    run(profile="sb", **KEYS)
    (folder / "credentials").chmod(0o644)
    assert not run(profile="sb")["changed"]
    assert mode(folder / "credentials") == 0o644


def test_a_diff_shows_this_profile_only_and_no_secret(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "credentials").write_text(f"{OTHERS_CREDENTIALS}\n[sb]\naws_secret_access_key = {OLD_SECRET}\n")
    (folder / "config").write_text(f"[profile sb]\naws_session_token = {OLD_SECRET}\n[profile x]\nregion = a\n")
    result = run(profile="sb", check=True, diff=True, **KEYS)
    printed = str(result)
    assert OLD_SECRET not in printed and SECRET not in printed and "s3cr3t" not in printed
    assert "[profile x]" not in printed
    credentials, config = result["diff"]
    assert "aws_secret_access_key = ********\n" in credentials["before"]
    assert "aws_secret_access_key = ******** (changed)\n" in credentials["after"]
    assert "region = snow\n" in config["after"] and "region" not in config["before"]
    assert credentials["after_header"].endswith("credentials (profile sb)")


def test_a_link_stays_a_link(run: Run, folder: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "credentials").write_text("# here\n")
    folder.mkdir(parents=True)
    (folder / "credentials").symlink_to(dotfiles / "credentials")
    run(profile="sb", **KEYS)
    assert (folder / "credentials").is_symlink()
    assert (dotfiles / "credentials").read_text().startswith("# here\n[sb]\n")


def test_only_certificates_of_the_text_get_into_the_public_file(run: Run, folder: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIBVAIBADANBgk=\n-----END PRIVATE KEY-----\n"
    run(profile="sb", certificate=f"text\n{PEM}{key}{PEM.strip()}")
    assert (folder / "sb.pem").read_text() == PEM + PEM
    assert "no PEM certificate" in run(profile="sb", certificate=key)["msg"]


def test_a_bundle_elsewhere(run: Run, folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "trust" / "sb.pem"
    assert run(profile="sb", ca_bundle=str(bundle))["ca_bundle"] == str(bundle)
    assert not bundle.exists()
    run(profile="sb", ca_bundle=str(bundle), certificate=PEM)
    assert bundle.read_text() == PEM
    run(profile="sb", state="absent", ca_bundle=str(bundle))
    assert bundle.exists(), "a file that somebody named is not ours to delete"


@pytest.mark.parametrize("name", ["", " sb", "a]b", "a\nb", 'a"b', "a/b", "DEFAULT"])
def test_names_that_would_not_be_read_back_are_refused(run: Run, folder: Path, name: str) -> None:
    assert "Failed to name a profile" in run(profile=name, **KEYS)["msg"]
    assert not folder.exists()


@pytest.mark.parametrize("value", ["x\n[default]\ny = z", "x ", "\rx"])
def test_a_value_cannot_become_a_line_of_its_own(run: Run, folder: Path, value: str) -> None:
    result = run(profile="sb", access_key="AKIA", secret_key=value)
    assert "one line" in result["msg"] and value not in result["msg"]
    assert not folder.exists()


def test_a_profile_that_is_there_twice_is_an_error_that_names_the_file(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "credentials").write_text("[sb]\n[sb]\n")
    message = run(profile="sb", **KEYS)["msg"]
    assert str(folder / "credentials") in message and "lines 1, 2" in message
    assert (folder / "credentials").read_text() == "[sb]\n[sb]\n"


@pytest.mark.parametrize("options", [{}, {"profile": "sb", "access_key": "AKIA"}])
def test_options_that_do_not_suffice(run: Run, options: dict[str, Any]) -> None:
    assert run(**options)["failed"]


def _one_of_many(folder: str, number: int) -> None:
    os.environ["HOME"] = folder
    run_module.load_collection()
    run_module.run_module("snowball_profile", Path(folder), profile=f"sb{number}", **KEYS)


def test_many_tasks_at_once_lose_no_profile(tmp_path: Path) -> None:
    """The forks of a play change the same files at the same time."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    tasks = [context.Process(target=_one_of_many, args=(str(tmp_path), number)) for number in range(6)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert [task.exitcode for task in tasks] == [0] * 6
    headers = (tmp_path / ".aws" / "credentials").read_text().splitlines()[::3]
    assert sorted(headers) == [f"[sb{number}]" for number in range(6)]
    assert (tmp_path / ".aws" / "config").read_text().count("[profile sb") == 6
