#!/bin/sh
# The three steps of hatchet-lite's own start script (v0.86.12). That one goes on after a failed second step, and stays
# between Docker and the server, so that no stop signal ever reaches it.
set -eu
cd /
./hatchet-migrate
./hatchet-admin quickstart --skip certs --generated-config-dir ./config --overwrite=false
exec ./hatchet-lite --config ./config
