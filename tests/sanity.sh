#!/usr/bin/env bash
# ansible-test sanity on what git knows of, and on what it doesn't ignore.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# ansible-test only works below a folder of this name, and takes the files that git knows there.
copy=$root/.cache/sanity/ansible_collections/renfo/redundancy
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --create --null --files-from=- | tar --extract --directory "$copy"
git -C "$copy" init --quiet

# It keeps its virtual environments in the home folder, drops every variable that could tell pip where to
# find packages, and downloads pip from a server of its own. So: a home folder of its own, with pip's settings
# as they are here, and in place of the download the pip that Python carries.
home=$root/.cache/sanity/home
mkdir -p "$home/.config/pip" "$home/.ansible/test/cache"
.venv/bin/python -m pip config list 2>/dev/null |
  sed -nE "s/^[^.]*\.([a-z-]+)='(.*)'\$/\1 = \2/p" | awk -F' = ' 'BEGIN { print "[global]" } !seen[$1]++' |
  sed 's/\\n/ /g' >"$home/.config/pip/pip.conf"
read -r python pip <<<"$(.venv/bin/python -c '
import sys
from ansible_test._internal.host_configs import NativePythonConfig
from ansible_test._internal.python_requirements import get_venv_packages
python = "%d.%d" % sys.version_info[:2]
print(python, get_venv_packages(NativePythonConfig(version=python, path=""))["pip"].replace(".", "_"))')"
printf 'import ensurepip\nensurepip.bootstrap(default_pip=True)\n' >"$home/.ansible/test/cache/get_pip_$pip.py"

# pslint wants PowerShell, and there is none here to check. The reference application and the tests are no
# plugins: ruff checks them by rules of their own, and a French page may have French apostrophes.
cd "$copy"
log=$root/.cache/sanity/log
if ! HOME=$home PATH=$root/.venv/bin:$PATH "$root/.venv/bin/ansible-test" sanity --python "$python" \
    --skip-test pslint --exclude examples/ --exclude tests/ --color no >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
grep -c '^Running sanity test' "$log" | sed 's/$/ sanity tests passed/'
