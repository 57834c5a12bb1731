#!/usr/bin/env bash
# make load: what the demo lab gives under load, and a report. SECONDS_EACH=10 ROUNDS=3.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${LAB_NAME:=demo}" "${REPORT:=load-report}"
export LAB_NAME
lab/demo.sh
lab/setup.sh requirements.txt requirements-drill.txt
arguments=(-e loadtest_i_may_load=lab -e "loadtest_report=$REPORT")
[ -z "${ROUNDS:-}" ] || arguments+=(-e "loadtest_rounds=$ROUNDS")
[ -z "${SECONDS_EACH:-}" ] || arguments+=(-e "loadtest_seconds=$SECONDS_EACH")
.venv/bin/ansible-playbook -i inventories/lab playbooks/loadtest.yml "${arguments[@]}"
