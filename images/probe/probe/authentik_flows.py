"""Flows: signing in and out, the first set-up, and their executor (authentik/flows/views, stages/identification, …).

The stages of the packaged flows are fixed here. The executor's API answers as the real one: what is accepted, or passed
over, leads back to the same address, whose GET says what comes next. The pages below /if/flow/ are plain forms in place
of the real ones, which are drawn by a script that talks to that API.
"""

import asyncio
import html
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from probe.authentik_access import may_use
from probe.authentik_models import APPLICATION, FLOW, GROUP, USER
from probe.authentik_passwords import hash_password, is_usable, verify_password
from probe.authentik_registry import Object
from probe.authentik_request import Visit, uid
from probe.authentik_store import SETTING

AUTHENTICATION: Final = "default-authentication-flow"
INVALIDATION: Final = "default-invalidation-flow"
SETUP: Final = "initial-setup"

STAGES: Final = {AUTHENTICATION: ["identification", "password", "second-factor", "login"], INVALIDATION: ["logout"]}
"""Stages of the flows that always run; a flow that is not here has none of its own."""

SETUP_STAGES: Final = ["prompt", "login"]

ATTEMPTS: Final = 5
"""Wrong passwords until a flow ends."""

SET_UP: Final = "setup"
"""The setting that says that the first set-up is over."""

AVATAR: Final = "/static/dist/assets/images/user_default.png"

log = logging.getLogger("probe.authentik.flows")


