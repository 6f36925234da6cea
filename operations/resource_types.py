"""Types of resources in a state, by what they are to certificates."""

from typing import Final

STACK_TYPE: Final = "pulumi:pulumi:Stack"
AUTHORITY_TYPE: Final = "reflector:authority:Authority"
CERTIFICATE_TYPE: Final = "reflector:certificate:Certificate"
ROLLOVER_TYPE: Final = "reflector:rollover:Rollover"
REQUEST_TYPE: Final = "tls:index/certRequest:CertRequest"
SELF_SIGNED_TYPE: Final = "tls:index/selfSignedCert:SelfSignedCert"
"""Roots, and what revocation lists and tokens have their time from."""
KEY_TYPE: Final = "tls:index/privateKey:PrivateKey"
LEAF_TYPE: Final = "tls:index/locallySignedCert:LocallySignedCert"
