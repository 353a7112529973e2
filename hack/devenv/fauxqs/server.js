// Serves the SQS emulator on a loopback port.
//
// The emulator's own start script listens on every interface of the machine. Whoever can reach it can read and
// write every queue, so this one listens on 127.0.0.1 only.
import { buildApp } from "fauxqs";
// Not among the package's exports, hence the path.
import { SqsStore } from "./node_modules/fauxqs/dist/sqs/sqsStore.js";
import { moveTasks } from "./movetask.js";

const port = Number(process.env.QUEUE_PORT);
const sqsStore = new SqsStore();
// Without a host of its own the store names queues by the host of the request, 127.0.0.1:port. The default,
// sqs.<region>.localhost, does not resolve everywhere.
sqsStore.host = undefined;
const app = buildApp({ logger: false, defaultRegion: process.env.AWS_REGION, stores: { sqsStore } });
app.addHook("preHandler", moveTasks(sqsStore));

try {
  console.log(`Listening on ${await app.listen({ port, host: "127.0.0.1" })}`);
} catch (error) {
  console.error(`Cannot listen on port ${port}: ${error.message}`);
  process.exit(1);
}
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => process.exit(0));
}
