/**
 * The push services there are: a line each.
 * @module
 */
import type { Clock } from "../clock.ts";
import { StartError } from "../errors.ts";
import { fcm, type ServiceAccount, serviceAccountSchema } from "./fcm.ts";
import { guard, KNOWN_PUSH_SERVICES } from "./guard.ts";
import type { Provider } from "./provider.ts";
import { type VapidKeys, webPush } from "./webpush.ts";
import { webhook } from "./webhook.ts";

/** The part of the configuration that pushes need. */
export interface PushConfig {
  readonly vapid?: VapidKeys;
  /** The key file's content. */
  readonly fcmServiceAccount?: string;
  /** Where FCM is. @default Google's address */
  readonly fcmUrl?: string;
  /** Besides the known push services. */
  readonly hosts: readonly string[];
}

/** What is set up. Throws a `StartError` when the service account is not one. */
export function providers(
  { vapid, fcmServiceAccount: key, fcmUrl: url, hosts }: PushConfig,
  clock: Clock,
): Provider[] {
  const known = () => guard({ hosts: [...KNOWN_PUSH_SERVICES, ...hosts] });
  return [
    vapid && webPush({ vapid, guard: known(), clock }),
    key && fcm({ account: serviceAccount(key), clock, ...(url && { url }) }),
    hosts.length > 0 && webhook({ guard: guard({ hosts }), clock }),
  ].filter((provider) => typeof provider === "object");
}

function serviceAccount(key: string): ServiceAccount {
  const parsed = serviceAccountSchema.safeParse(JSON.parse(key));
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map(({ path }) => path.join(".")).join(", ");
  throw new StartError(
    `Cannot use TIDINGS_FCM_SERVICE_ACCOUNT: it is not a service account's key: ${fields}`,
  );
}
