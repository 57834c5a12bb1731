#!/usr/bin/env bash
# make drill: break the demo lab in every way, and report. FAULT=app_kill,lb_off: only these. ROUNDS=30 SEED=7: at random.
# ALERTS=true: each fault lasts until the monitoring tells of it.
# FAULT=disaster: lose everything but the backups, and rebuild the site from them.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${LAB_NAME:=demo}"
export LAB_NAME
case ",${FAULT:-}," in
  ,disaster,)
    lab/demo.sh
    lab/setup.sh requirements.txt requirements-drill.txt
    exec .venv/bin/python lab/disaster.py --report "${REPORT:-disaster-report}"
    ;;
  *,disaster,*)
    echo "FAULT is $FAULT. The disaster leaves nothing for another fault to break: give it alone, FAULT=disaster." >&2
    exit 2
    ;;
esac
lab/demo.sh
lab/setup.sh requirements.txt requirements-drill.txt
arguments=(-e drill_i_may_break=lab -e "drill_report=${REPORT:-drill-report}")
[ -z "${FAULT:-}" ] || arguments+=(-e "drill_faults=$FAULT")
[ -z "${ROUNDS:-}" ] || arguments+=(-e "drill_rounds=$ROUNDS")
[ -z "${SEED:-}" ] || arguments+=(-e "drill_seed=$SEED")
[ -z "${ALERTS:-}" ] || arguments+=(-e "drill_alerts=$ALERTS")
.venv/bin/ansible-playbook -i inventories/lab playbooks/drill.yml "${arguments[@]}"
