# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A profile for a Snowball in the files that AWS tools read: the change of each file, and what a diff may show."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball import ini, shared_files
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.access import KEYS_FILE
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.secret_files import flat_mapping

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

REGION = "snow"  # the signing region for S3, EC2, IAM and STS of every Snowball
KEY_NAMES = ("aws_access_key_id", "aws_secret_access_key")

_FORBIDDEN = re.compile(r"[\[\]\"'\\/\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----",
)
_SECRET_NAME = re.compile(r"secret|token|password|passphrase|process")


class ProfileError(Exception):
    """The profile cannot be written; the message names the file, the cause and the fix."""


@dataclass(frozen=True)
class Places:
    """The files of one user. `certificate` is the file for the given PEM text."""

    config: str
    credentials: str
    certificate: str


@dataclass(frozen=True)
class Profile:
    """Options for each file; without `credentials` that file is not changed. `certificate` is PEM text."""

    name: str
    config: Mapping[str, str]
    credentials: Mapping[str, str]
    certificate: str | None


def run(module: AnsibleModule) -> dict[str, Any]:
    """Updates the files to the module's options; returns the module's result. Raises ProfileError."""
    options = module.params
    name = name_of(options["profile"], options["snowdir"])
    places = places_of(options, name)
    profile = profile_from(options, name, places) if options["state"] == "present" else None
    with contextlib.nullcontext() if module.check_mode else _only_writer(places, make_folders=profile is not None):
        changes = [change for change in changes_for(name, profile, places) if change.needed]
        if not module.check_mode:
            for change in changes:
                shared_files.apply(module, change)
    result: dict[str, Any] = {
        "changed": bool(changes),
        "profile": name,
        "config_file": places.config,
        "credentials_file": places.credentials,
    }
    if profile:
        result["ca_bundle"] = profile.config.get("ca_bundle", "")
    if module._diff:
        result["diff"] = [diff_of(change, name, places) for change in changes]
    return result


@contextlib.contextmanager
def _only_writer(places: Places, make_folders: bool) -> Iterator[None]:
    """Locks always in the same order, so that two tasks cannot deadlock."""
    folders = {os.path.dirname(os.path.realpath(path)) for path in (places.config, places.credentials)}
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            if make_folders or os.path.isdir(folder):
                stack.enter_context(shared_files.one_writer(folder))
        yield


def name_of(profile: str | None, snowdir: str | None) -> str:
    """The profile's name, by default the folder's; rejects names that some reader of the files cannot parse."""
    name = profile if profile is not None else os.path.basename(os.path.abspath(snowdir or ""))
    if not name or name != name.strip() or name == "DEFAULT" or _FORBIDDEN.search(name):
        raise ProfileError(
            f"Failed to name a profile {name!r}: AWS tools cannot read such a name. Use a name without brackets, "
            "quotes, slashes, control characters or surrounding spaces, and other than DEFAULT"
        )
    return name


def places_of(options: Mapping[str, Any], name: str) -> Places:
    """Absolute paths of the files."""
    config = os.path.abspath(options["config_file"])
    given = options["ca_bundle"] if options["state"] == "present" else None
    return Places(
        config,
        os.path.abspath(options["credentials_file"]),
        os.path.abspath(given or os.path.join(os.path.dirname(config), f"{name}.pem")),
    )


def profile_from(options: Mapping[str, Any], name: str, places: Places) -> Profile:
    """The profile for the options, with keys from the snowdir if none are given."""
    certificate = None if options["certificate"] is None else certificates_in(options["certificate"])
    bundle = places.certificate if certificate else options["ca_bundle"] and os.path.abspath(options["ca_bundle"])
    config = {
        "region": options["region"],
        "output": options["output"],
        "ca_bundle": bundle,
        "endpoint_url": options["endpoint_url"],
        "request_checksum_calculation": options["checksums"],
        "response_checksum_validation": options["checksums"],
    }
    keys = dict(zip(KEY_NAMES, (options["access_key"], options["secret_key"]), strict=True))
    if options["access_key"] is None:
        keys = keys_of(options["snowdir"])
    wanted = {key: value for key, value in config.items() if value}
    for key, value in {**wanted, **keys}.items():
        if _CONTROL.search(value) or value != value.strip():
            raise ProfileError(
                f"Failed to write {key} of profile {name}: its value must be one line without surrounding spaces"
            )
    return Profile(name, wanted, keys, certificate)


