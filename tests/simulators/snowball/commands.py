# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command of the client that asks a device, with its options and the states that it may be sent in."""

from __future__ import annotations

from . import actions, answers, software
from .client import Command
from .model import STATES

COMMANDS = {
    "unlock-device": Command(actions.unlock_device, states=STATES),
    "unlock-cluster": Command(actions.unlock_cluster, states=STATES),
    "describe-device": Command(answers.describe_device, states=STATES),
    "describe-cluster": Command(answers.describe_cluster, states=STATES),
    "list-access-keys": Command(answers.list_access_keys),
    "get-secret-access-key": Command(answers.get_secret_access_key, ("access-key-id",)),
    "list-certificates": Command(answers.list_certificates),
    "get-certificate": Command(answers.get_certificate, ("certificate-arn",)),
    "list-services": Command(answers.list_services),
    "describe-service": Command(answers.describe_service, ("service-id",)),
    "start-service": Command(
        actions.start_service, ("service-id", "virtual-network-interface-arns", "service-configuration")
    ),
    "stop-service": Command(actions.stop_service, ("service-id",)),
    "describe-virtual-network-interfaces": Command(answers.describe_virtual_network_interfaces),
    "create-virtual-network-interface": Command(
        actions.create_virtual_network_interface,
        ("ip-address-assignment", "physical-network-interface-id", "static-ip-address-configuration"),
    ),
    "delete-virtual-network-interface": Command(
        actions.delete_virtual_network_interface, ("virtual-network-interface-arn",)
    ),
    "check-for-updates": Command(software.check_for_updates),
    "describe-device-software": Command(software.describe_device_software),
    "download-updates": Command(software.download_updates, ("uri",)),
    "install-updates": Command(software.install_updates),
    "reboot-device": Command(software.reboot_device),
    "describe-features": Command(answers.describe_features),
    "describe-time-sources": Command(answers.describe_time_sources, states=STATES),
}
