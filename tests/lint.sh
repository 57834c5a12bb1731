#!/usr/bin/env bash
# Every check that needs no host, all of them even if one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH=$PWD/.venv/bin:$PATH
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
names=()
jobs=()

# At the same time, for most of them keep one core busy; what each says is shown whole, in order.
check() {
  names+=("$*")
  {
    "$@"
    local status=$?
    printf '   %s s\n' "$SECONDS"
    return $status
  } >"$logs/${#names[@]}" 2>&1 &
  jobs+=($!)
}

check tests/sanity.sh
check ansible-lint --strict -q
check mypy
check ruff check --quiet --output-format concise
check ruff format --check --quiet
check yamllint --strict .
check antsibull-changelog lint
git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 ls 2>/dev/null >.cache/scripts
check xargs --arg-file=.cache/scripts shellcheck

failed=()
for number in "${!jobs[@]}"; do
  wait "${jobs[number]}" || failed+=("${names[number]}")
  printf '\n-- %s\n' "${names[number]}"
  cat "$logs/$((number + 1))"
done

if [ "${#failed[@]}" -gt 0 ]; then
  printf '\nFailed: %s\n' "$(printf '%s; ' "${failed[@]}")" >&2
  exit 1
fi
