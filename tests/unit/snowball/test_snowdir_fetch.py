# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowdir_fetch as Ansible runs it: AWS's answers come from botocore's Stubber, manifests from a server."""

from __future__ import annotations

import importlib
import json
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

pytestmark = pytest.mark.usefixtures("collection")

MODULE = "ansible_collections.edgeops.snowsync.plugins.modules.snowdir_fetch"
FIRST = "JID8ca334a9-0d5a-4c11-bd0b-4e5a3ff9b0a1"
SECOND = "JID11bb4a6e-9f2a-43d8-8be1-0bd2f1a4e7c2"
CODES = {FIRST: "7c0e1-bab84-f7675-0a2b6-f8k33", SECOND: "11111-22222-33333-44444-55555"}
ENDPOINT = "https://198.51.100.7"
SIGNATURE = "X-Amz-Signature=0badc0de"


class Aws:
    """What AWS is going to answer, in order, and the manifests behind its URLs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = boto3.client(
            "snowball", region_name="eu-central-1", aws_access_key_id="AKIA", aws_secret_access_key="secret"
        )
        self.stubber = Stubber(self.client)
        self.stubber.activate()

    def lists(self, *pages: dict[str, str]) -> None:
        """Each page is a mapping of job id to state."""
        for number, page in enumerate(pages):
            answer: dict[str, Any] = {
                "JobListEntries": [{"JobId": job, "JobState": state} for job, state in page.items()]
            }
            if number + 1 < len(pages):
                answer["NextToken"] = str(number + 1)
            self.stubber.add_response("list_jobs", answer, {"NextToken": str(number)} if number else {})

    def has(self, *jobs: str, code: str = "") -> None:
        for job in jobs:
            self.gives_url(job, f"{self.url}/{job}?{SIGNATURE}")
            self.stubber.add_response("get_job_unlock_code", {"UnlockCode": code or CODES[job]}, {"JobId": job})

    def gives_url(self, job: str, url: str) -> None:
        self.stubber.add_response("get_job_manifest", {"ManifestURI": url}, {"JobId": job})

    def refuses(self, method: str, code: str) -> None:
        self.stubber.add_client_error(method, code, "refused")


class Manifests(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        job = self.path.split("?")[0].strip("/")
        body = b"" if job == "empty" else f"manifest of {job}".encode()
        self.send_response(403 if job == "denied" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Manifests) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    made = Aws(server)
    monkeypatch.setattr(importlib.import_module(MODULE), "client_of", lambda options: made.client)
    return made


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snowdirs"


@pytest.fixture
def run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the module; returns what it returns, after a look for secrets in it."""
    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module(MODULE)

    def call(*, check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {
            "path": str(folder),
            "region": "eu-central-1",
            **options,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": str(tmp_path),
            "_ansible_keep_remote_files": False,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit) as exit_info:
            module.main()
        printed = capsys.readouterr()
        assert not [secret for secret in (*CODES.values(), SIGNATURE) if secret in printed.out + printed.err]
        result: dict[str, Any] = json.loads(printed.out)
        assert (exit_info.value.code != 0) == bool(result.get("failed"))
        return result

    return call


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_jobs_that_are_with_the_customer_become_snowdirs(run: Run, aws: Aws, folder: Path) -> None:
    aws.lists({"JIDgone": "Complete", FIRST: "WithCustomer"}, {SECOND: "WithCustomer", "JIDnew": "InTransitToCustomer"})
    aws.has(FIRST, SECOND)
    result = run()
    assert result["changed"] is True
    assert [(each["job_id"], each["changed"], each["incomplete"]) for each in result["snowdirs"]] == [
        (FIRST, True, True),
        (SECOND, True, True),
    ]
    assert contents(folder) == {
        f"{job}/{name}": text
        for job in (FIRST, SECOND)
        for name, text in {
            f"{job}_manifest.bin": f"manifest of {job}",
            "sbe_config.yaml": f'unlock_key: "{CODES[job]}"\n',
        }.items()
    }
    assert {mode(path) for path in [folder, *folder.iterdir()]} == {0o700}
    assert {mode(path) for path in folder.rglob("*") if path.is_file()} == {0o600}
    aws.stubber.assert_no_pending_responses()


NAMED = {"job_id": FIRST, "name": "sbe-01", "endpoint": ENDPOINT}


def test_the_inventory_plugin_finds_what_was_fetched(run: Run, aws: Aws, folder: Path, tmp_path: Path) -> None:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader

    aws.has(FIRST)
    assert run(jobs=[NAMED])["snowdirs"][0]["incomplete"] is False
    source = tmp_path / "snowdirs.yml"
    source.write_text("plugin: edgeops.snowsync.snowdirs\npath: snowdirs\n")
    inventory = InventoryManager(loader=DataLoader(), sources=[str(source)])
    assert [host.name for host in inventory.get_hosts("unlockable")] == ["sbe-01"]
    variables = inventory.get_host("sbe-01").get_vars()
    assert (variables["snowball_endpoint"], variables["snowball_unlock_code"]) == (ENDPOINT, CODES[FIRST])


def test_a_second_run_changes_nothing(run: Run, aws: Aws, folder: Path) -> None:
    aws.has(FIRST, FIRST)
    run(jobs=[NAMED])
    before = contents(folder)
    assert run(jobs=[NAMED])["changed"] is False
    assert contents(folder) == before


def test_check_mode_says_so_and_writes_nothing(run: Run, aws: Aws, folder: Path) -> None:
    aws.has(FIRST, FIRST, FIRST)
    assert run(jobs=[NAMED], check=True)["changed"] is True
    assert not folder.exists()
    run(jobs=[NAMED])
    assert run(jobs=[NAMED], check=True)["changed"] is False


def test_a_renamed_snowdir_keeps_its_name(run: Run, aws: Aws, folder: Path) -> None:
    aws.has(FIRST, FIRST)
    run(jobs=[NAMED])
    result = run(jobs=[{"job_id": FIRST}])
    assert (result["changed"], result["snowdirs"][0]["name"]) == (False, "sbe-01")


def test_another_manifest_is_never_overwritten_and_the_others_are_fetched(run: Run, aws: Aws, folder: Path) -> None:
    (folder / "sbe-01").mkdir(parents=True)
    (folder / "sbe-01/manifest.bin").write_text("of another job")
    aws.gives_url(FIRST, f"{aws.url}/{FIRST}")
    aws.has(SECOND)
    result = run(jobs=[NAMED, {"job_id": SECOND, "name": "sbe-02"}])
    assert result["failed"] and "snowdir sbe-01 has another one (manifest.bin)" in result["msg"]
    assert [bool(each["problem"]) for each in result["snowdirs"]] == [True, False]
    assert contents(folder / "sbe-01") == {"manifest.bin": "of another job"}
    assert set(contents(folder / "sbe-02")) == {f"{SECOND}_manifest.bin", "sbe_config.yaml"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("# ours\nunlock_key: !vault |\n  $ANSIBLE_VAULT;1.1\nendpoint_url: https://203.0.113.1\n", ["endpoint_url"]),
        ("unlock_key: \"{{ lookup('env', 'CODE') }}\"\nendpoint_url: 'https://198.51.100.7'", []),
        ("unlock_key: aaaaa-bbbbb-ccccc-ddddd-eeeee\nendpoint_url: https://198.51.100.7\n", ["unlock_key"]),
        ("$ANSIBLE_VAULT;1.1;AES256\n3032\n", ["sbe_config.yaml"]),
    ],
)
def test_what_the_operator_wrote_stays(run: Run, aws: Aws, folder: Path, text: str, kept: list[str]) -> None:
    (folder / "sbe-01").mkdir(parents=True)
    (folder / "sbe-01/sbe_config.yaml").write_text(text)
    aws.has(FIRST)
    result = run(jobs=[NAMED])
    assert result["snowdirs"][0]["kept"] == kept
    assert (folder / "sbe-01/sbe_config.yaml").read_text() == text


