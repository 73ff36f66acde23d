/** A client of the sidecar, by its description at /openapi/v1.json. */

/** What a call of the API presents. */
export interface AuthorizationHeaderResult {
  authorizationHeader: string;
  longRunningWebApiSessionKey?: string;
}

/** What the API answered, whatever its status. */
export interface DownstreamApiResult {
  statusCode: number;
  headers: Record<string, string[]>;
  content: string | null;
  contentIsBase64?: boolean;
  longRunningWebApiSessionKey?: string;
}

/** A token that the application may be called with, and what is in it. */
export interface ValidateAuthorizationHeaderResult {
  protocol: string;
  token: string;
  claims: Record<string, unknown>;
}

export interface ProblemDetails {
  title?: string | null;
  status?: number | null;
  detail?: string | null;
  error?: string;
  claims?: string;
}

/** The user whom an agent acts for. */
export type AgentUser = { username: string } | { objectId: string };

/** What the sidecar says where something can't be done. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly details: ProblemDetails,
    /** What a web API can hand on to its own caller, where the user is to answer a challenge. */
    readonly challenge: string | null,
  ) {
    super(`${status}: ${details.detail ?? details.title ?? "no details"}`);
  }
}

/** The sidecar at a URL. */
export class Sidecar {
  constructor(private readonly url: string) {}

  validate(token: string): Promise<ValidateAuthorizationHeaderResult> {
    return this.ask("GET", "/Validate", token);
  }

  /** The header for a call on behalf of the user whose token it is. */
  headerForUser(api: string, token: string, options: Record<string, string> = {}): Promise<AuthorizationHeaderResult> {
    return this.ask("GET", `/AuthorizationHeader/${api}`, token, overrides(options));
  }

  /** The header for a call as the application itself. */
  headerForApp(api: string, scope: string): Promise<AuthorizationHeaderResult> {
    const query = overrides({ RequestAppToken: "true", Scopes: scope });
    return this.ask("GET", `/AuthorizationHeaderUnauthenticated/${api}`, undefined, query);
  }

  /** The header for a call as an agent, for a user. */
  headerForAgent(api: string, agent: string, user: AgentUser): Promise<AuthorizationHeaderResult> {
    const query = new URLSearchParams({ AgentIdentity: agent });
    if ("username" in user) query.set("AgentUsername", user.username);
    else query.set("AgentUserId", user.objectId);
    return this.ask("GET", `/AuthorizationHeaderUnauthenticated/${api}`, undefined, query);
  }

  /** Begins a process that goes on when the user's token has expired: its key is in the answer. */
  beginLongRunning(api: string, token: string): Promise<AuthorizationHeaderResult> {
    return this.headerForUser(api, token, { [SESSION_KEY]: "AllocateForMe" });
  }

  /** Goes on with it. */
  continueLongRunning(api: string, key: string): Promise<AuthorizationHeaderResult> {
    const query = overrides({ [SESSION_KEY]: key });
    return this.ask("GET", `/AuthorizationHeaderUnauthenticated/${api}`, undefined, query);
  }

  /** Calls the API on behalf of the user whose token it is. */
  call(
    api: string,
    token: string,
    options: Record<string, string> = {},
    body?: { content: string; contentType: string },
  ): Promise<DownstreamApiResult> {
    return this.ask("POST", `/DownstreamApi/${api}`, token, overrides(options), body);
  }

  private async ask<T>(
    method: string,
    path: string,
    token?: string,
    query?: URLSearchParams,
    body?: { content: string; contentType: string },
  ): Promise<T> {
    const headers = new Headers();
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    if (body !== undefined) headers.set("content-type", body.contentType);
    const url = new URL(path, this.url);
    url.search = query?.toString() ?? "";
    const answer = await fetch(url, { method, headers, body: body?.content ?? null });
    if (answer.ok) return (await answer.json()) as T;
    const isProblem = answer.headers.get("content-type") === "application/problem+json";
    const details = isProblem ? ((await answer.json()) as ProblemDetails) : { detail: await answer.text() };
    throw new Problem(answer.status, details, answer.headers.get("www-authenticate"));
  }
}

/** What is to be different from the configuration. */
function overrides(options: Record<string, string>): URLSearchParams {
  return new URLSearchParams(Object.entries(options).map(([name, value]) => [`optionsOverride.${name}`, value]));
}

const SESSION_KEY = "AcquireTokenOptions.LongRunningWebApiSessionKey";
