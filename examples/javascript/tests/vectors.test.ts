/** The project's vectors of token requests. `SYMBOLON_VECTORS` names their directory where it isn't the repository's. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { differences, expectation, type Members, READ, run, type Vector } from './vectors.js';

const REPOSITORY = fileURLToPath(new URL('../../../tests/conformance/vectors', import.meta.url));
const FILE = join(process.env['SYMBOLON_VECTORS'] ?? REPOSITORY, 'requests.json');

/** What is never absent. */
const PRESENT: Members = { absent_body: ['client_id'], absent_headers: ['content-type'], absent_assertion_header: ['alg'] };

it('sends every request as expected', async (test) => {
  const all = (JSON.parse(readFileSync(FILE, 'utf8')) as { vectors: Vector[] }).vectors;
  const vectors = all.filter(({ category }) => category === 'token_request');
  assert.ok(vectors.length >= 60, `${FILE} has ${vectors.length} vectors of token requests; it should have them all`);
  for (const vector of vectors) {
    await test.test(vector.id, async () => {
      assert.deepEqual(Object.keys(vector.input).filter((name) => !READ.has(name)), [], 'members that nobody reads');
      const [outcome, expect] = [await run(vector), expectation(vector)];
      assert.deepEqual(differences(expect, outcome), []);
      for (const name of Object.keys(expect)) {
        const wrong = { ...expect, [name]: PRESENT[name] ?? ['wrong'] };
        assert.notDeepEqual(differences(wrong, outcome), [], `${name} isn't compared`);
      }
    });
  }
});
