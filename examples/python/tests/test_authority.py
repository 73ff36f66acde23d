"""Tokens from the local authority, over TLS. Skipped where `SYMBOLON_AUTHORITY` names none."""

from __future__ import annotations

import unittest
from typing import Any
from urllib.parse import parse_qs, urlsplit

from symbolon import AcquisitionError, ClientAssertion, ConfidentialClientApplication, HttpClient, Options, TransportError
from symbolon.transport import HttpRequest, HttpResponse

from authority import GRAPH, REDIRECT_URI, VAULT, Sample, directory


class Counting:
    """Another client, whose requests are counted."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.requests = 0

    def send(self, request: HttpRequest) -> HttpResponse:
        self.requests += 1
        return self._client.send(request)


@unittest.skipIf(directory() is None, "needs SYMBOLON_AUTHORITY, the --data of `symbolon emulator`")
class AuthorityTest(unittest.TestCase):
    def application(self, sample: Sample, credential: Any) -> ConfidentialClientApplication:
        self.client = Counting(sample.client)
        sample.client = self.client  # type: ignore[assignment]
        return sample.application(credential)

    def signed_in(self, url: str) -> dict[str, str]:
        """What the redirect brings back when a browser has gone there."""
        answer = self.client.send(HttpRequest("GET", url, [], "", 10, 10))
        redirect = dict((name.lower(), value) for name, value in answer.headers)["location"]
        return {name: values[0] for name, values in parse_qs(urlsplit(redirect).query).items()}

    def test_a_secret_brings_a_token_which_the_cache_keeps(self) -> None:
        sample = Sample("secret")
        app = self.application(sample, sample.secret)
        first = app.acquire_token_for_client(GRAPH)
        again = app.acquire_token_for_client(GRAPH)
        self.assertEqual((first.token_type, first.token_source), ("Bearer", "identity-provider"))
        self.assertEqual((again.access_token, again.token_source), (first.access_token, "cache"))
        self.assertEqual(self.client.requests, 1)
        forced = app.acquire_token_for_client(GRAPH, Options(force_refresh=True))
        self.assertNotEqual(forced.access_token, first.access_token)
        self.assertNotIn(first.access_token, repr(first))

    def test_a_certificate_signs(self) -> None:
        sample = Sample("certificate")
        app = self.application(sample, sample.certificate())
        self.assertEqual(app.acquire_token_for_client(GRAPH).token_source, "identity-provider")
        self.assertEqual(app.acquire_token_for_client(VAULT).token_source, "identity-provider")

    def test_a_token_is_bound_to_the_certificate_that_is_presented(self) -> None:
        sample = Sample("bound")
        certificate = sample.certificate(bound=True)
        app = self.application(sample, certificate)
        token = app.acquire_token_for_client(GRAPH, mtls_proof_of_possession=True)
        own = certificate.describe().certificate
        self.assertEqual((token.token_type, token.key_id), ("mtls_pop", own and own.thumbprint_sha256))

    def test_an_assertion_made_elsewhere_proves_the_client(self) -> None:
        sample = Sample("federated")
        assertion = (sample.directory / "federated-assertion.jwt").read_text().strip()
        app = self.application(sample, ClientAssertion(lambda context: assertion))
        self.assertEqual(app.acquire_token_for_client(GRAPH).token_source, "identity-provider")

    def test_a_user_is_acted_for(self) -> None:
        sample = Sample("web-api")
        app = self.application(sample, sample.secret)
        alice = app.acquire_token_on_behalf_of(sample.user_assertion("alice"), GRAPH)
        bob = app.acquire_token_on_behalf_of(sample.user_assertion("bob"), GRAPH)
        again = app.acquire_token_on_behalf_of(sample.user_assertion("alice"), GRAPH)
        self.assertNotEqual(alice.access_token, bob.access_token)
        self.assertEqual((again.access_token, again.token_source), (alice.access_token, "cache"))
        self.assertEqual(self.client.requests, 2)

    def test_a_process_runs_on_without_the_users_token(self) -> None:
        sample = Sample("web-api")
        app = self.application(sample, sample.secret)
        key = app.initiate_long_running_process(sample.user_assertion(), GRAPH).session_key
        assert key is not None
        self.assertEqual(app.acquire_token_in_long_running_process(key, GRAPH).token_source, "cache")
        self.assertEqual(app.acquire_token_in_long_running_process(key, VAULT).token_source, "identity-provider")
        self.assertTrue(app.stop_long_running_process(key))
        with self.assertRaises(AcquisitionError) as raised:
            app.acquire_token_in_long_running_process(key, GRAPH)
        self.assertEqual(raised.exception.kind, "interaction-required")

    def test_a_user_who_signed_in_is_known_silently(self) -> None:
        sample = Sample("web-api")
        app = self.application(sample, sample.secret)
        begun = app.authorization_request(GRAPH, REDIRECT_URI, login_hint="alice@contoso.com")
        answer = self.signed_in(begun.url)
        self.assertEqual(answer["state"], begun.state)
        signed_in = app.acquire_token_by_authorization_code(
            answer["code"], GRAPH, REDIRECT_URI, code_verifier=begun.code_verifier
        )
        assert signed_in.account is not None
        self.assertEqual(app.get_accounts(), [signed_in.account])
        cached = app.acquire_token_silent(GRAPH, signed_in.account)
        self.assertEqual((cached.access_token, cached.token_source), (signed_in.access_token, "cache"))
        self.assertEqual(app.acquire_token_silent(VAULT, signed_in.account).token_source, "identity-provider")
        self.assertTrue(app.remove_account(signed_in.account))
        with self.assertRaises(AcquisitionError) as raised:
            app.acquire_token_silent(GRAPH, signed_in.account)
        self.assertEqual((raised.exception.kind, app.get_accounts()), ("interaction-required", []))

    def test_a_provider_says_where_people_sign_in(self) -> None:
        sample = Sample("web-api")
        self.client = Counting(sample.client)
        sample.client = self.client  # type: ignore[assignment]
        app = sample.of_any_provider(sample.secret)
        begun = app.authorization_request(["openid", *GRAPH], REDIRECT_URI, login_hint="alice@contoso.com")
        self.assertEqual(begun.url.partition("?")[0], f"{sample.authority}/oauth2/v2.0/authorize")
        self.assertEqual(self.client.requests, 1)
        again = app.authorization_request(GRAPH, REDIRECT_URI)
        self.assertNotEqual((again.state, again.code_verifier), (begun.state, begun.code_verifier))
        self.assertEqual(self.client.requests, 1, "the provider is asked once")
        answer = self.signed_in(begun.url)
        self.assertEqual(answer["state"], begun.state)
        signed_in = app.acquire_token_by_authorization_code(
            answer["code"], GRAPH, REDIRECT_URI, code_verifier=begun.code_verifier
        )
        self.assertEqual(signed_in.token_source, "identity-provider")

    def test_a_provider_that_is_not_there_begins_no_sign_in(self) -> None:
        sample = Sample("web-api")
        sample.client._connect_to = {"login.microsoftonline.com": "127.0.0.1:1"}
        with self.assertRaises(AcquisitionError) as raised:
            sample.of_any_provider(sample.secret).authorization_request(GRAPH, REDIRECT_URI)
        self.assertEqual(raised.exception.kind, "transport-failed")

    def test_a_refusal_says_what_the_authority_said(self) -> None:
        app = self.application(Sample("secret"), "another secret")
        with self.assertRaises(AcquisitionError) as raised:
            app.acquire_token_for_client(GRAPH)
        self.assertEqual((raised.exception.kind, raised.exception.aadsts_codes), ("invalid-client", [7000215]))
        self.assertNotIn("another secret", str(raised.exception))

    def test_no_connection_is_an_error_of_the_transport(self) -> None:
        sample = Sample("secret")
        sample.client._connect_to = {"login.microsoftonline.com": "127.0.0.1:1"}
        with self.assertRaises(AcquisitionError) as raised:
            sample.application(sample.secret).acquire_token_for_client(GRAPH)
        self.assertEqual(raised.exception.kind, "transport-failed")

    def test_a_server_that_is_not_trusted_gets_nothing(self) -> None:
        sample = Sample("secret")
        # Trusts one that signed nothing here, whatever the environment adds.
        sample.client._ca_file = str(sample.directory / "client.crt")
        with self.assertRaises(TransportError) as raised:
            sample.client.send(HttpRequest("GET", "https://login.microsoftonline.com/", [], "", 10, 10))
        self.assertEqual((raised.exception.kind, raised.exception.may_be_sent), ("server-certificate", False))


if __name__ == "__main__":
    unittest.main()
