import { nanoid } from "nanoid";
import type { Activation } from "../host/activation.ts";
import type { AttachedEdge } from "../host/attached-edge.ts";
import type { EdgeName, EdgePorts } from "../host/edge-port.ts";

/** The edge at which a client's upgrade was accepted: attached with its first. */
export function attachedEdge(activation: Activation, edge: EdgeName, ports: EdgePorts): AttachedEdge {
  activation.checkRelease(); // Its hooks have run meanwhile: what has ended here gets no attachment, and says why itself.
  const { edges } = activation;
  const known = edges.at(edge.process);
  return known ?? edges.attach(edge, (events, facts) => ports.to(edge, facts, new Map(), events));
}

export function newSocketId(): string {
  return nanoid(16);
}
