import type { Socket } from "bun";
import { handshakeFor } from "../support/websocket-frames.ts";
import { converse, setupOf } from "./conversation.ts";
import type { LoadAnswer, LoadQuestion } from "./load-http.ts";

/** Clients that come and leave again, over raw TCP; an operation is one that was let in and has hung up. */
export interface Joins {
  readonly port: number;
  readonly path: string;
}

/** At the same time. Few, so that the topic has about as many members as the measure says. */
const joiningMax = 4;

interface Joining {
  readonly done: () => void;
}

function joinAndLeave({ port, path }: Joins): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const answered = (socket: Socket<Joining>, bytes: Buffer) => {
    if (!bytes.toString("latin1").startsWith("HTTP/1.1 101")) fail(bytes.toString("latin1"));
    socket.end();
  };
  void Bun.connect<Joining>({
    hostname: "127.0.0.1",
    port,
    data: { done: resolve },
    socket: {
      open: (socket) => void socket.write(handshakeFor(path)),
      data: answered,
      close: (socket) => socket.data.done(),
      error: (_, error) => fail(error.message),
    },
  });
  return promise;
}

async function run(setup: Joins, ms: number): Promise<LoadAnswer> {
  let operations = 0;
  const startMs = performance.now();
  const join = async () => {
    for (; performance.now() - startMs < ms; operations++) await joinAndLeave(setup);
  };
  await Promise.all(Array.from({ length: joiningMax }, join));
  return { operations, elapsedMs: performance.now() - startMs };
}

function fail(message: string): never {
  console.error(`load-joins: ${message}`);
  process.exit(1);
}

if (import.meta.main) {
  const setup = setupOf<Joins>();
  converse<LoadQuestion>({}, ({ forMs }) => run(setup, forMs));
}
