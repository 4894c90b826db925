# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wrapper around `snowballEdge`: which device, which words, what it may see, how long it may take, what it says."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("collection")

PACKAGE = "ansible_collections.edgeops.snowsync.plugins.module_utils"
CODE = "0123a-bcdef-01234-56789-abcde"
PROFILE_FILE = ".aws/snowball/config/snowball-edge.config"

# A client that tells what it was given, and then does what the test has put into a file beside it.
CLIENT = """\
#!{python}
import json, os, stat, sys
folder = os.path.dirname(os.path.abspath(__file__))
profiles = os.path.join(os.environ["HOME"], {profile_file!r})
seen = {{"words": sys.argv[1:], "home": os.environ["HOME"], "java": os.environ.get("JAVA_TOOL_OPTIONS", "")}}
seen["leader"] = os.getpgrp() == os.getpid()
seen["input"] = sys.stdin.read()
if os.path.exists(profiles):
    seen.update(profiles=json.load(open(profiles)), modes=[])
    path = profiles
    while path != os.path.dirname(os.environ["HOME"]):
        seen["modes"].append(stat.S_IMODE(os.stat(path).st_mode))
        path = os.path.dirname(path)
with open(os.path.join(folder, "seen"), "a") as file:
    file.write(json.dumps(seen) + "\\n")
exec(open(os.path.join(folder, "does")).read())
"""


