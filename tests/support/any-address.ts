import { AddressLimits } from "../../infra/edge/address-limits.ts";

/** No limits: for tests of other things. */
export const anyAddress = new AddressLimits({ socketsMax: 0, requestsMax: 0 });
