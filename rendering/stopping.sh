# shellcheck shell=sh
# Docker signals the first process alone, which is this shell until the service takes its place, and the kernel drops what
# a first process has no handler for. What is run meanwhile is told with it, and waited for. Helpers that Python starts as
# processes of its own are told too; other programs it calls are let finish what they do for it.
child=
stop() {
    trap '' TERM
    status=0
    if [ -n "$child" ]; then
        # shellcheck disable=SC2013  # it is numbers on one line
        for process in $(cat "/proc/$child/task/"*/children 2> /dev/null); do
            if grep -qs spawn_main "/proc/$process/cmdline"; then
                kill -TERM "$process" || true
            fi
        done
        kill -TERM "$child" 2> /dev/null || true
        wait "$child" || status=$?
    fi
    exit "$status"
}
run() {
    "$@" &
    child=$!
    wait "$child"
    child=
}
trap stop TERM
