/**
 * Debian's packages that the tests under tests/system need.
 * @module
 */
import { existsSync } from "node:fs";
import { chmod, readdir, rm, writeFile } from "node:fs/promises";

/** Each package, and a file that shows that it is there. */
const PACKAGES: Readonly<Record<string, string>> = {
  nginx: "/usr/sbin/nginx",
  haproxy: "/usr/sbin/haproxy",
  pgbouncer: "/usr/sbin/pgbouncer",
  postgresql: "/usr/lib/postgresql",
  spin: "/usr/bin/spin",
  gcc: "/usr/bin/gcc",
  "libc6-dev": "/usr/include/stdio.h",
  chromium: "/usr/bin/chromium",
  "dbus-daemon": "/usr/bin/dbus-daemon",
  openssl: "/usr/bin/openssl",
};

/** Installs what is missing, without starting any service; who may not install is told the line to run. */
export async function installPackages(): Promise<void> {
  const missing: string[] = [];
  for (const [name, path] of Object.entries(PACKAGES)) if (!existsSync(path)) missing.push(name);
  if (missing.length === 0) return;
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...missing];
  if (Deno.uid() !== 0) {
    console.error(`The system tests need packages that are not installed. Run: sudo ${install.join(" ")}`);
    console.log("\n0 passed, 1 failed");
    Deno.exit(1);
  }
  // Debian asks this file whether a service may be started by its installation
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) {
    await writeFile(policy, "#!/bin/sh\nexit 101\n");
    await chmod(policy, 0o755);
  }
  try {
    for (const args of [["apt-get", "update"], install]) {
      const [command = "", ...rest] = args;
      const { success } = await new Deno.Command(command, {
        args: rest,
        env: { DEBIAN_FRONTEND: "noninteractive" },
        stdin: "null",
        stdout: "inherit",
        stderr: "inherit",
      }).output();
      if (!success) {
        throw new Error(`Cannot install the packages of the system tests: ${args.join(" ")} failed`);
      }
    }
  } finally {
    if (ours) await rm(policy);
  }
}

/** The folder of the binaries of the oldest PostgreSQL that is installed. */
export async function debianPostgres(): Promise<string> {
  const versions = (await readdir("/usr/lib/postgresql")).map(Number).filter(Number.isInteger);
  return `/usr/lib/postgresql/${Math.min(...versions)}/bin`;
}
