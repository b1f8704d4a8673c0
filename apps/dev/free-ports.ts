import { connect, createServer } from "node:net";

const portMax = 65_535;
const answerLimitMs = 500;

/** Ports from `first` upwards that nobody uses, as many as asked for. `first` 0 leaves the choice to the system. */
export async function freePorts(first: number, count: number): Promise<number[]> {
  if (first === 0) return Array.from({ length: count }, () => 0);
  const ports: number[] = [];
  for (let port = first; ports.length < count; port++) {
    if (port > portMax) throw new Error(`No ${count} free ports from ${first} upwards. Try: --port 0`);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

/**
 * Nobody answers there, and it can be bound. Neither says enough alone: some systems let two processes bind one port on
 * different addresses, and a port may be bound by somebody who does not listen yet.
 */
async function isFree(port: number): Promise<boolean> {
  const answers = await Promise.all(["127.0.0.1", "::1"].map((address) => isAnswered(address, port)));
  return !answers.includes(true) && canBind(port);
}

function isAnswered(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: answerLimitMs });
    const settle = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => settle(true));
    socket.once("timeout", () => settle(false));
    socket.once("error", () => settle(false));
  });
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