def certificates_in(text: str) -> str:
    """The certificates of a PEM text and nothing else, because the file is world-readable; raises ProfileError."""
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ProfileError(
            "Failed to read the option certificate: it contains no PEM certificate. "
            "`snowballEdge get-certificate --certificate-arn ARN` prints the certificate of a device"
        )
    return "".join(f"{certificate}\n" for certificate in found)


def keys_of(snowdir: str | None) -> dict[str, str]:
    """The device's keys from the snowdir, empty if it has no keys file."""
    path = os.path.join(snowdir or "", KEYS_FILE)
    text = shared_files.read_text(path) if snowdir else None
    if text is None:
        return {}
    found = flat_mapping(text)
    if not all(found.get(name) for name in KEY_NAMES):
        raise ProfileError(f"Failed to read {path}: {' and '.join(KEY_NAMES)} are required; unlock the device again")
    return {name: found[name] for name in KEY_NAMES}


def changes_for(name: str, profile: Profile | None, places: Places) -> list[shared_files.Change]:
    """The change of each file, including unchanged files; `profile` None removes it.

    The config file comes last: it names the certificate, which must exist by then, and must be found for removal.
    """
    certificate = shared_files.read_text(places.certificate)
    changes = []
    if profile is None:
        named = ini.values_of(shared_files.read_text(places.config) or "", config_section(name)).get("ca_bundle")
        if named == places.certificate:
            changes.append(shared_files.change_of(places.certificate, certificate, None, None))
    elif profile.certificate:
        changes.append(
            shared_files.change_of(places.certificate, certificate, profile.certificate, shared_files.PUBLIC)
        )
    if profile is None or profile.credentials:
        credentials = profile.credentials if profile else None
        changes.append(_edited(places.credentials, credentials_section(name), credentials, shared_files.PRIVATE))
    changes.append(_edited(places.config, config_section(name), profile.config if profile else None, None))
    return changes


def _edited(path: str, target: ini.Target, values: Mapping[str, str] | None, mode: int | None) -> shared_files.Change:
    before = shared_files.read_text(path)
    try:
        if values is not None:
            after: str | None = ini.with_values(before or "", target, values)
        else:
            after = None if before is None else ini.without_section(before, target)
            mode = None  # an unchanged file keeps its mode too
    except ini.IniError as error:
        raise ProfileError(f"Failed to edit {path}: {error}") from error
    return shared_files.change_of(path, before, after, mode)


def config_section(name: str) -> ini.Target:
    """The profile's section of the config file, where only `default` has no prefix `profile`."""
    quoted = f'"{name}"' if re.search(r"\s", name) else name

    def matches(header: str) -> bool:
        if header == "default":
            return name == "default"
        try:
            words = shlex.split(header)
        except ValueError:
            return False
        return words == ["profile", name]

    return ini.Target("default" if name == "default" else f"profile {quoted}", matches)


def credentials_section(name: str) -> ini.Target:
    """The profile's section of the credentials file."""
    return ini.Target(name, lambda header: header == name)


def diff_of(change: shared_files.Change, name: str, places: Places) -> dict[str, str]:
    """The lines of this profile before and after, and of no other; for a secret only whether it changed."""
    if change.path == places.certificate:
        before, after = change.before or "", change.after or ""
    else:
        target = (config_section if change.path == places.config else credentials_section)(name)
        old, new = (ini.values_of(text or "", target) for text in (change.before, change.after))
        before = _masked(ini.section_text(change.before or "", target), {})
        after = _masked(ini.section_text(change.after or "", target), {k: v != new.get(k) for k, v in old.items()})
    if change.mode is not None and change.after is not None:
        before = f"# mode {change.mode_before:04o}\n{before}" if change.mode_before is not None else before
        after = f"# mode {change.mode:04o}\n{after}"
    header = f"{change.path} (profile {name})"
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _masked(section: str, is_new: Mapping[str, bool]) -> str:
    """The section as `name = value` lines with every secret masked."""
    lines = []
    everything = ini.Target("", lambda header: True)
    values = ini.values_of(section, everything)
    headers = [part.name for part in ini.sections_of(ini.split_lines(section))]
    lines += [f"[{header}]\n" for header in headers]
    for name, value in values.items():
        hidden = "********" + (" (changed)" if is_new.get(name) else "")
        lines.append(f"{name} = {hidden if _SECRET_NAME.search(name) else value}\n")
    return "".join(lines)
