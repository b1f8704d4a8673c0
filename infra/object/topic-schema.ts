import { type AnySchema, getSchemaValidator, type TSchema } from "elysia";
import { StatefulError } from "../lib/errors.ts";
import { isDeeper, jsonDepthMax } from "../lib/json-depth.ts";

/**
 * What a message of a topic with that schema is to whoever publishes it. A Standard Schema validator may take one type and
 * make another of it; TypeBox has one for both.
 */
export type MessageOf<Schema> =
  Schema extends TypeBox<infer Message>
    ? Message
    : Schema extends Standard<infer Input, unknown>
      ? Input
      : unknown;

/** What it is to whoever hears it. */
export type SentMessageOf<Schema> =
  Schema extends TypeBox<infer Message>
    ? Message
    : Schema extends Standard<unknown, infer Output>
      ? Output
      : unknown;

/** The part of TypeBox's schemas that says which type they have. Asked for by more, the compiler would work much longer. */
interface TypeBox<Message> {
  readonly static: Message;
}

/** The part of the Standard Schema interface (standardschema.dev, version 1) that says which types a validator has. */
interface Standard<Input, Output> {
  readonly "~standard": { readonly types?: { readonly input: Input; readonly output: Output } | undefined };
}

/** TypeBox marks its schemas with this symbol of the global registry. */
const typeBoxKind = Symbol.for("TypeBox.Kind");

export function isSchema(value: unknown): value is AnySchema {
  // A validator may be a function with properties.
  const mayBe = (typeof value === "object" || typeof value === "function") && value !== null;
  return mayBe && (typeBoxKind in value || "~standard" in value);
}

const placeLengthMax = 100;

/** The schema of one topic. Compiled at the first message: a process that only imports a class needs none of them. */
export class TopicSchema {
  readonly #topic: string;
  readonly #schema: AnySchema;
  #check: MessageCheck | undefined;

  constructor(topic: string, schema: AnySchema) {
    this.#topic = topic;
    // A copy: Elysia marks what it compiles, with what a route wants of it, and the same schema may be a route's.
    this.#schema = "~standard" in schema ? schema : { ...schema };
  }

  /**
   * A message as it is sent: JSON.
   *
   * @throws StatefulError `invalid_input` naming the topic and what is wrong where.
   */
  encode(message: unknown): string {
    // JSON has no form for undefined.
    return JSON.stringify(this.#passed(this.#compiled.outgoing(message))) ?? "null";
  }

  /** A client's JSON, as `encode` takes it. Throws as that does. */
  decode(json: string): unknown {
    if (isDeeper(json, jsonDepthMax)) throw this.refusal("", `it is nested ${jsonDepthMax} deep at most`);
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      throw this.refusal("", "it takes JSON");
    }
    return this.received(value);
  }

  /** What a client's JSON says, as `encode` takes it. */
  received(value: unknown): unknown {
    return this.#passed(this.#compiled.incoming(value));
  }

  /** @param at where in the message, `/from` */
  refusal(at: string, what: string): StatefulError {
    const place = at.slice(0, placeLengthMax); // a client may have given its fields names of any length
    const where = place === "" ? "" : ` at ${place}`;
    const message = `The topic "${this.#topic.slice(0, 80)}" does not take this message${where}: ${what.slice(0, 200)}.`;
    return new StatefulError("invalid_input", message, { details: { on: "message", at: place } });
  }

  get #compiled(): MessageCheck {
    const schema = this.#schema;
    this.#check ??= "~standard" in schema ? standardCheck(schema, this.#topic) : typeBoxCheck(schema);
    return this.#check;
  }

  #passed(checked: Checked): unknown {
    if ("value" in checked) return checked.value;
    throw this.refusal(checked.at, checked.what);
  }
}

/** `outgoing`: from what a handler publishes to what JSON says. `incoming`: the way back, where there is one to go. */
interface MessageCheck {
  outgoing(message: unknown): Checked;
  incoming(value: unknown): Checked;
}

type Checked = { readonly value: unknown } | Fault;

interface Fault {
  readonly at: string;
  readonly what: string;
}

function typeBoxCheck(schema: TSchema): MessageCheck {
  const validator = getSchemaValidator(schema);
  const check = (value: unknown): Checked =>
    validator.Check(value) ? { value } : faultOf(validator.Errors(value).First());
  // Without types like `t.Date()`, which say how their values are written, a message is what it is.
  if (!validator.hasTransform) return { outgoing: check, incoming: asItIs };
  return {
    outgoing: (message) => transformed(() => validator.Encode(message)),
    incoming(value) {
      const checked = check(value);
      return "value" in checked ? transformed(() => validator.Decode(value)) : checked;
    },
  };
}

/** TypeBox throws what is wrong with a value, and what an author's own codec has thrown, each inside an error of its own. */
function transformed(transform: () => unknown): Checked {
  try {
    return { value: transform() };
  } catch (thrown) {
    const { error, path } = thrown as { readonly error?: TypeBoxFault; readonly path?: string }; // as TypeBox's errors are
    return faultOf({ path, ...error, message: error?.message ?? String(thrown) });
  }
}

interface TypeBoxFault {
  readonly path?: string | undefined;
  readonly message: string;
}

function faultOf(fault: TypeBoxFault | undefined): Fault {
  return { at: fault?.path ?? "", what: fault?.message ?? "it does not match the schema" };
}

function standardCheck(schema: AnySchema, topic: string): MessageCheck {
  const { "~standard": standard } = schema as unknown as StandardSchema; // Elysia's types name the part without a function
  return {
    outgoing(message) {
      const result = standard.validate(message);
      if (result instanceof Promise)
        throw new StatefulError(
          "bad_request",
          `The schema of the topic "${topic}" waits, and a publish cannot.`,
        );
      if (result.issues === undefined) return { value: result.value };
      const [issue] = result.issues;
      return { at: pathOf(issue?.path ?? []), what: issue?.message ?? "it does not match the schema" };
    },
    incoming: asItIs,
  };
}

/** The rest of the Standard Schema interface. */
interface StandardSchema {
  readonly "~standard": { validate(value: unknown): StandardResult | Promise<StandardResult> };
}

interface StandardResult {
  readonly value?: unknown;
  readonly issues?:
    | readonly { readonly message: string; readonly path?: StandardPath | undefined }[]
    | undefined;
}

type StandardPath = readonly (PropertyKey | { readonly key: PropertyKey })[];

function pathOf(path: StandardPath): string {
  return path.map((step) => `/${String(typeof step === "object" ? step.key : step)}`).join("");
}

function asItIs(value: unknown): Checked {
  return { value };
}
