#!/bin/sh
# Starts Redis as the official image does: arguments alone, or a configuration file, are given to redis-server, and
# protected mode is off, because a container's port is reachable only where its network and ports say so.
set -eu

case ${1:-} in
'' | -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
	shift
	# A configuration file must stay the first argument; whatever the caller says comes later and wins.
	case ${1:-} in
	'' | -*) set -- redis-server --protected-mode no "$@" ;;
	*)
		file=$1
		shift
		set -- redis-server "$file" --protected-mode no "$@"
		;;
	esac
fi
exec "$@"
