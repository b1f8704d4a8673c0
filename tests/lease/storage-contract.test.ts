import { fileRig, memoryRig, serverRig } from "../contracts/directory-rigs.ts";
import { storageContract } from "../contracts/storage-contract.ts";

storageContract("memory", memoryRig);
storageContract("file", fileRig);
storageContract("sqld over http", () => serverRig((sqld) => sqld.httpUrl));
storageContract("sqld over ws", () => serverRig((sqld) => sqld.wsUrl));
