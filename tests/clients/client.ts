// What a program does with the TypeScript client that is made of the OpenAPI document: it logs in, creates, changes and lists.
//
// `node client.js ADDRESS EMAIL PASSWORD`, with the document's types as `schema.d.ts` beside it. Part of the drill `clients`: that
// it compiles is half of what it shows.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Unit = components["schemas"]["Unit"];

function hold(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

const [address, email, password] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: address });

const entered = await client.POST("/api/token/", { body: { email, password } });
hold(entered.data !== undefined, entered.error);
const headers = { Authorization: `Bearer ${entered.data.access}` };

// Only what is required.
const created = await client.POST("/api/academic/units/", { headers, body: { code: "TSC10001", name: "Made by TypeScript" } });
hold(created.data !== undefined, created.error);
const unit: Unit = created.data;
hold(unit.credit_points === "12.5" && unit.is_active, unit);

// Without a name it is no unit, and does not compile.
// @ts-expect-error
const nameless: components["schemas"]["UnitFields"] = { code: "TSC10002" };
const refused = await client.POST("/api/academic/units/", { headers, body: nameless });
hold(refused.error?.status === 400 && "name" in (refused.error.errors ?? {}), refused);

// What is left out stays.
const path = { params: { path: { id: unit.id } } };
const changed = await client.PATCH("/api/academic/units/{id}/", { ...path, headers, body: { description: "Changed by TypeScript" } });
hold(changed.data?.name === "Made by TypeScript" && changed.data.description === "Changed by TypeScript", changed);

const listed = await client.GET("/api/academic/units/", { headers, params: { query: { search: "Made by TypeScript" } } });
hold(listed.data?.length === 1 && listed.data[0].id === unit.id, listed);

// Moments go there and come back.
const opens = unit.created_at;
const offering = await client.POST("/api/academic/offerings/", {
  headers,
  body: { unit: unit.id, year: 2031, semester: "S1", enrollment_start: opens, enrollment_end: "2031-01-01T00:00:00Z" },
});
hold(offering.data?.enrollment_start === opens, offering);

export {};
