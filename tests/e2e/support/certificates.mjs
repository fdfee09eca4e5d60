// Certificates for the scenarios, made with openssl: an authority of our own and what it issues.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });
const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export class Authority {
  constructor(dir) {
    this.dir = dir;
    this.count = 0;
    mkdirSync(dir, { recursive: true });
    const [key, certificate] = [this.path("ca.key"), this.path("ca.pem")];
    openssl("req", "-x509", ...KEY, "-keyout", key, "-out", certificate, "-days", "30", "-subj", "/CN=Test CA");
    this.ca = readFileSync(certificate);
  }

  path(name) {
    return join(this.dir, name);
  }

  /* A certificate for the loopback address: {certificate, key}, PEM. */
  issue({ days = 90 } = {}) {
    const n = ++this.count;
    const [key, request, certificate, names] = ["key", "csr", "pem", "ext"].map((end) => this.path(`${n}.${end}`));
    openssl("req", "-new", ...KEY, "-keyout", key, "-out", request, "-subj", `/CN=edge ${n}`);
    writeFileSync(names, "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    openssl(
      "x509", "-req", "-in", request, "-CA", this.path("ca.pem"), "-CAkey", this.path("ca.key"),
      "-set_serial", String(1000 + n), "-days", String(days), "-extfile", names, "-out", certificate,
    ); // prettier-ignore
    return { certificate: readFileSync(certificate), key: readFileSync(key), name: `edge ${n}` };
  }
}

/* Settings of a collector with HTTPS on this port, under a certificate of an authority of its own. */
export function httpsSettings(t, port) {
  const dir = mkdtempSync(join(tmpdir(), "tributary-tls-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const { certificate, key } = new Authority(join(dir, "ca")).issue();
  const files = { tls_certificate: join(dir, "certificate.pem"), tls_key: join(dir, "key.pem") };
  writeFileSync(files.tls_certificate, certificate);
  writeFileSync(files.tls_key, key);
  return { https_listen: `127.0.0.1:${port}`, ...files };
}

/* Put a file in another's place as renewals do: the new one whole, in one step. */
export function replaceFile(path, bytes) {
  writeFileSync(`${path}.new`, bytes);
  renameSync(`${path}.new`, path);
}
