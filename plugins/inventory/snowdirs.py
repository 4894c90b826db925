# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: snowdirs
short_description: Create one host for each Snowball folder
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Each folder in O(path), a snowdir, becomes a host with its name in the group O(group). Hidden folders are ignored.
  - A snowdir holds one C(*manifest.bin) and a C(sbe_config.yaml) with C(endpoint_url) and C(unlock_key). The host gets
    them as C(snowball_manifest), C(snowball_endpoint) and C(snowball_unlock_code), in addition to C(snowball_name) and
    C(snowball_snowdir). The nodes of a cluster, C(device_ip_addresses), become C(snowball_device_ips). Every other key
    of C(sbe_config.yaml) becomes a host variable with the prefix C(snowball_). For example C(host) becomes
    C(snowball_host), see the role P(edgeops.snowsync.snowball#role).
  - Any value of C(sbe_config.yaml), and the whole file, may be encrypted with C(ansible-vault). A value may also be a
    template, such as a lookup in a secret store. This plugin passes them on unchanged. Ansible decrypts and evaluates
    them where they are used.
  - Hosts are in the group V(unlockable) if manifest, endpoint and code are known, otherwise in V(incomplete), where
    C(snowball_problems) says what is missing. Variables that O(compose) adds count too, so the code does not have to be
    in the folder. A folder that is unreadable or contradictory causes a warning with its name.
  - No module runs on a Snowball itself. Tasks for such a host run on the controller, because C(ansible_connection) is
    V(local) for it, or where C(delegate_to) sends them, as in the role P(edgeops.snowsync.snowball#role).
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
notes:
  - The cache holds only the names of folders and files, not their content. C(sbe_config.yaml) is read each time.
    The cache saves time if the folders are on a slow network filesystem.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [edgeops.snowsync.snowdirs]
  path:
    description:
      - The folder of the snowdirs, relative to the file with these options.
      - It must not be inside an inventory folder, because Ansible would read each C(sbe_config.yaml) there as another
        inventory.
    type: str
    required: true
  group:
    description: The group of all hosts of this plugin.
    type: str
    default: snowballs
"""

EXAMPLES = r"""
# inventory/snowdirs.yml; show the result with `ansible-inventory -i inventory --graph`
plugin: edgeops.snowsync.snowdirs
path: /srv/snowdirs

---
# snowdirs/site-a-01/sbe_config.yaml, where the code is in a secret store
endpoint_url: https://198.51.100.7
unlock_key: "{{ lookup('community.hashi_vault.vault_kv2_get', 'snowballs/site-a-01').secret.code }}"
host: edge1

---
# All codes in one place, groups by the first part of the name, and the host with the client
plugin: edgeops.snowsync.snowdirs
path: /srv/snowdirs
compose:
  snowball_unlock_code: lookup('ansible.builtin.env', 'CODE_' ~ (snowball_name | upper | replace('-', '_')))
  snowball_host: "'edge1'"
keyed_groups:
  - key: snowball_name | split('-') | first
    prefix: batch
groups:
  behind_the_gate: snowball_endpoint is search('//198[.]51[.]100[.]')
"""

import os

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.module_utils.common.text.converters import to_native
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball import snowdirs

# The same as Ansible sets for localhost.
CONNECTION = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
STATES = ("unlockable", "incomplete")
# sbe_config.yaml uses the names of the predecessor scripts and of the client; the modules use their own.
VARIABLES = {
    "endpoint_url": "snowball_endpoint",
    "unlock_key": "snowball_unlock_code",
    "device_ip_addresses": "snowball_device_ips",
}
NEEDED = {
    "snowball_manifest": f"there is no *{snowdirs.MANIFEST_ENDING}",
    "snowball_endpoint": f"{snowdirs.CONFIG_NAME} has no endpoint_url",
    "snowball_unlock_code": f"{snowdirs.CONFIG_NAME} has no unlock_key",
}


class SnowdirError(Exception):
    """A folder that is not a valid snowdir; the message never contains the code."""


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "edgeops.snowsync.snowdirs"
    # The content of a snowdir is trusted like that of any other inventory.
    trusted_by_default = True

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(("snowdirs.yml", "snowdirs.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        folder = os.path.join(os.path.dirname(os.path.abspath(path)), os.path.expanduser(self.get_option("path")))
        group = self.inventory.add_group(self._sanitize_group_name(self.get_option("group")))
        for state in STATES:
            self.inventory.add_child(group, self.inventory.add_group(state))
        for found in self._found(folder, path, cache):
            self._add(group, found)

    def _found(self, folder, path, cache):
        """The result of _scan(), from the cache if it is enabled and has it."""
        if not self.get_option("cache"):
            return self._scan(folder)
        self.load_cache_plugin()
        # Another folder in the same options file is another inventory.
        key = self.get_cache_key(f"{path}:{folder}")
        if cache and key in self._cache:
            return self._cache[key]
        self._cache[key] = self._scan(folder)
        return self._cache[key]

    def _scan(self, folder):
        """One mapping per snowdir, of plain values: `path`, `manifests`, `has_config`, `problem`."""
        try:
            names = snowdirs.names_in(folder)
        except OSError as error:
            raise AnsibleParserError(f"Failed to read the snowdir folder {folder}: {error.strerror}") from error
        return [self._look(os.path.join(folder, name)) for name in names]

    @staticmethod
    def _look(path):
        try:
            found = snowdirs.look(path)
        except OSError as error:
            return {
                "path": path,
                "manifests": [],
                "has_config": False,
                "problem": f"it cannot be read: {error.strerror}",
            }
        problem = ""
        if len(found.manifests) > 1:
            names = ", ".join(os.path.basename(manifest) for manifest in found.manifests)
            problem = f"it has {len(found.manifests)} manifests ({names}), but a Snowball has one"
        return {"path": path, "manifests": list(found.manifests), "has_config": found.has_config, "problem": problem}

    def _add(self, group, found):
        name = os.path.basename(found["path"])
        if not snowdirs.NAME.fullmatch(name):
            self.display.warning(f"Snowdir {found['path']} is ignored: {name!r} is not a valid host name")
            return
        problems = [found["problem"]] if found["problem"] else []
        variables = {**CONNECTION, "snowball_name": name, "snowball_snowdir": found["path"]}
        if len(found["manifests"]) == 1:
            variables["snowball_manifest"] = found["manifests"][0]
        if found["has_config"]:
            try:
                variables |= self._configured(os.path.join(found["path"], snowdirs.CONFIG_NAME))
            except SnowdirError as error:
                problems.append(str(error))
        for problem in problems:
            self.display.warning(f"Snowdir {name} ({found['path']}): {problem}")
        self._publish(name, group, variables, problems)

    def _configured(self, path):
        """The host variables that sbe_config.yaml gives, templates and vaulted values as they are."""
        try:
            config = self.loader.load_from_file(path, cache="none")
        except (AnsibleError, OSError, ValueError) as error:
            # The message of a YAML error quotes the line, which may be the one with the code.
            raise SnowdirError(f"{snowdirs.CONFIG_NAME} cannot be read: {_without_content(error)}") from None
        if not isinstance(config, dict):
            raise SnowdirError(f"{snowdirs.CONFIG_NAME} must be a mapping with endpoint_url and unlock_key")
        given = {str(key): value for key, value in config.items() if _is_given(value)}
        _refuse_what_cannot_be(given)
        return {VARIABLES.get(key, f"snowball_{key}"): value for key, value in given.items()}

    def _publish(self, name, group, variables, problems):
        self.inventory.add_host(name, group=group)
        for variable, value in variables.items():
            self.inventory.set_variable(name, variable, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), self._variables_of(name), name, strict=strict)
        known = self._variables_of(name)
        if not problems:
            problems = [missing for variable, missing in NEEDED.items() if not _is_given(known.get(variable))]
        self.inventory.set_variable(name, "snowball_problems", problems)
        self.inventory.add_host(name, group="incomplete" if problems else "unlockable")
        known = self._variables_of(name)
        self._add_host_to_composed_groups(self.get_option("groups"), known, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), known, name, strict=strict)

    def _variables_of(self, name):
        return dict(self.inventory.get_host(name).get_vars())


def _is_given(value):
    # A vaulted value is not a str, and comparing it would require the vault password just to list the hosts.
    return value is not None and not (isinstance(value, str) and not value)


def _is_literal(value):
    """Whether a value is plain text that can be validated now: not a template, and not vaulted (not a str)."""
    return isinstance(value, str) and "{{" not in value and "{%" not in value


def _refuse_what_cannot_be(config):
    code, endpoint = config.get("unlock_key"), config.get("endpoint_url")
    if _is_literal(code) and not snowdirs.CODE.fullmatch(code):
        raise SnowdirError("unlock_key is not an unlock code (five groups of five letters or digits, separated by -)")
    if _is_literal(endpoint) and not snowdirs.ENDPOINT.fullmatch(endpoint):
        raise SnowdirError(f"endpoint_url is {endpoint}, but must look like https://198.51.100.7")


def _without_content(error):
    """The first line of an error, which says what is wrong, without any content of the file."""
    cause = error.__cause__ if error.__cause__ is not None else error
    place = getattr(cause, "problem_mark", None)
    if place is not None:
        return f"invalid YAML at or above line {place.line + 1}"
    return to_native(getattr(error, "strerror", None) or str(error).splitlines()[0])