def test_what_is_missing_is_added_and_modes_are_mended(run: Run, aws: Aws, folder: Path) -> None:
    (folder / "sbe-01").mkdir(parents=True, mode=0o755)
    config = folder / "sbe-01/sbe_config.yaml"
    config.write_text("host: edge1")
    aws.has(FIRST)
    run(jobs=[NAMED])
    assert config.read_text() == f'host: edge1\nendpoint_url: "{ENDPOINT}"\nunlock_key: "{CODES[FIRST]}"\n'
    assert (mode(folder / "sbe-01"), mode(config)) == (0o700, 0o600)


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("get_job_manifest", "InvalidJobStateException", "wait for its arrival"),
        ("get_job_manifest", "InvalidResourceException", "Check the job ID"),
        ("get_job_manifest", "ThrottlingException", "Check the credentials"),
    ],
)
def test_a_refusal_says_what_to_do(run: Run, aws: Aws, folder: Path, method: str, code: str, words: str) -> None:
    aws.refuses(method, code)
    result = run(jobs=[NAMED])
    assert result["failed"] and FIRST in result["msg"] and code in result["msg"] and words in result["msg"]
    assert not folder.exists()


def test_an_account_that_may_not_list_says_what_to_allow(run: Run, aws: Aws) -> None:
    aws.refuses("list_jobs", "AccessDeniedException")
    result = run()
    assert result["failed"] and "Allow snowball:ListJobs" in result["msg"]


@pytest.mark.parametrize(("path", "cause"), [("denied", "403"), ("empty", "it is empty")])
def test_a_download_that_fails_does_not_tell_the_url(run: Run, aws: Aws, folder: Path, path: str, cause: str) -> None:
    aws.gives_url(FIRST, f"{aws.url}/{path}?{SIGNATURE}")
    result = run(jobs=[NAMED])
    assert result["failed"] and cause in result["msg"] and "Run the task again" in result["msg"]
    assert not folder.exists()


@pytest.mark.parametrize("names", [("a", "a"), ("../a", "b"), ("-a", "b")])
def test_names_that_cannot_be_are_refused_before_anything_is_asked(run: Run, aws: Aws, names: tuple[str, str]) -> None:
    jobs = [{"job_id": job, "name": name} for job, name in zip((FIRST, SECOND), names, strict=True)]
    assert "Failed to name the snowdirs" in run(jobs=jobs)["msg"]


def test_without_a_region_it_says_what_to_give(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    result = run(region=None)
    assert result["failed"] and "Set region and credentials" in result["msg"]
