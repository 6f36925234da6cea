#!/bin/sh
# Starts Reflector's web frontend, the arguments, with a log that anybody may read. It stays the first process and gets
# every signal itself; the filter ends once nobody writes any more.
set -eu
pipe=/tmp/reflector-web-log
rm -f "$pipe"
mkfifo -m 0600 "$pipe"
# Both images have busybox, whose awk passes on each line as it comes.
busybox awk -f /app/log_filter.awk < "$pipe" &
exec "$@" > "$pipe" 2>&1
