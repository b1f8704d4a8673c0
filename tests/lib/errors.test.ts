import { describe, expect, test } from "bun:test";
import {
  asStatefulError,
  errorCodes,
  isErrorCode,
  problem,
  problemDetails,
  StatefulError,
} from "../../infra/lib/errors.ts";

/** Codes that a server may send: RFC 6455 section 7.4, the IANA registry, and 4000-4999 for applications. */
function isSendableCloseCode(code: number): boolean {
  const registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014];
  return registered.includes(code) || (code >= 4000 && code <= 4999);
}

describe("the table of codes", () => {
  test("has an error status, a close code that may be sent and a title for every code", () => {
    expect(errorCodes().length).toBeGreaterThan(20);
    for (const { code, status, close, title } of errorCodes()) {
      expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
      expect(status, code).toBeWithin(400, 600);
      expect(isSendableCloseCode(close), `${code} closes with ${close}`).toBe(true);
      expect(title, code).toMatch(/^[A-Z].*[^.]$/);
    }
  });

  test("has each title once, so that a person can tell them apart", () => {
    const titles = errorCodes().map(({ title }) => title);
    expect(new Set(titles).size).toBe(titles.length);
  });

  test("marks no mistake of the caller as worth repeating", () => {
    for (const { code, status, retry } of errorCodes()) {
      if (status < 500 && status !== 429) expect(retry, code).toBe(false);
    }
  });

  test("closes 1:1 with HTTP where a client must tell them apart", () => {
    for (const { code, status, close } of errorCodes()) {
      if ([401, 403, 404].includes(status)) expect(close, code).toBe(4000 + status);
    }
  });

  test("gives every code to the error that carries it", () => {
    for (const { code, status, close, retry } of errorCodes()) {
      const error = new StatefulError(code, "It broke.");
      expect(error).toMatchObject({ code, status, closeCode: close, retryable: retry, message: "It broke." });
      expect(isErrorCode(code)).toBe(true);
    }
  });

  test("knows no code by the name of a property", () => {
    for (const notACode of ["__proto__", "constructor", "toString", "", 404, undefined]) {
      expect(isErrorCode(notACode)).toBe(false);
    }
  });
});

describe("problem details (RFC 9457)", () => {
  test("says when to come again wherever that is allowed, and never where it is not", () => {
    for (const { code, retry } of errorCodes()) {
      const answer = problem(new StatefulError(code, "It broke."));
      expect(answer.headers.get("retry-after"), code).toBe(retry ? "1" : null);
    }
    const later = new StatefulError("queue_full", "It broke.", { retryAfterMs: 2500 });
    expect(problem(later).headers.get("retry-after")).toBe("3");
  });

  test("have the standard members and ours", () => {
    const error = new StatefulError("queue_full", "room/lobby has 1024 open events.", {
      details: { limit: 1024 },
    });
    expect(problemDetails(error)).toEqual({
      type: "urn:stateful-objects:error:queue_full",
      title: "The object has too many open events",
      status: 429,
      code: "queue_full",
      detail: "room/lobby has 1024 open events.",
      retryable: true,
      limit: 1024,
    });
  });

  test("keep their own members whatever the details are called", () => {
    const details = {
      status: 200,
      code: "internal",
      type: "about:blank",
      retryable: true,
      title: "",
      detail: "",
    };
    const error = new StatefulError("forbidden", "No.", { details });
    expect(problemDetails(error)).toEqual(problemDetails(new StatefulError("forbidden", "No.")));
  });

  test("travel as application/problem+json with the status, and are not cached", async () => {
    const response = problem(new StatefulError("unknown_class", "No host has the class rom."));
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.has("retry-after")).toBe(false);
    expect(await response.json()).toMatchObject({ code: "unknown_class", status: 404 });
  });

  test("are what Elysia gets from a thrown error", async () => {
    const response = new StatefulError("host_full", "Full.").toResponse();
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "host_full" });
  });

  test("hold text in any script, quotes and line breaks included", async () => {
    const message = '"héllo"\n世界 \u{1f30d}';
    expect(await problem(new StatefulError("bad_request", message)).json()).toMatchObject({
      detail: message,
    });
  });

  test("survive details that JSON cannot hold", async () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    for (const details of [{ epoch: 7n }, cycle]) {
      const response = problem(new StatefulError("not_owner", "Not here.", { details }));
      expect(response.status).toBe(503);
      expect(await response.json()).toEqual(problemDetails(new StatefulError("not_owner", "Not here.")));
    }
  });

  test("say what to upgrade to with a 426", () => {
    const response = problem(new StatefulError("upgrade_required", "Speak WebSocket."));
    expect(response.headers.get("upgrade")).toBe("websocket");
  });
});

describe("Retry-After", () => {
  const seconds = (retryAfterMs: number) =>
    problem(new StatefulError("no_eligible_host", "None.", { retryAfterMs })).headers.get("retry-after");

  test("is in whole seconds, rounded up, at least one", () => {
    expect(seconds(0)).toBe("1");
    expect(seconds(1)).toBe("1");
    expect(seconds(1000)).toBe("1");
    expect(seconds(1001)).toBe("2");
    expect(seconds(90_000)).toBe("90");
  });
});

describe("anything thrown, as an error of ours", () => {
  test("is itself where it is one already", () => {
    const error = new StatefulError("host_full", "Full.");
    expect(asStatefulError(error, "handler_failed")).toBe(error);
  });

  test("shows nothing of what it was, and keeps it as the cause", async () => {
    for (const thrown of [new Error("password=hunter2"), "password=hunter2", null, undefined, 7]) {
      const error = asStatefulError(thrown);
      expect(error.code).toBe("internal");
      expect(error.cause).toBe(thrown);
      expect(await problem(error).text()).not.toContain("hunter2");
    }
  });

  test("takes the code that the caller names", () => {
    expect(asStatefulError(new Error("x"), "handler_failed").code).toBe("handler_failed");
  });
});
