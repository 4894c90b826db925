# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The options of the module ``volume_provision``, and their conversion to a Wish."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.sizes import parse_size
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.look import Run
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import FILESYSTEMS, VolumeError, Wish

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent", "wiped"], "default": "present"},
    "devices": {"type": "list", "elements": "str", "default": []},
    "select": {"type": "str", "choices": ["blank"]},
    "match": {"type": "list", "elements": "str", "default": []},
    "count": {"type": "int"},
    "size_min": {"type": "str", "default": "1GiB"},
    "size_max": {"type": "str"},
    "filesystem": {"type": "str", "choices": list(FILESYSTEMS), "default": "ext4"},
    "partition": {"type": "bool", "default": False},
    "mount_root": {"type": "path", "default": "/srv/snowsync"},
    "mount_options": {"type": "list", "elements": "str", "default": ["noatime"]},
    "device_timeout": {"type": "int", "default": 10},
    "owner": {"type": "str", "default": "snowsync"},
    "group": {"type": "str", "default": "snowsync"},
    "mode": {"type": "str", "default": "0750"},
    "adopt_foreign": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "force_signature": {"type": "str", "default": ""},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "executable": {"type": "path", "default": "/opt/snowsync/bin/snowsync"},
}
_PACKAGES = {
    "lsblk": "util-linux",
    "wipefs": "util-linux",
    "blkid": "util-linux",
    "mount": "mount or util-linux",
    "partx": "util-linux",
    "sfdisk": "fdisk (Debian, Ubuntu) or util-linux",
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "resize2fs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "xfs_info": "xfsprogs",
    "xfs_repair": "xfsprogs",
    "xfs_growfs": "xfsprogs",
}


def wish_of(options: Mapping[str, Any]) -> Wish:
    """The Wish for the options; VolumeError for options that are contradictory or insufficient."""
    present = options["state"] == "present"
    _refuse(present and bool(options["devices"]) == bool(options["select"]), "set either `devices` or `select: blank`")
    _refuse(present and bool(options["volumes"]), "`volumes` is for `state: absent` and `state: wiped`; use `devices`")
    named = bool(options["devices"] or options["volumes"])
    _refuse(
        not present and (options["select"] or not named), f"`state: {options['state']}` requires `volumes` or `devices`"
    )
    _refuse(options["force"] and not (present and options["devices"]), "`force` requires one device in `devices`")
    _refuse(bool(options["force_signature"]) and not options["force"], "`force_signature` also requires `force: true`")
    return Wish(
        state=options["state"],
        devices=tuple(options["devices"]),
        volumes=tuple(options["volumes"]),
        match=tuple(options["match"]),
        count=options["count"],
        size_min=_size(options, "size_min"),
        size_max=_size(options, "size_max") if options["size_max"] else None,
        filesystem=options["filesystem"],
        partition=options["partition"],
        mount_root=_folder(options["mount_root"]),
        mount_options=_mount_options(options["mount_options"]),
        device_timeout=options["device_timeout"],
        owner=options["owner"],
        group=options["group"],
        mode=_mode(options["mode"]),
        adopt_foreign=options["adopt_foreign"],
        force=options["force"],
        force_signature=options["force_signature"],
    )


def _refuse(wrong: object, cause: str) -> None:
    if wrong:
        raise VolumeError("read", "the options", cause)


def _size(options: Mapping[str, Any], name: str) -> int:
    try:
        return parse_size(options[name] if not options[name].isdecimal() else int(options[name]))
    except ValueError as error:
        raise VolumeError("read", "the options", f"`{name}` {error}") from None


def _folder(path: str) -> str:
    folder = os.path.normpath(path)
    _refuse(not folder.startswith("/") or folder == "/", f"`mount_root` {path!r} must be a folder below /")
    return folder


def _mount_options(words: list[str]) -> tuple[str, ...]:
    for word in words:
        _refuse(not re.fullmatch(r"[^\s,#]+", word), f"`mount_options` has {word!r}; list each option as an item")
    return tuple(words)


def _mode(text: str) -> int:
    _refuse(not re.fullmatch(r"0?[0-7]{3,4}", text), f'`mode` {text!r} must be octal, such as "0750"')
    return int(text, 8)


def runner(module: AnsibleModule) -> Run:
    """``module.run_command`` with an English locale; a missing command is an error that names its package."""

    def run(argv: list[str], data: str | None = None) -> tuple[int, str, str]:
        command = module.get_bin_path(argv[0], opt_dirs=["/usr/sbin", "/sbin"])
        if command is None:
            package = _PACKAGES.get(argv[0])
            fix = f"Install the package {package}" if package else ""
            raise VolumeError("run", argv[0], "this command is not installed", fix)
        environment = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
        code, printed, error = module.run_command([command, *argv[1:]], data=data, environ_update=environment)
        return int(code), str(printed), str(error)

    return run
