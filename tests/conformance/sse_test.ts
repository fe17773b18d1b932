import { sse } from "./sse.ts";
import { conformance } from "./suite.ts";

conformance(sse);
