#!/bin/sh
# What Reflector's entrypoint hands over to, in place of the image's own /app/runserver.sh (v0.45.0). That one goes on
# after a failed migration, and stays between Docker and the service, so that no stop signal ever reaches it.
set -eu
# stopping.sh
export VIRTUAL_ENV=/app/.venv
export PATH="$VIRTUAL_ENV/bin:$PATH"
case "$ENTRYPOINT" in
server)
    # Behind the question mark is what the server's own database library reads; the one for migrations refuses it.
    run env DATABASE_URL="${DATABASE_URL%%\?*}" alembic upgrade head
    if [ -n "${ADMIN_EMAIL:-}" ]; then
        run python /app/rename_administrator.py
    fi
    # Where a provider says who somebody is, there is no password here.
    if [ -n "${ADMIN_EMAIL:-}" ] && [ -n "${ADMIN_PASSWORD_HASH:-}" ]; then
        run python -m reflector.tools.provision_admin
    fi
    exec uvicorn reflector.app:app --host 0.0.0.0 --port 1250
    ;;
worker)
    # Left to itself it has a process for each processor of the host.
    exec celery -A reflector.worker.app worker --loglevel=info --concurrency="$WORKER_PROCESSES"
    ;;
beat)
    exec celery -A reflector.worker.app beat --loglevel=info
    ;;
hatchet-worker-llm)
    # Its main process finishes what it is at, and its listener, a process of its own, asks Hatchet for nothing more: but
    # each only when it hears of the stop itself, so here no process takes the shell's place.
    run python -m reflector.hatchet.run_workers_llm
    ;;
*)
    echo "ENTRYPOINT=$ENTRYPOINT is not one of server, worker, beat, hatchet-worker-llm" >&2
    exit 1
    ;;
esac
