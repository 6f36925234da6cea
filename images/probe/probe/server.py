"""The role ``server``: answers on port 1250."""

import logging
import time
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import jwt
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from probe import backend, database, pipeline, users
from probe.accounts import PASSWORD_ALGORITHM, Accounts, RefusedError, TwoUsersError, User
from probe.engine import EngineClient
from probe.environment import Environment, Storage
from probe.http import bearer_token, http_error, json_object
from probe.passwords import MalformedHashError, verify_password
from probe.serving import Listener, Role
from probe.storage import PRESIGNED_SECONDS, ObjectStorage
from probe.wiring import describe

PORT = 1250
"""Upstream's port (server/runserver.sh)."""

TOKEN_HOURS = 24
"""Life of a login token (reflector/auth/auth_password.py, v0.45.0)."""

UNAUTHORISED = 4401
"""Close code of a WebSocket without a valid token (reflector/views/user_websocket.py)."""

BODY_BYTES = 64 * 1024 * 1024
"""Largest object the probe takes; tests send kilobytes."""

TRUSTED_PROXIES = "FORWARDED_ALLOW_IPS"
"""Whose word Uvicorn takes for scheme and client: addresses and networks, or ``*``; by default itself alone."""

LOGIN_ATTEMPTS = 10
LOGIN_SECONDS = 300.0
"""So many attempts to log in, good ones too, an address has in so long a time (reflector/auth/auth_password.py)."""

PROCESSED_STATES = ("processing", "ended")
"""States in which no upload is taken any more (Transcript.locked, and what the pipeline is at)."""

log = logging.getLogger("probe.server")


def role(env: Environment) -> Role:
    """Assemble the role; a wrong variable shows when it starts, or on /wiring."""
    return Role(
        name="server",
        checks=backend.checks("server", env),
        listeners=[Listener(app=application(env), port=PORT, trusted_proxies=env.text(TRUSTED_PROXIES, "127.0.0.1"))],
        warm=partial(backend.warm, env),
    )


def application(env: Environment) -> Starlette:
    """Upstream's public surface as far as a deployment touches it, plus notes and objects for tests."""
    api = Api(env)
    routes: list[BaseRoute] = [
        Route("/health", api.health),
        Route("/metrics", api.metrics),
        Route("/v1/config", api.config),
        Route("/v1/me", api.me),
        Route("/v1/user/api-keys", api.api_keys, methods=["GET", "POST"]),
        Route("/v1/user/api-keys/{id}", api.api_key, methods=["DELETE"]),
        Route("/v1/client", api.client),
        Route("/v1/notes", api.notes, methods=["GET", "POST"]),
        Route("/v1/objects/{key:path}", api.objects, methods=["GET", "PUT"]),
        # Starlette redirects from a path with a slash more, to the scheme it believes it was called by.
        Route("/v1/transcripts", api.transcripts, methods=["GET", "POST"]),
        Route("/v1/transcripts/{id}", api.transcript),
        Route("/v1/transcripts/{id}/record/upload", api.upload, methods=["POST"]),
        WebSocketRoute("/v1/events", api.events),
    ]
    if api.accounts.backend == "password":
        routes.append(Route("/v1/auth/login", api.login, methods=["POST"]))
    cors = Middleware(
        CORSMiddleware,
        allow_origins=env.text("CORS_ORIGIN", "*").split(","),
        allow_credentials=env.flag("CORS_ALLOW_CREDENTIALS", False),
        allow_methods=["*"],
        allow_headers=["*"],
    )
    return Starlette(
        routes=routes,
        middleware=[cors, Middleware(BaseHTTPMiddleware, dispatch=api.count)],
        exception_handlers={HTTPException: http_error},
    )


