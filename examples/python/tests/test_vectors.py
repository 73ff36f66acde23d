"""The project's vectors of token requests."""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any

from vectors import Outcome, differences, expectation

READ = {
    *("flow", "client_id", "authority", "scopes", "certificate", "send_certificate_over_mtls", "mtls_pop", "region"),
    *("leg", "tenant", "user_assertion", "agent_app_id", "t1", "t2", "client_secret", "client_assertion"),
    *("refresh_token", "binding_certificate", "claims", "capabilities", "code", "username", "user_id", "assertion"),
    *("attribute_tokens", "extra_query_parameters", "assertion_type", "key", "home_account_id", "password"),
    *("send_x5c", "fmi_path", "attributes", "client_claims", "extra_body_parameters", "extra_headers"),
    *("correlation_id", "redirect_uri", "code_verifier", "spa_code", "offline_access", "blueprint_client_id"),
}
"""The members of inputs that the runner knows."""

PRESENT = {"absent_body": ["client_id"], "absent_headers": ["content-type"], "absent_assertion_header": ["alg"]}
"""What is never absent."""


def vectors() -> list[dict[str, Any]]:
    default = Path(__file__).parents[3] / "tests/conformance/vectors"
    file = Path(os.environ.get("SYMBOLON_VECTORS", default)) / "requests.json"
    found = [vector for vector in json.loads(file.read_text())["vectors"] if vector["category"] == "token_request"]
    if len(found) < 60:
        raise ValueError(f"{file} has {len(found)} vectors of token requests; it should have them all")
    return found


class VectorsTest(unittest.TestCase):
    def test_every_request_is_the_one_that_is_expected(self) -> None:
        for vector in vectors():
            with self.subTest(vector["id"]):
                self.assertLessEqual(set(vector["input"]), READ)
                outcome, expect = Outcome(vector["input"]), expectation(vector)
                self.assertEqual(differences(expect, outcome), [])
                for name in expect:
                    wrong = {**expect, name: PRESENT.get(name, ["wrong"])}
                    self.assertNotEqual(differences(wrong, outcome), [], f"{name} isn't compared")


if __name__ == "__main__":
    unittest.main()
