#!/usr/bin/env bash
# Brings up the hosts of the lab that LAB_NAME names. Quick where all of them run already.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${LAB_NAME:=demo}" "${LAB_RELEASE:=trixie}"
export LAB_NAME LAB_RELEASE

there=$(docker ps -a --filter "label=renfo.lab=$LAB_NAME" --format '{{.Label "renfo.release"}}' | sort -u)
if [ -n "$there" ] && [ "$there" != "$LAB_RELEASE" ]; then
  echo "The lab $LAB_NAME is there with Debian $there, expected $LAB_RELEASE. Its data would be lost:" >&2
  echo "run 'make clean' first, or LAB_RELEASE=$there." >&2
  exit 1
fi

lab/release.sh ".cache/lab/$LAB_NAME/renfo_app.tar.gz"
lab/release.sh ".cache/lab/$LAB_NAME/renfo_app_broken.tar.gz" --broken

wanted=$(.venv/bin/ansible -i inventories/lab all --list-hosts | tail -n +2 | wc -l)
running=$(docker ps -q --filter "label=renfo.lab=$LAB_NAME" | wc -l)
if [ "$running" -eq "$wanted" ] && [ -f ".cache/lab/$LAB_NAME/id_ed25519" ]; then
  echo "All $wanted hosts of the lab $LAB_NAME run already."
else
  .venv/bin/ansible-playbook -i inventories/lab lab/up.yml
fi
