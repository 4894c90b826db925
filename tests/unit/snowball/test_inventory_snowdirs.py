# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin snowdirs as Ansible's inventory manager runs it, on folders of all kinds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("collection")

ROOT = Path(__file__).resolve().parents[3]
CODE = "7c0e1-bab84-f7675-0a2b6-f8k33"
ENDPOINT = "https://198.51.100.7"


def snowdir(folder: Path, name: str, *, manifest: str = "JID1_manifest.bin", config: object = ...) -> Path:
    """A folder for one Snowball: `config` is a mapping or a text, None for no file."""
    path = folder / name
    path.mkdir(parents=True)
    if manifest:
        (path / manifest).write_bytes(b"manifest")
    if config is ...:
        config = {"unlock_key": CODE, "endpoint_url": ENDPOINT}
    if config is not None:
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        (path / "sbe_config.yaml").write_text(text)
    return path


class Seen:
    """An inventory that was read: hosts, groups, and variables as a task would see them."""

    def __init__(self, source: Path, secret: str = "") -> None:
        from ansible.inventory.manager import InventoryManager
        from ansible.parsing.dataloader import DataLoader
        from ansible.vars.manager import VariableManager

        self.loader = DataLoader()
        if secret:
            self.loader.set_vault_secrets([("default", vault_secret(secret))])
        self.manager = InventoryManager(loader=self.loader, sources=[str(source)])
        self.variables = VariableManager(loader=self.loader, inventory=self.manager)

    def hosts(self, pattern: str = "all") -> list[str]:
        return sorted(host.name for host in self.manager.get_hosts(pattern))

    def raw(self, name: str) -> dict[str, Any]:
        return dict(self.manager.get_host(name).get_vars())

    def value(self, name: str, variable: str) -> Any:
        """The variable as `{{ variable }}` in a task of this host gives it."""
        from ansible.template import Templar, trust_as_template

        known = self.variables.get_vars(host=self.manager.get_host(name))
        return Templar(loader=self.loader, variables=known).template(trust_as_template("{{ " + variable + " }}"))


def vault_secret(text: str) -> Any:
    from ansible.parsing.vault import VaultSecret

    return VaultSecret(text.encode())


def encrypt(text: str, secret: str) -> str:
    from ansible.parsing.vault import VaultLib

    return VaultLib().encrypt(text, vault_secret(secret)).decode()


Read = Callable[..., Seen]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "snowdirs"
    path.mkdir()
    return path


@pytest.fixture
def read(tmp_path: Path, folder: Path) -> Read:
    """Writes the options of the plugin and reads the inventory."""

    def call(secret: str = "", **options: Any) -> Seen:
        source = tmp_path / "site.snowdirs.yml"
        source.write_text(yaml.safe_dump({"plugin": "edgeops.snowsync.snowdirs", "path": "snowdirs", **options}))
        return Seen(source, secret)

    return call


def test_a_folder_becomes_hosts_that_the_modules_can_be_called_with(folder: Path, read: Read) -> None:
    first, second = snowdir(folder, "sbe-01"), snowdir(folder, "sbe-02", manifest="manifest.bin")
    seen = read()
    assert seen.hosts("snowballs") == seen.hosts("unlockable") == ["sbe-01", "sbe-02"]
    assert seen.hosts("incomplete") == []
    assert {name: value for name, value in seen.raw("sbe-01").items() if name.startswith("snowball_")} == {
        "snowball_name": "sbe-01",
        "snowball_snowdir": str(first),
        "snowball_manifest": str(first / "JID1_manifest.bin"),
        "snowball_endpoint": ENDPOINT,
        "snowball_unlock_code": CODE,
        "snowball_problems": [],
    }
    assert seen.raw("sbe-02")["snowball_manifest"] == str(second / "manifest.bin")


def test_further_keys_become_variables(folder: Path, read: Read) -> None:
    config: dict[str, Any] = {
        "unlock_key": CODE,
        "endpoint_url": ENDPOINT,
        "host": "edge1",
        "services": [{"service": "nfs"}],
    }
    config["device_ip_addresses"] = ["198.51.100.7", "198.51.100.8"]
    snowdir(folder, "sbe-01", config=config)
    seen = read()
    assert seen.raw("sbe-01")["snowball_host"] == "edge1"
    assert seen.raw("sbe-01")["snowball_services"] == [{"service": "nfs"}]
    assert seen.raw("sbe-01")["snowball_device_ips"] == ["198.51.100.7", "198.51.100.8"]


