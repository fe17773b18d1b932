import assert from "node:assert/strict";
import { StallGuard } from "../src/stall_guard.ts";
import { manualClock } from "./helpers/manual_clock.ts";

function socket() {
  return {
    bytesWritten: 0,
    writableLength: 0,
    destroyed: 0,
    write(bytes: number) {
      this.bytesWritten += bytes;
      this.writableLength += bytes;
    },
    drain(bytes: number) {
      this.writableLength -= bytes;
    },
    destroy() {
      this.destroyed++;
    },
  };
}

function guarded() {
  const clock = manualClock();
  const guard = new StallGuard({ timeout: 30_000, interval: 1_000, clock });
  const peer = socket();
  guard.watch(peer);
  return { clock, guard, peer };
}

Deno.test("StallGuard cuts a socket from which nothing has left for the time-out, and tells its owner first", async () => {
  const { clock, guard, peer } = guarded();
  const told: number[] = [];
  guard.onStall(peer, () => told.push(peer.destroyed));
  await guard.start();
  peer.write(100);
  clock.advance(29_000);
  assert.equal(peer.destroyed, 0);
  clock.advance(2_000);
  assert.equal(peer.destroyed, 1);
  assert.deepEqual(told, [0]);
  assert.equal(guard.size, 0);
  clock.advance(60_000);
  assert.equal(peer.destroyed, 1);
  await guard.stop();
  assert.equal(clock.waiting, 0);
});

Deno.test("StallGuard leaves a socket alone that has nothing to send", async () => {
  const { clock, guard, peer } = guarded();
  await guard.start();
  clock.advance(600_000);
  peer.write(100);
  clock.advance(20_000);
  assert.equal(peer.destroyed, 0);
  await guard.stop();
});

Deno.test("StallGuard leaves a socket alone that drains slowly while more is written", async () => {
  const { clock, guard, peer } = guarded();
  await guard.start();
  peer.write(1_000);
  for (let step = 0; step < 100; step++) {
    clock.advance(25_000);
    peer.drain(1);
    peer.write(2);
  }
  assert.equal(peer.destroyed, 0);
  clock.advance(31_000);
  assert.equal(peer.destroyed, 1, "writing more is not progress");
  await guard.stop();
});

Deno.test("StallGuard counts from the write, not from the last sweep that saw an empty buffer long ago", async () => {
  const { clock, guard, peer } = guarded();
  await guard.start();
  clock.advance(100_500);
  peer.write(10);
  clock.advance(29_400);
  assert.equal(peer.destroyed, 0);
  await guard.stop();
});

Deno.test("StallGuard cuts the socket even if its owner fails when told", async () => {
  const { clock, guard, peer } = guarded();
  guard.onStall(peer, () => {
    throw new Error("owner failed");
  });
  await guard.start();
  peer.write(1);
  clock.advance(31_000);
  assert.equal(peer.destroyed, 1);
  await guard.stop();
});

Deno.test("StallGuard forgets closed sockets and can be stopped twice", async () => {
  const { guard, peer } = guarded();
  guard.forget(peer);
  guard.onStall(peer, () => assert.fail("is not watched"));
  assert.equal(guard.size, 0);
  assert.equal(guard.sweep(), 0);
  await guard.stop();
  await guard.stop();
});
