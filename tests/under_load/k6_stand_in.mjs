// What k6 gives a script, as far as the recipe uses it, on node: to see that its code does what it says. No k6 is here.
// Arguments: the script, as a module in which 'k6' is this one. Prints what was counted, checked and said, as JSON.

import { execFileSync } from 'node:child_process';

const asked = [];
const checks = [];
const said = [];
const counted = {};

globalThis.__ENV = process.env;
Date.now = () => 1;
console.error = (text) => said.push(text);

const FETCH = `
const [method, url, headers] = JSON.parse(process.argv[1]);
fetch(url, { method, headers }).then(async (a) => console.log(JSON.stringify({ status: a.status, text: await a.text() })))
  .catch(() => console.log(JSON.stringify({ status: 0, text: '' })));
`;

function request(method, url, headers) {
  asked.push({ method, url, headers });
  const answer = JSON.parse(execFileSync(process.execPath, ['-e', FETCH, JSON.stringify([method, url, headers])]));
  return { status: answer.status, json: () => JSON.parse(answer.text) };
}

export default {
  get: (url, { headers }) => request('GET', url, headers),
  post: (url, _body, { headers }) => request('POST', url, headers),
};

export function check(value, tests) {
  for (const [name, test] of Object.entries(tests)) {
    checks.push([name, test(value)]);
  }
}

export function sleep() {}

export class Counter {
  constructor(name) {
    this.name = name;
  }

  add(number) {
    counted[this.name] = (counted[this.name] || 0) + number;
  }
}

import(process.argv[2]).then((script) => {
  const test = script.setup();
  script.default(test);
  script.teardown(test);
  console.log(JSON.stringify({ asked, checks, said, counted, thresholds: script.options.thresholds, test }));
});
