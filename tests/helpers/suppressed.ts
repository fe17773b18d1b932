/**
 * Loaded before every test file: a test that fails, and then its disposal too, shows both. The runner prints of a
 * `SuppressedError` neither, but it prints causes.
 * @module
 */
Object.defineProperty(SuppressedError.prototype, "cause", {
  get(this: SuppressedError) {
    return new AggregateError([this.suppressed, this.error], "what went wrong, and then the disposal");
  },
});
