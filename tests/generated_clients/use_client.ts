// The generated TypeScript client against a running service: submit, poll, download.
// node use_client.ts ADDRESS KEY
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./ddcal_api.d.ts";

type Job = components["schemas"]["JobBody"];
type DistillRequest = components["schemas"]["DistillRequest"];

const LEFT = new Set<Job["state"]>(["succeeded", "failed", "cancelled", "expired"]);
const [address, key] = process.argv.slice(2);
assert(address !== undefined && key !== undefined);
const client = createClient<paths>({
  baseUrl: address,
  headers: { Authorization: `Bearer ${key}` },
});

async function lookAt(jobId: string): Promise<Job> {
  const { data, error } = await client.GET("/v1/jobs/{job_id}", {
    params: { path: { job_id: jobId } },
  });
  assert(data !== undefined, error?.detail);
  return data;
}

const asked: DistillRequest = {
  kind: "distill",
  reuse: false,
  params: {
    dataset: "digits",
    distill: { method: "dm", images_per_class: 1, iterations: 3, width: 4, depth: 1, batch_real: 4 },
  },
};
const submitted = await client.POST("/v1/jobs", { body: asked });
assert(submitted.data !== undefined, submitted.error?.detail);
let job: Job = submitted.data;
while (!LEFT.has(job.state)) {
  await sleep(1000);
  job = await lookAt(job.id);
}
assert.equal(job.state, "succeeded", job.error?.message);
assert(job.kind === "distill" && job.params.distill?.method === "dm");
assert.equal(job.params.distill.width, 4);

const { data: made } = await client.GET("/v1/distilled-sets", {
  params: { query: { job_id: job.id } },
});
const set = made?.items[0];
assert(set !== undefined);
assert.equal(set.details.images_per_class, 1);
for (const artifact of set.artifacts) {
  const { response } = await client.GET("/v1/artifacts/{artifact_id}/content", {
    params: { path: { artifact_id: artifact.id } },
    parseAs: "stream",
  });
  const content = Buffer.from(await response.arrayBuffer());
  assert.equal(createHash("sha256").update(content).digest("hex"), artifact.sha256);
}

const nowhere = await client.GET("/v1/jobs/{job_id}", {
  params: { path: { job_id: `job_${"0".repeat(26)}` } },
});
assert.equal(nowhere.error?.code, "job_not_found");
