// What a front end does with the types that openapi-typescript has generated. Run by quality.clients.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { env: Record<string, string> };

function expect(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const { API, EMAIL, PASSWORD, ACCOUNTS } = process.env;
expect(!!API && !!EMAIL && !!PASSWORD, "started by quality.clients");
const client = createClient<paths>({ baseUrl: API });

const login = await client.POST("/api/v1/auth/login", { body: { email: EMAIL, password: PASSWORD } });
expect(login.data !== undefined, "no login");
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${login.data.access_token}`);
    return request;
  },
});

const seen = new Set<string>();
let after: string | null = null;
do {
  const page: { items: { id: string }[]; next: string | null } | undefined = (
    await client.GET("/api/v1/admin/users", { params: { query: { limit: 10, after, sort: "-created" } } })
  ).data;
  expect(page !== undefined, "no page");
  for (const user of page.items) {
    expect(!seen.has(user.id), `${user.id} is on two pages`);
    seen.add(user.id);
  }
  after = page.next;
} while (after !== null);
expect(seen.size === Number(ACCOUNTS), `${seen.size} of ${ACCOUNTS} accounts`);

const read = await client.GET("/api/v1/users/me");
const etag = read.response.headers.get("etag");
expect(read.data !== undefined && etag === `"${read.data.version}"`, `ETag ${etag}`);

const condition = { params: { header: { "if-match": etag } }, body: { display_name: "Grace" } };
const changed = await client.PATCH("/api/v1/users/me", condition);
expect(changed.data?.display_name === "Grace", `${changed.response.status} for the change`);
const late = await client.PATCH("/api/v1/users/me", condition);
expect(late.response.status === 412, `${late.response.status} for the second change`);
// Either of the two forms that an error has: the envelope, unless problem details were asked for by name.
expect(late.error !== undefined && "error" in late.error, JSON.stringify(late.error));
expect(late.error.error.code === "precondition_failed", late.error.error.code);
