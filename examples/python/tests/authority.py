"""The local authority of `symbolon emulator --data DIR`, as its sample applications see it.

`SYMBOLON_AUTHORITY` names the directory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from symbolon import ClientCertificate, ConfidentialClientApplication, Credential, HttpsClient

GRAPH = ["https://graph.microsoft.com/.default"]
VAULT = ["https://vault.azure.net/.default"]
REDIRECT_URI = "https://localhost:5001/signin-oidc"


def directory() -> Path | None:
    named = os.environ.get("SYMBOLON_AUTHORITY")
    return Path(named) if named else None


class Sample:
    """A sample application by the configuration that the authority wrote for it."""

    def __init__(self, name: str) -> None:
        self.directory = directory() or Path()
        settings = json.loads((self.directory / f"appsettings-{name}.json").read_text())
        self.azure_ad: dict[str, Any] = settings["AzureAd"]
        self.client = HttpsClient(settings["Symbolon"]["ConnectTo"], str(self.directory / "ca.pem"))

    @property
    def secret(self) -> str:
        secret: str = self.azure_ad["ClientCredentials"][0]["ClientSecret"]
        return secret

    @property
    def authority(self) -> str:
        return f"{self.azure_ad['Instance'].rstrip('/')}/{self.azure_ad['TenantId']}"

    def application(self, credential: Credential | str) -> ConfidentialClientApplication:
        client_id = self.azure_ad["ClientId"]
        return ConfidentialClientApplication(client_id, credential, self.authority, http_client=self.client)

    def of_any_provider(self, credential: Credential | str) -> ConfidentialClientApplication:
        """The same, which takes the authority for an OpenID Connect provider that it knows nothing of."""
        client_id, issuer = self.azure_ad["ClientId"], f"{self.authority}/v2.0"
        return ConfidentialClientApplication(
            client_id, credential, issuer, authority_type="oidc", http_client=self.client
        )

    def certificate(self, *, bound: bool = False) -> ClientCertificate:
        return ClientCertificate.from_pem_file(str(self.directory / "client.pem"), bound=bound)

    def user_assertion(self, name: str = "alice") -> str:
        return (self.directory / f"user-assertion-{name}.jwt").read_text().strip()
