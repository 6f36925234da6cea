# shellcheck shell=sh
# Docker signals the first process alone, which is this shell until the service takes its place, and the kernel drops what
# a first process has no handler for. What is run meanwhile is told with it, and waited for.
child=
stop() {
    trap '' TERM
    kill -TERM 0
    status=0
    [ -z "$child" ] || wait "$child" || status=$?
    exit "$status"
}
run() {
    "$@" &
    child=$!
    wait "$child"
    child=
}
trap stop TERM
