# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The only place that starts ``snowballEdge``: a command for one device, its timeout, its output as a value.

A module opens a client, calls it, and turns SnowballError into fail_json::

    with open_client(module) as client:
        state = client.describe_device().state
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball import parse
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.access import (
    LOG_FOLDER,
    PROFILE_FILE,
    Access,
    access_of,
    profile_document,
    profile_entry,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    ClientMissing,
    ClientNotExecutable,
    CommandTimedOut,
    SnowballError,
    UnknownOutput,
    from_words,
    without,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import (
    Certificate,
    ClientVersion,
    Cluster,
    Device,
    Keys,
    Service,
    Software,
    Updates,
    VirtualInterface,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.secret_files import (
    make_private,
    private_folder,
    write_new_private,
)

if TYPE_CHECKING:
    import subprocess  # for the type of what run_command starts; nothing is started with it here

    from ansible.module_utils.basic import AnsibleModule

Value = TypeVar("Value")

PRIVATE_PROFILE = "snowsync"
# run_command cannot kill a command, and the client is a script around a Java process: killing only the script would
# leave Java running. So the command first becomes the leader of its own process group. It must never wait for input.
LAUNCHER = """\
import os, sys
os.setsid()
if sys.argv[1] == "silent":
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.stderr.write("%s: %s" % (sys.argv[2], error.strerror))
    sys.exit(126)
"""
_NOISE = ("Picked up JAVA_TOOL_OPTIONS", "Picked up _JAVA_OPTIONS")


@dataclass(frozen=True)
class SnowballClient:
    """The client for one device.

    `home` is the folder with the profile file created for this device, "" if the user's own file is used. `secrets`
    must never be printed. `through` is the command line of a program that starts the client. Every method raises
    SnowballError.
    """

    module: AnsibleModule
    executable: str
    access: Access
    command_timeout: float
    home: str = ""
    secrets: set[str] = field(default_factory=set, repr=False)
    through: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the device in messages."""
        return self.access.name

    def at(self, endpoint: str) -> SnowballClient:
        """The client for another device with the same manifest and unlock code, i.e. another node of a cluster."""
        return replace(self, access=replace(self.access, endpoint=endpoint, folder=""))

    def call(
        self, command: str, *arguments: str, timeout: float | None = None, data: str = "", addressed: bool = True
    ) -> str:
        """Runs ``snowballEdge COMMAND ARGUMENTS`` and returns its stdout.

        `timeout` is in seconds, `data` is its input (empty: end of file). Only an `addressed` command names the device.
        """
        words = [*self.through, self.executable, command, *arguments, *(self._address() if addressed else ())]
        limit = self.command_timeout if timeout is None else timeout
        code, stdout, stderr, ended = self._run(words, limit, data)
        said = without(self.secrets, "\n".join(part for part in (quiet(stderr), stdout.strip()) if part))
        if ended:
            raise CommandTimedOut(f"run {command}", self.name, f"no response within {limit:g} seconds. {said}")
        if code != 0:
            raise from_words(command, self.name, code, said)
        return stdout

    def _address(self) -> Sequence[str]:
        access = self.access
        endpoint = ["--endpoint", access.endpoint] if access.endpoint else []
        profile = PRIVATE_PROFILE if self.home else access.profile
        return endpoint + (["--profile", profile] if profile else [])

    def _run(self, words: Sequence[str], limit: float, data: str) -> tuple[int, str, str, bool]:
        watch = Watch(limit)
        launched = [sys.executable, "-ISc", LAUNCHER, "fed" if data else "silent", *words]
        try:
            code, stdout, stderr = self.module.run_command(
                launched,
                data=data or None,
                environ_update=environment(self.home),
                expand_user_and_vars=False,
                before_communicate_callback=watch.over,
                handle_exceptions=False,
            )
        except OSError as error:
            raise ClientNotExecutable(f"run {words[1]}", self.name, f"{words[0]}: {error.strerror}") from error
        finally:
            watch.end()
        return code, stdout, stderr, watch.has_ended_it

    def ask(self, parser: Callable[[str], Value], command: str, *arguments: str, **options: Any) -> Value:
        """The parsed output of a command."""
        text = self.call(command, *arguments, **options)
        try:
            return parser(text)
        except ValueError as error:
            # Output that may hold a secret is never repeated, not even in the chain of exceptions.
            shown = "" if command == "get-secret-access-key" else f": {without(self.secrets, text.strip())[:500]!r}"
            raise UnknownOutput(f"parse the output of {command}", self.name, f"{error}{shown}") from None

    # -- the device --

    def version(self) -> ClientVersion:
        return self.ask(parse.client_version, "version", addressed=False)

    def describe_device(self) -> Device:
        return self.ask(parse.device, "describe-device")

    def describe_cluster(self) -> Cluster:
        return self.ask(parse.cluster, "describe-cluster")

    def unlock_device(self) -> None:
        self.call("unlock-device")

    def unlock_cluster(self, device_ips: Sequence[str]) -> None:
        self.call("unlock-cluster", "--device-ip-addresses", *device_ips)

    def reboot_device(self) -> None:
        self.call("reboot-device")

    def features(self) -> dict[str, str]:
        return self.ask(parse.features, "describe-features")

    def time_sources(self) -> tuple[dict[str, str], ...]:
        return self.ask(parse.time_sources, "describe-time-sources")

    # -- keys and certificates --

    def keys(self) -> Keys:
        """The first of the device's root keys; its secret is masked in every result from here on."""
        ids = self.ask(parse.access_key_ids, "list-access-keys")
        if not ids:
            raise UnknownOutput("parse the output of list-access-keys", self.name, "it contains no access key")
        found = self.ask(parse.keys, "get-secret-access-key", "--access-key-id", ids[0])
        self.keep_secret(found.secret_access_key)
        return found

    def certificates(self) -> tuple[Certificate, ...]:
        return self.ask(parse.certificates, "list-certificates")

    def certificate(self, arn: str) -> str:
        """A certificate of the device in PEM."""
        return self.ask(parse.pem, "get-certificate", "--certificate-arn", arn)

    # -- services and their interfaces --

    def service_ids(self) -> tuple[str, ...]:
        return self.ask(parse.service_ids, "list-services")

    def service(self, service_id: str) -> Service:
        return self.ask(parse.service, "describe-service", "--service-id", service_id)

    def start_service(
        self,
        service_id: str,
        interface_arns: Sequence[str] = (),
        configuration: str = "",
        device_ips: Sequence[str] = (),
    ) -> None:
        """`configuration` is the value of ``--service-configuration``, e.g. ``AllowedHosts=192.0.2.0/24``."""
        arguments = ["--service-id", service_id]
        arguments += ["--virtual-network-interface-arns", *interface_arns] if interface_arns else []
        arguments += ["--device-ip-addresses", *device_ips] if device_ips else []
        arguments += ["--service-configuration", configuration] if configuration else []
        self.call("start-service", *arguments)

    def stop_service(self, service_id: str) -> None:
        self.call("stop-service", "--service-id", service_id)

    def virtual_interfaces(self) -> tuple[VirtualInterface, ...]:
        return self.ask(parse.virtual_interfaces, "describe-virtual-network-interfaces")

    def create_virtual_interface(self, physical_id: str, ip_address: str = "", netmask: str = "") -> VirtualInterface:
        """Creates a virtual interface on a physical one, with DHCP or a static address."""
        arguments = ["--physical-network-interface-id", physical_id]
        arguments += ["--ip-address-assignment", "static" if ip_address else "dhcp"]
        if ip_address:
            arguments += ["--static-ip-address-configuration", f"IpAddress={ip_address},NetMask={netmask}"]
        return self.ask(parse.virtual_interface, "create-virtual-network-interface", *arguments)

    # -- software --

    def software(self) -> Software:
        return self.ask(parse.software, "describe-device-software")

    def check_for_updates(self) -> Updates:
        return self.ask(parse.updates, "check-for-updates")

    def download_updates(self, uri: str = "", timeout: float | None = None) -> None:
        self.call("download-updates", *(["--uri", uri] if uri else []), timeout=timeout)

    def install_updates(self) -> None:
        self.call("install-updates")

    def keep_secret(self, value: str) -> None:
        """Masks the value in results, logs and errors from here on."""
        if value:
            self.secrets.add(value)
            self.module.no_log_values.add(value)


class Watch:
    """Kills a command and all its child processes after its timeout."""

    def __init__(self, seconds: float) -> None:
        self.has_ended_it = False
        self._seconds = seconds
        self._timer = threading.Timer(seconds, lambda: None)

    def over(self, process: subprocess.Popen[bytes]) -> None:
        """Starts the timer."""
        self._timer = threading.Timer(self._seconds, self._kill, (process,))
        self._timer.daemon = True
        self._timer.start()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        self.has_ended_it = True
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()  # it does not have its own group yet

    def end(self) -> None:
        self._timer.cancel()


def environment(home: str) -> dict[str, str]:
    """The environment in which the client finds its profile file in `home` instead of the user's own folder.

    Java takes the home folder from the user database and not from HOME; only its own property changes it.
    """
    if not home:
        return {}
    given = os.environ.get("JAVA_TOOL_OPTIONS", "")
    return {"HOME": home, "JAVA_TOOL_OPTIONS": f"{given} '-Duser.home={home}'".strip()}


def quiet(stderr: str) -> str:
    """The client's stderr without Java's messages about its options."""
    return "\n".join(line for line in stderr.strip().splitlines() if not line.startswith(_NOISE))


@contextmanager
def open_client(module: AnsibleModule) -> Iterator[SnowballClient]:
    """The client for the options of DEVICE; the unlock code is on disk only while this is open."""
    options = module.params
    access = access_of(options)
    with private_folder(module) as folder:
        client = SnowballClient(
            module,
            find_executable(module, options["client"], access),
            access,
            options["command_timeout"],
            home=folder if access.is_private else "",
        )
        client.keep_secret(access.unlock_code)
        if client.home:
            document = profile_document(profile_entry(access, PRIVATE_PROFILE))
            write_new_private(os.path.join(folder, PROFILE_FILE), document)
            make_private(os.path.join(folder, LOG_FOLDER))
        yield client


def find_executable(module: AnsibleModule, client: str, access: Access) -> str:
    """The absolute path of the client; raises ClientMissing or ClientNotExecutable."""
    path = module.get_bin_path(client)
    if path:
        return os.path.abspath(str(path))
    places = [client] if os.sep in client else [os.path.join(p, client) for p in os.environ.get("PATH", "").split(":")]
    for place in places:
        if os.path.isfile(place):
            raise ClientNotExecutable("start the client", access.name, f"{place} is not executable")
    raise ClientMissing("start the client", access.name, f"{client} was not found")


def fail(module: AnsibleModule, error: SnowballError) -> None:
    """Fails the module with the error."""
    module.fail_json(**error.as_result())
