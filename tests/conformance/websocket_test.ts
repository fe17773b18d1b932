import { websocket } from "./websocket.ts";
import { conformance } from "./suite.ts";

conformance(websocket);
