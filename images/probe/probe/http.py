"""What the HTTP roles share: JSON bodies in, JSON errors out, in FastAPI's form as upstream answers them."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; 422 for anything else."""
    try:
        body = await request.json()
    except ValueError:
        raise HTTPException(422, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "the body is no JSON object")
    return body


async def http_error(request: Request, problem: Exception) -> Response:
    """``{"detail": …}`` with the error's status."""
    if not isinstance(problem, HTTPException):
        raise problem
    return JSONResponse({"detail": problem.detail}, status_code=problem.status_code, headers=problem.headers)


def bearer_token(request: Request) -> str | None:
    """The token of an ``Authorization: Bearer`` header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
