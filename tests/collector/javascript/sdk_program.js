// A program with the stock OpenTelemetry SDK: makes spans and exports them in batches; prints their ids.
//
//   node sdk_program.js grpc|http/protobuf|http/json COUNT
//
// Everything else is said by OpenTelemetry's own variables, as a user would.
"use strict";

const { diag, DiagLogLevel, SpanKind } = require("@opentelemetry/api");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

const EXPORTERS = {
  "grpc": "@opentelemetry/exporter-trace-otlp-grpc",
  "http/protobuf": "@opentelemetry/exporter-trace-otlp-proto",
  "http/json": "@opentelemetry/exporter-trace-otlp-http",
};

const errors = [];
const complain = (...words) => errors.push(words.join(" "));
diag.setLogger({ error: complain, warn: complain, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);

async function main() {
  const [way, count] = process.argv.slice(2);
  const { OTLPTraceExporter } = require(EXPORTERS[way]);
  const provider = new NodeTracerProvider({
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(), { maxExportBatchSize: 64 })],
  });
  const tracer = provider.getTracer("stock", "1.2");
  for (let number = 0; number < Number(count); number++) {
    const span = tracer.startSpan(`call ${number}`, { kind: SpanKind.CLIENT });
    span.setAttributes({ text: "ünïcode", number, big: Number.MAX_SAFE_INTEGER, share: 0.5, yes: true, list: ["a", "b"] });
    span.addEvent("retry", { attempt: 2 });
    const { traceId, spanId } = span.spanContext();
    console.log(`${traceId} ${spanId}`);
    span.end();
    if (number % 256 === 255) await provider.forceFlush();
  }
  await provider.shutdown();
  for (const line of errors) console.error(line);
  process.exitCode = errors.length ? 1 : 0;
}

main();
