"""Everything that the client can do, once."""

import json
import os
import sys
from typing import Any

from client import Problem, Sidecar

SCOPE = "https://graph.microsoft.com/.default"


def everything(sidecar: Sidecar, api: str) -> dict[str, Any]:
    token = os.environ["USER_TOKEN"]
    agent = os.environ["AGENT"]
    response = sidecar.call(api, token, b"hello", "text/plain", HttpMethod="POST", RelativePath="orders")
    process = sidecar.begin_long_running(api, token)
    try:
        sidecar.validate("no token")
        refused = 200
    except Problem as problem:
        refused = problem.status
    return {
        "claims": sidecar.validate(token),
        "user": sidecar.header_for_user(api, token).value,
        "app": sidecar.header_for_app(api, SCOPE).value,
        "agentByName": sidecar.header_for_agent(api, agent, username=os.environ["AGENT_USERNAME"]).value,
        "agentById": sidecar.header_for_agent(api, agent, user_id=os.environ["AGENT_USER_ID"]).value,
        "call": {"status": response.status, "content": response.content},
        "process": process.value,
        "sessionKey": process.session_key,
        "refused": refused,
    }


def main() -> None:
    sidecar, api = Sidecar(os.environ["SIDECAR_URL"]), os.environ["API"]
    match sys.argv[1:]:
        case ["all"]:
            print(json.dumps(everything(sidecar, api)))
        case ["continue", key]:
            print(json.dumps({"process": sidecar.continue_long_running(api, key).value}))
        case _:
            sys.exit("usage: demo.py all | continue KEY")


main()
