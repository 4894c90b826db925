# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the client fails."""

from __future__ import annotations


class ClientError(Exception):
    """What the client itself says, before or instead of an answer of the device."""

    exit_code = 1


class UsageError(ClientError):
    """The command line makes no sense."""

    exit_code = 2


class DeviceError(Exception):
    """An error of the device's API; `name` is the class that it has in the device's model."""

    exit_code = 1

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message
        super().__init__(f"{name}: {message}")


def incorrect_state(message: str) -> DeviceError:
    return DeviceError("IncorrectDeviceStateException", message)
