import { longpoll } from "./longpoll.ts";
import { conformance } from "./suite.ts";

conformance(longpoll);
