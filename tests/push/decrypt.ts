/**
 * The receiving end of Web Push, written from RFC 8188 and RFC 8291 with WebCrypto alone: what a browser does.
 * @module
 */

/** A browser's key pair and secret. */
export interface Receiver {
  privateKey: CryptoKey;
  publicKey: Uint8Array<ArrayBuffer>;
  auth: Uint8Array<ArrayBuffer>;
}

/** A fresh receiver, and the subscription it would give. */
export async function makeReceiver(): Promise<Receiver> {
  const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
  return {
    privateKey: pair.privateKey,
    publicKey: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)),
    auth: crypto.getRandomValues(new Uint8Array(16)),
  };
}

/** The keys as a PushSubscription's toJSON() gives them. */
export function subscriptionKeys(receiver: Receiver): { p256dh: string; auth: string } {
  return {
    p256dh: Buffer.from(receiver.publicKey).toString("base64url"),
    auth: Buffer.from(receiver.auth).toString("base64url"),
  };
}

/** The plaintext of an `aes128gcm` body of one record. */
export async function decrypt(body: Uint8Array, receiver: Receiver): Promise<Uint8Array> {
  const salt = new Uint8Array(body.slice(0, 16));
  const recordSize = new DataView(body.buffer, body.byteOffset).getUint32(16);
  const keyLength = body[20] ?? 0;
  const sender = new Uint8Array(body.slice(21, 21 + keyLength));
  const record = new Uint8Array(body.slice(21 + keyLength));
  if (record.length > recordSize) throw new Error("more than one record");
  const theirs = await crypto.subtle.importKey(
    "raw",
    sender,
    { name: "ECDH", namedCurve: "P-256" },
    false,
    [],
  );
  const shared = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, receiver.privateKey, 256);
  const info = concat(text("WebPush: info\0"), receiver.publicKey, sender);
  const ikm = await hkdf(receiver.auth, new Uint8Array(shared), info, 32);
  const key = await hkdf(salt, ikm, text("Content-Encoding: aes128gcm\0"), 16);
  const nonce = await hkdf(salt, ikm, text("Content-Encoding: nonce\0"), 12);
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const padded = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce }, aes, record));
  const delimiter = padded.lastIndexOf(2);
  if (delimiter < 0 || padded.slice(delimiter + 1).some((byte) => byte !== 0)) throw new Error("bad padding");
  return padded.slice(0, delimiter);
}

async function hkdf(
  salt: Uint8Array<ArrayBuffer>,
  secret: Uint8Array<ArrayBuffer>,
  info: Uint8Array<ArrayBuffer>,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  return new Uint8Array(
    await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, length * 8),
  );
}

function text(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value);
}

function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}
