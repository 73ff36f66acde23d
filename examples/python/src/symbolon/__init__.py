"""Microsoft Entra ID tokens for confidential clients.

The protocol is a WebAssembly component without imports; this package brings what it hasn't: an HTTP client, a clock, a
cache, and keys, which the component never sees.

    >>> from symbolon import ClientSecret, ConfidentialClientApplication
    >>> app = ConfidentialClientApplication(client_id, ClientSecret(secret), authority)    # doctest: +SKIP
    >>> app.acquire_token_for_client(["https://graph.microsoft.com/.default"]).access_token    # doctest: +SKIP
"""

from .application import Account, AuthenticationResult, ConfidentialClientApplication
from .cache import TokenCache
from .credential import ClientAssertion, ClientCertificate, ClientSecret, Credential
from .errors import AcquisitionError, TransportError
from .transport import HttpClient, HttpRequest, HttpResponse, HttpsClient
from .wit import AssertionContext, Options

__all__ = [
    "Account",
    "AcquisitionError",
    "AssertionContext",
    "AuthenticationResult",
    "ClientAssertion",
    "ClientCertificate",
    "ClientSecret",
    "ConfidentialClientApplication",
    "Credential",
    "HttpClient",
    "HttpRequest",
    "HttpResponse",
    "HttpsClient",
    "Options",
    "TokenCache",
    "TransportError",
]
