"""Tokens from the local authority of `symbolon emulator --data DIR`, which SYMBOLON_AUTHORITY names; SSL_CERT_FILE trusts it."""

import json
import os
from pathlib import Path

from symbolon import ConfidentialClientApplication, HttpsClient

directory = Path(os.environ["SYMBOLON_AUTHORITY"])
settings = json.loads((directory / "appsettings-web-api.json").read_text())
azure_ad = settings["AzureAd"]

app = ConfidentialClientApplication(
    azure_ad["ClientId"],
    azure_ad["ClientCredentials"][0]["ClientSecret"],
    azure_ad["Instance"] + azure_ad["TenantId"],
    http_client=HttpsClient(connect_to=settings["Symbolon"]["ConnectTo"]),
)
scopes = ["https://graph.microsoft.com/.default"]

for _ in range(2):
    token = app.acquire_token_for_client(scopes)
    print(f"for client: {token.token_type} from {token.token_source}")
user_assertion = (directory / "user-assertion-alice.jwt").read_text().strip()
token = app.acquire_token_on_behalf_of(user_assertion, scopes)
print(f"on behalf of alice: {token.token_type} from {token.token_source}")
