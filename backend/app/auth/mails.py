"""What identity writes to people: plain text, in functions that return a ``Mail``."""

from collections.abc import Callable
from typing import Literal

from app.core.mail.base import Mail

About = Literal[
    "password_changed",
    "password_reset",
    "email_change_asked",
    "email_changed",
    "email_taken",
    "refresh_reused",
    "account_deleted",
]

NOT_YOU = "If it was not you, set a new password: that ends every session of the account."
NOTICES: dict[About, tuple[str, str]] = {
    "password_changed": (
        "Your password was changed",
        f"The password of your account was changed, and its other sessions have ended.\n\n{NOT_YOU}",
    ),
    "password_reset": (
        "Your password was set",
        f"The password of your account was set by a link from a mail, and all sessions have ended.\n\n{NOT_YOU}",
    ),
    "email_change_asked": (
        "Another address was asked for",
        f"Somebody who is logged in to your account asked for another e-mail address. It takes effect once they open "
        f"the link that was sent there.\n\n{NOT_YOU}",
    ),
    "email_changed": (
        "Your e-mail address was changed",
        "The e-mail address of your account was changed. Mail goes to the new one from now on.\n\n"
        "If it was not you, ask for help: a new password can only be set from the new address.",
    ),
    "email_taken": (
        "You have an account already",
        "Somebody asked for your e-mail address as that of another account. Nothing has changed: it stays yours.\n\n"
        "If it was you, log in with it, or set a new password.",
    ),
    "refresh_reused": (
        "A session was ended",
        "A session of your account was used from two places, as if it had been copied, so it was ended. "
        f"Log in again.\n\n{NOT_YOU}",
    ),
    "account_deleted": (
        "Your account was deleted",
        "Somebody who was logged in to your account deleted it, with all that belonged to it.\n\n"
        "If it was not you, ask for help.",
    ),
}


def verification(to: str, app_name: str, link: str) -> Mail:
    """Asks whether the owner of an address has registered with it."""
    return Mail(
        to,
        f"Confirm your e-mail address for {app_name}",
        f"To confirm that this is your address, open this link where you are logged in:\n\n{link}\n\n"
        "It works once, for 24 hours. If it was not you who registered, ignore this mail.\n",
    )


def reset(to: str, app_name: str, link: str) -> Mail:
    """Lets the owner of an address set a password."""
    return Mail(
        to,
        f"Set a new password for {app_name}",
        f"To set a new password, open this link:\n\n{link}\n\n"
        "It works once, for 30 minutes, and ends every session of your account. "
        "If it was not you who asked, ignore this mail: nothing has changed.\n",
    )


def change(to: str, app_name: str, link: str) -> Mail:
    """Asks whether the owner of an address wants it for an account."""
    return Mail(
        to,
        f"Confirm your new e-mail address for {app_name}",
        f"To make this the address of your account, open this link where you are logged in:\n\n{link}\n\n"
        "It works once, for 24 hours. If it was not you who asked, ignore this mail: nothing has changed.\n",
    )


def invitation(to: str, app_name: str, link: str) -> Mail:
    """Lets somebody set the password of an account that was made for them."""
    return Mail(
        to,
        f"You are invited to {app_name}",
        f"An account was made for you. To set its password, open this link:\n\n{link}\n\n"
        "It works once, for 7 days. If you do not want the account, ignore this mail.\n",
    )


def notice(to: str, app_name: str, about: About) -> Mail:
    """Tells the owner of an account what has happened to it. Without a link: it could be imitated."""
    subject, text = NOTICES[about]
    return Mail(to, f"{subject} ({app_name})", f"{text}\n")


LinkMail = Callable[[str, str, str], Mail]