class Api:
    """The server's handlers over one environment."""

    def __init__(self, env: Environment) -> None:
        """Keep the environment; stores and connections are opened when a request needs them.

        Raises WiringError where nobody could be recognised: an unknown sign-in mode, or no key for its tokens.
        """
        self.env = env
        self.accounts = Accounts(env, lambda: backend.settings(env).dsn)
        self.started = time.time()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.attempts = LoginLimit()
        self._store: ObjectStorage | None = None

    async def count(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Count requests by method and status for /metrics."""
        response = await call_next(request)
        self.requests[(request.method, response.status_code)] += 1
        return response

    async def health(self, request: Request) -> Response:
        """Alive; says nothing about dependencies, as upstream."""
        return JSONResponse({"status": "healthy"})

    async def metrics(self, request: Request) -> Response:
        """Prometheus text."""
        lines = ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {self.started:.3f}"]
        lines.append("# TYPE http_requests_total counter")
        for (method, status), number in sorted(self.requests.items()):
            lines.append(f'http_requests_total{{method="{method}",status="{status}"}} {number}')
        return PlainTextResponse("\n".join(lines) + "\n")

    async def config(self, request: Request) -> Response:
        """What the front end asks first."""
        mail = bool(self.env.text("SMTP_HOST") and self.env.text("SMTP_FROM_EMAIL"))
        return JSONResponse({"zulip_enabled": bool(self.env.text("ZULIP_REALM")), "email_enabled": mail})

    async def login(self, request: Request) -> Response:
        """Exchange e-mail and password for a token of 24 hours."""
        # After the proxies' headers this is who Uvicorn says it is: the edge itself, where nobody trusts the edge.
        if not self.attempts.allow(request.client.host if request.client is not None else "unknown"):
            raise HTTPException(429, "Too many login attempts. Try again later.")
        body = await json_object(request)
        email, password = body.get("email"), body.get("password")
        if not isinstance(email, str) or not isinstance(password, str):
            raise HTTPException(422, "email and password are required")
        user = await users.find_user(backend.settings(self.env).dsn, email)
        try:
            valid = user is not None and verify_password(password, user[1])
        except MalformedHashError as problem:
            log.error("the stored hash of %s cannot be used: %s", email, problem)
            valid = False
        if user is None or not valid:
            raise HTTPException(401, "Invalid email or password")
        expires = datetime.now(UTC) + timedelta(hours=TOKEN_HOURS)
        claims = {"sub": user[0], "email": email, "exp": expires}
        token = jwt.encode(claims, self.accounts.secret_key, algorithm=PASSWORD_ALGORITHM)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": TOKEN_HOURS * 3600})

    async def me(self, request: Request) -> Response:
        """Who the token belongs to; null without sign-in."""
        user = await self._authorise(request)
        return JSONResponse(None if user is None else {"sub": user.id, "email": user.email})

    async def api_keys(self, request: Request) -> Response:
        """GET lists the caller's keys; POST ``{"name": text or nothing}`` makes one, and is the last to tell it."""
        user = await self._require_user(request)
        if request.method == "GET":
            kept = await users.list_api_keys(backend.settings(self.env).dsn, user.id)
            return JSONResponse([key.as_json() for key in kept])
        name = (await json_object(request)).get("name")
        if name is not None and (not isinstance(name, str) or not name):
            raise HTTPException(422, "name must be a text")
        made, key = await self.accounts.make_api_key(user, name)
        return JSONResponse({**made.as_json(), "key": key})

    async def api_key(self, request: Request) -> Response:
        """Delete a key of the caller's."""
        user = await self._require_user(request)
        await users.delete_api_key(backend.settings(self.env).dsn, request.path_params["id"], user.id)
        return JSONResponse({"status": "ok"})

    async def client(self, request: Request) -> Response:
        """Who asks, and by which scheme, as far as Uvicorn believes the proxies before it."""
        address = None if request.client is None else request.client.host
        return JSONResponse({"address": address, "scheme": request.url.scheme})

    async def notes(self, request: Request) -> Response:
        """GET lists rows, POST ``{"body": text}`` adds one."""
        await self._authorise(request)
        dsn = backend.settings(self.env).dsn
        if request.method == "GET":
            return JSONResponse({"items": [note.as_json() for note in await database.list_notes(dsn)]})
        body = (await json_object(request)).get("body")
        if not isinstance(body, str) or not body:
            raise HTTPException(422, "body is required")
        return JSONResponse((await database.add_note(dsn, body)).as_json(), status_code=201)

    async def transcripts(self, request: Request) -> Response:
        """GET lists the caller's transcripts, POST ``{"name": text}`` makes him one."""
        user = await self._authorise(request)
        dsn = backend.settings(self.env).dsn
        if request.method == "GET":
            # Nobody in particular sees everybody's where all is public, and else nothing.
            anybody = user is not None or self.env.flag("PUBLIC_MODE", False)
            found = await database.list_transcripts(dsn, None if user is None else user.id) if anybody else []
            return JSONResponse({"items": [transcript.as_json() for transcript in found], "total": len(found)})
        name = (await json_object(request)).get("name")
        if not isinstance(name, str) or not name:
            raise HTTPException(422, "name is required")
        return JSONResponse((await database.add_transcript(dsn, name, None if user is None else user.id)).as_json())

    async def transcript(self, request: Request) -> Response:
        """One transcript; its status tells how far the pipeline is."""
        return JSONResponse((await self._transcript(request)).as_json())

    async def upload(self, request: Request) -> Response:
        """Take a recording in one piece and have it processed: a run of the pipeline in Hatchet."""
        transcript = await self._transcript(request)
        if transcript.status in PROCESSED_STATES:
            raise HTTPException(400, "There is already a recording of this transcript")
        if (request.query_params.get("chunk_number"), request.query_params.get("total_chunks")) != ("0", "1"):
            raise HTTPException(422, "the probe takes chunk_number=0 and total_chunks=1 only")
        async with request.form() as form:
            chunk = form.get("chunk")
            if not isinstance(chunk, UploadFile):
                raise HTTPException(422, "chunk is required")
            data = await chunk.read()
        dsn = backend.settings(self.env).dsn
        await pipeline.keep_upload(self.env, transcript.id, data)
        await database.update_transcript(dsn, transcript.id, "uploaded")
        async with EngineClient.from_environment(self.env).connection() as link:
            await link.trigger(pipeline.WORKFLOW, transcript.id)
        return JSONResponse({"status": "ok"})

    async def _transcript(self, request: Request) -> database.Transcript:
        user = await self._authorise(request)
        found = await database.find_transcript(backend.settings(self.env).dsn, request.path_params["id"])
        if found is None:
            raise HTTPException(404, "Transcript not found")
        if found.user_id is not None and (user is None or found.user_id != user.id):
            raise HTTPException(403, "Transcript access denied")
        return found

    async def objects(self, request: Request) -> Response:
        """PUT stores the body, GET answers a presigned URL; both under the key of the path."""
        await self._authorise(request)
        key = request.path_params["key"]
        if self._store is None:
            self._store = ObjectStorage(Storage.from_environment(self.env))
        if request.method == "PUT":
            data = b""
            async for chunk in request.stream():
                data += chunk
                if len(data) > BODY_BYTES:
                    raise HTTPException(413, f"at most {BODY_BYTES} bytes")
            await self._store.put(key, data)
            return JSONResponse({"key": key, "size": len(data)}, status_code=201)
        url = await self._store.presign(key)
        return JSONResponse({"key": key, "url": url, "expires_in": PRESIGNED_SECONDS})

    async def events(self, websocket: WebSocket) -> None:
        """Echo text; with sign-in, the token comes in the sub-protocol ``bearer, <token>`` as upstream wants it."""
        # Read from the header, as upstream does: servers differ in whether they split its list.
        offered = [word.strip() for word in websocket.headers.get("sec-websocket-protocol", "").split(",")]
        subprotocol = None
        if self.accounts.backend != "none":
            token = offered[1] if len(offered) >= 2 and offered[0].lower() == "bearer" else None
            try:
                user = await self.accounts.identify(token, None)
            # Upstream turns whatever goes wrong here into this code, a token without an e-mail too.
            except Exception as problem:  # noqa: BLE001  # see above
                log.warning("websocket refused: %s", describe(problem))
                user = None
            if user is None:
                await websocket.close(code=UNAUTHORISED)
                return
            subprotocol = "bearer"
        await websocket.accept(subprotocol=subprotocol)
        with suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(await websocket.receive_text())

    async def _authorise(self, request: Request) -> User | None:
        """Who calls; None only where nobody has to say so."""
        try:
            user = await self.accounts.identify(bearer_token(request), request.headers.get("x-api-key"))
        except RefusedError as problem:
            raise HTTPException(401, str(problem)) from None
        except TwoUsersError as problem:
            # With a provider's tokens upstream raises what nobody handles, and answers 500.
            if self.accounts.backend == "jwt":
                raise
            raise HTTPException(401, str(problem)) from None
        if user is None and self.accounts.backend != "none" and not self.env.flag("PUBLIC_MODE", False):
            raise HTTPException(401, "Not authenticated")
        return user

    async def _require_user(self, request: Request) -> User:
        user = await self._authorise(request)
        if user is None:
            raise HTTPException(401, "Not authenticated")
        return user


class LoginLimit:
    """Counts attempts to log in by address, in memory: a restart forgets them."""

    def __init__(self) -> None:
        """Nobody has tried yet."""
        self._tries: defaultdict[str, list[float]] = defaultdict(list)

    def allow(self, address: str) -> bool:
        """Whether this address may try once more; a refused attempt does not count."""
        now = time.monotonic()
        recent = [moment for moment in self._tries[address] if now - moment < LOGIN_SECONDS]
        self._tries[address] = recent
        if len(recent) >= LOGIN_ATTEMPTS:
            return False
        recent.append(now)
        return True
