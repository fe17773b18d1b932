/**
 * The push services there are: a line each.
 * @module
 */
import type { Clock } from "../clock.ts";
import { fcm, serviceAccountSchema } from "./fcm.ts";
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

/** What is set up. Throws when the service account is not one. */
export function providers(
  { vapid, fcmServiceAccount: key, fcmUrl: url, hosts }: PushConfig,
  clock: Clock,
): Provider[] {
  const known = () => guard({ hosts: [...KNOWN_PUSH_SERVICES, ...hosts] });
  return [
    vapid && webPush({ vapid, guard: known(), clock }),
    key && fcm({ account: serviceAccountSchema.parse(JSON.parse(key)), clock, ...(url && { url }) }),
    hosts.length > 0 && webhook({ guard: guard({ hosts }), clock }),
  ].filter((provider) => typeof provider === "object");
}
