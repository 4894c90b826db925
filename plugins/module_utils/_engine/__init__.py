# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The snowsync engine: a verified, resumable S3 transfer through local volumes.

Pure Python, no Ansible. On a host these same files are installed as the package ``snowsync``.
"""

from __future__ import annotations

VERSION = "0.1.0"