def test_a_template_is_evaluated_where_it_is_used(
    folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SBE_CODE", CODE)
    template = "{{ lookup('ansible.builtin.env', 'SBE_CODE') }}"
    snowdir(
        folder, "sbe-01", config={"unlock_key": template, "endpoint_url": "https://{{ snowball_name }}.example.com"}
    )
    seen = read()
    assert seen.hosts("unlockable") == ["sbe-01"]
    assert seen.raw("sbe-01")["snowball_unlock_code"] == template
    assert seen.value("sbe-01", "snowball_unlock_code") == CODE
    assert seen.value("sbe-01", "snowball_endpoint") == "https://sbe-01.example.com"
    assert CODE not in "".join(capfd.readouterr())


def test_a_vaulted_value_is_decrypted_where_it_is_used(folder: Path, read: Read, tmp_path: Path) -> None:
    vaulted = "".join(f"  {line}\n" for line in encrypt(CODE, "open sesame").splitlines())
    snowdir(folder, "sbe-01", config=f"endpoint_url: {ENDPOINT}\nunlock_key: !vault |\n{vaulted}")
    assert read().hosts("unlockable") == ["sbe-01"], "who only lists the hosts needs no password"
    password = tmp_path / "password"
    password.write_text("open sesame")
    # Ansible takes the passwords once in a process, so this one is its own.
    argv = ["ansible", "sbe-01", "-i", "site.snowdirs.yml", "-m", "debug", "-a", "var=snowball_unlock_code"]
    assert f'"{CODE}"' in ansible(*argv, f"--vault-password-file={password}", cwd=tmp_path)


def ansible(command: str, *words: str, cwd: Path) -> str:
    tree = cwd / "collections/ansible_collections/edgeops"
    tree.mkdir(parents=True)
    (tree / "snowsync").symlink_to(ROOT)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(cwd / "collections"),
        "ANSIBLE_HOME": str(cwd / "home"),
    }
    argv = [str(Path(sys.executable).with_name(command)), *words]
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_vaulted_file_is_read(folder: Path, read: Read) -> None:
    text = yaml.safe_dump({"unlock_key": CODE, "endpoint_url": ENDPOINT})
    snowdir(folder, "sbe-01", config=encrypt(text, "open sesame"))
    assert read(secret="open sesame").value("sbe-01", "snowball_unlock_code") == CODE


def test_a_vaulted_file_without_its_password_is_a_warning(
    folder: Path, read: Read, capfd: pytest.CaptureFixture[str]
) -> None:
    snowdir(folder, "sbe-01")
    snowdir(folder, "sbe-02", config=encrypt("unlock_key: x", "open sesame"))
    seen = read()
    assert seen.hosts("incomplete") == ["sbe-02"] and seen.hosts("unlockable") == ["sbe-01"]
    assert "Snowdir sbe-02" in unwrapped(capfd)


