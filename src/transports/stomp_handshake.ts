/**
 * Who a STOMP client is: CONNECT's token, or what came with the upgrade.
 * @module
 */
import type { IncomingMessage } from "node:http";
import { type CredentialsDeps, headOf, readCredentials } from "../auth/credentials.ts";
import type { Identity } from "../auth/identity.ts";
import { TidingsError } from "../errors.ts";

/** What the upgrade request said of who comes. */
export interface Handshake {
  identity?: Identity;
  error?: TidingsError;
}

/** Never rejects: what is wrong with the handshake's credentials is told when CONNECT has come. */
export async function readHandshake(request: IncomingMessage, deps: CredentialsDeps): Promise<Handshake> {
  try {
    const credentials = await readCredentials(headOf(request, true), deps);
    return credentials.kind === "none" ? {} : { identity: credentials.identity };
  } catch (error) {
    return {
      error: error instanceof TidingsError
        ? error
        : new TidingsError("internal", "The error was logged", { cause: error }),
    };
  }
}

/**
 * CONNECT's token decides; without one, what came with the handshake. A foreign origin is refused either way.
 * @throws {TidingsError} that says why it is nobody
 */
export async function identify(
  { identity, error }: Handshake,
  token: string | undefined,
  deps: Pick<CredentialsDeps, "verifier">,
): Promise<Identity> {
  const outlived = error?.code === "invalid_token" || error?.code === "token_expired";
  if (error !== undefined && (token === undefined || !outlived)) throw error;
  if (token !== undefined) return await deps.verifier.verify(token);
  if (identity !== undefined) return identity;
  throw new TidingsError(
    "token_required",
    "Cannot tell who this is: send the header Authorization: Bearer <token> with CONNECT",
  );
}
