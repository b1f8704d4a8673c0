/**
 * Prints what a WebSocket sends, one message per line, and sends what is typed:
 *
 *   bun apps/dev/listen.ts ws://localhost:4001/counter/a/live
 *
 * A curl for sockets that needs nothing but Bun. Ctrl-C ends it.
 */
const [address] = process.argv.slice(2);

if (address === undefined || !/^(?:ws|http)s?:\/\//.test(address)) {
  console.error("Usage: bun apps/dev/listen.ts ws://localhost:4001/counter/a/live");
  process.exit(2);
}

const socket = new WebSocket(address.replace(/^http/, "ws"));
const dim = (text: string) =>
  process.stderr.isTTY && !process.env.NO_COLOR ? `\u001b[2m${text}\u001b[22m` : text;
let wasOpen = false;

socket.binaryType = "arraybuffer";
socket.addEventListener("open", () => {
  wasOpen = true;
  console.error(dim(`Listening to ${address}. What you type is sent; Ctrl-C ends.`));
  void sendTyped();
});
socket.addEventListener("message", ({ data }) =>
  console.log(typeof data === "string" ? data : new Uint8Array(data)),
);
socket.addEventListener("close", ({ code, reason }) => {
  console.error(dim(`Closed with ${code}${reason ? `: ${reason}` : ""}.`));
  process.exit(wasOpen && code === 1000 ? 0 : 1);
});
process.on("SIGINT", () => process.exit(0));

async function sendTyped(): Promise<void> {
  // `console` gives the lines of the standard input.
  for await (const line of console) socket.send(line);
}