def utils(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


class Client:
    """A stand-in for the command: `does` is Python, `seen` what it was started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "snowballEdge"
        self.path.write_text(CLIENT.format(python=sys.executable, profile_file=PROFILE_FILE))
        self.path.chmod(0o755)
        self.does("")

    def does(self, code: str) -> None:
        (self.folder / "does").write_text(code)

    def says(self, text: str = "", *, error: str = "", code: int = 0) -> None:
        self.does(f"sys.stdout.write({text!r}); sys.stderr.write({error!r}); sys.exit({code})")

    @property
    def seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "seen").read_text().splitlines()]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Client(folder)


Snowdir = Callable[..., Path]


@pytest.fixture
def snowdir(tmp_path: Path) -> Snowdir:
    def make(config: str = f"unlock_key: {CODE}\nendpoint_url: https://192.0.2.1\n", name: str = "survey-1") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "JID1a-2b_manifest.bin").write_bytes(b"manifest")
        (folder / "sbe_config.yaml").write_text(config)
        return folder

    return make


Open = Callable[..., contextlib.AbstractContextManager[Any]]


@pytest.fixture
def opened(client: Client, tmp_path: Path) -> Open:
    """The wrapper for a module with these options, while Ansible keeps the files of modules, as it may be told to."""
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.testing import patch_module_args

    spec = utils("_snowball.argspec")

    @contextlib.contextmanager
    def make(**options: Any) -> Iterator[Any]:
        arguments = {"client": str(client.path), **options}
        (tmp_path / "tmp").mkdir(exist_ok=True)
        ansible = {"_ansible_tmpdir": str(tmp_path / "tmp"), "_ansible_keep_remote_files": True}
        with patch_module_args({**arguments, **ansible}):
            module = AnsibleModule(supports_check_mode=True, **(spec.DEVICE | spec.WAIT).as_arguments())
        with utils("_snowball.client").open_client(module) as made:
            yield made

    return make


@contextlib.contextmanager
def trouble(word: str) -> Iterator[list[Any]]:
    """The block raises a SnowballError of this kind; the list has it afterwards."""
    found: list[Any] = []
    with pytest.raises(utils("_snowball.errors").SnowballError) as info:
        yield found
    found.append(info.value)
    assert info.value.trouble == word


# -- the words, the profile file, the secret ------------------------------------------------------------------------


def test_the_code_travels_in_a_private_file_that_does_not_stay(client: Client, opened: Open, snowdir: Snowdir) -> None:
    folder = snowdir()
    with opened(snowdir=str(folder)) as device:
        device.unlock_device()
    (seen,) = client.seen
    assert seen["words"] == ["unlock-device", "--endpoint", "https://192.0.2.1", "--profile", "snowsync"]
    assert seen["profiles"] == {
        "version": 1,
        "profiles": {
            "snowsync": {
                "name": "snowsync",
                "jobId": "JID1a-2b",
                "unlockCode": CODE,
                "manifestPath": str(folder / "JID1a-2b_manifest.bin"),
                "defaultEndpoint": "https://192.0.2.1",
                "isCluster": False,
                "deviceIps": [],
            }
        },
    }
    assert seen["modes"][0] == 0o600 and set(seen["modes"][1:]) == {0o700}
    assert not os.path.exists(seen["home"])


def test_nothing_is_left_behind_by_an_error(client: Client, opened: Open, snowdir: Snowdir) -> None:
    client.says(error="no", code=1)
    with trouble("failed"), opened(snowdir=str(snowdir())) as device:
        device.unlock_device()
    assert not os.path.exists(client.seen[0]["home"])


@pytest.mark.skipif(shutil.which("java") is None, reason="shows what a real Java does, and there is none here")
def test_java_takes_the_private_folder_for_its_home(opened: Open, snowdir: Snowdir, client: Client) -> None:
    """The client is a Java program, and Java does not look at HOME."""
    environment = utils("_snowball.client").environment("/private/a folder")
    said = subprocess.run(
        ["java", "-XshowSettings:properties", "-version"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "user.home = /private/a folder\n" in said


def test_java_options_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dhttps.proxyHost=proxy")
    assert utils("_snowball.client").environment("/h") == {
        "HOME": "/h",
        "JAVA_TOOL_OPTIONS": "-Dhttps.proxyHost=proxy '-Duser.home=/h'",
    }
    assert utils("_snowball.client").environment("") == {}


def test_a_profile_of_the_user_is_left_to_the_client(
    client: Client, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for options, words in (
        ({"profile": "x"}, ["--profile", "x"]),
        ({"profile": "x", "endpoint": "https://192.0.2.9"}, ["--endpoint", "https://192.0.2.9", "--profile", "x"]),
        ({}, []),
    ):
        with opened(**options) as device:
            device.unlock_device()
        assert client.seen[-1]["words"] == ["unlock-device", *words]
        assert client.seen[-1]["home"] == str(tmp_path) and client.seen[-1]["java"] == ""


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("unlock_cluster", (["192.0.2.1", "192.0.2.2"],), ["--device-ip-addresses", "192.0.2.1", "192.0.2.2"]),
        ("stop_service", ("nfs",), ["--service-id", "nfs"]),
        ("start_service", ("ec2",), ["--service-id", "ec2"]),
        (
            "start_service",
            ("nfs", ["arn:1"], "AllowedHosts=192.0.2.0/24", ["192.0.2.1"]),
            ["--service-id", "nfs", "--virtual-network-interface-arns", "arn:1"]
            + ["--device-ip-addresses", "192.0.2.1", "--service-configuration", "AllowedHosts=192.0.2.0/24"],
        ),
        ("download_updates", (), []),
        ("download_updates", ("file:///a b",), ["--uri", "file:///a b"]),
        ("reboot_device", (), []),
        ("install_updates", (), []),
    ],
)
def test_methods_become_words(
    client: Client, opened: Open, method: str, arguments: tuple[Any, ...], words: list[str]
) -> None:
    with opened() as device:
        getattr(device, method)(*arguments)
    assert client.seen[0]["words"] == [method.replace("_", "-"), *words]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("s.ni-1",), ["--ip-address-assignment", "dhcp"]),
        (
            ("s.ni-1", "192.0.2.5", "255.255.255.0"),
            ["--ip-address-assignment", "static"]
            + ["--static-ip-address-configuration", "IpAddress=192.0.2.5,NetMask=255.255.255.0"],
        ),
    ],
)
def test_a_virtual_interface_is_made_as_documented(
    client: Client, opened: Open, arguments: tuple[str, ...], words: list[str]
) -> None:
    client.says('{"VirtualNetworkInterface": {"VirtualNetworkInterfaceArn": "arn:1"}}')
    with opened() as device:
        assert device.create_virtual_interface(*arguments).arn == "arn:1"
    command = ["create-virtual-network-interface", "--physical-network-interface-id", "s.ni-1"]
    assert client.seen[0]["words"] == [*command, *words]


def test_words_are_no_shell_s(client: Client, opened: Open) -> None:
    hostile = ["$HOME", "~", "a b", "'", '"', "`id`", "$(id)", "*", ";id"]
    with opened() as device:
        device.call("version", *hostile, addressed=False)
    assert client.seen[0]["words"] == ["version", *hostile]


def test_a_command_has_no_input_but_what_it_is_given(client: Client, opened: Open) -> None:
    with opened() as device:
        device.call("configure")
        device.call("configure", data="a\nb")
    assert [seen["input"] for seen in client.seen] == ["", "a\nb\n"]


def test_the_secret_key_is_masked_from_then_on(client: Client, opened: Open) -> None:
    client.does(
        """
if "list-access-keys" in sys.argv:
    print('{"AccessKeyIds": ["AKIA1", "AKIA2"]}')
elif "get-secret-access-key" in sys.argv:
    print("[snowballEdge]\\naws_access_key_id = AKIA1\\naws_secret_access_key = hunter2/+")
else:
    sys.exit("hunter2/+ is wrong")
"""
    )
    with trouble("failed") as found, opened() as device:
        assert device.keys().secret_access_key == "hunter2/+"
        assert "hunter2/+" in device.module.no_log_values
        assert "hunter2" not in repr(device)
        device.call("anything")
    assert "hunter2" not in str(found[0]) and "******** is wrong" in str(found[0])
    assert client.seen[1]["words"][:3] == ["get-secret-access-key", "--access-key-id", "AKIA1"]


@pytest.mark.parametrize("answer", ["aws_secret_access_key = hunter2", '{"hunter2": 1}'])
def test_keys_that_cannot_be_read_are_not_shown(client: Client, opened: Open, answer: str) -> None:
    client.does(f"print('{{\"AccessKeyIds\": [\"AKIA1\"]}}' if 'list-access-keys' in sys.argv else {answer!r})")
    with trouble("unknown_output") as found, opened() as device:
        device.keys()
    error: BaseException | None = found[0]
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__


def test_a_device_without_keys_says_so(client: Client, opened: Open) -> None:
    client.says('{"AccessKeyIds": []}')
    with trouble("unknown_output") as found, opened() as device:
        device.keys()
    assert "it contains no access key" in str(found[0])


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_an_error_says_what_was_asked_of_which_device_the_cause_and_the_mend(
    client: Client, opened: Open, snowdir: Snowdir
) -> None:
    client.says(error=f"Picked up JAVA_TOOL_OPTIONS: -Dx\nThe unlock code {CODE} is invalid.\n", code=1)
    with trouble("wrong_code") as found, opened(snowdir=str(snowdir())) as device:
        device.describe_device()
    message = str(found[0])
    assert message.startswith(
        "Failed to run describe-device on Snowball survey-1 (https://192.0.2.1): "
        "The unlock code ******** is invalid. Compare the unlock code"
    )
    assert found[0].as_result() == {
        "msg": message,
        "trouble": "wrong_code",
        "snowball": "survey-1 (https://192.0.2.1)",
    }


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ("Unable to connect to https://192.0.2.1: Connection refused (Connection refused)", "unreachable"),
        ("java.net.NoRouteToHostException: No route to host", "unreachable"),
        ("java.net.SocketTimeoutException: connect timed out", "unreachable"),
        ("An error occurred (IncorrectDeviceStateException): The device is LOCKED.", "wrong_state"),
        ("x (Error Code: IncorrectDeviceUpdateStateException)", "wrong_update_state"),
        ("An error occurred (IncorrectDeviceManifestException): no", "wrong_manifest"),
        ("The manifest file /x could not be read: No such file", "wrong_manifest"),
        ("The manifest could not be decrypted: it is damaged", "wrong_manifest"),
        ("The manifest could not be decrypted: the unlock code does not match the manifest.", "wrong_code"),
        ("The unlock code is not valid", "wrong_code"),
        ("Invalid Unlock Code", "wrong_code"),
        ("ServiceAlreadyStartedException", "already_started"),
        ("NoCloudConnectionException", "no_cloud_connection"),
        ("UnsupportedOperationException", "unsupported"),
        ("Something nobody has seen", "failed"),
        ("", "failed"),
    ],
)
@pytest.mark.parametrize("on_stdout", [False, True], ids=["stderr", "stdout"])
def test_the_words_of_the_client_have_a_meaning(
    client: Client, opened: Open, words: str, word: str, on_stdout: bool
) -> None:
    client.says(words if on_stdout else "", error="" if on_stdout else words, code=1)
    with trouble(word) as found, opened() as device:
        device.install_updates()
    assert (words.rstrip(".") or "it printed nothing (exit code 1)") in str(found[0])


def test_an_answer_that_cannot_be_read_is_shown_without_the_code(
    client: Client, opened: Open, snowdir: Snowdir
) -> None:
    client.says(f"Unexpected {CODE}")
    with trouble("unknown_output") as found, opened(snowdir=str(snowdir())) as device:
        device.describe_device()
    assert "Unexpected ********" in str(found[0])


def test_a_command_that_hangs_is_ended_with_all_that_it_started(client: Client, opened: Open) -> None:
    client.does(
        """
import subprocess, time
child = subprocess.Popen(["sleep", "1000"])
open(os.path.join(folder, "child"), "w").write(str(child.pid))
print("so far", flush=True)
time.sleep(1000)
"""
    )
    with trouble("command_timed_out") as found, opened(command_timeout=2) as device:
        device.describe_device()
    assert "no response within 2 seconds. so far" in str(found[0])
    child = (client.folder / "child").read_text()
    for _attempt in range(200):
        if not is_running(child):
            return
        time.sleep(0.05)
    pytest.fail("what the command had started is still there")


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_command_may_take_longer_than_the_others(client: Client, opened: Open) -> None:
    client.does("import time; time.sleep(1.5); print('done')")
    with opened(command_timeout=0.5) as device:
        assert device.call("download-updates", timeout=60) == "done\n"


def test_a_client_that_is_not_there_names_what_installs_it(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("snowballEdge", str(tmp_path / "none")):
        with trouble("client_missing") as found, opened(client=name):
            pass
        assert name in str(found[0]) and "edgeops.snowsync.snowball " in str(found[0])


def test_a_client_that_is_not_executable_says_what_to_do(
    client: Client, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.path.chmod(0o644)
    monkeypatch.setenv("PATH", str(client.folder))
    for name in ("snowballEdge", str(client.path)):
        with trouble("client_not_executable") as found, opened(client=name):
            pass
        assert "chmod u+x bin/snowballEdge jre/bin/java" in str(found[0])


def test_a_client_that_cannot_be_started_says_what_to_do(client: Client, opened: Open) -> None:
    client.path.write_text("neither a script nor a program")
    with trouble("client_not_executable") as found, opened() as device:
        device.version()
    assert str(client.path) in str(found[0])
    client.path.write_text("#!/bin/sh\necho 'jre/bin/java: Permission denied' >&2\nexit 126\n")
    with trouble("client_not_executable"), opened() as device:
        device.version()


def test_every_trouble_has_a_word_and_a_mend_of_its_own() -> None:
    base = utils("_snowball.errors").SnowballError
    kinds = [base, *base.__subclasses__()]
    assert len({kind.trouble for kind in kinds}) == len({kind.fix for kind in kinds}) == len(kinds) > 15


# -- which device ---------------------------------------------------------------------------------------------------


def access(**options: Any) -> Any:
    return utils("_snowball.access").access_of(options)


def test_options_come_before_the_folder(snowdir: Snowdir, tmp_path: Path) -> None:
    folder = snowdir()
    other = tmp_path / "other.bin"
    other.write_bytes(b"x")
    code = CODE.upper()
    found = access(snowdir=str(folder), endpoint="https://192.0.2.9", manifest=str(other), unlock_code=f" {code}\n")
    assert (found.endpoint, found.manifest, found.unlock_code) == ("https://192.0.2.9", str(other), code)
    assert found.name == "survey-1 (https://192.0.2.9)"
    assert code not in repr(found)


@pytest.mark.parametrize(
    "config",
    [
        f"unlock_key: {CODE}\nendpoint_url: https://192.0.2.1",
        f"---\n# the device\nendpoint_url:   https://192.0.2.1   # north\r\nunlock_key: '{CODE}'\n...\n",
        f'\ufeff"unlock_key": "{CODE}" # x\nother:\n  unlock_key: no\nendpoint_url: "https:\\/\\/192.0.2.1"\n',
        json.dumps({"unlock_key": CODE, "endpoint_url": "https://192.0.2.1", "n": [1]}, indent=1),
    ],
)
def test_the_folder_s_file_is_read_as_people_write_it(snowdir: Snowdir, config: str) -> None:
    found = access(snowdir=str(snowdir(config)))
    assert (found.unlock_code, found.endpoint) == (CODE, "https://192.0.2.1")


def test_a_cluster_s_folder_names_its_nodes(snowdir: Snowdir) -> None:
    config = f"unlock_key: {CODE}\nendpoint_url: https://192.0.2.1\ndevice_ip_addresses: [192.0.2.1, '192.0.2.2']\n"
    assert access(snowdir=str(snowdir(config))).device_ips[0] == "192.0.2.1"
    assert access(snowdir=str(snowdir(config, "b")), device_ips=["192.0.2.7"]).device_ips == ("192.0.2.7",)


values = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=20)


@settings(max_examples=100, deadline=None)
@given(values, values)
def test_what_is_written_is_what_is_read_by_us_and_by_yaml(first: str, second: str) -> None:
    import yaml

    files = utils("_snowball.secret_files")
    wanted = {"aws_access_key_id": first, "aws_secret_access_key": second}
    text = files.with_values("# mine\nother: 1\naws_access_key_id: old\n", wanted)
    assert files.flat_mapping(text) == {"other": "1", **wanted}
    assert yaml.safe_load(text) == {"other": 1, **wanted}
    assert text.startswith("# mine\nother: 1\n")
    assert files.with_values(text, wanted) == text


plain = st.text("abcdefgh0123456789-:/._#'\" ", min_size=1, max_size=24).map(str.strip)


@settings(max_examples=200, deadline=None)
@given(plain)
def test_a_plain_value_is_what_yaml_says_it_is(value: str) -> None:
    import yaml

    text = f"unlock_key: {value}\n"
    try:
        said = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return
    if isinstance(said, dict) and isinstance(said.get("unlock_key"), str):
        assert utils("_snowball.secret_files").flat_mapping(text) == said


@pytest.mark.parametrize(
    ("change", "word", "said"),
    [
        (lambda folder: (folder / "sbe_config.yaml").unlink(), "options", "no endpoint (option `endpoint`"),
        (lambda folder: (folder / "JID1a-2b_manifest.bin").unlink(), "options", "no manifest (option `manifest`"),
        (lambda folder: (folder / "JID1a-2b_manifest.bin").write_bytes(b""), "wrong_manifest", "is empty"),
        (lambda folder: (folder / "a_manifest.bin").write_bytes(b"x"), "options", "JID1a-2b_manifest.bin, a_manifest"),
        (shutil.rmtree, "options", "is not a folder"),
        (
            lambda folder: (folder / "sbe_config.yaml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162"),
            "options",
            "encrypted with Ansible Vault",
        ),
        (
            lambda folder: (folder / "sbe_config.yaml").write_text("unlock_key: abc\nendpoint_url: https://a"),
            "wrong_code",
            "five groups",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_before_a_device_is_asked(
    client: Client, opened: Open, snowdir: Snowdir, change: Callable[[Path], Any], word: str, said: str
) -> None:
    folder = snowdir()
    change(folder)
    with trouble(word) as found, opened(snowdir=str(folder)):
        pass
    assert said in str(found[0]) and "survey-1" in str(found[0])
    assert not (client.folder / "seen").exists()


def test_a_device_is_named_in_every_way_of_naming_it(tmp_path: Path) -> None:
    made = utils("_snowball.access").Access
    assert made(folder="/a/x", endpoint="https://y").name == "x (https://y)"
    assert made(endpoint="https://y").name == "https://y"
    assert made(profile="p").name == "of profile p"
    assert made().name == "of the client's default profile"


# -- waiting --------------------------------------------------------------------------------------------------------


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def wait(answers: list[Any], clock: Clock, timeout: float = 60, **options: Any) -> Any:
    """Waits for "there"; an answer that is an exception is raised."""
    patience = utils("_snowball.wait").Patience(timeout, 10, lambda: clock.now, clock.sleep)
    left = iter(answers)

    def ask() -> Any:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return patience.until(ask, lambda answer: answer == "there", doing="wait", device="x", **options)


def test_waiting_asks_at_once_and_then_at_intervals() -> None:
    clock = Clock()
    assert wait(["a", "b", "there"], clock) == "there"
    assert clock.slept == [10, 10]


def test_a_silent_device_is_transient_while_it_is_waited_for() -> None:
    errors = utils("_snowball.errors")
    silence = [errors.Unreachable("ask", "x", "refused"), errors.CommandTimedOut("ask", "x", "nothing")]
    assert wait([*silence, "there"], Clock()) == "there"
    with trouble("unreachable"):
        wait([*silence, "there"], Clock(), through_silence=False)
    with trouble("wrong_code"):
        wait([errors.WrongCode("ask", "x", "no")], Clock())


def test_the_time_is_over_after_one_more_question() -> None:
    clock = Clock()
    with trouble("timed_out") as found:
        wait(["a", "b", "c", "d"], clock, timeout=25)
    assert clock.slept == [10, 10, 5]
    assert "after 25 seconds it is d" in str(found[0])
    with trouble("timed_out") as found:
        wait([utils("_snowball.errors").Unreachable("ask", "x", "refused")], Clock(), timeout=0)
    assert "it does not respond (refused)" in str(found[0])


def test_a_deadline_holds_for_all_waits_together() -> None:
    clock = Clock()
    patience = utils("_snowball.wait").Patience(25, 10, lambda: clock.now, clock.sleep).begun()
    asked = iter(["no", "no", "there", "no", "no", "no"])
    for expected in (True, False):
        with contextlib.nullcontext() if expected else trouble("timed_out"):
            patience.until(lambda: next(asked), lambda answer: answer == "there", doing="wait", device="x")
    assert sum(clock.slept) == 25
