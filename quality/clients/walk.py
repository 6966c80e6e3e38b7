"""What a Python client does that openapi-python-client has generated. Run by ``quality.clients``."""

# mypy: disable-error-code="import-not-found"
# ruff: noqa: S101  a program whose only work is to look
import os
from http import HTTPStatus

from generated import AuthenticatedClient, Client
from generated.api.admin import v1_admin_list_users
from generated.api.auth import v1_auth_login
from generated.api.users import v1_users_change_me, v1_users_read_me
from generated.models import Login, UserChange

url, number = os.environ["API"], int(os.environ["ACCOUNTS"])
credentials = Login(email=os.environ["EMAIL"], password=os.environ["PASSWORD"])
tokens = v1_auth_login.sync(client=Client(url), body=credentials)
client = AuthenticatedClient(url, token=tokens.access_token)

seen, after = [], None
while True:
    page = v1_admin_list_users.sync(client=client, limit=10, after=after, sort="-created")
    seen += [user.id for user in page.items]
    if page.next_ is None:
        break
    after = page.next_
assert len(seen) == len(set(seen)) == number, f"{len(seen)} of {number} accounts"

read = v1_users_read_me.sync_detailed(client=client)
etag = read.headers["etag"]
assert etag == f'"{read.parsed.version}"', etag

change = UserChange(display_name="Ada")
changed = v1_users_change_me.sync_detailed(client=client, body=change, if_match=etag)
assert changed.status_code == HTTPStatus.OK, changed
assert changed.parsed.display_name == "Ada", changed
late = v1_users_change_me.sync_detailed(client=client, body=change, if_match=etag)
assert late.status_code == HTTPStatus.PRECONDITION_FAILED, late
assert late.parsed.error.code == "precondition_failed", late
