"""What `kubectl`, and whatever else speaks to a Kubernetes cluster, is told of it: a kubeconfig with all in it."""

import base64
import json


def kubeconfig(
    address: str, *, cluster: str, user: str, context: str, authority: str, certificate: str, key: str
) -> str:
    """Return a kubeconfig (JSON, which is YAML) of one cluster at `address`, one user, and a context of these two.

    `authority`, `certificate` and `key` are PEM; the cluster is verified against that authority and no other.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": address, "certificate-authority-data": _encoded(authority)}}
        ],
        "users": [
            {"name": user, "user": {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}}
        ],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
    }
    return json.dumps(content, indent=2) + "\n"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
