# shellcheck shell=bash
# Sourced: prints what is being done and how long it took; keeps the figures for `make bench`.
# STAGES names the file that collects them.

stages_begin() {
  mkdir -p "$(dirname "$STAGES")"
  : >"$STAGES"
}

# stage TITLE COMMAND...: runs the command in the foreground.
stage() {
  local title=$1 began rc=0
  shift
  began=$(date +%s.%N)
  printf '\n\033[1m==> %s\033[0m\n' "$title"
  "$@" || rc=$?
  printf '%s\t%.1f\n' "$title" "$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')" >>"$STAGES"
  [ "$rc" -eq 0 ] || printf '\033[31m==> %s failed (exit %s)\033[0m\n' "$title" "$rc" >&2
  return "$rc"
}

stages_end() {
  printf '\n'
  awk -F'\t' '{ printf "%8.1f s  %s\n", $2, $1; sum += $2 } END { printf "%8.1f s  in all\n", sum }' "$STAGES"
}
