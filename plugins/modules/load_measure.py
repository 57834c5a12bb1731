#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: load_measure
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Run a load tool on a host, and read its figures
description:
  - Runs C(wrk) (with the script C(wrk.lua) of this collection) or C(pgbench), as the filter C(load_aim) gives it.
  - The figures are appended to the file C(measures.jsonl) in O(report) on the controller.
options:
  measure:
    description: What is measured, as the filter C(load_aim) gives it.
    type: dict
    required: true
  round:
    description: Number of the round.
    type: int
    required: true
  report:
    description: Folder of the report on the controller.
    type: path
    required: true
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: Nothing is loaded in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Measure
  renfo.redundancy.load_measure:
    measure: "{{ load_item }}"
    round: 1
    report: load-report
"""

RETURN = r"""
figures:
  description:
    - C(rate) (answers or transactions a second), C(throughput) (bytes a second, or none), C(latency) (milliseconds, by
      C(mean), C(p50), C(p90), C(p99)), C(errors).
  returned: when something was measured
  type: dict
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.load_figures import NoFigures, parse

ARGUMENTS = {
    "measure": {"type": "dict", "required": True},
    "round": {"type": "int", "required": True},
    "report": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True)
    argv = list(module.params["measure"]["argv"])
    code, out, errors = module.run_command(argv)
    if code != 0:
        module.fail_json(msg=f"{argv[0]} ended with {code}: {(errors or out).strip()[-500:]}")
    try:
        figures = parse(out)
    except NoFigures as error:
        module.fail_json(msg=str(error))
    # What was written to the database or the store stays there.
    module.exit_json(changed=True, figures=dataclasses.asdict(figures))


if __name__ == "__main__":
    main()
