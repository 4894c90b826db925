# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs of the Snowball Edge client as published, by its version: (version, command, parser, text, what it says).

1.0.1 is what set-up notes of 2018 show, "1.2.0 (254)" the Developer Guide of 2023, "1.2.0 (661)" the one of 2026.
Ids are examples; "model" are fields of the device's API that no page shows.
"""

from __future__ import annotations

import textwrap
from typing import Any

OUTPUTS: list[tuple[str, str, str, str, Any]] = []


def recorded(version: str, command: str, parser: str, said: Any, text: str) -> None:
    OUTPUTS.append((version, command, parser, textwrap.dedent(text).strip() + "\n", said))


recorded("1.0.1 (167)", "version", "client_version", ("1.0.1-167", None), "Snowball client version: 1.0.1-167")
recorded("1.2.0 (254)", "version", "client_version", ("1.2.0", 254), "Snowball client version: 1.2.0  Build 254")
recorded("1.2.0 (661)", "version", "client_version", ("1.2.0", 661), "Snowball Edge client version: 1.2.0  Build 661")

recorded(
    "1.0.1 (167)",
    "describe-device",
    "device",
    {"device_id": "JID-206843500001-35-92-20-211-23-06-02-18-24", "state": "LOCKED", "ip_address": "192.0.2.0"},
    """
    {
      "DeviceId" : "JID-206843500001-35-92-20-211-23-06-02-18-24",
      "UnlockStatus" : {
        "State" : "LOCKED"
      },
      "ActiveNetworkInterface" : {
        "IpAddress" : "192.0.2.0"
      },
      "PhysicalNetworkInterfaces" : [ {
        "PhysicalNetworkInterfaceId" : "s.ni-8d0ef958ec860ac7c",
        "PhysicalConnectorType" : "RJ45",
        "IpAddressAssignment" : "DHCP",
        "IpAddress" : "192.0.2.0",
        "Netmask" : "255.255.255.0",
        "DefaultGateway" : "192.0.2.1",
        "MacAddress" : "0c:c4:7a:d8:5a:ec"
      } ]
    }
    """,
)
recorded(
    "1.2.0 (661)",
    "describe-device",
    "device",
    {
        "device_id": "JID5e3b7b82-4f27-4a2e-b34e-bf4a3f5ae0a1",
        "state": "UNLOCKED",
        "device_type": "V3_5C",
        "cluster_id": "",
        "tags": {"site": "north"},
    },
    """
    {
      "DeviceId" : "JID5e3b7b82-4f27-4a2e-b34e-bf4a3f5ae0a1",
      "UnlockStatus" : { "State" : "UNLOCKED" },
      "ActiveNetworkInterface" : { "IpAddress" : "192.0.2.0" },
      "PhysicalNetworkInterfaces" : [ {
        "PhysicalNetworkInterfaceId" : "s.ni-EXAMPLEd9ecbf03e3",
        "PhysicalConnectorType" : "RJ45",
        "IpAddressAssignment" : "STATIC",
        "IpAddress" : "0.0.0.0",
        "Netmask" : "0.0.0.0",
        "DefaultGateway" : "192.0.2.1",
        "MacAddress" : "EX:AM:PL:E0:12:34",
        "MtuSize" : "1500"
      } ],
      "DeviceCapacities" : [ {
        "Name" : "HDD Storage", "Unit" : "Byte", "Total" : 39736350227824, "Used" : 976, "Available" : 39736350226848
      } ],
      "Tags" : [ { "Key" : "site", "Value" : "north" } ],
      "DeviceType" : "V3_5C"
    }
    """,
)
recorded(
    "1.2.0 (661)",
    "describe-cluster",
    "cluster",
    {"cluster_id": "CIDEXAMPLE7-5402-4c19-9feb-7c9EXAMPLEd5"},
    """
    {
      "ClusterId" : "CIDEXAMPLE7-5402-4c19-9feb-7c9EXAMPLEd5",
      "Devices" : [ {
        "DeviceId" : "JIDEXAMPLE2-bc53-4618-a538-917EXAMPLE94",
        "UnlockStatus" : { "State" : "UNLOCKED" },
        "ActiveNetworkInterface" : { "IpAddress" : "192.0.2.0" },
        "ClusterAssociation" : { "State" : "ASSOCIATED", "ClusterId" : "CIDEXAMPLE7-5402-4c19-9feb-7c9EXAMPLEd5" },
        "NetworkReachability" : { "State" : "REACHABLE" },
        "Tags" : [ ]
      }, {
        "DeviceId" : "JIDEXAMPLE2-bc53-4618-a538-917EXAMPLE95",
        "ActiveNetworkInterface" : { "IpAddress" : "192.0.2.1" },
        "ClusterAssociation" : { "State" : "ASSOCIATED", "ClusterId" : "CIDEXAMPLE7-5402-4c19-9feb-7c9EXAMPLEd5" },
        "NetworkReachability" : { "State" : "UNREACHABLE" }
      } ]
    }
    """,
)

recorded(
    "1.2.0 (254)",
    "list-access-keys",
    "access_key_ids",
    ("AKIAIOSFODNN7EXAMPLE",),
    '{\n  "AccessKeyIds" : [ "AKIAIOSFODNN7EXAMPLE" ]\n}',
)
recorded(
    "1.2.0 (254)",
    "get-secret-access-key",
    "keys",
    {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE=KEY"},
    """
    [snowballEdge]
    aws_access_key_id = AKIAIOSFODNN7EXAMPLE
    aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE=KEY
    """,
)
recorded(
    "1.2.0 (254)",
    "list-certificates",
    "certificates",
    [{"arn": "arn:aws:snowball-device:::certificate/78EXAMPLE516EXAMPLEf538EXAMPLEa7", "names": ("192.0.2.0",)}],
    """
    {
      "Certificates" : [ {
        "CertificateArn" : "arn:aws:snowball-device:::certificate/78EXAMPLE516EXAMPLEf538EXAMPLEa7",
        "SubjectAlternativeNames" : [ "192.0.2.0" ]
      } ]
    }
    """,
)
recorded(
    "1.2.0 (661)",
    "list-certificates",
    "certificates",
    [{"arn": "arn:aws:snowball-device:::certificate/xxx", "names": ("ID:JID-xxx",)}],
    """
    {
      "Certificates" : [ {
        "CertificateArn" : "arn:aws:snowball-device:::certificate/xxx",
        "SubjectAlternativeNames" : [ "ID:JID-xxx" ]
      } ]
    }
    """,
)
recorded(
    "1.2.0 (254)",
    "get-certificate",
    "pem",
    "-----BEGIN CERTIFICATE-----\nMIIDdTCCAl2gAwIBAgIJ\nEXAMPLE=\n-----END CERTIFICATE-----\n",
    """
    -----BEGIN CERTIFICATE-----
    MIIDdTCCAl2gAwIBAgIJ
    EXAMPLE=
    -----END CERTIFICATE-----
    """,
)

recorded(
    "1.2.0 (661)",
    "list-services",
    "service_ids",
    ("greengrass", "fileinterface", "s3", "ec2", "s3-snow"),
    '{\n  "ServiceIds" : [ "greengrass", "fileinterface", "s3", "ec2", "s3-snow" ]\n}',
)
recorded(
    "1.2.0 (254)",
    "describe-service s3",
    "service",
    {
        "service_id": "s3",
        "state": "ACTIVE",
        "urls": ["http://192.0.2.0:8080", "https://192.0.2.0:8443"],
        "kinds": ["adapter", "adapter"],
        "free": 99608744468480,
    },
    """
    {
      "ServiceId" : "s3",
      "Status" : { "State" : "ACTIVE" },
      "Storage" : { "TotalSpaceBytes" : 99608745492480, "FreeSpaceBytes" : 99608744468480 },
      "Endpoints" : [ {
        "Protocol" : "http", "Port" : 8080, "Host" : "192.0.2.0"
      }, {
        "Protocol" : "https", "Port" : 8443, "Host" : "192.0.2.0",
        "CertificateAssociation" : {
          "CertificateArn" : "arn:aws:snowball-device:::certificate/6d955EXAMPLEdb71798146EXAMPLE3f0"
        }
      } ]
    }
    """,
)
_SNOW = """
{{
  "ServiceId" : "s3-snow",
  "Autostart" : true,
  "Status" : {{ "State" : "{state}"{details} }},
  "ServiceCapacities" : [ {{
    "Name" : "S3 Storage", "Unit" : "Byte", "Used" : 640303104, "Available" : 219571981512
  }} ],
  "Endpoints" : [ {{
    "Protocol" : "https", "Port" : 443, "Host" : "192.0.2.123",
    "CertificateAssociation" : {{ "CertificateArn" : "arn:aws:snowball-device:::certificate/7Rg2" }},
    "Description" : "{bucket}", "DeviceId" : "JID6ebd4c50", "Status" : {{ "State" : "ACTIVE" }}
  }}, {{
    "Protocol" : "https", "Port" : 443, "Host" : "192.0.2.202",
    "CertificateAssociation" : {{ "CertificateArn" : "arn:aws:snowball-device:::certificate/7Rg2" }},
    "Description" : "{object}", "DeviceId" : "JID6ebd4c50", "Status" : {{ "State" : "ACTIVE" }}
  }} ]
}}
"""
recorded(
    "1.2.0 (254)",
    "describe-service s3-snow",
    "service",
    {"service_id": "s3-snow", "state": "ACTIVE", "kinds": ["control", "object"], "free": 219571981512},
    _SNOW.format(
        state="ACTIVE", details="", bucket="s3-snow bucket API endpoint", object="s3-snow object API endpoint"
    ),
)
recorded(
    "1.2.0 (661)",
    "describe-service s3-snow",
    "service",
    {
        "service_id": "s3-snow",
        "state": "ACTIVATING",
        "details": "Attaching storage",
        "kinds": ["control", "object"],
        "urls": ["https://192.0.2.123:443", "https://192.0.2.202:443"],
    },
    _SNOW.format(
        state="ACTIVATING",
        details=', "Details" : "Attaching storage"',
        bucket="s3-snow bucket API endpoint (for s3control SDK)",
        object="s3-snow object & bucket API endpoint (for s3api SDK)",
    ),
)
recorded(
    "1.2.0 (254)",
    "describe-service nfs",
    "service",
    {"service_id": "nfs", "state": "ACTIVE", "allowed_hosts": ("0.0.0.0/0",), "urls": ["nfs://192.0.2.0:2049"]},
    """
    {
      "ServiceId" : "nfs",
      "Status" : { "State" : "ACTIVE" },
      "Endpoints" : [ { "Protocol" : "nfs", "Port" : 2049, "Host" : "192.0.2.0" } ],
      "ServiceConfiguration" : { "AllowedHosts" : [ "0.0.0.0/0" ] }
    }
    """,
)
_INTERFACE = """{
  "VirtualNetworkInterfaceArn" : "arn:aws:snowball-device:::interface/s.ni-8EXAMPLE9EXAMPLEd",
  "PhysicalNetworkInterfaceId" : "s.ni-8EXAMPLEaEXAMPLEd",
  "IpAddressAssignment" : "DHCP",
  "IpAddress" : "192.0.2.0",
  "Netmask" : "255.255.255.0",
  "DefaultGateway" : "192.0.2.1",
  "MacAddress" : "EX:AM:PL:E1:23:45"
}"""
recorded("1.2.0 (254)", "describe-virtual-network-interfaces", "virtual_interfaces", ["192.0.2.0"], f"[ {_INTERFACE} ]")
recorded(
    "1.0.1 (167)",
    "describe-virtual-network-interfaces",
    "virtual_interfaces",
    ["192.0.2.0"],
    f'{{ "VirtualNetworkInterfaces" : [ {_INTERFACE} ] }}',
)
recorded(
    "1.2.0 (661)",
    "create-virtual-network-interface",
    "virtual_interface",
    {"arn": "arn:aws:snowball-device:::interface/s.ni-8EXAMPLE9EXAMPLEd", "assignment": "DHCP"},
    f'{{ "VirtualNetworkInterface" : {_INTERFACE} }}',
)

recorded(
    "1.2.0 (254)",
    "describe-device-software",
    "software",
    {"installed": "101", "installing": "102", "state": "DOWNLOADED", "expires": "2022-03-31T16:47:51+00:00"},
    """
    Installed version: 101
    Installing version: 102
    Install State: DOWNLOADED
    CertificateExpiry: Thur Mar 31 16:47:51 UTC 2022
    """,
)
recorded(
    "1.2.0 (254)",
    "describe-device-software",
    "software",
    {"installed": "101", "installing": "", "state": "REQUIRE_REBOOT", "expires": None},
    """
    Installed version: 101
    Installing version: NA
    Install State: Requires Reboot
    """,
)
recorded(
    "1.2.0 (661)",
    "describe-device-software",
    "software",
    {"installed": "118", "installing": "119", "state": "DOWNLOADED", "expires": "2024-03-30T16:47:51+00:00"},
    """
    {
      "InstalledVersion" : "118",
      "InstallingVersion" : "119",
      "InstallState" : "DOWNLOADED",
      "CertificateExpiry" : "Sat Mar 30 16:47:51 UTC 2024"
    }
    """,
)
recorded(
    "model",
    "describe-device-software",
    "software",
    {"installed": "118", "installing": "119", "state": "INSTALL_FAILED", "error": "The file is damaged."},
    """
    {
      "InstalledVersion" : 118, "InstallingVersion" : 119, "InstallState" : "INSTALL_FAILED",
      "ErrorMessage" : "The file is damaged.", "CertificateExpiry" : null
    }
    """,
)
recorded("1.2.0 (254)", "check-for-updates", "updates", ("101", "102"), "Latest version: 102\nInstalled version: 101")
recorded(
    "1.2.0 (661)",
    "check-for-updates",
    "updates",
    ("118", "119"),
    '{ "InstalledVersion" : "118", "LatestVersion" : "119" }',
)
recorded(
    "1.2.0 (661)",
    "describe-features",
    "features",
    {"remote_management_state": "INSTALLED_AUTOSTART"},
    '{ "RemoteManagementState" : "INSTALLED_AUTOSTART" }',
)
recorded(
    "1.2.0 (254)",
    "describe-time-sources",
    "time_sources",
    [{"address": "172.31.2.71", "state": "LOST", "type": "PEER", "stratum": "10"}],
    '{ "Sources" : [ { "Address" : "172.31.2.71", "State" : "LOST", "Type" : "PEER", "Stratum" : 10 } ] }',
)
