/**
 * Certificates that nobody but the test trusts.
 * @module
 */
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { temporaryFolder } from "./temporary_folder.ts";

/** A key and its certificate, both PEM, for a common name and an alternative one such as `DNS:push.example`. */
export async function certificate(name: string, alternative: string): Promise<{ key: string; cert: string }> {
  await using folder = await temporaryFolder("certificate");
  const [key, cert] = [folder.at("key.pem"), folder.at("cert.pem")];
  execFileSync("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(" "),
    ...["-subj", `/CN=${name}`, "-addext", `subjectAltName=${alternative}`, "-keyout", key, "-out", cert],
  ], { stdio: "ignore" });
  return { key: await readFile(key, "utf8"), cert: await readFile(cert, "utf8") };
}
