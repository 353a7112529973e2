// The actions about dead-letter queues that the emulator lacks, as SQS documents them: ListDeadLetterSourceQueues,
// StartMessageMoveTask and ListMessageMoveTasks. A task here is over as soon as it has begun.
import { randomUUID } from "node:crypto";

const refused = (code, message) => ({ status: 400, answer: { __type: `com.amazonaws.sqs#${code}`, message } });
const answered = (answer) => ({ status: 200, answer });

// sourcesOf are the queues whose redrive policy names a queue.
function sourcesOf(store, arn) {
  return [...store.allQueues()].filter((queue) => {
    const policy = queue.getAttribute("RedrivePolicy");
    return policy && JSON.parse(policy).deadLetterTargetArn === arn;
  });
}

// takeVisible takes out of a queue what could be received.
function takeVisible(queue) {
  queue.processTimers();
  const taken = [...queue.messages, ...[...queue.fifoMessages.values()].flat()];
  queue.messages = [];
  queue.fifoMessages.clear();
  return taken;
}

export function moveTasks(store) {
  const tasks = new Map(); // by the ARN of the queue that messages are moved out of, newest first
  const actions = {
    ListDeadLetterSourceQueues({ QueueUrl }) {
      const queue = store.getQueue(QueueUrl ?? "");
      if (!queue) return refused("QueueDoesNotExist", "The specified queue does not exist.");
      return answered({ queueUrls: sourcesOf(store, queue.arn).map((source) => source.url) });
    },

    StartMessageMoveTask({ SourceArn, DestinationArn }) {
      const queue = store.getQueueByArn(SourceArn);
      if (!queue) return refused("ResourceNotFoundException", "No queue has the source ARN.");
      const sources = sourcesOf(store, SourceArn);
      if (sources.length === 0) return refused("InvalidParameterValue", "The source is no queue's dead-letter queue.");
      const destination = DestinationArn ? store.getQueueByArn(DestinationArn) : sources[0];
      if (!destination) return refused("ResourceNotFoundException", "No queue has the destination ARN.");
      const task = { SourceArn, DestinationArn, StartedTimestamp: Date.now(), Status: "COMPLETED", ApproximateNumberOfMessagesMoved: 0 };
      if (!DestinationArn && sources.length > 1) {
        // The emulator does not remember where a message came from.
        Object.assign(task, { Status: "FAILED", FailureReason: "CouldNotDetermineMessageSource" });
      } else {
        const moved = takeVisible(queue);
        for (const message of moved) {
          // SQS makes a new message of each that it moves.
          destination.enqueue({
            ...message, messageId: randomUUID(), sentTimestamp: Date.now(), approximateReceiveCount: 0, approximateFirstReceiveTimestamp: undefined,
          });
        }
        task.ApproximateNumberOfMessagesMoved = task.ApproximateNumberOfMessagesToMove = moved.length;
      }
      tasks.set(SourceArn, [task, ...(tasks.get(SourceArn) ?? [])].slice(0, 10));
      return answered({ TaskHandle: randomUUID() });
    },

    ListMessageMoveTasks({ SourceArn, MaxResults = 1 }) {
      if (!store.getQueueByArn(SourceArn)) return refused("ResourceNotFoundException", "No queue has the source ARN.");
      return answered({ Results: (tasks.get(SourceArn) ?? []).slice(0, MaxResults) });
    },
  };

  // A hook that answers these, and leaves all others to the emulator.
  return async (request, reply) => {
    const action = actions[String(request.headers["x-amz-target"] ?? "").replace("AmazonSQS.", "")];
    if (!action) return undefined;
    const { status, answer } = action(request.body ?? {});
    return reply.status(status).header("content-type", "application/x-amz-json-1.0").send(answer);
  };
}
