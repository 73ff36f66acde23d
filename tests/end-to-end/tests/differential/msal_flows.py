"""Acquires tokens with MSAL for Python, for the differential test beside this file.

The first line of the standard input says where the authority is:

    {"address": "127.0.0.1", "port": 8443, "trusted_roots": "ca.pem"}

and is answered with the versions. Every other line is a job, answered with its result as soon as it is done:

    {"client": {"name": …, "client_id": …, "authority": …, "credential": {…}, …}, "flow": …, "scopes": […], …}
    {"access_token": …, "token_source": "cache"}

Clients are made when they are first named, and live as long as the program.
"""

import hashlib
import json
import logging
import platform
import re
import socket
import ssl
import sys
import time
import urllib.parse
import warnings

import msal
import requests

EXCHANGE = ["api://AzureADTokenExchange/.default"]


def main():
    # Advice for whoever writes an application.
    warnings.simplefilter("ignore")
    logging.getLogger("msal").setLevel(logging.ERROR)
    site = json.loads(sys.stdin.readline())
    connect_only_to(site["address"], site["port"])
    answer({"msal": msal.__version__, "python": platform.python_version()})
    jobs = Jobs(site["trusted_roots"])
    for line in sys.stdin:
        answer(jobs.run(json.loads(line)))


def answer(result):
    print(json.dumps(result), flush=True)


def connect_only_to(address, port):
    """Every HTTPS server is found at this address; there is nothing else on this network."""

    def getaddrinfo(host, service, *_args, **_options):
        if service != 443:
            raise OSError("no network but the authority's")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    socket.getaddrinfo = getaddrinfo


class Jobs:
    def __init__(self, trusted_roots):
        self.trusted_roots = trusted_roots
        self.clients = {}

    def run(self, job):
        flow = getattr(self, job["flow"])
        result = flow(job)
        names = ["access_token", "refresh_token", "token_source", "location", "error", "error_description"]
        return {name: result[name] for name in names if name in result}

    def client(self, job, **other):
        """The job's client, or another one that differs from it in `other`."""
        description = {**job["client"], **other}
        name = description["name"]
        if name not in self.clients:
            self.clients[name] = msal.ConfidentialClientApplication(
                description["client_id"],
                authority=description["authority"],
                client_credential=credential(description["credential"]),
                client_capabilities=description.get("capabilities"),
                azure_region=description.get("region"),
                verify=self.trusted_roots,
                timeout=30,
            )
        return self.clients[name]

    def client_credentials(self, job):
        return self.client(job).acquire_token_for_client(
            job["scopes"],
            claims_challenge=job.get("claims"),
            fmi_path=job.get("fmi_path"),
            forwarded_client_claims=job.get("client_claims"),
        )

    def on_behalf_of(self, job):
        return self.client(job).acquire_token_on_behalf_of(
            job["assertion"], job["scopes"], claims_challenge=job.get("claims")
        )

    def refresh_token(self, job):
        return self.client(job).acquire_token_by_refresh_token(job["token"], job["scopes"])

    def silent(self, job):
        client = self.client(job)
        [account] = client.get_accounts()
        return client.acquire_token_silent_with_error(job["scopes"], account=account)

    def authorization_code(self, job):
        client = self.client(job)
        flow = client.initiate_auth_code_flow(
            job["scopes"], redirect_uri=job["redirect_uri"], login_hint=job["username"]
        )
        redirect = urllib.parse.urlsplit(self.visit({"url": flow["auth_uri"]})["location"])
        return client.acquire_token_by_auth_code_flow(flow, dict(urllib.parse.parse_qsl(redirect.query)))

    def username_password(self, job):
        return self.client(job).acquire_token_by_username_password(
            job["username"], job["password"], job["scopes"]
        )

    def user_federated_identity_credential(self, job):
        return self.client(job).acquire_token_by_user_federated_identity_credential(
            job["scopes"], job["assertion"], **job["user"]
        )

    def agent(self, job):
        """The legs of an agent, as the documentation of MSAL for Python puts them together."""
        blueprint, agent_id = self.client(job), job["agent"]

        def blueprints_token():
            return blueprint.acquire_token_for_client(EXCHANGE, fmi_path=agent_id)["access_token"]

        agent = self.client(
            job, name=job["client"]["name"] + agent_id, client_id=agent_id, credential={"assertion": blueprints_token}
        )
        if "user_assertion" in job:
            return agent.acquire_token_on_behalf_of(job["user_assertion"], job["scopes"])
        if "user" not in job:
            return agent.acquire_token_for_client(job["scopes"])
        instance = agent.acquire_token_for_client(EXCHANGE)
        return agent.acquire_token_by_user_federated_identity_credential(
            job["scopes"], instance["access_token"], **job["user"]
        )

    def visit(self, job):
        """What a browser does on the way to the authority and back."""
        response = requests.get(job["url"], allow_redirects=False, verify=self.trusted_roots, timeout=30)
        return {"location": response.headers.get("Location", "")}

    def advance(self, job):
        """Moves the clock forward."""
        now, seconds = time.time, job["seconds"]
        time.time = lambda: now() + seconds
        return {}


def credential(description):
    """The credential as MSAL for Python takes it."""
    if "secret" in description:
        return description["secret"]
    if "assertion" in description:
        assertion = description["assertion"]
        return {"client_assertion": assertion if callable(assertion) else lambda: assertion}
    if "pfx" in description:
        return {"private_key_pfx_path": description["pfx"], "passphrase": description["password"]}
    with open(description["pem"], encoding="ascii") as file:
        blocks = re.findall(r"-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n", file.read())
    [key] = [block for block in blocks if "PRIVATE KEY" in block]
    chain = [block for block in blocks if "CERTIFICATE" in block]
    if description["thumbprint"] == "SHA-1":
        leaf = ssl.PEM_cert_to_DER_cert(chain[0])
        return {"private_key": key, "thumbprint": hashlib.sha1(leaf).hexdigest()}
    return {"private_key": key, "public_certificate": "".join(chain)}


if __name__ == "__main__":
    main()
