#!/bin/sh
# The three steps of hatchet-lite's own start script (v0.86.12). That one goes on after a failed second step, and stays
# between Docker and the server, so that no stop signal ever reaches it.
set -eu
# stopping.sh
umask 077
cd /
run ./hatchet-migrate
# The second step writes down every setting it knows, of the environment and of what it wrote before: a variable that is
# taken away would stay in force, and the administrator's password would lie there in clear. Nobody reads any of it back
# but the keys, which must stay: what is in the environment is stronger. Without all four of them the file is left alone.
rm -f config/database.yaml config/keys.yaml
if [ -f config/server.yaml ]; then
    awk '/^[^ ]/ { part = $1 } part == "encryption:" || part == "auth:" && /^(auth:|  cookie:|    secrets: )/' \
        config/server.yaml > config/keys.yaml
    if [ "$(grep -cE '^ +(secrets|masterKeyset|privateJWTKeyset|publicJWTKeyset): .' config/keys.yaml)" = 4 ]; then
        mv config/keys.yaml config/server.yaml
    fi
    rm -f config/keys.yaml
fi
run ./hatchet-admin quickstart --skip certs --generated-config-dir ./config --overwrite=false
rm -f config/database.yaml
exec ./hatchet-lite --config ./config
