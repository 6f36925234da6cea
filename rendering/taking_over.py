"""How a router of the edge or of a relay is replaced by one with another configuration, without a lost request."""

from collections.abc import Sequence

from rendering import caddyfile


def functions(sockets: Sequence[str]) -> str:
    """Return shell functions for a script with `set -e`, of which `take_over` is the one to call.

    `take_over COMMAND...` runs a command that reloads the router and has it listen at `sockets` in the folder that the
    variable CADDY_SOCKETS names. Requests are led there as soon as all of them are, while the reload still keeps the
    old ones open; by a process of its own, which goes on where the script is cut off. Where the command fails the old
    router is back, and the script ends.
    """
    return f"""\
lead_to() {{
    ln -sfn "$1" {caddyfile.SERVING}.new && mv -T {caddyfile.SERVING}.new {caddyfile.SERVING}
}}
is_served() {{
    for socket in {" ".join(sockets)}; do
        [ -S "$CADDY_SOCKETS/$socket" ] || return 1
    done
}}
take_over() {{
    before=$(readlink {caddyfile.SERVING})
    CADDY_SOCKETS=$(mktemp -d {caddyfile.SOCKETS_DIRECTORY}/XXXXXX)
    export CADDY_SOCKETS
    (
        while [ -d "$CADDY_SOCKETS" ] && ! is_served; do
            sleep 0.1
        done
        ! is_served || lead_to "$CADDY_SOCKETS"
    ) &
    if ! "$@"; then
        rm -rf "$CADDY_SOCKETS" && wait $!
        lead_to "$before"
        exit 1
    fi
    wait $!
    for old in {caddyfile.SOCKETS_DIRECTORY}/*; do
        [ "$old" = "$CADDY_SOCKETS" ] || rm -rf "$old"
    done
}}
"""
