#!/bin/sh
# drain close NAME ADDRESS:PORT SECONDS: refuse new connections, and wait for so long until those that are there were
# answered.
# drain open NAME: refuse no more.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin

case $1 in
  close)
    # It ended by itself: there is nobody left to be answered.
    [ -n "${MAINPID:-}" ] || exit 0
    port=${3##*:}
    nft "table inet $2 { chain drain { type filter hook input priority -5; policy accept; tcp dport $port tcp flags & (syn|ack) == syn reject with tcp reset; }; }"
    # Who has not been read by now is a request that takes long: the application ends those when it is told to stop.
    waited=0
    while [ $waited -lt $((${4:-5} * 10)) ] && [ -n "$(ss -Htn state established state syn-recv "sport = :$port")" ]; do
      sleep 0.1
      waited=$((waited + 1))
    done
    ;;
  open)
    if nft list table inet "$2" >/dev/null 2>&1; then
      nft delete table inet "$2"
    fi
    ;;
esac
