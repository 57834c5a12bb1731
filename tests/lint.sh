#!/usr/bin/env bash
# Every check that needs no host, all of them even if one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH=$PWD/.venv/bin:$PATH
failed=()

check() {
  local began=$SECONDS
  printf '\n-- %s\n' "$*"
  "$@" || failed+=("$1 ${2:-}")
  printf '   %s s\n' $((SECONDS - began))
}

check ruff check --quiet --output-format concise
check ruff format --check --quiet
check yamllint --strict .
check mypy
check antsibull-changelog lint
check ansible-lint --strict -q
git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 ls 2>/dev/null >.cache/scripts
check xargs --arg-file=.cache/scripts shellcheck
check tests/sanity.sh

if [ "${#failed[@]}" -gt 0 ]; then
  printf '\nFailed: %s\n' "$(printf '%s; ' "${failed[@]}")" >&2
  exit 1
fi
