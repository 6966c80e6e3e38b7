"""One mailbox, one spelling; look-alikes are rejected."""

import pytest

from app.auth.emails import canonical_email

LONGEST = "aa@" + ".".join(["b" * 62] * 4)  # 254 characters
REFUSAL = "^This is not a valid e-mail address$"
RESERVED = "^The domain of this e-mail address is reserved"


class TestCanonicalEmail:
    @pytest.mark.parametrize(
        ("written", "canonical"),
        [
            ("ada@example.com", "ada@example.com"),
            ("ADA@Example.COM", "ada@example.com"),
            (" ada@example.com", "ada@example.com"),
            ("ada@example.com  ", "ada@example.com"),
            ("ada+tag@example.com", "ada+tag@example.com"),
            ("a.d.a@example.com", "a.d.a@example.com"),
            ("ada@bücher.de", "ada@xn--bcher-kva.de"),
            ("ada@BÜCHER.de", "ada@xn--bcher-kva.de"),
            ("ada@bu\u0308cher.de", "ada@xn--bcher-kva.de"),
            ("ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
            ("ada@XN--BCHER-KVA.de", "ada@xn--bcher-kva.de"),
            ("ada@straße.de", "ada@xn--strae-oqa.de"),
            ("ada@strasse.de", "ada@strasse.de"),
            ("ada@日本.jp", "ada@xn--wgv71a.jp"),
            # A domain in another script is another domain, and its spelling in ASCII shows it.
            ("ada@ex\u0430mple.com", "ada@xn--exmple-4nf.com"),
            ("ada@ex\u0131mple.com", "ada@xn--exmple-q9a.com"),
            (LONGEST, LONGEST),
        ],
    )
    def test_mailbox_has_one_canonical_form(self, written: str, canonical: str) -> None:
        assert canonical_email(written) == canonical
        assert canonical_email(canonical) == canonical

    @pytest.mark.parametrize(
        "look_alike",
        [
            "\u212aate@example.com",  # Kelvin sign
            "kate@\u212aelvin.com",
            "a\u1fefb@example.com",  # Greek varia, canonically a grave accent
            "\uff41da@example.com",  # fullwidth a
            "ada@ex\uff41mple.com",
            "ad\u0131@example.com",  # dotless i
            "\u0430da@example.com",  # Cyrillic a
            "ada@\ufb01sh.com",  # ligature fi
            "ada@example\uff0ecom",  # fullwidth full stop
            "\u00e1da@example.com",
            "a\u200bda@example.com",  # zero-width space
            "ada@exa\u200bmple.com",
            "ada@exa\u00admple.com",  # soft hyphen
            "ada@exa\u200dmple.com",  # zero-width joiner
            "ada\u202e@example.com",  # right-to-left override
        ],
    )
    def test_look_alike_is_rejected_and_not_replaced(self, look_alike: str) -> None:
        with pytest.raises(ValueError, match=REFUSAL):
            canonical_email(look_alike)

    @pytest.mark.parametrize(
        "text",
        [
            "", "ada", "@example.com", "ada@", "ada@@example.com", "ada@example",
            "ada@[127.0.0.1]", "ada@127.0.0.1", "Bob <bob@example.com>", "<bob@example.com>",
            '"a b"@example.com', "ada@example.com.", "ada@.example.com", "ada@example..com",
            ".ada@example.com", "ada.@example.com", "ada @example.com", "ada@ example.com",
            "ada@example.com\n", "\u00a0ada@example.com", "ada\0@example.com", "ada@exam_ple.com", "ada@-example.com",
            "ada@xn--a.com", "ada,grace@example.com", "ada@example.com,grace@example.com",
            "ada;@example.com", "ada@" + "b" * 64 + ".com", "a" * 250 + "@example.com",
            LONGEST + "bb", "a" + LONGEST, "ada\ud800@example.com", "ada@exam\udfffple.com", "\u0301@example.com",
        ],
    )  # fmt: skip
    def test_malformed_address_is_rejected(self, text: str) -> None:
        with pytest.raises(ValueError, match=REFUSAL):
            canonical_email(text)

    @pytest.mark.parametrize(
        "address",
        ["ada@localhost", "ada@printer.local", "ada@Example.TEST", "ada@x.invalid", "ada@a.onion"],
    )
    def test_reserved_domain_has_a_message_of_its_own(self, address: str) -> None:
        with pytest.raises(ValueError, match=RESERVED):
            canonical_email(address)

    def test_address_that_is_too_long_in_ascii_is_rejected(self) -> None:
        unicode_domain = ".".join(["ü" + "b" * 54] * 4)
        assert len(f"ada@{unicode_domain}.de") < 254

        with pytest.raises(ValueError, match=REFUSAL):
            canonical_email(f"ada@{unicode_domain}.de")

    def test_longest_address_fits_the_column(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.auth.emails.EMAIL_MAX_LENGTH", len("ada@example.com"))

        assert canonical_email("ada@example.com") == "ada@example.com"
        for too_long in ("adaa@example.com", "ada@bücher.de"):
            with pytest.raises(ValueError, match=REFUSAL):
                canonical_email(too_long)

    def test_message_does_not_repeat_the_input(self) -> None:
        with pytest.raises(ValueError, match="not a valid") as raised:
            canonical_email("marker")

        assert "marker" not in str(raised.value)
