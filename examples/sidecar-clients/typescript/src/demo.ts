/** Everything that the client can do, once. */

import { Problem, Sidecar } from "./client.js";

const SCOPE = "https://graph.microsoft.com/.default";

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} isn't set`);
  return value;
}

async function everything(sidecar: Sidecar, api: string): Promise<unknown> {
  const [token, agent] = [variable("USER_TOKEN"), variable("AGENT")];
  const call = await sidecar.call(
    api,
    token,
    { HttpMethod: "POST", RelativePath: "orders" },
    { content: "hello", contentType: "text/plain" },
  );
  const begun = await sidecar.beginLongRunning(api, token);
  const refused = await sidecar.validate("no token").then(
    () => 200,
    (error: unknown) => (error instanceof Problem ? error.status : Promise.reject(error)),
  );
  const byName = await sidecar.headerForAgent(api, agent, { username: variable("AGENT_USERNAME") });
  const byId = await sidecar.headerForAgent(api, agent, { objectId: variable("AGENT_USER_ID") });
  return {
    claims: (await sidecar.validate(token)).claims,
    user: (await sidecar.headerForUser(api, token)).authorizationHeader,
    app: (await sidecar.headerForApp(api, SCOPE)).authorizationHeader,
    agentByName: byName.authorizationHeader,
    agentById: byId.authorizationHeader,
    call: { status: call.statusCode, content: call.content },
    process: begun.authorizationHeader,
    sessionKey: begun.longRunningWebApiSessionKey,
    refused,
  };
}

const [command, key] = process.argv.slice(2);
const [sidecar, api] = [new Sidecar(variable("SIDECAR_URL")), variable("API")];
if (command === "all") {
  console.log(JSON.stringify(await everything(sidecar, api)));
} else if (command === "continue" && key !== undefined) {
  console.log(JSON.stringify({ process: (await sidecar.continueLongRunning(api, key)).authorizationHeader }));
} else {
  console.error("usage: demo.js all | continue KEY");
  process.exitCode = 2;
}
