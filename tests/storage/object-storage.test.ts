import { fileRig, memoryRig, serverRig } from "../contracts/directory-rigs.ts";
import { objectStorageContract } from "../contracts/object-storage-contract.ts";

objectStorageContract("memory", memoryRig);
objectStorageContract("file", fileRig);
objectStorageContract("sqld over http", () => serverRig((sqld) => sqld.httpUrl));
objectStorageContract("sqld over ws", () => serverRig((sqld) => sqld.wsUrl));