def unwrapped(capfd: pytest.CaptureFixture[str]) -> str:
    """What was printed, without the line ends that the width of a terminal makes."""
    return " ".join("".join(capfd.readouterr()).split())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"manifest": ""}, "there is no *manifest.bin"),
        ({"config": {"endpoint_url": ENDPOINT}}, "sbe_config.yaml has no unlock_key"),
        ({"config": {"unlock_key": CODE}}, "sbe_config.yaml has no endpoint_url"),
        ({"config": {"unlock_key": CODE, "endpoint_url": None}}, "sbe_config.yaml has no endpoint_url"),
    ],
)
def test_what_is_missing_is_said_and_no_warning(
    folder: Path, read: Read, options: dict[str, Any], problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    snowdir(folder, "sbe-01", **options)
    seen = read()
    assert seen.hosts("incomplete") == seen.hosts("snowballs") == ["sbe-01"]
    assert seen.raw("sbe-01")["snowball_problems"] == [problem]
    assert "WARNING" not in unwrapped(capfd)


def test_an_empty_folder_is_incomplete_in_all(folder: Path, read: Read) -> None:
    snowdir(folder, "sbe-01", manifest="", config=None)
    assert len(read().raw("sbe-01")["snowball_problems"]) == 3


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (f"unlock_key: {CODE}\nendpoint_url: [", "sbe_config.yaml cannot be read: invalid YAML at or above line 3"),
        (f"unlock_key: '{CODE}", "sbe_config.yaml cannot be read: invalid YAML"),
        (f"- unlock_key: {CODE}\n", "sbe_config.yaml must be a mapping with endpoint_url and unlock_key"),
        (f"{CODE}\n", "sbe_config.yaml must be a mapping with endpoint_url and unlock_key"),
        ("endpoint_url: 2026-13-01\n", "sbe_config.yaml cannot be read: "),
        ("", "sbe_config.yaml must be a mapping with endpoint_url and unlock_key"),
        (f"unlock_key: {CODE}x\nendpoint_url: {ENDPOINT}\n", "unlock_key is not an unlock code"),
        (f"unlock_key: {CODE}\nendpoint_url: 198.51.100.7\n", "endpoint_url is 198.51.100.7"),
    ],
)
def test_a_bad_folder_is_a_warning_with_its_name(
    folder: Path, read: Read, config: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    snowdir(folder, "sbe-01")
    snowdir(folder, "sbe-bad", config=config)
    seen = read()
    assert seen.hosts("unlockable") == ["sbe-01"] and seen.hosts("incomplete") == ["sbe-bad"]
    assert problem in seen.raw("sbe-bad")["snowball_problems"][0]
    printed = unwrapped(capfd)
    assert "Snowdir sbe-bad" in printed and problem in printed
    assert CODE not in printed and "Traceback" not in printed


def test_two_manifests_are_one_too_many(folder: Path, read: Read, capfd: pytest.CaptureFixture[str]) -> None:
    path = snowdir(folder, "sbe-01")
    (path / "JID2_manifest.bin").touch()
    seen = read()
    assert seen.hosts("incomplete") == ["sbe-01"]
    assert "snowball_manifest" not in seen.raw("sbe-01")
    assert "JID1_manifest.bin, JID2_manifest.bin" in unwrapped(capfd)


def test_a_link_that_leads_nowhere_and_files_are_no_snowballs(folder: Path, read: Read) -> None:
    snowdir(folder, "sbe-01")
    snowdir(folder, ".git", manifest="", config=None)
    (folder / "README").touch()
    (folder / "sbe-99").symlink_to(folder / "nowhere")
    assert read().hosts() == ["sbe-01"]


def test_a_folder_that_vanishes_while_it_is_read_is_a_warning(
    folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    snowdir(folder, "sbe-01")
    lost = snowdir(folder, "sbe-02", config=None)
    listdir = os.listdir

    def listing(path: Any = ".") -> list[str]:
        if str(path) == str(lost):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", listing)
    seen = read()
    assert seen.hosts("unlockable") == ["sbe-01"] and seen.hosts("incomplete") == ["sbe-02"]
    assert "Snowdir sbe-02" in unwrapped(capfd)


def test_a_name_that_no_host_can_have_is_left_out(folder: Path, read: Read, capfd: pytest.CaptureFixture[str]) -> None:
    snowdir(folder, "sbe-01")
    snowdir(folder, "a:b,c d")
    assert read().hosts() == ["sbe-01"]
    assert "'a:b,c d' is not a valid host name" in unwrapped(capfd)


def test_a_missing_folder_is_said(tmp_path: Path, read: Read, capfd: pytest.CaptureFixture[str]) -> None:
    assert read(path="elsewhere").hosts() == []
    assert f"Failed to read the snowdir folder {tmp_path}/elsewhere" in unwrapped(capfd)


def test_groups_of_every_kind(folder: Path, read: Read) -> None:
    snowdir(folder, "red-01")
    snowdir(folder, "blue-01", config={"unlock_key": CODE, "endpoint_url": "https://203.0.113.9"})
    seen = read(
        group="fleet",
        compose={"snowball_host": "'edge1'"},
        groups={"gate": "'203.0.113' in snowball_endpoint"},
        keyed_groups=[{"key": "snowball_name.split('-')[0]", "prefix": "batch"}],
        strict=True,
    )
    assert seen.hosts("fleet") == ["blue-01", "red-01"]
    assert seen.hosts("gate") == seen.hosts("batch_blue") == ["blue-01"]
    assert seen.raw("red-01")["snowball_host"] == "edge1"


def test_what_is_composed_completes_a_folder(folder: Path, read: Read) -> None:
    snowdir(folder, "sbe-01", config={"endpoint_url": ENDPOINT})
    seen = read(compose={"snowball_unlock_code": f"'{CODE}'"})
    assert seen.hosts("unlockable") == ["sbe-01"]
    assert seen.raw("sbe-01")["snowball_unlock_code"] == CODE


def test_the_cache_spares_the_scan_and_holds_no_code(folder: Path, tmp_path: Path, read: Read) -> None:
    cache = tmp_path / "cache"
    options = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(cache)}
    first = snowdir(folder, "sbe-01")
    assert read(**options).hosts() == ["sbe-01"]
    snowdir(folder, "sbe-02")
    assert read(**options).hosts() == ["sbe-01"], "from the cache"
    (first / "sbe_config.yaml").write_text(f"endpoint_url: {ENDPOINT}\n")
    assert read(**options).hosts("incomplete") == ["sbe-01"], "what the file says is never old"
    stored = [path.read_text() for path in cache.iterdir()]
    assert len(stored) == 1 and json.loads(stored[0]) and CODE not in stored[0] and ENDPOINT not in stored[0]
    assert read().hosts() == ["sbe-01", "sbe-02"]


def test_a_cached_folder_that_is_gone_is_a_warning(
    folder: Path, tmp_path: Path, read: Read, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
    config = snowdir(folder, "sbe-01") / "sbe_config.yaml"
    read(**options)
    config.unlink()
    assert read(**options).hosts("incomplete") == ["sbe-01"]
    assert "Snowdir sbe-01" in unwrapped(capfd)


def test_only_files_of_its_own_name_are_its(tmp_path: Path) -> None:
    from ansible.plugins.loader import inventory_loader

    plugin = inventory_loader.get("edgeops.snowsync.snowdirs")
    for name, verdict in {"snowdirs.yml": True, "a.snowdirs.yaml": True, "hosts.yml": False}.items():
        (tmp_path / name).touch()
        assert plugin.verify_file(str(tmp_path / name)) is verdict
