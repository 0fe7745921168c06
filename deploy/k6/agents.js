// Load on a service of agents with k6, and races between them as a failed threshold.
//
//   noclobber up                                                    # the sidecar
//   noclobber run -- uvicorn shop:app --port 8000                   # the agents' service, sending to it
//   k6 run -e AGENTS_URL=http://127.0.0.1:8000/book deploy/k6/agents.js
//
// Each request carries a W3C trace context whose trace id begins with this test's own eight digits. A service that takes
// it up (OpenTelemetry's instrumentation of its web framework) passes it to noclobber's spans, so at the end exactly the
// findings of this test are asked for. Exit code 99, as for any threshold of k6, where there are any.
//
// NOCLOBBER_API (default http://127.0.0.1:8501/api/v1), NOCLOBBER_TOKEN, TRACE_PREFIX (the same for several machines),
// SETTLE_S (what the analyzer gets to judge the last accesses, default 5).

import { check, sleep } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const AGENTS = __ENV.AGENTS_URL || 'http://127.0.0.1:8000/';
const API = __ENV.NOCLOBBER_API || 'http://127.0.0.1:8501/api/v1';
const SURE = ['certain', 'likely'];
const PAGES_MAX = 50;

const races = new Counter('noclobber_races');

export const options = {
  vus: 20,
  duration: '30s',
  thresholds: { noclobber_races: ['count==0'], checks: ['rate==1'] },
};

function hex(digits) {
  let text = '';
  while (text.length < digits) {
    text += Math.floor(Math.random() * 16).toString(16);
  }
  return text;
}

export function setup() {
  return { prefix: __ENV.TRACE_PREFIX || `f${hex(7)}`, sinceNs: `${Date.now()}000000` };
}

export default function (test) {
  const traceparent = `00-${test.prefix}${hex(24)}-${hex(15)}1-01`;
  const answer = http.post(AGENTS, null, { headers: { traceparent } });
  check(answer, { 'the agent answered': (each) => each.status > 0 && each.status < 400 });
}

export function teardown(test) {
  sleep(Number(__ENV.SETTLE_S || 5));
  const found = findings(test.sinceNs);
  check(found, { "noclobber's API answered": (each) => each !== null });
  const ours = (found || []).filter(
    (each) => SURE.includes(each.certainty) && each.accesses.some((access) => access.trace_id.startsWith(test.prefix)),
  );
  races.add(ours.length);
  for (const each of ours) {
    console.error(`${each.kind} (${each.certainty}) ${each.id}: ${each.explanation}`);
  }
}

function findings(sinceNs) {
  const headers = __ENV.NOCLOBBER_TOKEN ? { Authorization: `Bearer ${__ENV.NOCLOBBER_TOKEN}` } : {};
  let all = [];
  let cursor = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const from = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const answer = http.get(`${API}/findings?status=open&since_ns=${sinceNs}${from}`, { headers });
    if (answer.status !== 200) {
      return null;
    }
    const body = answer.json();
    all = all.concat(body.findings);
    cursor = body.next;
    if (!cursor) {
      break;
    }
  }
  return all;
}
