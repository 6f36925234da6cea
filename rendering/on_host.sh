#!/bin/sh
# What has a Docker host do something by its own tools, through its daemon; see rendering/host_trust.py. Run beside the
# engine. $INSIDE is the script; it is run as root of the host, and may write where $BINDS says. Nothing is pulled for
# it: the image holds links to the host's own programs and nothing else, so it is there before any registry is trusted.
set -eu

if ! docker image inspect "$IMAGE" < /dev/null > /dev/null 2>&1; then
    links=$(mktemp -d)
    trap 'rm -r "$links"' EXIT
    for folder in bin sbin lib lib64 usr; do
        ln -s "/host/$folder" "$links/$folder"
    done
    tar -C "$links" -cf - bin sbin lib lib64 usr | docker import - "$IMAGE" > /dev/null
fi
# Each folder of $BINDS is without blanks. What keeps containers off the host's files is off: they are what it is about.
# shellcheck disable=SC2086
docker run --rm --interactive --network none --log-driver none --read-only --userns host \
    --cap-drop ALL --cap-add SYS_CHROOT --cap-add DAC_OVERRIDE --cap-add FOWNER --cap-add CHOWN \
    --security-opt no-new-privileges --security-opt label=disable \
    --env TASK --env STACK --env AUTHORITIES --env REGISTRIES --env SYSTEM --env STORE --env FOLDERS \
    $BINDS "$IMAGE" chroot /host /bin/sh -c "$INSIDE"
