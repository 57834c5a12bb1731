#!/usr/bin/env bash
# make drill: break the demo lab in every way, and report. FAULT=app_kill,lb_off: only these. ROUNDS=30 SEED=7: at random.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${LAB_NAME:=demo}" "${REPORT:=drill-report}"
export LAB_NAME
lab/demo.sh
lab/setup.sh requirements.txt requirements-drill.txt
arguments=(-e drill_i_may_break=lab -e "drill_report=$REPORT")
[ -z "${FAULT:-}" ] || arguments+=(-e "drill_faults=$FAULT")
[ -z "${ROUNDS:-}" ] || arguments+=(-e "drill_rounds=$ROUNDS")
[ -z "${SEED:-}" ] || arguments+=(-e "drill_seed=$SEED")
.venv/bin/ansible-playbook -i inventories/lab playbooks/drill.yml "${arguments[@]}"
