#!/bin/sh
# Starts PostgreSQL; on an empty PGDATA it first makes the cluster, its superuser and its database.
#
#   POSTGRES_USER                superuser, default postgres
#   POSTGRES_PASSWORD[_FILE]     its password, or a file that holds it; needed for the first start only
#   POSTGRES_DB                  database, default the superuser's name
#   POSTGRES_INITDB_ARGS         more arguments for initdb, split at blanks
#
# Nothing listens while the cluster is being made (the work is done by initdb and PostgreSQL's single-user mode), so
# whoever gets an answer talks to the finished server. An interrupted first start is begun anew by the next one.
set -eu

fail() {
	printf 'docker-entrypoint.sh: %s\n' "$*" >&2
	exit 1
}

make_cluster() {
	user=${POSTGRES_USER:-postgres}
	database=${POSTGRES_DB:-$user}
	new=$PGDATA/initialising

	if [ -n "${POSTGRES_PASSWORD:-}" ] && [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
		fail 'both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set: set one of them'
	fi
	if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
		[ -r "$POSTGRES_PASSWORD_FILE" ] ||
			fail "POSTGRES_PASSWORD_FILE: $POSTGRES_PASSWORD_FILE is not readable by $(id -u):$(id -g): mount it readable for that user"
		POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
	fi
	[ -n "${POSTGRES_PASSWORD:-}" ] ||
		fail "no password for the superuser $user: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
	if [ -n "$(ls -A /docker-entrypoint-initdb.d 2> /dev/null)" ]; then
		fail '/docker-entrypoint-initdb.d is not empty, but this image runs no scripts: use psql against the running server'
	fi

	# Only a first start that was cut off leaves this folder without a PG_VERSION above it: nothing was ever served from it.
	if [ -d "$new" ]; then
		echo 'docker-entrypoint.sh: the first start was interrupted, beginning anew'
		find "$PGDATA" -mindepth 1 -delete
	fi
	[ -z "$(ls -A "$PGDATA")" ] || fail "$PGDATA holds files but no PG_VERSION: give an empty volume, or one with a cluster in it"

	# initdb reads the password from a pipe, so that it is in no file and no argument list. One sync at the end replaces
	# one for every file.
	# shellcheck disable=SC2086 # POSTGRES_INITDB_ARGS is a list
	printf '%s\n' "$POSTGRES_PASSWORD" | initdb --pgdata="$new" --username="$user" --pwfile=/dev/stdin --no-sync --no-instructions \
		--encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
	echo 'host all all all scram-sha-256' >> "$new/pg_hba.conf"
	echo "listen_addresses = '*'" >> "$new/postgresql.conf"
	if [ "$database" != postgres ]; then
		printf 'CREATE DATABASE "%s";\n' "$(printf %s "$database" | sed 's/"/""/g')" |
			postgres --single -F -D "$new" -c exit_on_error=true postgres > /dev/null
	fi
	sync --file-system "$PGDATA"

	# PG_VERSION is what tells a whole cluster from a half-made one, so it moves last.
	find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
	sync --file-system "$PGDATA"
	mv "$new/PG_VERSION" "$PGDATA/"
	rmdir "$new"
	sync --file-system "$PGDATA"
}

case ${1:-} in
'' | -*) set -- postgres "$@" ;;
esac
if [ "$1" = postgres ]; then
	[ "$(id -u)" != 0 ] || fail 'PostgreSQL does not run as root: run the container as 70:70, the default of this image'
	[ -w "$PGDATA" ] || fail "PGDATA: $PGDATA is missing or not writable by $(id -u):$(id -g): mount a volume owned by that user"
	[ -s "$PGDATA/PG_VERSION" ] || make_cluster
	unset POSTGRES_PASSWORD
fi
exec "$@"
