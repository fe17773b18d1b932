import { TRANSPORTS } from "../../src/client/machine.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { Path } from "./path.ts";
import { CASES, type Ground, perform } from "./suite.ts";

for (const promise of CASES) {
  Deno.test(`the client against a gateway: ${promise.name}`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await using shaky = await Path.to(gateway.url, { cutAfter: 1_000 });
    const rights = { subscribe: ["climb:**"], publish: ["user:*", "climb:**"] };
    const ground: Ground = {
      url: gateway.url,
      shaky: shaky.url,
      transports: TRANSPORTS,
      token: (user, seconds) => gateway.token(user, rights, seconds),
    };
    await perform(promise, ground);
  });
}
