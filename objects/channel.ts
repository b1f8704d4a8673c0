/**
 * A cache in front of a slow query. Each streamer has one channel object near its viewers. The first viewer's request
 * starts it, and starting it runs the query, once: whoever comes meanwhile waits for that start. From then on viewers
 * are answered from memory. The API server writes through the object, which tells every viewer in every region.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

interface Channel {
  readonly streamer: string;
  readonly title: string;
  readonly followers: number;
}

export default object("channel", {
  state: (): { channel: Channel | undefined } => ({ channel: undefined }),
  // One connection pool for all channels of a host.
  resources: { db: openDatabase },
  topics: { channel: { subscribe: "anyone" } },
  // Writes await the database. One event at a time keeps the memory and the table in the same order.
  concurrency: "serial",

  async onStart({ state, objectId, host }) {
    state.channel = await find(await host.resources.db, objectId);
  },
})
  .get("/", ({ state, status }) => state.channel ?? status(404, "No such channel."))
  .post(
    "/",
    async ({ state, body, objectId, host, topics }) => {
      state.channel = await save(await host.resources.db, objectId, body.title);
      topics.publish("channel", state.channel);
      return state.channel;
    },
    {
      body: t.Object({ title: t.String({ minLength: 1, maxLength: 140 }) }),
      beforeHandle: ({ request, status }) => (mayWrite(request) ? undefined : status(401)),
    },
  )
  .ws("/live", {
    open(ws) {
      ws.subscribe("channel");
      const { channel } = ws.data.state;
      if (channel) ws.send(channel);
    },
  });

/** Who knows `CHANNEL_API_TOKEN` may write. While it is not set anyone may, which is for trying it out. */
function mayWrite(request: Request): boolean {
  const token = process.env.CHANNEL_API_TOKEN;
  return token === undefined || request.headers.get("authorization") === `Bearer ${token}`;
}

/** The query that must not run for every viewer: it reads all follows of all channels. */
async function find(db: Bun.SQL, streamer: string): Promise<Channel | undefined> {
  const [channel] = await db<Channel[]>`
    SELECT streamer, title, (SELECT CAST(count(*) AS INTEGER) FROM follows WHERE follows.streamer = channels.streamer)
    AS followers FROM channels WHERE streamer = ${streamer}`;
  return channel;
}

async function save(db: Bun.SQL, streamer: string, title: string): Promise<Channel | undefined> {
  await db`
    INSERT INTO channels (streamer, title) VALUES (${streamer}, ${title})
    ON CONFLICT (streamer) DO UPDATE SET title = excluded.title`;
  return find(db, streamer);
}

/** The database at `CHANNEL_DATABASE_URL`; without one a file that has something to look at. */
async function openDatabase(): Promise<Bun.SQL> {
  const url = process.env.CHANNEL_DATABASE_URL;
  if (url === undefined) await Bun.write("data/.keep", ""); // makes the folder, which SQLite does not
  const db = new Bun.SQL(url ?? "sqlite://data/channels.db");
  if (db.options.adapter === "sqlite") await addExamples(db);
  return db;
}

async function addExamples(db: Bun.SQL): Promise<void> {
  await db`PRAGMA busy_timeout = 5000`; // other hosts on this machine share the file
  await db`CREATE TABLE IF NOT EXISTS channels (streamer TEXT PRIMARY KEY, title TEXT NOT NULL)`;
  await db`CREATE TABLE IF NOT EXISTS follows (follower INTEGER, streamer TEXT)`;
  await db`
    INSERT INTO channels VALUES ('ada', 'Weaving numbers'), ('grace', 'Live from the bridge'), ('linus', 'Merge window')
    ON CONFLICT DO NOTHING`;
  await db`
    WITH RECURSIVE person (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM person WHERE n < 50000)
    INSERT INTO follows SELECT n, CASE n % 3 WHEN 0 THEN 'ada' WHEN 1 THEN 'grace' ELSE 'linus' END FROM person
    WHERE NOT EXISTS (SELECT * FROM follows)`;
}
