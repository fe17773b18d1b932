import { conformance } from "./suite.ts";
import { stomp } from "./stomp.ts";

conformance(stomp);