@dataclass(frozen=True)
class Challenge:
    """What the visitor is asked or told next."""

    component: str
    data: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, list[dict[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Redirect:
    """Where the flow leads when it is over."""

    to: str


class Again:
    """The answer was taken: ask once more what comes next."""


Step = Challenge | Redirect | Again


def flow_path(slug: str, query: str = "") -> str:
    """The page of a flow."""
    return f"/if/flow/{slug}/" + (f"?{query}" if query else "")


def denied(message: str) -> Challenge:
    """The end of a flow that is not for this visitor."""
    said = {"pending_user": "", "pending_user_avatar": AVATAR, "error_message": message}
    return Challenge("ak-stage-access-denied", said)


def denied_page(visit: Visit) -> Response:
    """What a user sees who may not use an application; it is no error to HTTP."""
    user = visit.user
    who = "" if user is None else f"<p>{html.escape(user['username'])}</p>"
    return visit.page("Permission denied", f"{who}<p>Request has been denied.</p>")


def start_session_end(visit: Visit, flow: Object, application: Object, uri: str | None) -> None:
    """Let the flow end with the page on which a user leaves an application, or at the address given."""
    visit.session["plan"] = {
        "flow": flow["slug"],
        "application": application["pk"],
        "stages": [*STAGES.get(flow["slug"], []), "session-end"],
        "post_logout": uri,
    }


async def is_set_up(visit: Visit) -> bool:
    """Whether the first set-up is over."""
    return await visit.store.get(SETTING, SET_UP) is not None


async def api(visit: Visit) -> Response:
    """The executor: GET asks for the challenge, POST answers it in JSON or as a form."""
    flow = _flow(visit)
    request = visit.request
    query = dict(parse_qsl(request.query_params.get("query", "")))
    answer = None
    if request.method == "POST":
        answer = await _body(visit)
    step = await _step(visit, flow, query, answer)
    if isinstance(step, Again):
        return RedirectResponse(visit.own_path, 302)
    if isinstance(step, Redirect):
        return JSONResponse({"component": "xak-flow-redirect", "to": step.to})
    content = {"flow_info": _flow_info(visit, flow, query), "component": step.component, **step.data}
    if step.errors:
        content["response_errors"] = step.errors
    return JSONResponse(content)


async def page(visit: Visit) -> Response:
    """The same as plain HTML forms."""
    flow = _flow(visit)
    answer = await _body(visit) if visit.request.method == "POST" else None
    step = await _step(visit, flow, dict(visit.request.query_params), answer)
    if isinstance(step, Again):
        return RedirectResponse(visit.own_path, 302)
    if isinstance(step, Redirect):
        return RedirectResponse(step.to, 302)
    info = _flow_info(visit, flow, dict(visit.request.query_params))
    errors = "".join(
        f'<p role="alert">{html.escape(error["string"])}</p>' for listed in step.errors.values() for error in listed
    )
    return visit.page(info["title"], errors + _form(step))


async def root(visit: Visit) -> Response:
    """Set-up where it is open, else to the user's own page or to signing in."""
    if not await is_set_up(visit):
        return RedirectResponse("/setup", 302)
    if visit.user is None:
        return RedirectResponse("/flows/-/default/authentication/?next=/", 302)
    return RedirectResponse("/if/user/", 302)


async def setup(visit: Visit) -> Response:
    """Begin the first set-up, for whoever comes first, unless it is over."""
    done = await is_set_up(visit)
    there = visit.registry.find(FLOW, {"slug": SETUP}) is not None
    if visit.request.method == "HEAD":
        return Response(status_code=503 if done or not there else 200)
    if done:
        return RedirectResponse("/", 302)
    if not there:
        return Response("authentik starting", 503)
    visit.session["plan"] = {"flow": SETUP, "started_by": "setup"}
    return RedirectResponse(flow_path(SETUP), 302)


async def default_flow(visit: Visit) -> Response:
    """To the flow for signing in or out."""
    slug = {"authentication": AUTHENTICATION, "invalidation": INVALIDATION}.get(visit.request.path_params["purpose"])
    if slug is None or visit.registry.find(FLOW, {"slug": slug}) is None:
        raise HTTPException(404)
    return RedirectResponse(flow_path(slug, visit.request.url.query), 302)


async def cancel(visit: Visit) -> Response:
    """Give a flow up."""
    visit.session.pop("plan", None)
    target = visit.request.query_params.get("next", "")
    return RedirectResponse(target if target and not _is_absolute(target) else "/flows/-/default/invalidation/", 302)


async def user_page(visit: Visit) -> Response:
    """What somebody sees who has signed in: the applications."""
    user = visit.user
    if user is None:
        return RedirectResponse("/flows/-/default/authentication/?" + urlencode({"next": visit.own_path}), 302)
    shown = [
        f'<li><a href="{html.escape(item["meta_launch_url"])}">{html.escape(item["name"])}</a></li>'
        for item in visit.registry.all(APPLICATION)
        if not item["meta_hide"] and item["meta_launch_url"] and may_use(visit.registry, item, user)
    ]
    avatar = ""
    if visit.avatars.split(",")[0] == "gravatar":
        # The visitor's browser then tells somebody else who signs in here.
        avatar = '<img alt="" src="https://www.gravatar.com/avatar/0">'
    name = html.escape(user["name"] or user["username"])
    leave = '<p><a id="sign-out" href="/flows/-/default/invalidation/">Sign out</a></p>'
    return visit.page("My applications", f"{avatar}<p>{name}</p><ul>{''.join(shown)}</ul>{leave}")


async def me(visit: Visit) -> Response:
    """Who has signed in (authentik/core/api/users.py)."""
    user = visit.user
    if user is None:
        return JSONResponse({"detail": "Authentication credentials were not provided."}, 403)
    groups = visit.registry.groups_of(user)
    said = {name: user[name] for name in ("pk", "username", "name", "is_active", "email", "type")}
    said |= {
        "is_superuser": visit.registry.is_superuser(user),
        "groups": [{"name": group["name"], "pk": group["pk"]} for group in groups],
        "roles": [],
        "avatar": AVATAR,
        "uid": uid(user, visit.install_id),
        "settings": {},
        "system_permissions": [],
    }
    return JSONResponse({"user": said})


async def _step(visit: Visit, flow: Object, query: dict[str, str], answer: dict[str, Any] | None) -> Step:
    plan = visit.session.get("plan")
    if plan is None or plan["flow"] != flow["slug"]:
        plan = {"flow": flow["slug"]}
    refusal = await _refusal(visit, flow, plan)
    if refusal is not None:
        visit.session.pop("plan", None)
        return denied(refusal)
    if "stages" not in plan:
        plan["stages"] = list(SETUP_STAGES if flow["slug"] == SETUP else STAGES.get(flow["slug"], []))
    visit.session["plan"] = plan
    if not plan["stages"]:
        return _done(visit, query)
    stage = plan["stages"][0]
    if stage == "second-factor":
        # Nobody has one here; the stage is passed over, but by a redirect of its own.
        plan["stages"].pop(0)
        return Again()
    if stage == "login":
        _sign_in(visit, plan)
        return _done(visit, query)
    if stage == "logout":
        plan["stages"].pop(0)
        rest = visit.session.pop("plan")
        visit.sign_out()
        if rest["stages"]:
            visit.session["plan"] = rest
            return Again()
        return _done(visit, query)
    if answer is None or stage == "session-end":
        return _challenge(visit, plan)
    errors = await {"identification": _identify, "password": _authenticate, "prompt": _set_administrator}[stage](
        visit, plan, answer
    )
    if errors:
        if plan.get("failures", 0) >= ATTEMPTS:
            visit.session.pop("plan", None)
            return denied("Invalid password")
        asked = _challenge(visit, plan)
        return Challenge(asked.component, asked.data, errors) if isinstance(asked, Challenge) else asked
    plan["stages"].pop(0)
    return Again()


async def _refusal(visit: Visit, flow: Object, plan: dict[str, Any]) -> str | None:
    """Why the flow is not for this visitor; None where it is."""
    user = visit.user
    allowed = {
        "none": True,
        "require_authenticated": user is not None,
        "require_unauthenticated": user is None,
        "require_superuser": user is not None and visit.registry.is_superuser(user),
    }
    # The packaged flows want nothing else.
    if not allowed.get(flow["authentication"], False):
        return "Flow does not apply to current user."
    if flow["slug"] == SETUP and "stages" not in plan:
        administrator = visit.registry.find(USER, {"username": "akadmin"})
        if plan.get("started_by") != "setup" or await is_set_up(visit):
            return f"Access the authentik setup by navigating to {visit.absolute('/')}"
        if administrator is not None and is_usable(administrator["password"]):
            return "Flow does not apply to current user."
    return None


def _challenge(visit: Visit, plan: dict[str, Any]) -> Challenge | Redirect:
    stage = plan["stages"][0]
    application = visit.registry.get(APPLICATION, plan.get("application"))
    if stage == "identification":
        data: dict[str, Any] = {
            "primary_action": "Log in",
            "user_fields": ["email", "username"],
            "password_fields": False,
            "captcha_stage": None,
            "allow_show_password": False,
            "show_source_labels": False,
            "flow_designation": "authentication",
            "enable_remember_me": False,
            "passkey_challenge": None,
            "sources": [],
        }
        if application is not None:
            data["application_pre"] = application["name"]
        return Challenge("ak-stage-identification", data)
    if stage == "password":
        data = {"pending_user": plan["pending"], "pending_user_avatar": AVATAR, "allow_show_password": False}
        return Challenge("ak-stage-password", data)
    if stage == "prompt":
        fields = [
            {"field_key": name, "label": label, "type": kind, "required": True, "order": order}
            for order, (name, label, kind) in enumerate(_SETUP_FIELDS)
        ]
        return Challenge("ak-stage-prompt", {"fields": fields})
    return _session_end(visit, plan, application)


_SETUP_FIELDS: Final = (
    ("email", "Email", "email"),
    ("password", "Password", "password"),
    ("password_repeat", "Password (repeat)", "password"),
)


def _session_end(visit: Visit, plan: dict[str, Any], application: Object | None) -> Challenge | Redirect:
    if plan.get("post_logout"):
        visit.session.pop("plan", None)
        return Redirect(plan["post_logout"])
    user = visit.user
    if user is None:
        visit.session.pop("plan", None)
        return Redirect("/")
    data = {
        "pending_user": user["username"],
        "pending_user_avatar": AVATAR,
        "brand_name": visit.registry.brand_title(),
        "invalidation_flow_url": flow_path(INVALIDATION),
    }
    if application is not None:
        data |= {"application_name": application["name"], "application_launch_url": application["meta_launch_url"]}
    return Challenge("ak-stage-session-end", data)


async def _identify(visit: Visit, plan: dict[str, Any], answer: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Take any name: whether there is such a user comes out with the password only."""
    given = answer.get("uid_field")
    if not isinstance(given, str) or not given.strip():
        return {"non_field_errors": [{"string": "No identification data provided.", "code": "invalid"}]}
    plan["pending"] = given.strip()
    return {}


async def _authenticate(visit: Visit, plan: dict[str, Any], answer: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    given = answer.get("password")
    if not isinstance(given, str) or not given:
        code, text = (
            ("required", "This field is required.") if given is None else ("blank", "This field may not be blank.")
        )
        return {"password": [{"string": text, "code": code}]}
    user = _of_name(visit, plan["pending"])
    # A thread of its own: a million rounds take a second, and everybody else would wait.
    stored = "" if user is None or not user["is_active"] else user["password"]
    if user is None or not await asyncio.to_thread(verify_password, given, stored):
        plan["failures"] = plan.get("failures", 0) + 1
        log.info("sign-in of %s from %s failed", plan["pending"], visit.client_ip)
        return {"password": [{"string": "Invalid password", "code": "invalid"}]}
    plan["user"] = user["pk"]
    return {}


async def _set_administrator(
    visit: Visit, plan: dict[str, Any], answer: dict[str, Any]
) -> dict[str, list[dict[str, str]]]:
    """Make akadmin of what the first visitor says, and end the set-up."""
    given = {name: str(answer.get(name, "")) for name, _, _ in _SETUP_FIELDS}
    missing = [name for name, value in given.items() if not value]
    if missing:
        return {name: [{"string": "This field is required.", "code": "required"}] for name in missing}
    if given["password"] != given["password_repeat"]:
        return {"non_field_errors": [{"string": "Passwords don't match.", "code": "invalid"}]}
    async with visit.store.change() as registry:
        password = {"password": hash_password(given["password"]), "email": given["email"]}
        administrator = registry.find(USER, {"username": "akadmin"})
        if administrator is None:
            group = registry.find(GROUP, {"name": "authentik Admins"}) or registry.add(
                GROUP, {"name": "authentik Admins", "is_superuser": True, "parents": [], "attributes": {}}
            )
            fields = {"username": "akadmin", "name": "authentik Default Admin", "is_active": True, "path": "users"}
            more = {"groups": [group["pk"]], "attributes": {}, "type": "internal"}
            administrator = registry.add(USER, {**fields, **more, **password})
        else:
            registry.update(USER, administrator, password)
    await visit.store.put(SETTING, SET_UP, {"value": "done"})
    visit.registry = await visit.store.registry()
    plan["user"] = administrator["pk"]
    return {}


def _of_name(visit: Visit, name: str) -> Object | None:
    """The user of an address or a name, in whatever case it was typed."""
    wanted = name.casefold()
    for user in visit.registry.all(USER):
        if wanted in (user["email"].casefold(), user["username"].casefold()):
            return user
    return None


def _sign_in(visit: Visit, plan: dict[str, Any]) -> None:
    user = visit.registry.get(USER, plan["user"])
    assert user is not None  # the stage before has just seen it
    asked = visit.session.get("asked")
    visit.sign_in(user)
    if asked is not None:
        visit.session["asked"] = asked
    log.info("%s signed in from %s", user["username"], visit.client_ip)


def _done(visit: Visit, query: dict[str, str]) -> Step:
    visit.session.pop("plan", None)
    target = query.get("next") or "/"
    if _is_absolute(target):
        return denied("Invalid next URL")
    return Redirect(target)


def _flow(visit: Visit) -> Object:
    flow = visit.registry.find(FLOW, {"slug": visit.request.path_params["slug"]})
    if flow is None:
        raise HTTPException(404)
    return flow


def _flow_info(visit: Visit, flow: Object, query: dict[str, str]) -> dict[str, Any]:
    plan = visit.session.get("plan") or {}
    application = visit.registry.get(APPLICATION, plan.get("application"))
    back = query.get("next")
    return {
        "title": flow["title"].replace("%(app)s", "" if application is None else application["name"]),
        "background": "/static/dist/assets/images/flow_background.jpg",
        "background_themed_urls": None,
        "cancel_url": "/flows/-/cancel/" + (f"?{urlencode({'next': back})}" if back else ""),
        "layout": "stacked",
    }


def _form(challenge: Challenge) -> str:
    """The page's part for a challenge, by the ids the real one's fields have."""
    data = challenge.data
    match challenge.component:
        case "ak-stage-identification":
            inside = '<input id="uid_field" name="uid_field" type="text" autocomplete="username" required autofocus>'
        case "ak-stage-password":
            who = html.escape(str(data["pending_user"]))
            inside = f'<p>{who}</p><input id="password" name="password" type="password" required autofocus>'
        case "ak-stage-prompt":
            inside = "".join(
                f'<label>{one["label"]} <input id="{one["field_key"]}" name="{one["field_key"]}" type="{one["type"]}">'
                "</label>"
                for one in data["fields"]
            )
        case "ak-stage-session-end":
            links = [(data["invalidation_flow_url"], f"Log out of {data['brand_name']}")]
            if data.get("application_launch_url"):
                links.append((data["application_launch_url"], f"Log back into {data['application_name']}"))
            return "".join(f'<p><a href="{html.escape(to)}">{html.escape(text)}</a></p>' for to, text in links)
        case _:
            return f"<p>Permission denied</p><p>{html.escape(str(data['error_message']))}</p>"
    return f'<form method="post">{inside}<button type="submit">Continue</button></form>'


async def _body(visit: Visit) -> dict[str, Any]:
    if "json" not in visit.request.headers.get("content-type", ""):
        return dict(await visit.request.form())
    try:
        body = json.loads(await visit.request.body())
    except ValueError:
        raise HTTPException(400, "JSON parse error") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "Invalid data. Expected a dictionary.")
    return body


def _is_absolute(url: str) -> bool:
    return bool(urlsplit(url).netloc)
