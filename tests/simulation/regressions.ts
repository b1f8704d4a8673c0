import type { Fault } from "./faults.ts";

/** A run that once broke a promise, and what was wrong. */
export interface Regression {
  readonly name: string;
  readonly why: string;
  readonly seed: number;
  /** Where the faults that matter are known; all that the seed draws otherwise. */
  readonly faults?: readonly Fault[];
  readonly faultsEndMs?: number;
}

export const regressions: readonly Regression[] = [
  {
    name: "an object that an edge of its own host has woken while it wakes",
    why: "It started twice under one lease, and each copy overwrote what the other had acknowledged (host/object-table.ts).",
    seed: 12,
    faults: [
      { atMs: 2500, kind: "move", object: "talk/a", to: "nrt-3", by: "ams-2" },
      { atMs: 3071.9, kind: "crash", host: "ams-2", downMs: 5526, isSilent: true },
      { atMs: 3181.1, kind: "isolation", host: "nrt-3", slowMs: 1829, delayMs: 399.3, forMs: 4284 },
    ],
  },
  {
    name: "a sleeper that is given up while the next session adopts it",
    why: "What was adopted for it was given back under the copy that had started in the same commit (host/adoption.ts).",
    seed: 5655,
    faults: [
      { atMs: 16828, kind: "freeze", host: "iad-1", forMs: 16816 },
      { atMs: 17935.9, kind: "freeze", host: "ams-2", forMs: 3324 },
      { atMs: 21080, kind: "outage", forMs: 5258 },
      { atMs: 21499.5, kind: "break", host: "ams-2" },
      { atMs: 24011.1, kind: "break", host: "ams-2" },
    ],
  },
  {
    name: "an object that is lost while it wakes, and is ours again by the same commit",
    why: "It started with edges that had been sent away, and let no subscriber in any more (host/object-table.ts).",
    seed: 20904,
    faultsEndMs: 26563,
    faults: [
      { atMs: 2500, kind: "turbulence", forMs: 1759, share: 0.16304407501593232, delayMs: 2422 },
      { atMs: 5298, kind: "isolation", host: "ams-2", slowMs: 3502, delayMs: 935.6666666666666, forMs: 7269 },
      { atMs: 6838.7, kind: "cut", from: "nrt-3", to: "ams-2", forMs: 5684, bothWays: false },
      { atMs: 6987.1, kind: "drain", host: "ams-2", downMs: 868 },
      { atMs: 7646.4, kind: "cut", from: "directory", to: "nrt-3", forMs: 886, bothWays: true },
      {
        atMs: 8363.3,
        kind: "isolation",
        host: "ams-2",
        slowMs: 3962,
        delayMs: 800.6666666666666,
        forMs: 10968,
      },
      { atMs: 9178.1, kind: "drain", host: "iad-1", downMs: 2431 },
      { atMs: 9435.3, kind: "drain", host: "iad-1", downMs: 955 },
      {
        atMs: 10201.9,
        kind: "isolation",
        host: "iad-1",
        slowMs: 4433,
        delayMs: 703.6666666666666,
        forMs: 6130,
      },
      { atMs: 11248, kind: "crash", host: "iad-1", downMs: 10543, isSilent: false },
      { atMs: 12064.6, kind: "cut", from: "nrt-3", to: "directory", forMs: 4482, bothWays: false },
      { atMs: 14163.9, kind: "turbulence", forMs: 3484, share: 0.04900910819415003, delayMs: 1436 },
      { atMs: 15462.1, kind: "host clock", host: "nrt-3", byMs: 5466 },
      { atMs: 17002, kind: "crash", host: "iad-1", downMs: 2958, isSilent: true },
      { atMs: 17450.3, kind: "host clock", host: "nrt-3", byMs: 5613 },
      {
        atMs: 17547,
        kind: "isolation",
        host: "iad-1",
        slowMs: 3291,
        delayMs: 737.6666666666666,
        forMs: 6568,
      },
      { atMs: 21925, kind: "turbulence", forMs: 2971, share: 0.13398289773613214, delayMs: 923 },
      {
        atMs: 23562.8,
        kind: "isolation",
        host: "nrt-3",
        slowMs: 2198,
        delayMs: 671.6666666666666,
        forMs: 9813,
      },
    ],
  },
  {
    name: "a message of a host's own client that wakes an object, which moves away later",
    why: "It was counted twice, and a message that waited for the next owner was not sent to it (host/attached-edge.ts).",
    seed: 21043,
    faultsEndMs: 27000,
    faults: [
      { atMs: 2500, kind: "turbulence", forMs: 1389, share: 0.07726704140659421, delayMs: 2339 },
      { atMs: 2585.5, kind: "move", object: "talk/a", to: "ams-2", by: "nrt-3" },
      { atMs: 3890.2, kind: "drain", host: "ams-2", downMs: 1952 },
      { atMs: 24587.9, kind: "drain", host: "nrt-3", downMs: 1846 },
    ],
  },
  {
    name: "a move that is called off when its link breaks, with the package there already",
    why: "For a minute its target let nobody through to the object that lived on at the source (host/moves-in.ts).",
    seed: 30021,
    faultsEndMs: 22789,
    faults: [
      { atMs: 2500, kind: "move", object: "talk/a", to: "nrt-3", by: "nrt-3" },
      { atMs: 6779.3, kind: "move", object: "memo/a", to: "ams-2", by: "iad-1" },
      { atMs: 9414.1, kind: "break", host: "nrt-3" },
      { atMs: 14695.9, kind: "turbulence", forMs: 2538, share: 0.06845080910716206, delayMs: 1583 },
      { atMs: 16136.5, kind: "move", object: "ledger/b", to: "iad-1", by: "nrt-3" },
      { atMs: 16323.4, kind: "move", object: "talk/a", to: "ams-2", by: "ams-2" },
      { atMs: 19689.3, kind: "turbulence", forMs: 2939, share: 0.1219019558513537, delayMs: 2557 },
      { atMs: 19788.5, kind: "move", object: "talk/a", to: "iad-1", by: "nrt-3" },
    ],
  },
  {
    name: "a move to a host that begins to drain, whose last word is lost",
    why: "The target was refused the lease that was its own, gave it back, and what the object had in memory was gone (lease/lease-line.ts).",
    seed: 32785,
    faultsEndMs: 19732,
    faults: [
      { atMs: 2500, kind: "turbulence", forMs: 4644, share: 0.09872234598733484, delayMs: 1560 },
      { atMs: 2696.1, kind: "drain", host: "iad-4", downMs: 1866 },
      { atMs: 5244.8, kind: "turbulence", forMs: 3839, share: 0.2183333905879408, delayMs: 2740 },
      { atMs: 7749.1, kind: "drain", host: "iad-1", downMs: 1087 },
      { atMs: 8125.6, kind: "turbulence", forMs: 3310, share: 0.06198503491468727, delayMs: 1984 },
      { atMs: 11907.1, kind: "break", host: "ams-2" },
      { atMs: 14617.3, kind: "turbulence", forMs: 3869, share: 0.16937725078314542, delayMs: 1228 },
      { atMs: 14903.7, kind: "drain", host: "ams-2", downMs: 1300 },
      { atMs: 15556.6, kind: "turbulence", forMs: 1614, share: 0.25817030884791164, delayMs: 915 },
      { atMs: 16646.5, kind: "break", host: "iad-4" },
      { atMs: 16731.4, kind: "drain", host: "iad-1", downMs: 1550 },
    ],
  },
  {
    name: "a subscription that is asked for while the others of its edge are given up",
    why: "Its edge took it for the last that had left, and let go of it ten seconds later: it never heard anything again (edge/held-sockets.ts).",
    seed: 40746,
    faultsEndMs: 27000,
    faults: [{ atMs: 5610.2, kind: "freeze", host: "ams-2", forMs: 10286 }],
  },
  {
    name: "an edge that tells where its listeners are while the object sleeps, and wakes",
    why: "What it said before it heard the roll call was taken for the answer, and it was sent what it had by then (host/attached-edge.ts).",
    seed: 207713,
    faultsEndMs: 27000,
    faults: [
      { atMs: 2500, kind: "cut", from: "iad-1", to: "ams-2", forMs: 930, bothWays: true },
      { atMs: 5680.8, kind: "cut", from: "iad-1", to: "nrt-3", forMs: 906, bothWays: false },
      { atMs: 12175.1, kind: "cut", from: "iad-1", to: "nrt-3", forMs: 11748, bothWays: true },
      { atMs: 12931.5, kind: "cut", from: "iad-1", to: "iad-4", forMs: 6383, bothWays: true },
      { atMs: 13077.5, kind: "cut", from: "directory", to: "iad-1", forMs: 3887, bothWays: true },
      { atMs: 17923.2, kind: "cut", from: "ams-2", to: "nrt-3", forMs: 10147, bothWays: false },
    ],
  },
  {
    name: "an edge that answers a roll call once the object has fallen asleep again",
    why: "Nobody knew of its sockets before something else woke the object (host/attached-edge.ts).",
    seed: 400612,
    faultsEndMs: 27000,
    faults: [
      { atMs: 2500, kind: "freeze", host: "ams-2", forMs: 1032 },
      { atMs: 5546.2, kind: "freeze", host: "iad-1", forMs: 8126 },
      { atMs: 6289.5, kind: "break", host: "iad-1" },
      { atMs: 8987.8, kind: "cut", from: "nrt-3", to: "ams-2", forMs: 9809, bothWays: true },
      { atMs: 10946.6, kind: "cut", from: "nrt-3", to: "ams-2", forMs: 16314, bothWays: true },
      { atMs: 15648.1, kind: "freeze", host: "ams-2", forMs: 2238 },
      { atMs: 18966.6, kind: "freeze", host: "ams-2", forMs: 354 },
      { atMs: 19343.1, kind: "freeze", host: "iad-1", forMs: 3018 },
      { atMs: 19596.6, kind: "isolation", host: "iad-1", slowMs: 4529, delayMs: 1488, forMs: 12092 },
      { atMs: 23044, kind: "cut", from: "ams-2", to: "iad-1", forMs: 12955, bothWays: false },
    ],
  },
];
