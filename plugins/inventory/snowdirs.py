# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: snowdirs
short_description: A folder with one folder per Snowball becomes hosts
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Each folder in O(path), a snowdir, becomes a host of its name in the group O(group). Hidden folders are left out.
  - A snowdir holds one C(*manifest.bin) and a C(sbe_config.yaml) with C(endpoint_url) and C(unlock_key). The host has
    them as C(snowball_manifest), C(snowball_endpoint) and C(snowball_unlock_code), beside C(snowball_name) and
    C(snowball_snowdir). The nodes of a cluster, C(device_ip_addresses), are C(snowball_device_ips). Every further key
    of C(sbe_config.yaml) becomes a host variable with C(snowball_) before it, so that C(host) becomes
    C(snowball_host), see the role P(edgeops.snowsync.snowball#role).
  - Any value of C(sbe_config.yaml) may be a template, such as a lookup in a secret store, or encrypted with
    C(ansible-vault), and so may the whole file. This plugin hands them on as they are; Ansible decrypts and evaluates
    them where they are used.
  - Hosts are in the group V(unlockable) when manifest, endpoint and code are known, else in V(incomplete), where
    C(snowball_problems) says what is missing. What O(compose) adds counts too, so that a code does not have to be in
    the folder at all. A folder that cannot be read or contradicts itself is a warning with its name.
  - No module runs on a Snowball itself. Tasks for such a host run on the controller, as C(ansible_connection) is
    V(local) for it, or where C(delegate_to) sends them, as those of the role P(edgeops.snowsync.snowball#role).
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
notes:
  - The cache holds names of folders and files and nothing of their content; C(sbe_config.yaml) is read each time.
    It saves time where the folders are on a slow network filesystem.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [edgeops.snowsync.snowdirs]
  path:
    description:
      - The folder of the snowdirs, relative to the file with these options.
      - It must not be inside a folder that is an inventory itself, as Ansible would read each C(sbe_config.yaml) there
        as one more inventory.
    type: str
    required: true
  group:
    description: The group of all hosts of this plugin.
    type: str
    default: snowballs
"""

EXAMPLES = r"""
# inventory/snowdirs.yml; `ansible-inventory -i inventory --graph` shows what comes of it
plugin: edgeops.snowsync.snowdirs
path: /srv/snowdirs

---
# snowdirs/site-a-01/sbe_config.yaml, where the code is in a secret store
endpoint_url: https://198.51.100.7
unlock_key: "{{ lookup('community.hashi_vault.vault_kv2_get', 'snowballs/site-a-01').secret.code }}"
host: edge1

---
# All codes in one place, groups by the first part of the name, and the host that has the client
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

# As Ansible has it for localhost.
CONNECTION = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
STATES = ("unlockable", "incomplete")
# sbe_config.yaml has the forerunners' words, and those of the client; the modules have their own.
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
    """A folder that cannot be a Snowball's as it is; never says what the code is."""


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "edgeops.snowsync.snowdirs"
    # What an operator writes into a snowdir is trusted as what is written into any other inventory.
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
        """What scan() says, from the cache if that is wanted and has it."""
        if not self.get_option("cache"):
            return self._scan(folder)
        self.load_cache_plugin()
        # Another folder in the same file of options is another inventory.
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
            raise AnsibleParserError(f"Failed to read the folder of snowdirs {folder}: {error.strerror}") from error
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
            problem = f"it has {len(found.manifests)} manifests ({names}), and a Snowball has one"
        return {"path": path, "manifests": list(found.manifests), "has_config": found.has_config, "problem": problem}

    def _add(self, group, found):
        name = os.path.basename(found["path"])
        if not snowdirs.NAME.fullmatch(name):
            self.display.warning(f"Snowdir {found['path']} is left out: {name!r} cannot be the name of a host")
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
    # A vaulted value is no str, and comparing it would ask for the password of who only lists the hosts.
    return value is not None and not (isinstance(value, str) and not value)


def _is_literal(value):
    """Whether a value is plain text that can be judged now: no template, and nothing vaulted, which is no str."""
    return isinstance(value, str) and "{{" not in value and "{%" not in value


def _refuse_what_cannot_be(config):
    code, endpoint = config.get("unlock_key"), config.get("endpoint_url")
    if _is_literal(code) and not snowdirs.CODE.fullmatch(code):
        raise SnowdirError(
            "unlock_key is no unlock code, which is five groups of five letters or digits with - between"
        )
    if _is_literal(endpoint) and not snowdirs.ENDPOINT.fullmatch(endpoint):
        raise SnowdirError(f"endpoint_url is {endpoint}, and has to be like https://198.51.100.7")


def _without_content(error):
    """The first line of an error, which says what is wrong and not where, without what the file says."""
    cause = error.__cause__ if error.__cause__ is not None else error
    place = getattr(cause, "problem_mark", None)
    if place is not None:
        return f"it is no YAML at line {place.line + 1} or above"
    return to_native(getattr(error, "strerror", None) or str(error).splitlines()[0])
