// Signs a user in, as a browser and the user would: follows redirects, keeps cookies, fills in the forms of the provider.
//
// Its one argument is a JSON object: `url` (of the authorization endpoint), `port` (of the provider on loopback), `ca` (a file)
// and `user`. It writes where the provider sends the browser in the end.

import { readFileSync } from 'node:fs';
import { request } from 'node:https';

const { url, port, ca, user } = JSON.parse(process.argv[2]);
const roots = readFileSync(ca);
const provider = new URL(url).host;
const cookies = new Map();

/** The answer to a request at the provider: a redirect, or a page. */
function visit(target, form) {
  const body = form && new URLSearchParams(form).toString();
  const headers = {
    host: provider,
    cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
    ...(body && { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length }),
  };
  const options = {
    host: '127.0.0.1', port, servername: provider, ca: roots, path: target.pathname + target.search, headers,
    method: body ? 'POST' : 'GET',
  };
  return new Promise((resolve, reject) => {
    request(options, (response) => {
      for (const cookie of response.headers['set-cookie'] ?? []) {
        const [name, value] = cookie.split(';')[0].split('=');
        if (value) cookies.set(name, value); else cookies.delete(name);
      }
      const { location } = response.headers;
      let page = '';
      response.on('data', (data) => { page += data; });
      response.on('end', () => resolve({ location: location && new URL(location, target), page }));
    }).on('error', reject).end(body);
  });
}

let target = new URL(url);
for (let steps = 0; target.host === provider; steps += 1) {
  let answer = await visit(target);
  const prompt = answer.page.match(/name="prompt" value="(\w+)"/)?.[1];
  if (prompt) answer = await visit(target, { prompt, login: user, password: 'of no consequence' });
  if (!answer.location || steps > 10) throw new Error(answer.page);
  target = answer.location;
}
process.stdout.write(target.href);
