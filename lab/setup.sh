#!/usr/bin/env bash
# Prepares the controller: setup.sh [REQUIREMENTS...]
# A virtual environment with what the files pin, and the checkout where Ansible looks for the
# collection. Does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=("${@:-requirements.txt}")

missing=()
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v ssh >/dev/null || missing+=(openssh-client)
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "Missing on this machine: ${missing[*]}. Run: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
python3 - <<'PYTHON'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Found Python {sys.version.split()[0]}, expected 3.11 or later. Debian 12 and 13 have it.")
PYTHON

mkdir -p .cache/collections/ansible_collections/renfo
ln -sfn ../../../.. .cache/collections/ansible_collections/renfo/redundancy

wanted=$(cat "${requirements[@]}" | sha256sum | cut -c1-16)
stamp=.venv/.installed-$(basename -a "${requirements[@]}" | tr '\n' '-')
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  [ -x .venv/bin/python ] || python3 -m venv .venv
  arguments=()
  for file in "${requirements[@]}"; do arguments+=(--requirement "$file"); done
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "${arguments[@]}"
  echo "$wanted" >"$stamp"
fi
