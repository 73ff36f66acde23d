"""MSAL for Python and azure-identity as contestants: see symbolon/src/main.rs for what they are told and what they print.

    contestant.py msal|azure-identity start|cached ENTRIES|cold secret|certificate|herd CALLS
"""

import concurrent.futures
import gc
import json
import os
import socket
import statistics
import sys
import time

GRAPH = "https://graph.microsoft.com/.default"
ROUNDS, ROUND_SECONDS = 5, 0.3


def main():
    library, what, *arguments = sys.argv[1:]
    with open(os.environ["PEERS_SITE"], encoding="utf-8") as file:
        site = json.load(file)
    connect_only_to(site["address"], site["port"])
    os.environ["REQUESTS_CA_BUNDLE"] = site["caPath"]
    contestant = {"msal": Msal, "azure-identity": AzureIdentity}[library](site)
    print(json.dumps(globals()[what](contestant, *arguments)))


def connect_only_to(address, port):
    """Every HTTPS server is found at this address; there is nothing else on this network."""

    def getaddrinfo(*_args, **_options):
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    socket.getaddrinfo = getaddrinfo


class Msal:
    def __init__(self, site):
        self.site = site

    def client(self, kind):
        import msal

        settings = self.site[kind]
        if kind == "secret":
            credential = settings["secret"]
        else:
            credential = {"private_key_pfx_path": settings["pfx"], "passphrase": settings["password"]}
        return msal.ConfidentialClientApplication(
            settings["clientId"],
            authority=f"https://{self.site['host']}/{self.site['tenant']}",
            client_credential=credential,
            verify=self.site["caPath"],
            instance_discovery=False,
        )

    def token(self, client, number=None):
        # Claims are the way past the cache.
        claims = None if number is None else json.dumps({"access_token": {"n": {"value": str(number)}}})
        result = client.acquire_token_for_client([GRAPH], claims_challenge=claims)
        return result["access_token"]

    def cache(self, client):
        return client.token_cache


class AzureIdentity:
    def __init__(self, site):
        self.site = site

    def client(self, kind):
        from azure.identity import CertificateCredential, ClientSecretCredential

        settings = self.site[kind]
        common = {"authority": self.site["host"], "disable_instance_discovery": True}
        if kind == "secret":
            return ClientSecretCredential(
                self.site["tenant"], settings["clientId"], settings["secret"], **common
            )
        return CertificateCredential(
            self.site["tenant"], settings["clientId"], settings["pfx"], password=settings["password"], **common
        )

    def token(self, client, number=None):
        if number is None:
            return client.get_token(GRAPH).token
        return client.get_token(GRAPH, claims=json.dumps({"access_token": {"n": {"value": str(number)}}})).token

    def cache(self, client):
        return client._get_app().token_cache


def start(contestant):
    return {"tokenBytes": len(contestant.token(contestant.client("secret")))}


def cached(contestant, entries):
    client = contestant.client("secret")
    contestant.token(client)
    gc.collect()
    before, entries = resident(), int(entries)
    fill(contestant, contestant.cache(client), entries - 1)
    gc.collect()
    size = (resident() - before) // entries if entries > 1 else None
    rounds = []
    for _ in range(ROUNDS):
        calls, began = 0, time.process_time()
        while time.process_time() - began < ROUND_SECONDS:
            contestant.token(client)
            calls += 1
        rounds.append((time.process_time() - began) * 1e9 / calls)
    return {"cpuNanos": statistics.median(rounds), "bytes": size}


def fill(contestant, cache, entries):
    """Tokens of other directories, as the cache itself takes them in."""
    site = contestant.site
    for i in range(entries):
        tenant = f"{i:08x}-14a6-49ae-97bc-6eba6914391e"
        cache.add(
            {
                "client_id": site["secret"]["clientId"],
                "scope": [GRAPH],
                "token_endpoint": f"https://{site['host']}/{tenant}/oauth2/v2.0/token",
                "grant_type": "client_credentials",
                "response": {
                    "token_type": "Bearer",
                    "expires_in": 86399,
                    "access_token": f"{i:08x}" + "t" * 1392,
                },
            }
        )


def cold(contestant, kind):
    client = contestant.client(kind)
    for i in range(20):
        contestant.token(client, f"warm {i}")
    rounds = []
    for number in range(ROUNDS):
        began = time.process_time()
        for i in range(100):
            contestant.token(client, f"{number} {i}")
        rounds.append((time.process_time() - began) * 1e9 / 100)
    return {"cpuNanos": statistics.median(rounds)}


def herd(contestant, calls):
    client, calls = contestant.client("secret"), int(calls)
    with concurrent.futures.ThreadPoolExecutor(calls) as executor:
        for future in [executor.submit(contestant.token, client) for _ in range(calls)]:
            future.result()
    return {}


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
