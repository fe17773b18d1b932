/**
 * As much of Protocol Buffers as the stand-in for a browser's push service needs: varints, 64-bit and length-delimited fields, and
 * the frames of MCS (a tag, a length, a message).
 * @module
 */
import type { Socket } from "node:net";

/** A number as a varint. */
export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let left = BigInt(value);
  do {
    const low = Number(left & 0x7fn);
    left >>= 7n;
    bytes.push(left > 0n ? low | 0x80 : low);
  } while (left > 0n);
  return Buffer.from(bytes);
}

/** A field: a number as a varint, anything else with its length before it. */
export function field(number: number, value: number | string | Uint8Array): Buffer {
  if (typeof value === "number") return Buffer.concat([varint(number << 3), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number << 3 | 2), varint(bytes.length), bytes]);
}

/** A field of eight bytes. */
export function fixed64(number: number, value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return Buffer.concat([varint(number << 3 | 1), bytes]);
}

/** The length-delimited fields of a message, by number, as text. */
export function decodeFields(message: Buffer): Record<number, string[]> {
  const result: Record<number, string[]> = {};
  for (let at = 0; at < message.length;) {
    const [head, afterHead] = readVarint(message, at) ?? [0, message.length];
    if ((head & 7) === 1) at = afterHead + 8;
    else {
      const [value, after] = readVarint(message, afterHead) ?? [0, message.length];
      at = (head & 7) === 2 ? after + value : after;
      if ((head & 7) === 2) (result[head >> 3] ??= []).push(message.toString("utf8", after, at));
    }
  }
  return result;
}

/** Calls back for each frame of a connection, after the byte of the version that begins it. */
export function frames(socket: Socket, take: (frame: { tag: number; last: Buffer }) => void): void {
  let buffer = Buffer.alloc(0);
  let begun = false;
  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    if (!begun && buffer.length > 0) {
      buffer = buffer.subarray(1);
      begun = true;
    }
    for (;;) {
      const length = buffer.length > 1 ? readVarint(buffer, 1) : undefined;
      if (length === undefined || buffer.length < length[1] + length[0]) return;
      const [size, start] = length;
      const [tag = 0] = buffer;
      const last = buffer.subarray(start, start + size);
      buffer = buffer.subarray(start + size);
      take({ tag, last });
    }
  });
}

/** The value and where it ends; undefined when it is not all there. */
function readVarint(bytes: Buffer, from: number): [number, number] | undefined {
  let value = 0;
  for (let at = from, scale = 1; at < bytes.length; at++, scale *= 128) {
    const byte = bytes[at]!;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, at + 1];
  }
  return undefined;
}
