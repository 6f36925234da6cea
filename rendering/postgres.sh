#!/bin/sh
# What stands before PostgreSQL's own entrypoint: it refuses a volume that this image's PostgreSQL must not touch. Run by
# `sh -c` with the command to start as its arguments. Reads the volume only, so the image it was made with still fits.
set -eu

refuse() {
    echo "PostgreSQL is not started, and the volume is as it was: $*." >&2
    echo "Set the image back that was used before; to change to this one, dump there and restore here: docs/deploy.md" >&2
    exit 1
}

family() {
    # Where each puts the program: packages of Debian, and what the official Alpine images compile.
    case $1 in
    /usr/lib/postgresql/*) echo Debian ;;
    /usr/local/bin/*) echo Alpine ;;
    esac
}

if [ -d "$PGDATA" ] && { [ ! -r "$PGDATA" ] || [ ! -x "$PGDATA" ]; }; then
    refuse "$PGDATA belongs to user $(stat -c %u "$PGDATA"), and this container runs as $(id -u)"
fi
if [ -s "$PGDATA/PG_VERSION" ]; then
    made=$(cat "$PGDATA/PG_VERSION")
    ours=$(postgres --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    [ "$made" = "$ours" ] || refuse "its data are of version $made, and this image is version $ours"
    # Written at each start: the command line, beginning with the program's path.
    was=$(family "$(cut -d ' ' -f 1 "$PGDATA/postmaster.opts" 2> /dev/null || true)")
    is=$(family "$(readlink -f "$(command -v postgres)")")
    if [ -n "$was" ] && [ -n "$is" ] && [ "$was" != "$is" ]; then
        refuse "its indexes are in the order in which $was sorts text, and this image is made from $is, which sorts otherwise"
    fi
fi
exec docker-entrypoint.sh "$@"
