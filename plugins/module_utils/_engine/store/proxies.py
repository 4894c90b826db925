# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The proxy that the environment sets for an endpoint. Loaded only where it sets one (store/address.py)."""

from __future__ import annotations

import ipaddress
import urllib.parse
import urllib.request

from ..core.errors import ConfigError
from .socks import SCHEMES


def chosen_proxy(endpoint: str) -> str:
    """As `address.proxy_for`, for an environment that names a proxy."""
    parts = urllib.parse.urlsplit(endpoint)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies_environment()
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return ""
    if address is not None and any(_holds(entry, address) for entry in proxies.get("no", "").split(",")):
        return ""
    if urllib.request.proxy_bypass(parts.netloc, proxies):
        return ""
    return _usable(proxies.get(parts.scheme) or proxies.get("all") or "")


def _usable(proxy: str) -> str:
    """The proxy's URL; ConfigError for one that not every tool supports: all requests must use the same proxy.

    A SOCKS proxy always resolves the names, with either scheme.
    """
    scheme, separator, rest = proxy.partition("://")
    if separator and scheme.lower() in SCHEMES:
        return f"socks5h://{rest}"
    if separator and scheme.lower() not in ("http", "https"):
        problem = f"{scheme}:// proxies are not supported; use http://, https:// or socks5h://"
        raise ConfigError(
            "the environment", [f"http_proxy, https_proxy, all_proxy: {problem}, or name the host in no_proxy"]
        )
    return proxy


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry.strip(), strict=False)
    except ValueError:
        return False
