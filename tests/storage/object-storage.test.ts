import { fileRig, memoryRig, serverRig } from "../contracts/directory-rigs.ts";
import { objectStorageContract } from "../contracts/object-storage-contract.ts";

objectStorageContract("memory", memoryRig);
objectStorageContract("file", fileRig);
// Over http it is the same statements: tests/lease/storage-contract.test.ts holds both ways to the same.
objectStorageContract("sqld over ws", () => serverRig((sqld) => sqld.wsUrl));
