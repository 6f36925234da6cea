#!/bin/sh
exec /usr/local/bin/probe start "$@"
