"""The parts of a driver that the authority can't tell apart: places of secrets, look-ups."""

from __future__ import annotations

import unittest
from base64 import b64decode
from typing import Any

from wasmtime.component import Record, Variant

from symbolon import TokenCache, TransportError
from symbolon.transport import HttpRequest, with_secret

SECRET = "s3cr&t ~*="


def request(body: str = "", **headers: str) -> HttpRequest:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpRequest("POST", "https://login.example/token", named, body, 1, 1)


class SecretTest(unittest.TestCase):
    def test_it_goes_into_the_field(self) -> None:
        filled = with_secret(request("a=1&client%5Fsecret=&b=2"), Variant("form-field", "client_secret"), SECRET)
        self.assertEqual(filled.body, "a=1&client%5Fsecret=s3cr%26t+%7E*%3D&b=2")

    def test_it_goes_into_the_header(self) -> None:
        place = Variant("header", "X-Secret")
        self.assertEqual(with_secret(request(x_secret=""), place, SECRET).headers, [("x-secret", SECRET)])
        self.assertEqual(with_secret(request(x_secret="Key "), place, SECRET).headers, [("x-secret", "Key " + SECRET)])

    def test_it_is_the_password_of_basic_authorization(self) -> None:
        filled = with_secret(request(), Variant("basic-authorization", "id:1"), SECRET)
        name, value = filled.headers[0]
        self.assertEqual((name, b64decode(value.removeprefix("Basic "))), ("authorization", b"id%3A1:s3cr%26t+%7E*%3D"))

    def test_a_place_that_is_not_there_once_and_empty_is_an_error(self) -> None:
        field = Variant("form-field", "client_secret")
        for wrong, place in [
            (request("a=1"), field),
            (request("client_secret=&client_secret="), field),
            (request("client_secret=x"), field),
            (request(), Variant("header", "x-secret")),
            (request(x_secret="x"), Variant("header", "x-secret")),
            (request(authorization="Bearer x"), Variant("basic-authorization", "id")),
        ]:
            with self.assertRaises(TransportError) as raised:
                with_secret(wrong, place, SECRET)
            self.assertFalse(raised.exception.may_be_sent)
            self.assertNotIn("s3cr", str(raised.exception))


class CacheTest(unittest.TestCase):
    def setUp(self) -> None:
        self.cache = TokenCache()
        self.cache.put(store(saved(["a", "b"], 2000)))

    def test_an_entry_holds_all_keys_of_an_alternative(self) -> None:
        self.assertEqual(self.find(["a", "b"]), "hit")
        self.assertEqual(self.find(["a", "c"], ["b"]), "hit")
        self.assertEqual((self.find(["a", "c"]), self.find([])), ("absent", "absent"))

    def test_a_token_has_its_time(self) -> None:
        self.assertEqual((self.find(["a"], after=1999), self.find(["a"], after=2000)), ("hit", "expired"))
        self.assertEqual(self.find(["a"], before=1999), "absent")

    def test_a_bypass_sees_nothing_and_a_look_up_without_flight_leads_none(self) -> None:
        self.assertEqual(self.find(["a"], bypass=True), "bypassed")
        self.assertEqual(self.find(["c"], flight=None), "miss")

    def test_an_entry_replaces_those_with_one_of_its_keys(self) -> None:
        self.cache.put(store(saved(["b"], 3000)))
        self.assertEqual((self.find(["a"]), self.find(["b"], after=2500)), ("absent", "hit"))

    def test_a_group_goes_as_a_whole(self) -> None:
        self.assertEqual(len(self.cache.members("group")), 1)
        self.assertEqual((self.cache.remove_group("group"), self.cache.remove_group("group")), (True, False))
        self.assertEqual(self.find(["a"]), "absent")

    def test_a_fact_lasts_as_long_as_it_says(self) -> None:
        fact = record(kind="throttle", key="k")
        self.cache.remember(record(fact=fact, value=b"v", ttl_ms=10), 100)
        self.assertEqual((self.cache.recall(fact, 109), self.cache.recall(fact, 110)), (b"v", None))

    def find(self, *alternatives: list[str], after: int = 0, before: int = 9000, bypass: bool = False, flight: str | None = "f") -> str:
        lookup = record(
            alternatives=list(alternatives), expires_after=after, expires_before=before, bypass=bypass, flight=flight
        )
        found: Any = self.cache.find(lookup, 0)
        absence: str = found.payload.absence if found.tag == "lead" else found.tag
        return absence


def record(**fields: Any) -> Any:
    made = Record()
    made.__dict__.update({name.replace("_", "-"): value for name, value in fields.items()})
    return made


def saved(keys: list[str], expires_on: int) -> Any:
    return record(entry=Variant("access-token", record(expires_on=expires_on)), keys=keys, replaces=[], groups=["group"])


def store(*entries: Any) -> Any:
    return record(entries=list(entries), replaced_groups=[], ends_flight=True)


if __name__ == "__main__":
    unittest.main()
