/**
 * `/worker.js`, the service worker. A page of the gateway registers it as it is; an application on another origin serves a
 * file of its own with `importScripts("https://<gateway>/worker.js")`.
 * @module
 */
import { workerStore } from "./worker_store.ts";
import { pushWorker, type WorkerScope } from "./worker_push.ts";

const scope = globalThis as unknown as WorkerScope;
const worker = pushWorker({
  scope,
  store: workerStore(indexedDB),
  fetch: (input, init) => fetch(input, init),
});

scope.addEventListener("install", () => void scope.skipWaiting());
scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener("push", (event) => event.waitUntil(worker.push(event.data?.text() ?? "")));
scope.addEventListener("notificationclick", (event) => event.waitUntil(worker.click(event.notification)));
scope.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(worker.renew(event)));
scope.addEventListener("message", (event) => event.waitUntil(worker.message(event.data)));
