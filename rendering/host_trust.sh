#!/bin/sh
# Whom a Docker host trusts, by its own tools; see rendering/host_trust.py. Run on the host, by on_host.sh.
#
#   $TASK         store, registries, or look, which changes nothing and prints a line for each thing that is not right
#   $STACK        what the names of our files start with
#   $AUTHORITIES  a line for each that is to be trusted: the name of its file, and its SHA-256 in hexadecimal
#   $REGISTRIES   a line for each that is to be trusted by them
#   standard input: their certificates, PEM
#
# Where there is nothing in these, all of ours is removed. To look: $STORE and $SYSTEM are not empty where the store is to
# be looked at, and whether there is any; $FOLDERS is a line for each registry whose folder is looked at for what stops
# Docker.
set -eu

ROOT=${ROOT:-} # where a test has its host
AUTHORITIES=${AUTHORITIES:-}
REGISTRIES=${REGISTRIES:-}
DOCKER=/etc/docker/certs.d

fail() {
    echo "$*" >&2
    exit 1
}

# --- Certificates -----------------------------------------------------------------------------------------------------

# A line for each in PEM: its base64, which DER has one of.
bodies() {
    awk '
        /^-----END CERTIFICATE-----/ { if (inside) print body; inside = 0 }
        inside { gsub(/[ \t\r]/, ""); body = body $0 }
        /^-----BEGIN CERTIFICATE-----/ { inside = 1; body = "" }
    ' "$@"
}

pem() {
    echo "-----BEGIN CERTIFICATE-----"
    printf %s "$1" | fold -w 64
    printf '\n%s\n' "-----END CERTIFICATE-----"
}

given=$(bodies | while read -r body; do
    printf '%s %s\n' "$(printf %s "$body" | base64 -d | sha256sum | cut -d ' ' -f 1)" "$body"
done)

# A line for each of $AUTHORITIES: the name of its file, and the base64 of what has that fingerprint.
wanted=$(printf '%s\n' "$AUTHORITIES" | while read -r name sha256; do
    [ -n "$name" ] || continue
    body=$(printf '%s\n' "$given" | awk -v sha256="$sha256" '$1 == sha256 { print $2; exit }')
    [ -n "$body" ] || fail "no certificate with the fingerprint $sha256 was given for $name"
    echo "$name $body"
done)

is_wanted() {
    printf '%s\n' "$AUTHORITIES" | awk -v name="$1" '$1 == name { found = 1 } END { exit !found }'
}

# Whether a file of this name is ours: the stack, what the authority is called, and the start of its fingerprint. Only
# the first of these can have an underscore in it, so another stack whose name starts like ours is not taken for it.
is_ours() {
    rest=${1#"${STACK}_"}
    case $rest in
    "$1" | *_*_*) return 1 ;;
    *_????????.crt) return 0 ;;
    *) return 1 ;;
    esac
}

# Write $2 to the file $1 where it is not that already, in one go.
write() {
    if [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; then
        return 0
    fi
    new=${1%/*}/.${1##*/}.new
    printf '%s\n' "$2" > "$new"
    chmod 644 "$new"
    mv -f "$new" "$1"
}

# --- The store of the system ------------------------------------------------------------------------------------------

os_release() {
    for file in /etc/os-release /usr/lib/os-release; do
        if [ -r "$ROOT$file" ]; then
            # shellcheck disable=SC1090
            . "$ROOT$file"
            return
        fi
    done
}

# Find out where the system keeps authorities, and what makes its bundle of them; fails where that is not known.
system() {
    for id in $(os_release && echo "${ID:-} ${ID_LIKE:-}"); do
        case $id in
        debian | ubuntu | alpine)
            STORE_FOLDER=/usr/local/share/ca-certificates
            BUNDLE=/etc/ssl/certs/ca-certificates.crt
            # Links to what is gone stay otherwise.
            TOOL=update-ca-certificates ANEW=--fresh
            return ;;
        rhel | fedora | centos)
            STORE_FOLDER=/etc/pki/ca-trust/source/anchors
            BUNDLE=/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
            TOOL=update-ca-trust ANEW=
            return ;;
        suse | sles | opensuse*)
            STORE_FOLDER=/etc/pki/trust/anchors
            BUNDLE=/var/lib/ca-certificates/ca-bundle.pem
            TOOL=update-ca-certificates ANEW=--fresh
            return ;;
        arch)
            STORE_FOLDER=/etc/ca-certificates/trust-source/anchors
            BUNDLE=/etc/ca-certificates/extracted/tls-ca-bundle.pem
            TOOL=update-ca-trust ANEW=
            return ;;
        esac
    done
    return 1
}

system_name() {
    (os_release && echo "${PRETTY_NAME:-a system without os-release} (${ID:-no name})")
}

