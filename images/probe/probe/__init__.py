"""The probe: plays Reflector's own images, by role, and really uses what it is given.

Reflector's images cannot be pulled everywhere, and a deployment whose containers merely start proves nothing. The
probe takes the place of the backend (``server``, ``worker``, ``beat``, ``hatchet-worker-llm``,
``hatchet-worker-cpu``), of the front end (``web``), of the workflow engine (``hatchet``), of the speech service
(``transcription``) and of Authentik (``ak server``, ``ak worker``). It reads the same environment variables and the
same paths as Reflector v0.45.0, hatchet-lite, hatchet-sdk 1.22.16 and Authentik 2026.8, fails where they would fail,
and answers ``/wiring`` on loopback port 9999 with one entry a dependency: ok, how long, the error.
"""