# The names of those that are not among what programs are told to trust.
missing() {
    there=
    [ ! -f "$ROOT$BUNDLE" ] || there=$(bodies "$ROOT$BUNDLE")
    printf '%s\n' "$wanted" | while read -r name body; do
        [ -z "$name" ] || printf '%s\n' "$there" | grep -x -F -e "$body" > /dev/null || echo "$name"
    done
}

ours_in_store() {
    for file in "$ROOT$STORE_FOLDER/$STACK"_*; do
        name=${file##*/}
        if [ -f "$file" ] && is_ours "$name"; then
            echo "$name"
        fi
    done
}

# Links of ours beside the bundle to files that are gone.
dangling() {
    for link in "$ROOT${BUNDLE%/*}/$STACK"_*; do
        if [ -L "$link" ] && [ ! -e "$link" ]; then
            echo "$link"
        fi
    done
}

store() {
    system || fail "the store of $(system_name) is not known here"
    [ -z "$wanted" ] || command -v "$TOOL" > /dev/null || fail "$TOOL is not installed on $(system_name)"
    removed=$(ours_in_store | while read -r name; do
        if ! is_wanted "$name"; then
            rm -f "$ROOT$STORE_FOLDER/$name"
            echo "$name"
        fi
    done)
    [ -z "$wanted" ] || mkdir -p "$ROOT$STORE_FOLDER"
    printf '%s\n' "$wanted" | while read -r name body; do
        [ -z "$name" ] || write "$ROOT$STORE_FOLDER/$name" "$(pem "$body")"
    done
    # Every time: a run that was interrupted may have got as far as the files, and what was removed is trusted still.
    if command -v "$TOOL" > /dev/null; then
        [ -n "$removed$(dangling)" ] || ANEW=
        # shellcheck disable=SC2086
        said=$("$TOOL" $ANEW 2>&1) || fail "$TOOL on $(system_name): $said"
    fi
    left=$(missing)
    [ -z "$left" ] || fail "$TOOL has not put into $BUNDLE: $left"
}

# --- Registries of the daemon -----------------------------------------------------------------------------------------

is_registry() {
    printf '%s\n' "$REGISTRIES" | grep -q -x -F -e "$1"
}

all_pem() {
    printf '%s\n' "$wanted" | while read -r name body; do
        [ -z "$name" ] || pem "$body"
    done
}

registries() {
    for file in "$ROOT$DOCKER"/*/"$STACK.crt"; do
        folder=${file%/*}
        if [ -f "$file" ] && ! is_registry "${folder##*/}"; then
            rm -f "$file"
            # Somebody else's files keep it.
            rmdir "$folder" 2> /dev/null || true
        fi
    done
    content=$(all_pem)
    printf '%s\n' "$REGISTRIES" | while read -r address; do
        if [ -n "$address" ]; then
            mkdir -p "$ROOT$DOCKER/$address"
            write "$ROOT$DOCKER/$address/$STACK.crt" "$content"
        fi
    done
    [ ! -d "$ROOT$DOCKER" ] || rmdir "$ROOT$DOCKER" 2> /dev/null || true
}

# --- Only looking -----------------------------------------------------------------------------------------------------

# Docker reads *.cert and *.key as a client's certificate and its key, and pulls nothing where one lacks the other.
without() {
    for file in "$ROOT$DOCKER/$1"/*"$2"; do
        other=${file%"$2"}$3
        if [ -e "$file" ] && [ ! -e "$other" ]; then
            echo "client ${file#"$ROOT"} ${other##*/}"
        fi
    done
}

look() {
    if [ -n "${SYSTEM:-}${STORE:-}" ]; then
        if ! system; then
            echo "system $(system_name)"
            STORE=
        elif ! command -v "$TOOL" > /dev/null; then
            echo "tool $TOOL $(system_name)"
        fi
    fi
    if [ -n "${STORE:-}" ]; then
        gone=$(missing)
        printf '%s\n' "$wanted" | while read -r name body; do
            [ -n "$name" ] || continue
            if [ ! -f "$ROOT$STORE_FOLDER/$name" ] || [ "$(cat "$ROOT$STORE_FOLDER/$name")" != "$(pem "$body")" ] ||
                printf '%s\n' "$gone" | grep -q -x -F -e "$name"; then
                echo "store $name"
            fi
        done
    fi
    content=$(all_pem)
    printf '%s\n' "$REGISTRIES" | while read -r address; do
        file=$ROOT$DOCKER/$address/$STACK.crt
        if [ -n "$address" ] && { [ ! -f "$file" ] || [ "$(cat "$file")" != "$content" ]; }; then
            echo "registry $address"
        fi
    done
    printf '%s\n' "${FOLDERS:-}" | while read -r address; do
        if [ -n "$address" ]; then
            without "$address" .cert .key
            without "$address" .key .cert
        fi
    done
}

"$TASK"
